//! Authorities and leaves with real signatures, and the published vectors.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jose::{KeyId, PrivateKey};
use spiffe::{Bundle, BundleKey, BundleSet, TrustDomain};
use time::{Span, UnixTime};
use x509::{
    Certificate, CertificateDer, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template,
    ecdsa_der_from_fixed, epoch_extension,
};

/// When everything here is valid: a day around it.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
/// How long before and after `NOW`.
pub(crate) const DAY: Span = Span::from_seconds(86_400);

pub(crate) fn p256() -> PrivateKey {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    PrivateKey::from_pkcs8(key.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

pub(crate) fn ed25519() -> PrivateKey {
    let key = Ed25519KeyPair::generate().unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
    PrivateKey::from_pkcs8(der.as_ref()).unwrap()
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

pub(crate) fn kid(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

/// A trust domain with one authority and one key for JWTs.
pub(crate) struct Domain {
    pub(crate) name: TrustDomain,
    pub(crate) authority: Certificate,
    key: PrivateKey,
    pub(crate) jwt: PrivateKey,
}

impl Domain {
    pub(crate) fn new(name: &str) -> Self {
        let key = p256();
        let subject = Name::new(Some(name), None).unwrap();
        let template = Template { issuer: subject.clone(), ..authority(subject, name, &key) };
        let authority = issue(&template, &key);
        Self { name: domain(name), authority, key, jwt: p256() }
    }

    /// `/agent` of this domain, after `edit`.
    pub(crate) fn leaf(&self, edit: impl FnOnce(&mut Template)) -> Certificate {
        let mut template = leaf(self.name.as_str(), &p256());
        template.issuer = self.authority.subject().clone();
        edit(&mut template);
        issue(&template, &self.key)
    }

    /// An authority below the one of this domain, after `edit`, and a leaf below that.
    pub(crate) fn chain(&self, edit: impl FnOnce(&mut Template)) -> [Certificate; 2] {
        let key = p256();
        let subject = Name::new(None, Some("middle")).unwrap();
        let mut template = authority(subject.clone(), self.name.as_str(), &key);
        template.issuer = self.authority.subject().clone();
        edit(&mut template);
        let middle = issue(&template, &self.key);
        let leaf = Template { issuer: subject, ..leaf(self.name.as_str(), &p256()) };
        [issue(&leaf, &key), middle]
    }

    pub(crate) fn bundle(&self) -> Bundle {
        let jwt = vec![BundleKey { kid: kid("jwt-1"), key: self.jwt.public().clone() }];
        let wit = vec![BundleKey { kid: kid("wit-1"), key: p256().public().clone() }];
        Bundle::new(7, Span::from_seconds(60), vec![self.authority.clone()], jwt, wit).unwrap()
    }
}

pub(crate) fn bundles(domains: &[&Domain]) -> BundleSet {
    let mut set = BundleSet::new();
    for domain in domains {
        set.insert(domain.name.clone(), domain.bundle());
    }
    set
}

pub(crate) fn issue(template: &Template, issuer: &PrivateKey) -> Certificate {
    let to_be_signed = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = issuer.sign(to_be_signed.bytes());
    let signature = ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
    to_be_signed.attach(&signature).parse().unwrap()
}

fn authority(subject: Name, domain: &str, key: &PrivateKey) -> Template {
    Template {
        subject,
        kind: Kind::Authority { path_len: None },
        uri_names: vec![format!("spiffe://{domain}")],
        key_usage: KeyUsage::KEY_CERT_SIGN.with(KeyUsage::CRL_SIGN),
        extended_key_usages: vec![],
        extra: vec![],
        ..leaf(domain, key)
    }
}

fn leaf(domain: &str, key: &PrivateKey) -> Template {
    Template {
        serial: Serial::from_random([7; 16]),
        issuer: Name::empty(),
        subject: Name::empty(),
        not_before: NOW.minus(DAY),
        not_after: NOW.plus(DAY),
        spki_der: key.public().spki_der().to_vec(),
        kind: Kind::Leaf,
        uri_names: vec![format!("spiffe://{domain}/agent")],
        dns_names: vec![],
        ip_names: vec![],
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::SERVER_AUTH, Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: vec![],
        extra: vec![epoch_extension(5)],
    }
}

/// A published vector: `vectors/spiffe/<name>`.
pub(crate) fn vector(name: &str) -> String {
    let path = format!("{}/../../vectors/spiffe/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The certificates of a published vector.
pub(crate) fn vector_chain(name: &str) -> Vec<Certificate> {
    let ders = CertificateDer::from_pem_many(&vector(name)).unwrap();
    ders.iter().map(|der| der.parse().unwrap()).collect()
}
