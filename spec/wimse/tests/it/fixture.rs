//! Issuers and workloads with real keys, and the published examples.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, Jwk, KeyId, PrivateKey, PublicKey};
use serde_json::{Value, json};
use spiffe::BundleKey;
use time::{Span, UnixTime};
use wimse::{Origin, TrustAnchors, VerifiedWit, WitPolicy, verify_wit};

/// A moment in which the published examples are valid.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_745_509_900);
pub(crate) const SKEW: Span = Span::from_seconds(30);

/// workload-creds §5.1, with the key that signed it and the key that it binds.
pub(crate) const EXAMPLE_WIT: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6Ikp1bmUgNSIsInR5cCI6IndpdCtqd3QifQ.",
    "eyJjbmYiOnsiandrIjp7ImFsZyI6IkVkRFNBIiwiY3J2IjoiRWQyNTUxOSIsImt0eSI6Ik9LUCIsIngiOiIxQ1hYdm",
    "ZsTl9MVlZzSXNZWHNVdkIwM0ptbEdXZUNIcVFWdW91Q0Y5MmJnIn19LCJleHAiOjE3NDU1MTI1MTAsImlhdCI6MTc0",
    "NTUwODkxMCwianRpIjoieC1fMUNUTDJjY2EzQ1NFNGN3Yl9sIiwic3ViIjoid2ltc2U6Ly9leGFtcGxlLmNvbS9zcG",
    "VjaWZpYy13b3JrbG9hZCJ9.",
    "6KraSQUxWdl9dxFQ3Fj6dPY0Vi88OkwFwZpAIOhLeq6AbXAnLLQgOp8U9UDGcBuYF3KiNv6oKQD1ZWAzrMZOJw",
);
pub(crate) const EXAMPLE_ISSUER: &str = concat!(
    r#"{"kty":"EC","kid":"June 5","crv":"P-256","#,
    r#""x":"kXqnA2Op7hgd4zRMbw0iFcc_hDxUxhojxOFVGjE2gks","#,
    r#""y":"n__VndPMR021-59UAs0b9qDTFT-EZtT6xSNs_xFskLo"}"#,
);
pub(crate) const EXAMPLE_WORKLOAD_KEY: &str = concat!(
    r#"{"kty":"OKP","crv":"Ed25519","x":"1CXXvflN_LVVsIsYXsUvB03JmlGWeCHqQVuouCF92bg","#,
    r#""d":"sdLX8yCYKqo_XvGBLn-ZWeKT7llYeeQpgeCaXVxb5kY"}"#,
);
/// wpt §2, for the WIT above.
pub(crate) const EXAMPLE_WPT: &str = concat!(
    "eyJhbGciOiJFZERTQSIsInR5cCI6IndwdCtqd3QifQ.",
    "eyJhdGgiOiJDTDR3amZwUm1OZi1iZFlJYllMblY5ZDVyTUFSR3dLWUUxMHdVd3pDMGpJIiwiYXVkIjoiaHR0cHM6Ly",
    "93b3JrbG9hZC5leGFtcGxlLmNvbS9wYXRoIiwiZXhwIjoxNzQ1NTEwMDE2LCJqdGkiOiJfX2J3YzRFU0MzYWNjMkxU",
    "QzEtX3giLCJ3dGgiOiJBYVlVZkMzNEQxZGkyRnhRTHBpSUpKN1NnOFZaNm84T0Nkd1NmOUlUb0xnIn0.",
    "PI7d9AcYhLoEgPgbJvcM132lkBKnM1NXU-5hZUzVTIyj2dRJaTLFs6e5NYv5gg6AqcV7NvkYCwfgMgWasWQzCA",
);
/// WIT-SVID appendix A; the key that signed it was not published.
pub(crate) const EXAMPLE_WIT_SVID: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImxRU2kzaFpGbmRhMkQtWEprajF6bDdmb0pvdWl3STRuckF5aHk0alppSmciLC",
    "J0eXAiOiJ3aXQrand0In0.",
    "eyJjbmYiOnsiandrIjp7ImFsZyI6IkVTMjU2IiwiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngiOiJyelA3bUxDS0",
    "FIV21zTTZYMEV3VklTQ19oSTN1amN1OTVmZlVreWVER0dvIiwieSI6InVPcmZEbGp0WDltM2pZLWhzeWhMSllheHRH",
    "a3pEdjVlNWttQ2U1OFo5N2cifX0sImV4cCI6MTc2NTQ1NjUwMywiaWF0IjoxNzY1NDUyOTAzLCJqdGkiOiIxeWoxOV",
    "Y0TWNPQXpNY0ZpN3F2c2dfQWdDeGxyWTVFX3g1MDl3bEtLUXRjIiwic3ViIjoic3BpZmZlOi8vZXhhbXBsZS5jb20v",
    "bXktd29ya2xvYWQifQ.",
    "sfhEvZNdY_kWrICF08lX0u__rn39YnTavnW-VPBS20zgowDh6-X43v5eOUKZbjZf06yLBQM-Mry5w1g1QFsCkg",
);

