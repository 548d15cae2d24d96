//! Certificates and keys that `ssh-keygen` made, and what is no longer one after a change.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

use proptest::prelude::*;
use ssh::{
    BadSignature, Certificate, CertificateError, KeyError, Malformed, PrivateKeyError,
    PrivateKeyFile, PublicKey, Role, Signature, put_string,
};
use time::UnixTime;

/// 2026-01-01 and 2036-01-01, as the certificates have it.
const FROM: u64 = 1_767_225_600;
const UNTIL: u64 = 2_082_758_400;

fn vector(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/ssh/");
    std::fs::read_to_string(format!("{path}{name}")).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::parse_line(&vector(&format!("{name}-cert.pub"))).unwrap()
}

/// req: ATT-02 (part)
#[test]
fn certkeys_a_certificate_says_what_its_authority_put_in() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let read = certificate(&format!("host_{kind}"));
        let authority = PublicKey::parse_line(&vector(&format!("ca_{kind}.pub"))).unwrap();
        assert_eq!(read.verify(), Ok(()), "{kind}");
        assert_eq!(read.authority(), &authority);
        assert_eq!(read.authority().to_bytes(), authority.to_bytes());
        assert_eq!(read.key_id(), format!("host-1 {kind}"));
        assert_eq!((read.serial(), read.role()), (7, Role::Host));
        assert_eq!(read.principals(), ["host-1.example", "host-1"]);
        assert_eq!((read.valid_after(), read.valid_before()), (FROM, UNTIL));
        let valid = |seconds| read.is_valid_at(UnixTime::from_seconds(seconds));
        assert_eq!([FROM - 1, FROM, UNTIL - 1, UNTIL].map(valid), [false, true, true, false]);
        assert!(read.critical_options().is_empty());
    }
    assert_eq!(certificate("user").role(), Role::User);
    assert!(certificate("any").principals().is_empty());
    assert_eq!(certificate("crit").critical_options(), ["source-address@example"]);
}

/// req: ATT-02 (part)
#[test]
fn certkeys_whatever_bit_is_changed_nobody_signed_it() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let bytes = certificate(&format!("host_{kind}")).as_bytes().to_vec();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = Certificate::parse(&changed);
            assert!(read.is_err() || read.unwrap().verify().is_err(), "{kind} at {at}");
        }
        for length in 0..bytes.len() {
            assert!(Certificate::parse(&bytes[..length]).is_err(), "{kind} cut at {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        let refused = CertificateError::Malformed(Malformed::LeftOver { bytes: 1 });
        assert_eq!(Certificate::parse(&longer), Err(refused));
    }
}

#[test]
fn certkeys_a_key_alone_is_no_certificate() {
    let key = vector("ca_ed25519.pub");
    assert_eq!(Certificate::parse_line(&key), Err(CertificateError::NoCertificate));
    let certificate = vector("host_ed25519-cert.pub");
    assert!(matches!(PublicKey::parse_line(&certificate), Err(KeyError::Kind { .. })));
    let (_, base64) = key.split_once(' ').unwrap();
    let other = KeyError::Malformed(Malformed::Line);
    assert_eq!(PublicKey::parse_line(&format!("ssh-rsa {base64}")), Err(other.clone()));
    assert_eq!(PublicKey::parse_line(""), Err(other.clone()));
    assert_eq!(PublicKey::parse_line(&key.repeat(2)), Err(other));
    assert!(matches!(
        PublicKey::parse_line(&"a".repeat(40_000)),
        Err(KeyError::Malformed(Malformed::TooLong { .. }))
    ));
}

fn options(names: &[&str]) -> Vec<u8> {
    let mut packed = Vec::new();
    for name in names {
        put_string(&mut packed, name.as_bytes());
        put_string(&mut packed, b"");
    }
    packed
}

/// An unsigned certificate of these fields.
fn made(
    role: u32,
    principals: &[&str],
    critical: &[&str],
) -> Result<Certificate, CertificateError> {
    let mut bytes = Vec::new();
    for text in [&b"ssh-ed25519-cert-v01@openssh.com"[..], b"nonce", &[7; 32]] {
        put_string(&mut bytes, text);
    }
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(role.to_be_bytes());
    put_string(&mut bytes, b"id");
    let mut packed = Vec::new();
    for principal in principals {
        put_string(&mut packed, principal.as_bytes());
    }
    put_string(&mut bytes, &packed);
    bytes.extend(0_u64.to_be_bytes());
    bytes.extend(u64::MAX.to_be_bytes());
    put_string(&mut bytes, &options(critical));
    put_string(&mut bytes, b"");
    put_string(&mut bytes, b"");
    put_string(&mut bytes, &PublicKey::Ed25519([8; 32]).to_bytes());
    let mut signature = Vec::new();
    put_string(&mut signature, b"ssh-ed25519");
    put_string(&mut signature, &[9; 64]);
    put_string(&mut bytes, &signature);
    Certificate::parse(&bytes)
}

