//! An authority of a test, and what it certifies.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::sign::CertifiedKey;
use spiffe::{Bundle, BundleSet, TrustDomain};
use time::{Span, UnixTime};
use x509::{Certificate, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template};

/// A key and its self-signed certificate.
pub(crate) struct Authority {
    pair: EcdsaKeyPair,
    pub(crate) der: Vec<u8>,
    subject: Name,
}

impl Authority {
    /// One of the web, or with a `uri` one of a trust domain.
    pub(crate) fn new(uri: Option<&str>) -> Self {
        let (pair, _) = key();
        let subject = Name::new(Some("test"), Some("authority")).unwrap();
        let mut template = template(&pair, &subject);
        template.kind = Kind::Authority { path_len: Some(0) };
        template.key_usage = KeyUsage::KEY_CERT_SIGN;
        template.uri_names = uri.map(str::to_owned).into_iter().collect();
        let der = sign(&template, &pair);
        Self { pair, der, subject }
    }

    /// A server of this host and these URIs.
    pub(crate) fn server(&self, hosts: &[&str], uris: &[&str]) -> CertifiedKey {
        let (pair, pkcs8) = key();
        let mut template = template(&pair, &self.subject);
        template.subject = Name::new(None, Some("leaf")).unwrap();
        template.extended_key_usages = vec![Oid::SERVER_AUTH, Oid::CLIENT_AUTH];
        template.uri_names = uris.iter().map(|uri| (*uri).to_owned()).collect();
        template.dns_names = hosts.iter().map(|host| (*host).to_owned()).collect();
        tls::certified(&[sign(&template, &self.pair)], &pkcs8).unwrap()
    }

    /// The bundle of a trust domain that has this authority alone.
    pub(crate) fn trusted_as(&self, domain: &str) -> BundleSet {
        let authorities = vec![Certificate::parse(&self.der).unwrap()];
        let hint = Span::from_seconds(300);
        let bundle = Bundle::new(1, hint, authorities, vec![], vec![]).unwrap();
        let mut set = BundleSet::new();
        set.insert(TrustDomain::parse(domain).unwrap(), bundle);
        set
    }

    /// As a file of roots has it.
    pub(crate) fn pem(&self) -> String {
        x509::CertificateDer::from_der(self.der.clone()).unwrap().to_pem()
    }
}

pub(crate) fn now() -> UnixTime {
    UnixTime::from_seconds(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs())
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
    Template {
        serial: Serial::from_random(serial),
        issuer: issuer.clone(),
        subject: issuer.clone(),
        not_before: now().minus(Span::from_seconds(60)),
        not_after: now().plus(Span::from_seconds(3_600)),
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
