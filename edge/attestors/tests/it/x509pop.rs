//! A host's certificate and key, from files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use attestation::Mechanism as _;
use attestation::mechanism::{Facts, Refusal, Role};
use attestation::policy::NodeRule;
use attestation::x509pop::{CERTIFICATES_MAX, Mechanism};
use attestors::SecretFileError;
use attestors::x509pop::{AnswerError, Credential, CredentialError, KEY_FILE_BYTES_MAX};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use time::UnixTime;
use x509::{CertificateDer, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template};

/// A key: its public half, and itself as PKCS #8.
struct Key {
    spki: Vec<u8>,
    pkcs8: Vec<u8>,
}

fn ecdsa(curve: &'static EcdsaSigningAlgorithm) -> Key {
    let key = EcdsaKeyPair::generate(curve).unwrap();
    Key {
        spki: key.public_key().as_der().unwrap().as_ref().to_vec(),
        pkcs8: key.to_pkcs8v1().unwrap().as_ref().to_vec(),
    }
}

fn p256() -> Key {
    ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
}

fn ed25519() -> Key {
    let key = Ed25519KeyPair::generate().unwrap();
    Key {
        spki: key.public_key().as_der().unwrap().as_ref().to_vec(),
        pkcs8: key.to_pkcs8v1().unwrap().as_ref().to_vec(),
    }
}

fn rsa() -> Key {
    let key = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    Key {
        spki: key.public_key().as_der().unwrap().as_ref().to_vec(),
        pkcs8: key.as_der().unwrap().as_ref().to_vec(),
    }
}

const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

/// A root and a certificate of this key below it.
fn certificates(key: &Key) -> (CertificateDer, CertificateDer) {
    let issuer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let issue = |template: &Template| {
        let to_be_signed = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let signature = issuer.sign(&SystemRandom::new(), to_be_signed.bytes()).unwrap();
        to_be_signed.attach(signature.as_ref())
    };
    let name = Name::new(Some("Example"), Some("root")).unwrap();
    let leaf = Template {
        serial: Serial::from_random([7; 16]),
        issuer: name.clone(),
        subject: Name::empty(),
        not_before: NOW,
        not_after: UnixTime::from_seconds(1_800_000_000),
        spki_der: key.spki.clone(),
        kind: Kind::Leaf,
        uri_names: Vec::new(),
        dns_names: vec!["host.example".to_owned()],
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    };
    let root = Template {
        subject: name,
        spki_der: issuer.public_key().as_der().unwrap().as_ref().to_vec(),
        kind: Kind::Authority { path_len: None },
        dns_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN,
        extended_key_usages: Vec::new(),
        ..leaf.clone()
    };
    let root = issue(&root);
    let authority_key_id = root.parse().unwrap().subject_key_id().map(<[u8]>::to_vec);
    (root, issue(&Template { authority_key_id, ..leaf }))
}

