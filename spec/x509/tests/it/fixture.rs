//! Keys, authorities and leaves with real signatures.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use time::{Span, UnixTime};
use x509::{
    Certificate, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template, epoch_extension,
};

/// When everything here is valid: a day around it.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
/// How long before and after `NOW`.
pub(crate) const DAY: Span = Span::from_seconds(86_400);

pub(crate) enum Key {
    Ecdsa(EcdsaKeyPair, SignatureAlgorithm),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn p256() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self::Ecdsa(key, SignatureAlgorithm::EcdsaP256Sha256)
    }

    pub(crate) fn p384() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        Self::Ecdsa(key, SignatureAlgorithm::EcdsaP384Sha384)
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Ecdsa(_, algorithm) => *algorithm,
            Self::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Self::Rsa(_) => SignatureAlgorithm::RsaPkcs1Sha256,
        }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ecdsa(key, _) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(key, _) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A key and its certificate.
pub(crate) struct Party {
    pub(crate) key: Key,
    pub(crate) certificate: Certificate,
}

impl Party {
    /// A root of this name; `edit` changes its template before it is signed.
    pub(crate) fn root(name: &str, edit: impl FnOnce(&mut Template)) -> Self {
        let key = Key::p256();
        let name = Name::new(Some("Example"), Some(name)).unwrap();
        let mut template = authority(name.clone(), &key);
        template.issuer = name;
        edit(&mut template);
        let certificate = issue(&template, &key);
        Self { key, certificate }
    }

    /// An authority below this one.
    pub(crate) fn authority(&self, name: &str, edit: impl FnOnce(&mut Template)) -> Self {
        let key = Key::p256();
        let template = authority(Name::new(None, Some(name)).unwrap(), &key);
        self.below(template, key, edit)
    }

    /// A leaf below this one: `spiffe://example.org/agent`, nothing else.
    pub(crate) fn leaf(&self, edit: impl FnOnce(&mut Template)) -> Self {
        let key = Key::p256();
        self.below(leaf(&key), key, edit)
    }

    fn below(&self, mut template: Template, key: Key, edit: impl FnOnce(&mut Template)) -> Self {
        template.issuer = self.certificate.subject().clone();
        template.authority_key_id = self.certificate.subject_key_id().map(<[u8]>::to_vec);
        edit(&mut template);
        let certificate = issue(&template, &self.key);
        Self { key, certificate }
    }
}

/// Signs a template.
pub(crate) fn issue(template: &Template, issuer: &Key) -> Certificate {
    let to_be_signed = template.to_be_signed(issuer.algorithm()).unwrap();
    let signature = issuer.sign(to_be_signed.bytes());
    to_be_signed.attach(&signature).parse().unwrap()
}

pub(crate) fn authority(subject: Name, key: &Key) -> Template {
    Template {
        kind: Kind::Authority { path_len: None },
        subject,
        key_usage: KeyUsage::KEY_CERT_SIGN.with(KeyUsage::CRL_SIGN),
        extended_key_usages: Vec::new(),
        uri_names: vec!["spiffe://example.org".to_owned()],
        extra: Vec::new(),
        ..leaf(key)
    }
}

pub(crate) fn leaf(key: &Key) -> Template {
    Template {
        serial: Serial::from_random([7; 16]),
        issuer: Name::empty(),
        subject: Name::empty(),
        not_before: NOW.minus(DAY),
        not_after: NOW.plus(DAY),
        spki_der: key.spki(),
        kind: Kind::Leaf,
        uri_names: vec!["spiffe://example.org/agent".to_owned()],
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::SERVER_AUTH, Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: vec![epoch_extension(5)],
    }
}

/// An element: tag, length, contents, for structures that the crate does not make.
pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(contents);
    out
}