pub(crate) const POLICY: WitPolicy<'_> = WitPolicy {
    algorithms: &[Algorithm::Es256, Algorithm::EdDsa],
    confirmation_algorithms: &[Algorithm::Es256, Algorithm::EdDsa],
    issuers: None,
    skew: SKEW,
};

pub(crate) fn p256() -> PrivateKey {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    PrivateKey::from_pkcs8(key.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

pub(crate) fn ed25519() -> PrivateKey {
    PrivateKey::from_jwk_private_text(EXAMPLE_WORKLOAD_KEY).unwrap()
}

pub(crate) fn kid(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

pub(crate) fn anchors(origin: &str, keys: &[(&str, &PublicKey)]) -> TrustAnchors {
    let mut anchors = TrustAnchors::new();
    let keys = keys.iter().map(|(id, key)| BundleKey { kid: kid(id), key: (*key).clone() });
    anchors.insert(Origin::parse(origin).unwrap(), keys.collect());
    anchors
}

/// A token of these parts, signed by this key.
pub(crate) fn sign(header: &Value, claims: &Value, key: &PrivateKey) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}

/// An issuer of `spiffe://ours.example` and a workload of it.
pub(crate) struct Pair {
    pub(crate) issuer: PrivateKey,
    pub(crate) workload: PrivateKey,
    pub(crate) anchors: TrustAnchors,
}

impl Pair {
    pub(crate) fn new(workload: PrivateKey) -> Self {
        let issuer = p256();
        let anchors = anchors("spiffe://ours.example", &[("wit-1", issuer.public())]);
        Self { issuer, workload, anchors }
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "wit+jwt", "kid": "wit-1"})
    }

    pub(crate) fn claims(&self) -> Value {
        let jwk = self.workload.public().to_jwk();
        json!({
            "sub": "spiffe://ours.example/agent",
            "exp": NOW.seconds() + 3600,
            "iat": NOW.seconds(),
            "cnf": {"jwk": jwk},
            "aims_epoch": 4,
            "aims_attributes": {"owner": "owner@ours.example"},
            "example.com/else": [1, 2],
        })
    }

    pub(crate) fn wit(&self) -> String {
        sign(&self.header(), &self.claims(), &self.issuer)
    }

    pub(crate) fn verified(&self) -> VerifiedWit {
        verify_wit(&self.wit(), &self.anchors, POLICY, NOW).unwrap()
    }
}

/// The example WIT, verified.
pub(crate) fn example() -> VerifiedWit {
    let issuer = PublicKey::from_jwk(&Jwk::parse(EXAMPLE_ISSUER).unwrap()).unwrap();
    let anchors = anchors("wimse://example.com", &[("June 5", &issuer)]);
    verify_wit(EXAMPLE_WIT, &anchors, POLICY, NOW).unwrap()
}
