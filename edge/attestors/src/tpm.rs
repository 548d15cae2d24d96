//! A host's TPM as the attester of `tpm_devid` (the pure half is `attestation::tpm_devid`): the
//! DevID key from the files that SPIRE's plugin takes too, an attestation key of this attempt
//! alone, and the endorsement key by its default template. The way to the TPM is `edge/chip`: no
//! library of TPM software is needed on the host.
//!
//! Trusting it means to trust the way to the TPM: the kernel's device, or a socket on this machine.
//! Whoever can use the TPM and reads the two files can join as this host.

mod devid;
mod session;
mod template;

pub use chip::{Address, NotATpm, TpmError};
pub use devid::{Devid, DevidError, DevidFiles};
pub use session::{AttestError, Attester};
