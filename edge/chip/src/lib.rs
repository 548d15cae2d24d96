//! The way to a TPM on this machine, and the commands that it is given, byte by byte
//! ([TPM 2.0 Library, Part 3](https://trustedcomputinggroup.org/resource/tpm-library-specification/)):
//! the same for a host that attests by its TPM and for keys that are kept there.
//!
//! In scope: the device or socket, framing, the commands that somebody here needs, what a refusal
//! means. Not here: structures (`spec/tpm`), what evidence is made of (`edge/attestors`), which
//! keys there are (`edge/keys`).
//!
//! Trusting it means to trust the way to the TPM: the kernel's device, or a socket on this machine.
//! Commands and answers are neither encrypted nor bound to a session.

mod address;
mod command;

pub use address::{Address, NotATpm};
pub use command::{Auth, ENDORSEMENT, Handle, Made, OWNER, Tpm, TpmError};
