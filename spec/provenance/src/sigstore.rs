//! Sigstore bundles v0.3 with an envelope inside, verified offline against a trusted root.
//!
//! A bundle is signed by a key that lived for minutes. That it counts later rests on three others:
//! a certificate authority that saw who held the key ([`Identity`]), a log that keeps the
//! signature, and an authority (or, for Rekor v1, the log itself) that says when it was made.

mod body;
mod bundle;
mod entry;
mod sct;
mod trusted_root;
mod verify;

pub use bundle::{BUNDLE_BYTES_MAX, Bundle, BundleError, ENTRIES_MAX, TIMESTAMPS_MAX};
pub use trusted_root::{AUTHORITIES_MAX, TRUSTED_ROOT_BYTES_MAX, TrustedRoot, TrustedRootError};
pub use verify::{Identity, Refused, Verified};
