//! Certificates and revocation lists, written by hand: makers of processors sign with RSASSA-PSS
//! and have extensions of their own.
#![expect(clippy::expect_used, reason = "a fixture that cannot be made fails the test")]

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, RSA_PSS_SHA384, RsaKeyPair,
};
use x509::Name;

/// `RSASSA-PSS` with SHA-384 and a salt of 48 bytes, the trailer written out as AMD does.
const PSS_SHA384: &str = "304606092a864886f70d01010a3039a00f300d06096086480165030402020500\
                          a11c301a06092a864886f70d010108300d06096086480165030402020500\
                          a203020130a303020101";
/// `ecdsa-with-SHA256`.
const ECDSA_SHA256: &str = "300a06082a8648ce3d040302";
/// From 2020 to the end of what a UTCTime can say.
const VALIDITY: &str = "301e170d3230303130313030303030305a170d3439313233313233353935395a";

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit");
    let value = |pair: &[u8]| pair.iter().fold(0, |value, byte| value * 16 + digit(*byte));
    pairs.map(|pair| u8::try_from(value(pair)).expect("a byte")).collect()
}

pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = u16::try_from(contents.len()).expect("a short element");
    let [high, low] = length.to_be_bytes();
    let mut out = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend(contents);
    out
}

/// An authority's key.
#[derive(Clone)]
pub(super) enum Signer {
    Pss(Arc<RsaKeyPair>),
    Ecdsa(Arc<EcdsaKeyPair>),
}

impl Signer {
    pub(super) fn pss() -> Self {
        Self::Pss(Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    pub(super) fn ecdsa() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        Self::Ecdsa(Arc::new(key.expect("a key")))
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Pss(key) => key.public_key().as_der().expect("a key").as_ref().to_vec(),
            Self::Ecdsa(key) => key.public_key().as_der().expect("a key").as_ref().to_vec(),
        }
    }

    fn algorithm(&self) -> Vec<u8> {
        unhex(match self {
            Self::Pss(_) => PSS_SHA384,
            Self::Ecdsa(_) => ECDSA_SHA256,
        })
    }

    /// The signed structure around a body.
    fn signed(&self, body: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Pss(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA384, &random, body, &mut signature).expect("a signature");
                signature
            }
            Self::Ecdsa(key) => key.sign(&random, body).expect("a signature").as_ref().to_vec(),
        };
        tlv(0x30, &[body, &self.algorithm(), &tlv(3, &[&[0], &signature])])
    }
}

/// A key that signs evidence: `r || s`.
pub(super) fn fixed_p256() -> EcdsaKeyPair {
    fixed(&ECDSA_P256_SHA256_FIXED_SIGNING)
}

pub(super) fn fixed(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).expect("a key")
}

pub(super) fn sign(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
}

fn name(common_name: &str) -> Name {
    Name::new(Some("Silicon of tests"), Some(common_name)).expect("a name")
}

/// What a certificate shall say.
pub(super) struct About<'a> {
    pub(super) name: &'a str,
    pub(super) issuer: &'a str,
    pub(super) spki: &'a [u8],
    pub(super) serial: u8,
    pub(super) is_authority: bool,
    /// Contents of the identifier, and the value.
    pub(super) extensions: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn certificate(by: &Signer, about: &About<'_>) -> Vec<u8> {
    let mut extensions: Vec<Vec<u8>> = about
        .extensions
        .iter()
        .map(|(oid, value)| tlv(0x30, &[&tlv(6, &[oid]), &tlv(4, &[value])]))
        .collect();
    if about.is_authority {
        // basicConstraints with cA, keyUsage with keyCertSign and cRLSign; both critical.
        extensions.push(unhex("300f0603551d130101ff040530030101ff"));
        extensions.push(unhex("300e0603551d0f0101ff040403020106"));
    }
    let body = tlv(
        0x30,
        &[
            &unhex("a003020102"),
            &tlv(2, &[&[about.serial]]),
            &by.algorithm(),
            name(about.issuer).der(),
            &unhex(VALIDITY),
            name(about.name).der(),
            about.spki,
            &tlv(0xa3, &[&tlv(0x30, &[&extensions.concat()])]),
        ],
    );
    by.signed(&body)
}

/// A list with these serial numbers, from 2020 to `until` (`YYMMDDHHMMSSZ`).
pub(super) fn list(by: &Signer, issuer: &str, serials: &[u8], until: &str) -> Vec<u8> {
    let time = |text: &str| tlv(0x17, &[text.as_bytes()]);
    let made = time("200101000000Z");
    let entry = |serial: &u8| tlv(0x30, &[&tlv(2, &[&[*serial]]), &made]);
    let entries: Vec<u8> = serials.iter().flat_map(entry).collect();
    // RFC 5280 §5.1.2.6: "When there are no revoked certificates, the revoked certificates list
    // MUST be absent."
    let entries = if serials.is_empty() { entries } else { tlv(0x30, &[&entries]) };
    let number = tlv(0xa0, &[&tlv(0x30, &[&unhex("300a0603551d140403020101")])]);
    let issuer = name(issuer);
    let parts: [&[u8]; 7] =
        [&[2, 1, 1], &by.algorithm(), issuer.der(), &made, &time(until), &entries, &number];
    by.signed(&tlv(0x30, &parts))
}

/// A PEM block.
pub(super) fn pem(der: &[u8]) -> String {
    x509::CertificateDer::from_der(der.to_vec()).expect("a certificate").to_pem()
}
