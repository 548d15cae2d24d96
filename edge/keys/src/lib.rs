//! Private keys on disk: [`Disk`] is `env::Keys` on a folder, one file a key, sealed where a
//! [`SealingKey`] is given. Keys are read once; to sign is to look one up and sign.
//!
//! In scope: making, keeping, using and forgetting keys; the form of their files; where the sealing
//! key comes from. Not here: which key signs what and when it is replaced (`stack/credential`),
//! public keys and signatures as such (`spec/jose`), keys in hardware.
//!
//! # Files
//!
//! `<folder>/<purpose>/<id>.key`, mode 0600 in folders of mode 0700; the id is the RFC 7638
//! thumbprint of the public key. Not sealed it is PKCS #8 in PEM, below a line with the algorithm:
//! other people's tools read it. Sealed it is the same text in AES-256-GCM, bound to its purpose
//! and id. Plain files that are found by a store with a sealing key are sealed then.
//!
//! # Trust
//!
//! Whoever can read plain files, or sealed files and what the sealing key is made from, can be this
//! component. Whoever can only write to the folder can make it refuse to start, or forget keys.

mod disk;
mod file;
mod form;
mod generate;
mod sealing;

pub use disk::{Disk, KEYS_MAX, OpenError, WORKLOAD_KEYS_MAX};
pub use file::FileError;
pub use sealing::{PASSPHRASE_BYTES_MIN, PBKDF2_ITERATIONS, SealingError, SealingKey};
