//! Revocation lists of Intel's, and certificates of AMD's with RSASSA-PSS.

use time::UnixTime;
use x509::{
    BadSignature, Certificate, CertificateDer, REVOCATION_LIST_BYTES_MAX, RevocationList,
    RevocationListError,
};

fn vector(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");
    std::fs::read_to_string(format!("{path}{name}")).unwrap()
}

fn certificates(name: &str) -> Vec<Certificate> {
    let all = CertificateDer::from_pem_many(&vector(name)).unwrap();
    all.iter().map(|der| der.parse().unwrap()).collect()
}

/// The list of Intel's root.
fn list() -> Vec<u8> {
    let collateral = vector("tee/tdx-quote-v4-collateral.json");
    let collateral: serde_json::Value = serde_json::from_str(&collateral).unwrap();
    let digits = collateral["root_ca_crl"].as_str().unwrap().as_bytes();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn rfc5280_5_a_list_is_its_issuers_and_of_its_time() {
    let root = &certificates("tee/tdx-intel-root.pem")[0];
    let list = RevocationList::parse(&list()).unwrap();
    assert_eq!(list.verify_signed_by(root), Ok(()));
    assert_eq!(list.this_update().to_string(), "2025-03-20T11:21:57.000Z");
    assert_eq!(list.next_update().to_string(), "2026-04-03T11:21:57.000Z");
    for (seconds, expect) in [
        (list.this_update().seconds() - 1, false),
        (list.this_update().seconds(), true),
        (list.next_update().seconds(), true),
        (list.next_update().seconds() + 1, false),
    ] {
        assert_eq!(list.is_current(UnixTime::from_seconds(seconds)), expect, "{seconds}");
    }
    assert!(!list.names(root));
    let other = &certificates("rats/sev-snp-milan-chain.pem")[1];
    assert_eq!(list.verify_signed_by(other), Err(RevocationListError::OtherIssuer));
}

#[test]
fn rfc5280_5_a_changed_list_is_refused() {
    let (root, good) = (&certificates("tee/tdx-intel-root.pem")[0], list());
    let wrong = RevocationListError::Signature(BadSignature::Wrong);
    // The year of the next update, and the signature.
    let year = good.windows(12).position(|found| found == b"260403112157").unwrap();
    for at in [year + 1, good.len() - 1] {
        let mut twin = good.clone();
        twin[at] ^= 1;
        let twin = RevocationList::parse(&twin).unwrap();
        assert_eq!(twin.verify_signed_by(root), Err(wrong.clone()), "{at}");
    }
    // The algorithm in the body is not the one of the signature.
    let sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let at = good.windows(8).position(|found| found == sha256).unwrap();
    let mut twin = good.clone();
    twin[at + 7] = 3;
    let refused = RevocationList::parse(&twin).unwrap().verify_signed_by(root);
    assert!(
        matches!(refused, Err(RevocationListError::Signature(BadSignature::Algorithm(_)))),
        "{refused:?}"
    );
    assert_eq!(RevocationList::parse(&good[..50]).unwrap_err(), RevocationListError::Encoding);
    let long = vec![0x30; REVOCATION_LIST_BYTES_MAX + 1];
    let expect = RevocationListError::TooLong { bytes: long.len() };
    assert_eq!(RevocationList::parse(&long).unwrap_err(), expect);
}

#[test]
fn rfc5280_5_2_a_list_with_an_unknown_critical_extension_is_not_used() {
    let good = list();
    // cRLNumber: `30 0a 06 03 55 1d 14 04 03 02 01 01`; critical, with a shorter value.
    let at = good.windows(5).position(|found| found == [6, 3, 0x55, 0x1d, 0x14]).unwrap();
    let mut twin = good.clone();
    assert_eq!(twin[at + 5..at + 10], [4, 3, 2, 1, 1]);
    twin[at + 5..at + 10].copy_from_slice(&[1, 1, 0xff, 4, 0]);
    let refused = RevocationList::parse(&twin).unwrap_err().to_string();
    assert_eq!(refused, "unknown critical extension `2.5.29.20`");
}

#[test]
fn rfc4055_3_1_certificates_signed_by_rsassa_pss_verify() {
    for name in ["rats/sev-snp-milan-chain.pem", "tee/snp-milan-vlek-chain.pem"] {
        let chain = certificates(name);
        let (issuer, root) = (&chain[0], &chain[1]);
        assert_eq!(root.verify_signed_by(root), Ok(()));
        assert_eq!(issuer.verify_signed_by(root), Ok(()));
        assert_eq!(root.verify_signed_by(issuer), Err(BadSignature::Wrong));
        let mut twin = issuer.der().to_vec();
        *twin.last_mut().unwrap() ^= 1;
        let twin = Certificate::parse(&twin).unwrap();
        assert_eq!(twin.verify_signed_by(root), Err(BadSignature::Wrong));
        // A salt of another length, in both places: parameters that are not taken.
        let salt = [0xa2, 3, 2, 1, 48];
        let mut twin = issuer.der().to_vec();
        while let Some(at) = twin.windows(5).position(|found| found == salt) {
            twin[at + 4] = 32;
        }
        let refused = Certificate::parse(&twin).unwrap().verify_signed_by(root);
        assert!(matches!(refused, Err(BadSignature::Algorithm(_))), "{refused:?}");
    }
}
