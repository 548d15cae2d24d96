//! Private keys: [`KeyStore`] is `env::Keys` of one component, on a folder ([`Disk`], one file a
//! key, sealed where a [`SealingKey`] is given), in a token by
//! [PKCS #11](https://docs.oasis-open.org/pkcs11/pkcs11-base/v3.0/), or in a TPM 2.0.
//!
//! In scope: making, keeping, using and forgetting keys; the form of their files; where the sealing
//! key comes from; how long a device may take, and the way back when it was away; a company's
//! authority above ours, whose key is one of these ([`Company`]). Not here: which
//! key signs what and when it is replaced (`stack/credential`), public keys and signatures as such
//! (`spec/jose`), the commands of a TPM (`edge/chip`).
//!
//! # Files
//!
//! `<folder>/<purpose>/<id>.key`, mode 0600 in folders of mode 0700; the id is the RFC 7638
//! thumbprint of the public key. Not sealed it is PKCS #8 in PEM, below a line with the algorithm:
//! other people's tools read it. Sealed it is the same text in AES-256-GCM, bound to its purpose
//! and id. Plain files that are found by a store with a sealing key are sealed then.
//!
//! # Devices
//!
//! A key in a device never leaves it. In a token it is called `aims/<owner>/<purpose>` (CKA_LABEL),
//! its CKA_ID is the thumbprint; it is sensitive and not extractable, which is read back. In a TPM
//! it lies below the storage key; its two blobs are in `<folder>/tpm/<purpose>/<id>.tpm`,
//! TPM2B_PUBLIC and TPM2B_PRIVATE one after the other, of use to that TPM alone. Devices have
//! threads of their own. What is away is looked for again at the next order, at most once a second.
//!
//! # Trust
//!
//! Whoever can read plain files, or sealed files and what the sealing key is made from, can be this
//! component. Whoever can only write to the folder can make it refuse to start, or forget keys.
//! Whoever can use a device as this user does (the PIN and the module; the TPM and the blobs) can
//! sign as this component for as long as he can, and takes no key away.

mod chip;
mod company;
mod device;
mod disk;
mod file;
mod form;
mod generate;
mod pkcs11;
mod sealing;
mod store;
mod workers;

pub use ::chip::{Address, NotATpm};
pub use chip::{ChipError, TpmPlace};
pub use company::{Company, CompanyError, CompanyFiles, CompanyKey};
pub use device::Devices;
pub use disk::{Disk, KEYS_MAX, OpenError, WORKLOAD_KEYS_MAX};
pub use file::FileError;
pub use pkcs11::{Token, TokenError};
pub use sealing::{PASSPHRASE_BYTES_MIN, PBKDF2_ITERATIONS, SealingError, SealingKey};
pub use store::{Count, DeviceError, KeyStore, Place};
pub use workers::{ANSWER_TIME_MAX, ORDERS_MAX};