#[test]
fn certkeys_each_field_is_bounded_and_in_order() {
    assert!(made(2, &["a"], &["a", "b"]).is_ok());
    assert_eq!(made(3, &[], &[]), Err(CertificateError::Role { role: 3 }));
    assert_eq!(made(2, &[""], &[]), Err(CertificateError::EmptyPrincipal));
    assert_eq!(made(2, &["a\n"], &[]), Err(Malformed::Text.into()));
    let too_many = |what, max| Err(CertificateError::TooMany { what, max });
    assert_eq!(made(2, &["a"; 257], &[]), too_many("principals", 256));
    let names: Vec<_> = (0..33).map(|at| format!("{at:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(made(2, &[], &names), too_many("options", 32));
    for twice in [["a", "a"], ["b", "a"]] {
        let name = "a".to_owned();
        assert_eq!(made(2, &[], &twice), Err(CertificateError::OptionOrder { name }));
    }
    let unsigned = made(2, &[], &[]).unwrap();
    assert_eq!(unsigned.verify(), Err(BadSignature::Wrong));
}

/// RFC 8332: what is signed with SHA-1 is not signed; nor is a format of another key taken.
#[test]
fn rfc8332_a_signature_is_of_a_format_of_its_key() {
    let key = PublicKey::parse_line(&vector("ca_rsa.pub")).unwrap();
    for format in ["ssh-rsa", "ssh-ed25519", "rsa-sha2-1"] {
        let signature = Signature { format: format.to_owned(), blob: vec![1; 256] };
        let format = format.to_owned();
        let refused = BadSignature::Format { format, kind: "ssh-rsa" };
        assert_eq!(key.verify(b"", &signature), Err(refused));
    }
    let signature = Signature { format: "rsa-sha2-512".to_owned(), blob: vec![1; 256] };
    assert_eq!(key.verify(b"", &signature), Err(BadSignature::Wrong));
}

#[test]
fn rfc4251_5_numbers_are_positive_and_shortest() {
    let key = |exponent: &[u8], modulus: &[u8]| {
        let mut bytes = Vec::new();
        for part in [&b"ssh-rsa"[..], exponent, modulus] {
            put_string(&mut bytes, part);
        }
        PublicKey::parse(&bytes)
    };
    let modulus = [&[0, 0x80][..], &[1; 255]].concat();
    assert!(key(&[1, 0, 1], &modulus).is_ok());
    for bad in [&[][..], &[0], &[0, 1], &[0x80], &[1; 2_000]] {
        assert_eq!(key(bad, &modulus), Err(Malformed::Number.into()), "{bad:?}");
    }
    assert_eq!(key(&[3], &[0x7f; 128]), Err(KeyError::RsaBits { bits: 1_023 }));
    assert_eq!(key(&[3], &[0x7f; 1_025]), Err(KeyError::RsaBits { bits: 8_199 }));
}

#[test]
fn protocol_key_a_file_without_a_passphrase_is_read() {
    for kind in ["ed25519", "ecdsa"] {
        let file = PrivateKeyFile::parse(&vector(&format!("host_{kind}.private"))).unwrap();
        assert_eq!(&file.public, certificate(&format!("host_{kind}")).key());
        assert!(!format!("{file:?}").contains(&format!("{:?}", file.secret)));
    }
    let rsa = PrivateKeyFile::parse(&vector("host_rsa.private")).unwrap_err();
    assert_eq!(rsa, PrivateKeyError::Kind { kind: "ssh-rsa".to_owned() });
    assert_eq!(PrivateKeyFile::parse("").unwrap_err(), PrivateKeyError::NoKey);
    let locked = PrivateKeyFile::parse(&vector("locked.private")).unwrap_err();
    assert_eq!(locked, PrivateKeyError::Encrypted);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Certificate::parse(&bytes), PublicKey::parse(&bytes), Signature::parse(&bytes));
    }
}
