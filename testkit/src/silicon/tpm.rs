//! A TPM in software, and a host with a DevID in it: it makes what a real one would never make,
//! too.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fixture that cannot be made fails the test"
)]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use attestation::policy::NodeRule;
use attestation::tpm_devid::{Bytes, Challenge, Evidence, PcrValues, QuoteAnswer, Response};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::KeyPair as _;
use jose::PrivateKey;
use time::{Span, UnixTime};
use tpm::wire::Reader;
use tpm::{
    Attest, Attested, Attributes, ClockInfo, Curve, Hash, Key, POLICY_A_SHA256, PcrSelection,
    Public, Scheme, SchemeKind, Signature, Symmetric, pcr_digest,
};
use x509::ecdsa_der_from_fixed;
use x509::{CertificateDer, KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template};

const FIXTURE: &str = "a fixture";
/// A month.
const SOON: Span = Span::from_seconds(30 * 86_400);
/// RFC 7515 §A.3.
pub const AUTHORITY_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 7517 §A.2.
pub const HOST_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
/// Made for tests.
const ATTESTATION_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"sCEHt3HEDTHfdKycLXtNUEJkdrM8CvzfWAWN5XeYVAA",
    "y":"rGYVB3CNh5ZVwoi8axFYu3Fz_46NobAQ0Y0yNRnTKd0",
    "d":"O7KhwqSddAvHToTHBpeU7mL9BcB48MYyazKzou_9mOk"}"#;

/// The value that each PCR of this host has.
pub const PCR: [u8; 32] = [5; 32];

/// A host with a TPM, all of whose parts a test may change before they are put together.
pub struct TpmHost {
    /// The endorsement key.
    pub endorsement: Public,
    /// The attestation key.
    pub attestation: Public,
    /// The key of the DevID.
    pub devid: Public,
    /// What its maker certifies of the endorsement key.
    pub endorsement_template: Template,
    /// What its vendor certifies of the DevID.
    pub devid_template: Template,
    /// Who signs the one.
    pub endorsement_issuer: PrivateKey,
    /// Who signs the other.
    pub devid_issuer: PrivateKey,
    /// What the attestation key certifies; `None` for the DevID key.
    pub certified: Option<Attest>,
    /// The private half.
    pub attestation_key: PrivateKey,
    /// The private half.
    pub devid_key: PrivateKey,
    /// Its PCRs.
    pub pcrs: BTreeMap<u8, Bytes>,
    /// Policy that lets it in.
    pub rule: NodeRule,
    opener: Vec<u8>,
}

fn point(key: &PrivateKey) -> Key {
    let spki = key.public().spki_der().to_vec();
    let at = spki.len() - 64;
    Key::Ecc { curve: Curve::P256, x: spki[at..at + 32].to_vec(), y: spki[at + 32..].to_vec() }
}

fn signing(key: &PrivateKey, attributes: Attributes) -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes,
        policy: Vec::new(),
        symmetric: None,
        scheme: Some(Scheme { kind: SchemeKind::Ecdsa, hash: Hash::Sha256 }),
        key: point(key),
    }
}

