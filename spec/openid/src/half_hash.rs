//! `at_hash`, `c_hash` and `s_hash` (OpenID Connect Core 1.0 §3.1.3.6, §3.3.2.11).

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::Algorithm;

/// The left half of the hash of a value, as the ID token that goes with it names it.
pub fn half_hash(algorithm: Algorithm, value: &str) -> String {
    // §3.1.3.6: "Its value is the base64url encoding of the left-most half of the hash of the
    // octets of the ASCII representation of the "access_token" value, where the hash algorithm used
    // is the hash algorithm used in the "alg" Header Parameter of the ID Token's JOSE Header."
    let hash = match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256 => &SHA256,
        Algorithm::Es384 | Algorithm::Rs384 | Algorithm::Ps384 => &SHA384,
        // RFC 8032 §5.1: Ed25519 hashes with SHA-512.
        Algorithm::Es512 | Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa => &SHA512,
    };
    let hash = digest(hash, value.as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_a_3_and_ciba_10_3_1_published_hashes() {
        for (value, expect) in [
            // Core 1.0 appendix A.3
            ("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"),
            // Core 1.0 appendix A.4
            (
                "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk",
                "LDktKdoQak3Pk0cnXxCltA",
            ),
            // CIBA Core 1.0 §10.3.1
            ("G5kXH2wHvUra0sHlDy1iTkDJgsgUO1bN", "Wt0kVFXMacqvnHeyU0001w"),
            ("4bwc0ESC_IAhflf-ACC_vjD_ltc11ne-8gFPfA2Kx16", "sHahCuSpXCRg5mkDDvvr4w"),
        ] {
            assert_eq!(half_hash(Algorithm::Rs256, value), expect);
            assert_ne!(half_hash(Algorithm::Es384, value), expect);
        }
        assert_eq!(half_hash(Algorithm::EdDsa, "a").len(), 43);
    }
}