/// A certificate of this key, whoever signed it.
fn certificate(key: &Key) -> CertificateDer {
    certificates(key).1
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn certificates(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("host.pem");
        fs::write(&path, text).unwrap();
        path
    }

    fn key(&self, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join("host.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let (head, tail) = base64.split_at(64);
    format!("a note\n-----BEGIN {label}-----\n{head}\r\n{tail}\n-----END {label}-----\n")
}

/// req: ATT-08 (part)
#[test]
fn s7_a_host_proves_that_it_has_the_key_of_its_certificate() {
    let files = Files::new();
    for key in [p256(), ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING), ed25519(), rsa()] {
        let (root, leaf) = certificates(&key);
        let text = format!("{}{}", leaf.to_pem(), root.to_pem());
        let key = files.key(&pem("PRIVATE KEY", &key.pkcs8), 0o600);
        let credential = Credential::read(&files.certificates(&text), &key).unwrap();
        let rule = NodeRule { anchors: root.to_pem(), ..NodeRule::default() };
        let nonce = [1; 32];
        let facts = Facts::new(Role::Node, &rule, &nonce, NOW);

        let evidence = credential.evidence().unwrap();
        let challenge = Mechanism.challenge(&evidence, &facts).unwrap().unwrap();
        let answer = credential.answer(&challenge, [2; 32]).unwrap();
        let appraisal = Mechanism.appraise(&evidence, Some(&answer), &facts).unwrap();
        assert!(appraisal.selectors.iter().any(|found| found.as_str().contains("host.example")));

        // An answer to one challenge is none to another.
        let facts = Facts { nonce: &[3; 32], ..facts };
        let refused = Mechanism.appraise(&evidence, Some(&answer), &facts);
        assert_eq!(refused.err(), Some(Refusal::Signature));
    }
}

#[test]
fn s7_files_that_make_no_credential_are_refused() {
    let files = Files::new();
    let key = p256();
    let (good, good_key) = (certificate(&key).to_pem(), pem("PRIVATE KEY", &key.pkcs8));
    let check = |certificates: &str, key: &str, mode: u32, expect: CredentialError| {
        let found = Credential::read(&files.certificates(certificates), &files.key(key, mode));
        assert_eq!(found.err(), Some(expect));
    };
    check("", &good_key, 0o600, CredentialError::Pem(x509::PemError::None));
    let count = CERTIFICATES_MAX + 1;
    let refused = CredentialError::TooManyCertificates { count };
    check(&good.repeat(count), &good_key, 0o600, refused);
    let path = files.certificates("").display().to_string();
    check(&" ".repeat(300_000), &good_key, 0o600, CredentialError::TooLong { path });

    check(&good, "", 0o600, CredentialError::NoKey);
    check(&good, &pem("EC PRIVATE KEY", &key.pkcs8), 0o600, CredentialError::NoKey);
    check(&good, &good_key.replace("\r\n", "*"), 0o600, CredentialError::NoKey);
    check(&good, &pem("PRIVATE KEY", &[0; 64]), 0o600, CredentialError::KeyKind);
    let p521 = ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING);
    check(&good, &pem("PRIVATE KEY", &p521.pkcs8), 0o600, CredentialError::KeyKind);
    let other = pem("PRIVATE KEY", &p256().pkcs8);
    check(&good, &other, 0o600, CredentialError::OtherKey);
    let path = files.key("", 0o600).display().to_string();
    let open = SecretFileError::TooOpen { path: path.clone(), mode: 0o644 };
    check(&good, &good_key, 0o644, CredentialError::KeyFile(open));
    let long = SecretFileError::TooLong { path, max: KEY_FILE_BYTES_MAX };
    let long_key = good_key.repeat(100);
    check(&good, &long_key, 0o600, CredentialError::KeyFile(long));

    let missing = files.folder.path().join("missing");
    let (path, kind) = (missing.display().to_string(), std::io::ErrorKind::NotFound);
    let found = Credential::read(&missing, &files.key(&good_key, 0o600)).err();
    assert_eq!(found, Some(CredentialError::Unreadable { path, kind }));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let found = Credential::read(&files.certificates(broken), &files.key(&good_key, 0o600)).err();
    assert!(matches!(found, Some(CredentialError::Certificate(_))), "{found:?}");
}

#[test]
fn s7_a_challenge_is_read_strictly() {
    let files = Files::new();
    let key = p256();
    let certificates = files.certificates(&certificate(&key).to_pem());
    let key = files.key(&pem("PRIVATE KEY", &key.pkcs8), 0o600);
    let credential = Credential::read(&certificates, &key).unwrap();
    let check = |challenge: &[u8], expect: AnswerError| {
        assert_eq!(credential.answer(challenge, [0; 32]).err(), Some(expect));
    };
    let nonce = |bytes: usize| format!("{{\"nonce\":\"{}\"}}", STANDARD.encode(vec![1; bytes]));
    check(b"", AnswerError::Malformed);
    check(b"{\"nonce\":\"*\"}", AnswerError::Malformed);
    check(nonce(31).as_bytes(), AnswerError::Nonce { bytes: 31 });
    check(nonce(33).as_bytes(), AnswerError::Nonce { bytes: 33 });
    check(&[b' '; 1025], AnswerError::TooLong { bytes: 1025 });
    assert!(credential.answer(nonce(32).as_bytes(), [0; 32]).is_ok());
    assert!(!format!("{credential:?}").contains("key"));
}