impl TpmHost {
    /// As its vendor made it, around `now`.
    pub fn new(now: UnixTime) -> Self {
        // Takes a while, so it is made once.
        static PAIR: OnceLock<KeyPair> = OnceLock::new();
        let pair = PAIR.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).expect(FIXTURE));
        let opener: Pkcs8V1Der<'_> = pair.as_der().expect(FIXTURE);
        // RFC 8017 appendix A.1.1: the modulus is the first number, behind three headers.
        let modulus = pair.public_key().as_ref()[9..265].to_vec();
        let endorsement = Public {
            name_alg: Hash::Sha256,
            attributes: Attributes::ENDORSEMENT,
            policy: POLICY_A_SHA256.to_vec(),
            symmetric: Some(Symmetric { bits: 128 }),
            scheme: None,
            key: Key::Rsa { bits: 2048, exponent: 0, modulus },
        };
        let (attestation_key, devid_key) = (key(ATTESTATION_KEY), key(HOST_KEY));
        let devid_bits = Attributes::ATTESTATION.without(Attributes::RESTRICTED);
        Self {
            endorsement_template: Template {
                issuer: name("maker"),
                spki_der: endorsement.spki_der().expect(FIXTURE),
                key_usage: KeyUsage::KEY_ENCIPHERMENT,
                extended_key_usages: vec![Oid::parse("2.23.133.8.1").expect(FIXTURE)],
                ..leaf(now)
            },
            endorsement,
            attestation: signing(&attestation_key, Attributes::ATTESTATION),
            devid: signing(&devid_key, devid_bits),
            // IEEE 802.1AR gives a DevID no extended key usage.
            devid_template: Template {
                extended_key_usages: vec![Oid::SERVER_AUTH],
                dns_names: Vec::new(),
                ..leaf(now)
            },
            endorsement_issuer: key(ATTESTATION_KEY),
            devid_issuer: key(AUTHORITY_KEY),
            certified: None,
            attestation_key,
            devid_key,
            pcrs: BTreeMap::from([(0, Bytes(PCR.to_vec())), (7, Bytes(PCR.to_vec()))]),
            rule: NodeRule {
                anchors: authority("vendor", &key(AUTHORITY_KEY), now).to_pem(),
                endorsement_anchors: authority("maker", &key(ATTESTATION_KEY), now).to_pem(),
                ..NodeRule::default()
            },
            opener: opener.as_ref().to_vec(),
        }
    }

    /// Policy wants PCRs 0 and 7 to have this value.
    pub fn measured(mut self, value: [u8; 32]) -> Self {
        let text: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let pcrs = ["0", "7"].map(|index| (index.to_owned(), vec![text.clone()]));
        self.rule.pcrs = PcrValues::try_from(BTreeMap::from(pcrs)).expect(FIXTURE);
        self
    }

    /// The certificate of its DevID.
    pub fn devid_certificate(&self) -> CertificateDer {
        issue(&self.devid_template, &self.devid_issuer)
    }

    /// What it shows.
    pub fn evidence(&self) -> Evidence {
        let certified = self.certified.clone().unwrap_or_else(|| {
            let (name, qualified_name) = (self.devid.name(), self.devid.name());
            attest(Vec::new(), Attested::Certify { name, qualified_name })
        });
        let endorsement = issue(&self.endorsement_template, &self.endorsement_issuer);
        Evidence {
            devid_certificates: vec![Bytes(self.devid_certificate().into_bytes())],
            devid_public: Bytes(self.devid.to_bytes()),
            endorsement_certificate: Bytes(endorsement.into_bytes()),
            endorsement_public: Bytes(self.endorsement.to_bytes()),
            attestation_public: Bytes(self.attestation.to_bytes()),
            certification_signature: self.attested(&certified),
            certified: Bytes(certified.to_bytes()),
        }
    }

    /// The attestation key's signature over a structure.
    pub fn attested(&self, attest: &Attest) -> Bytes {
        let fixed = self.attestation_key.sign(&attest.to_bytes());
        let (r, s) = fixed.as_bytes().split_at(32);
        let signature = Signature::Ecdsa { hash: Hash::Sha256, r: r.to_vec(), s: s.to_vec() };
        Bytes(signature.to_bytes())
    }

    /// What it answers.
    pub fn response(&self, challenge: &Challenge) -> Response {
        let signed = self.devid_key.sign(&challenge.devid.0);
        let quote = challenge.quote.as_ref().map(|asked| {
            let attested = self.quote(asked.nonce.0.clone(), &[0, 7]);
            QuoteAnswer {
                signature: self.attested(&attested),
                attested: Bytes(attested.to_bytes()),
                pcrs: self.pcrs.clone(),
            }
        });
        Response {
            devid: Bytes(ecdsa_der_from_fixed(signed.as_bytes()).expect(FIXTURE)),
            activation: Bytes(self.open(challenge)),
            quote,
        }
    }

    /// A quote of PCRs that all have the value [`PCR`].
    pub fn quote(&self, nonce: Vec<u8>, indices: &[u8]) -> Attest {
        let selection = vec![PcrSelection::new(Hash::Sha256, indices.iter().copied())];
        let digest = pcr_digest(Hash::Sha256, indices.iter().map(|_| PCR.as_slice()));
        attest(nonce, Attested::Quote { selection, digest })
    }

    /// TPM2_ActivateCredential, without the check of the HMAC.
    fn open(&self, challenge: &Challenge) -> Vec<u8> {
        let private = PrivateDecryptingKey::from_pkcs8(&self.opener).expect(FIXTURE);
        let private = OaepPrivateDecryptingKey::new(private).expect(FIXTURE);
        let mut seed = vec![0; private.min_output_size()];
        let sent = &challenge.activation;
        let label = Some(&b"IDENTITY\0"[..]);
        let seed = private.decrypt(&OAEP_SHA256_MGF1SHA256, &sent.secret.0, &mut seed, label);
        let mut kdf =
            hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, seed.expect(FIXTURE)));
        let name = self.attestation.name();
        [&[0, 0, 0, 1], &b"STORAGE\0"[..], &name, &[0, 0, 0, 128]]
            .iter()
            .for_each(|part| kdf.update(part));
        let cipher = UnboundCipherKey::new(&AES_128, &kdf.sign().as_ref()[..16]).expect(FIXTURE);
        let mut reader = Reader::new(&sent.credential.0).expect(FIXTURE);
        let _mac = reader.sized().expect(FIXTURE);
        let mut sealed = reader.rest().to_vec();
        let context = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let opened = DecryptingKey::cfb128(cipher).expect(FIXTURE).decrypt(&mut sealed, context);
        Reader::new(opened.expect(FIXTURE)).expect(FIXTURE).sized().expect(FIXTURE).to_vec()
    }
}

