//! An authority of a test, and what it certifies.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::sign::CertifiedKey;
use time::{Span, UnixTime};
use x509::{KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template};

/// A key, its PKCS #8 and its certificate.
pub(crate) struct Certified {
    pair: EcdsaKeyPair,
    pub pkcs8: Vec<u8>,
    pub der: Vec<u8>,
    subject: Name,
}

impl Certified {
    /// A root.
    pub(crate) fn root(name: &str) -> Self {
        let (pair, pkcs8) = key();
        let subject = Name::new(None, Some(name)).unwrap();
        let mut template = template(&pair, &subject);
        template.kind = Kind::Authority { path_len: None };
        template.key_usage = KeyUsage::KEY_CERT_SIGN;
        let der = sign(&template, &pair);
        Self { pair, pkcs8, der, subject }
    }

    /// A server of this name and 127.0.0.1.
    pub(crate) fn server(&self, host: &str) -> Self {
        self.leaf(Oid::SERVER_AUTH, |template| {
            template.dns_names = vec![host.to_owned()];
            template.ip_names = vec![[127, 0, 0, 1].into()];
        })
    }

    /// A client of this identifier.
    pub(crate) fn client(&self, uri: &str) -> Self {
        self.leaf(Oid::CLIENT_AUTH, |template| template.uri_names = vec![uri.to_owned()])
    }

    /// As a listener shows it.
    pub(crate) fn certified(&self) -> CertifiedKey {
        tls::certified(std::slice::from_ref(&self.der), &self.pkcs8).unwrap()
    }

    fn leaf(&self, usage: Oid, fill: impl FnOnce(&mut Template)) -> Self {
        let (pair, pkcs8) = key();
        let subject = Name::new(None, Some("leaf")).unwrap();
        let mut template = template(&pair, &self.subject);
        template.subject = subject.clone();
        template.extended_key_usages = vec![usage];
        fill(&mut template);
        let der = sign(&template, &self.pair);
        Self { pair, pkcs8, der, subject }
    }
}

fn key() -> (EcdsaKeyPair, Vec<u8>) {
    let signing = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
    (EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).unwrap(), pkcs8.as_ref().to_vec())
}

fn template(pair: &EcdsaKeyPair, issuer: &Name) -> Template {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = UnixTime::from_seconds(now);
    Template {
        serial: Serial::from_random(serial),
        issuer: issuer.clone(),
        subject: issuer.clone(),
        not_before: now.minus(Span::from_seconds(60)),
        not_after: now.plus(Span::from_seconds(3_600)),
        spki_der: spki.as_ref().to_vec(),
        kind: Kind::Leaf,
        uri_names: Vec::new(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: Vec::new(),
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    }
}

fn sign(template: &Template, pair: &EcdsaKeyPair) -> Vec<u8> {
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = pair.sign(&SystemRandom::new(), unsigned.bytes()).unwrap();
    unsigned.attach(signature.as_ref()).as_bytes().to_vec()
}
