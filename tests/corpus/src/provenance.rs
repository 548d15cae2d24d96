//! Envelopes, bundles and what vouches for them: nothing is believed of what a fuzzer makes up.

use provenance::sigstore::{Bundle, TrustedRoot};
use provenance::{Envelope, IN_TOTO};

/// An envelope gives nothing without a key.
pub(crate) fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else { return };
    assert!(envelope.verify(&[envelope.payload_type()], &[], 0).is_err());
}

/// A bundle, and a trusted root: both in one input, with a zero byte between them.
pub(crate) fn bundle(data: &[u8]) {
    let Some(at) = data.iter().position(|byte| *byte == 0) else {
        let _ = (Bundle::parse(data), TrustedRoot::parse(data), Bundle::is_one(data));
        return;
    };
    let (bundle, root) = data.split_at(at);
    let root = TrustedRoot::parse(root.get(1..).unwrap_or_default());
    if let (Ok(bundle), Ok(root)) = (Bundle::parse(bundle), root)
        && let Ok(verified) = bundle.verify(&[IN_TOTO], &root)
    {
        assert_eq!(verified.opened().signers().len(), 1);
        assert!(!verified.identity().issuer.is_empty());
    }
}