/// A structure that a TPM signs.
pub fn attest(extra_data: Vec<u8>, attested: Attested) -> Attest {
    let clock = ClockInfo { clock: 1, reset_count: 1, restart_count: 0, safe: 1 };
    Attest { qualified_signer: vec![0, 11], extra_data, clock, firmware: 1, attested }
}

/// The private key of a JWK.
pub fn key(text: &str) -> PrivateKey {
    PrivateKey::from_jwk_private_text(text).expect(FIXTURE)
}

/// A name of one attribute.
pub fn name(text: &str) -> Name {
    Name::new(None, Some(text)).expect(FIXTURE)
}

/// Signs a certificate.
pub fn issue(template: &Template, key: &PrivateKey) -> CertificateDer {
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).expect(FIXTURE);
    let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).expect(FIXTURE);
    unsigned.attach(&signature)
}

/// What a vendor certifies of a host: a month before and after `now`.
pub fn leaf(now: UnixTime) -> Template {
    Template {
        serial: Serial::from_random([7; 16]),
        issuer: name("vendor"),
        subject: name("host"),
        not_before: now.minus(SOON),
        not_after: now.plus(SOON),
        spki_der: key(HOST_KEY).public().spki_der().to_vec(),
        kind: Kind::Leaf,
        uri_names: Vec::new(),
        dns_names: vec!["host-1.example".to_owned()],
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    }
}

/// An authority of itself.
pub fn authority(text: &str, key: &PrivateKey, now: UnixTime) -> CertificateDer {
    let template = Template {
        issuer: name(text),
        subject: name(text),
        spki_der: key.public().spki_der().to_vec(),
        kind: Kind::Authority { path_len: None },
        dns_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN,
        extended_key_usages: Vec::new(),
        ..leaf(now)
    };
    issue(&template, key)
}
