//! Evidence, read from the kernel and from files: which process is at the other end of a socket,
//! what program it runs, and what a node shows to join (the pure halves are `stack/attestation`;
//! the kernel's side is proc(5), pidfd_open(2) and unix(7), <https://man7.org/linux/man-pages/>).
//!
//! In scope: processes on this Linux host by pidfd ([`Peer`]), the owner of a loopback TCP
//! connection ([`tcp`]), the hash of a running executable ([`HashCache`]) and of the script of an
//! interpreter, what systemd, Docker, Podman or a kubelet say of a process ([`systemd`],
//! [`docker`], [`kubelet`]; all of it together: [`Attestors`]), and the files a node joins with
//! ([`join_token`], [`x509pop`], [`sshpop`], [`token_file`], [`tpm`]), what its processor signs
//! ([`tsm`]), what its cloud tells of it ([`metadata`]), and the nonce it serves
//! ([`http_challenge`]). Not here: what evidence is worth (`stack/attestation`), and who asks for
//! it (`edge/workload`, `edge/proxy`).
//!
//! Trusting it means to trust the kernel. It says which program a process runs, not what that
//! program was made to do: whoever may trace a process, or chooses its environment or its script,
//! speaks with its voice. A socket speaks for the process that connected it, also when that process
//! gave it to another; it stops to do so when that process exits.

mod ask;
mod attestors;
mod bounded_file;
pub mod docker;
mod hash_cache;
pub mod http_challenge;
pub mod join_token;
pub mod kubelet;
mod measure;
pub mod metadata;
mod proc;
mod script;
mod secret_file;
pub mod sshpop;
pub mod systemd;
pub mod tcp;
pub mod token_file;
pub mod tpm;
pub mod tsm;
mod unix;
pub mod x509pop;

pub use ask::AskError;
pub use attestors::Attestors;
pub use hash_cache::{EXECUTABLE_BYTES_MAX, HASHES_MAX, HashCache};
pub use measure::{GROUPS_MAX, MeasureError};
pub use proc::ProcError;
pub use secret_file::SecretFileError;
pub use unix::{Peer, PeerError};
