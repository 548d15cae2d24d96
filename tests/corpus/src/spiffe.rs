//! SPIFFE: identifiers, addresses, bundles, SVIDs.

use jose::Unverified;
use serde_json::Value;
use spiffe::federation::EndpointUrl;
use spiffe::{Bundle, BundleSet, EndpointAddress, JwtSvid, SpiffeId, X509Svid, verify_jwt_svid};
use time::{Span, UnixTime};
use wimse::{Bundles, Wic, WorkloadId};
use x509::{CertificateDer, Purpose};

/// An identifier or an address has one form, and no part of an identifier climbs or hides.
pub(crate) fn id(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        assert!(id.segments().all(|part| !matches!(part, "" | "." | "..")));
        assert!(!text.contains(['%', '?', '#', '@', '\\']) && text.is_ascii());
    }
    if let Ok(url) = EndpointUrl::parse(text) {
        assert_eq!(EndpointUrl::parse(url.as_str()).as_ref(), Ok(&url));
    }
    if let Ok(address) = EndpointAddress::parse(text) {
        assert_eq!(EndpointAddress::parse(&address.to_string()), Ok(address));
    }
}

/// A bundle or a map of them; written again, it vouches for the same.
pub(crate) fn bundle(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(bundle) = Bundle::parse(text) {
        let again = Bundle::parse(&bundle.to_value().to_string()).ok();
        assert!(again.is_some_and(|again| {
            again.x509_authorities() == bundle.x509_authorities()
                && again.jwt_keys() == bundle.jwt_keys()
                && again.wit_keys() == bundle.wit_keys()
                && again.sequence() == bundle.sequence()
        }));
    }
    if let Ok(set) = BundleSet::parse_map(text) {
        let names = |value: &Value| value.to_string();
        let again = BundleSet::parse_map(&set.to_map().to_string());
        assert!(again.is_ok_and(|again| names(&again.to_map()) == names(&set.to_map())));
    }
}

/// A token: without a bundle nothing makes it true.
pub(crate) fn jwt_svid(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(token) = Unverified::<JwtSvid>::parse(text) {
        assert!(!format!("{token:?}").contains(text));
    }
    let now = UnixTime::from_seconds(1_700_000_000);
    assert!(verify_jwt_svid(text, &BundleSet::new(), &["x"], now, Span::ZERO).is_err());
}

/// A chain as text: without a bundle nothing makes it true.
pub(crate) fn x509_svid(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(found) = CertificateDer::from_pem_many(text) else { return };
    let chain: Vec<_> = found.iter().filter_map(|der| der.parse().ok()).collect();
    let now = UnixTime::from_seconds(1_700_000_000);
    let svid = X509Svid::check(&chain);
    assert!(X509Svid::verify(&chain, &BundleSet::new(), Purpose::Client, now).is_err());
    // An SVID is a workload identity certificate of the same identifier, and not the other way.
    let wic = Wic::check(&chain);
    if let Ok(svid) = &svid {
        assert_eq!(wic.as_ref().ok().and_then(WorkloadId::as_spiffe), Some(svid.spiffe_id()));
    }
    assert!(Wic::verify(&chain, &Bundles::new(), Purpose::Client, now).is_err());
}
