//! Who certifies keys of agents, and what the owner of a certificate shows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jose::PrivateKey;
use time::{Span, UnixTime};
use x509::{CertificateDer, KeyUsage, Name, RequestTemplate, Serial, SignatureAlgorithm, Template};

/// A certificate of a manufacturer or an operator's own authority.
pub(crate) struct Maker {
    key: PrivateKey,
    name: Name,
    now: UnixTime,
}

impl Maker {
    pub(crate) fn new(now: UnixTime) -> Self {
        Self { key: new_key(), name: Name::new(None, Some("maker")).unwrap(), now }
    }

    pub(crate) fn certify(
        &self,
        key: &PrivateKey,
        kind: x509::Kind,
        usage: KeyUsage,
    ) -> CertificateDer {
        let is_own = kind != x509::Kind::Leaf;
        let template = Template {
            serial: Serial::from_random([7; 16]),
            issuer: self.name.clone(),
            subject: if is_own {
                self.name.clone()
            } else {
                Name::new(None, Some("host")).unwrap()
            },
            not_before: self.now.minus(Span::from_seconds(60)),
            not_after: self.now.plus(Span::from_seconds(3_600)),
            spki_der: key.public().spki_der().to_vec(),
            kind,
            uri_names: Vec::new(),
            dns_names: vec!["host-1.example".to_owned()],
            ip_names: Vec::new(),
            key_usage: usage,
            extended_key_usages: Vec::new(),
            authority_key_id: None,
            permitted_dns_names: Vec::new(),
            extra: Vec::new(),
        };
        let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let signature = self.key.sign(unsigned.bytes());
        let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
        unsigned.attach(&der)
    }

    pub(crate) fn own(&self) -> CertificateDer {
        let kind = x509::Kind::Authority { path_len: None };
        self.certify(&self.key, kind, KeyUsage::KEY_CERT_SIGN)
    }
}

pub(crate) fn new_key() -> PrivateKey {
    let made = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws_lc_rs::rand::SystemRandom::new(),
    );
    PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap()
}

pub(crate) fn evidence(certificates: &[&CertificateDer]) -> Vec<u8> {
    let certificates: Vec<_> =
        certificates.iter().map(|one| STANDARD.encode(one.as_bytes())).collect();
    serde_json::json!({ "certificates": certificates }).to_string().into_bytes()
}

/// The answer of the host that has `key`.
pub(crate) fn answer(key: &PrivateKey, nonce: &[u8; 32]) -> Vec<u8> {
    let own = [9_u8; 32];
    let signature = key.sign(&[&nonce[..], &own[..]].concat());
    let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
    let (nonce, signature) = (STANDARD.encode(own), STANDARD.encode(der));
    serde_json::json!({ "nonce": nonce, "signature": signature }).to_string().into_bytes()
}

/// A request for `key`, proved.
pub(crate) fn csr(key: &PrivateKey) -> Vec<u8> {
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: key.public().spki_der().to_vec(),
        uri_names: Vec::new(),
        dns_names: Vec::new(),
    };
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = key.sign(unsigned.bytes());
    unsigned.attach(&x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap())
}
