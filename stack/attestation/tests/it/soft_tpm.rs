//! A TPM in software: it makes what a real one would never make, too.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use attestation::mechanism::{Facts, Mechanism as _, Role};
use attestation::policy::NodeRule;
use attestation::tpm_devid::{
    Bytes, Challenge, Evidence, Mechanism, PcrValues, QuoteAnswer, Response,
};
use attestation::{Appraisal, Refusal};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::KeyPair as _;
use jose::PrivateKey;
use tpm::wire::Reader;
use tpm::{
    Attest, Attested, Attributes, ClockInfo, Curve, Hash, Key, POLICY_A_SHA256, PcrSelection,
    Public, Scheme, SchemeKind, Signature, Symmetric, pcr_digest,
};
use x509::{CertificateDer, KeyUsage, Oid, Template, ecdsa_der_from_fixed};

use crate::x509pop::{AUTHORITY_KEY, HOST_KEY, NONCE, NOW, authority, issue, key, leaf, name};

/// Made for these tests.
const ATTESTATION_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"sCEHt3HEDTHfdKycLXtNUEJkdrM8CvzfWAWN5XeYVAA",
    "y":"rGYVB3CNh5ZVwoi8axFYu3Fz_46NobAQ0Y0yNRnTKd0",
    "d":"O7KhwqSddAvHToTHBpeU7mL9BcB48MYyazKzou_9mOk"}"#;

/// The value that each PCR of this host has.
pub(crate) const PCR: [u8; 32] = [5; 32];

/// A host with a TPM, all of whose parts a test may change before they are put together.
pub(crate) struct Host {
    pub(crate) endorsement: Public,
    pub(crate) attestation: Public,
    pub(crate) devid: Public,
    pub(crate) endorsement_template: Template,
    pub(crate) devid_template: Template,
    pub(crate) endorsement_issuer: PrivateKey,
    pub(crate) devid_issuer: PrivateKey,
    /// What the attestation key certifies; `None` for the DevID key.
    pub(crate) certified: Option<Attest>,
    pub(crate) attestation_key: PrivateKey,
    pub(crate) devid_key: PrivateKey,
    pub(crate) pcrs: BTreeMap<u8, Bytes>,
    pub(crate) rule: NodeRule,
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

impl Host {
    pub(crate) fn new() -> Self {
        // Takes a while, so it is made once.
        static PAIR: OnceLock<KeyPair> = OnceLock::new();
        let pair = PAIR.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).unwrap());
        let opener: Pkcs8V1Der<'_> = pair.as_der().unwrap();
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
                spki_der: endorsement.spki_der().unwrap(),
                key_usage: KeyUsage::KEY_ENCIPHERMENT,
                extended_key_usages: vec![Oid::parse("2.23.133.8.1").unwrap()],
                ..leaf()
            },
            endorsement,
            attestation: signing(&attestation_key, Attributes::ATTESTATION),
            devid: signing(&devid_key, devid_bits),
            // IEEE 802.1AR gives a DevID no extended key usage.
            devid_template: Template {
                extended_key_usages: vec![Oid::SERVER_AUTH],
                dns_names: Vec::new(),
                ..leaf()
            },
            endorsement_issuer: key(ATTESTATION_KEY),
            devid_issuer: key(AUTHORITY_KEY),
            certified: None,
            attestation_key,
            devid_key,
            pcrs: BTreeMap::from([(0, Bytes(PCR.to_vec())), (7, Bytes(PCR.to_vec()))]),
            rule: NodeRule {
                anchors: authority("vendor", &key(AUTHORITY_KEY)).to_pem(),
                endorsement_anchors: authority("maker", &key(ATTESTATION_KEY)).to_pem(),
                ..NodeRule::default()
            },
            opener: opener.as_ref().to_vec(),
        }
    }

    /// Policy wants PCRs 0 and 7 to have this value.
    pub(crate) fn measured(mut self, value: [u8; 32]) -> Self {
        let text: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let pcrs = ["0", "7"].map(|index| (index.to_owned(), vec![text.clone()]));
        self.rule.pcrs = PcrValues::try_from(BTreeMap::from(pcrs)).unwrap();
        self
    }

    pub(crate) fn devid_certificate(&self) -> CertificateDer {
        issue(&self.devid_template, &self.devid_issuer)
    }

    pub(crate) fn evidence(&self) -> Evidence {
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
    pub(crate) fn attested(&self, attest: &Attest) -> Bytes {
        let fixed = self.attestation_key.sign(&attest.to_bytes());
        let (r, s) = fixed.as_bytes().split_at(32);
        let signature = Signature::Ecdsa { hash: Hash::Sha256, r: r.to_vec(), s: s.to_vec() };
        Bytes(signature.to_bytes())
    }

    pub(crate) fn response(&self, challenge: &Challenge) -> Response {
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
            devid: Bytes(ecdsa_der_from_fixed(signed.as_bytes()).unwrap()),
            activation: Bytes(self.open(challenge)),
            quote,
        }
    }

    /// A quote of PCRs that all have the value [`PCR`].
    pub(crate) fn quote(&self, nonce: Vec<u8>, indices: &[u8]) -> Attest {
        let selection = vec![PcrSelection::new(Hash::Sha256, indices.iter().copied())];
        let digest = pcr_digest(Hash::Sha256, indices.iter().map(|_| PCR.as_slice()));
        attest(nonce, Attested::Quote { selection, digest })
    }

    /// TPM2_ActivateCredential, without the check of the HMAC.
    fn open(&self, challenge: &Challenge) -> Vec<u8> {
        let private = PrivateDecryptingKey::from_pkcs8(&self.opener).unwrap();
        let private = OaepPrivateDecryptingKey::new(private).unwrap();
        let mut seed = vec![0; private.min_output_size()];
        let sent = &challenge.activation;
        let label = Some(&b"IDENTITY\0"[..]);
        let seed = private.decrypt(&OAEP_SHA256_MGF1SHA256, &sent.secret.0, &mut seed, label);
        let mut kdf = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, seed.unwrap()));
        let name = self.attestation.name();
        [&[0, 0, 0, 1], &b"STORAGE\0"[..], &name, &[0, 0, 0, 128]]
            .iter()
            .for_each(|part| kdf.update(part));
        let cipher = UnboundCipherKey::new(&AES_128, &kdf.sign().as_ref()[..16]).unwrap();
        let mut reader = Reader::new(&sent.credential.0).unwrap();
        let _mac = reader.sized().unwrap();
        let mut sealed = reader.rest().to_vec();
        let context = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let opened = DecryptingKey::cfb128(cipher).unwrap().decrypt(&mut sealed, context);
        Reader::new(opened.unwrap()).unwrap().sized().unwrap().to_vec()
    }

    /// The whole exchange; what the host answers may be changed on its way.
    pub(crate) fn joins(
        &self,
        edit: impl FnOnce(&Self, &mut Response),
    ) -> Result<Appraisal, Refusal> {
        let evidence = serde_json::to_vec(&self.evidence()).unwrap();
        let facts = Facts::new(Role::Node, &self.rule, &NONCE, NOW);
        let challenge = match Mechanism.challenge(&evidence, &facts) {
            Ok(challenge) => challenge.unwrap(),
            Err(refusal) => {
                // The second look refuses what the first one did.
                let again = Mechanism.appraise(&evidence, Some(b"{}"), &facts);
                assert_eq!(again.unwrap_err(), refusal);
                return Err(refusal);
            }
        };
        let mut response = self.response(&serde_json::from_slice(&challenge).unwrap());
        edit(self, &mut response);
        let response = serde_json::to_vec(&response).unwrap();
        Mechanism.appraise(&evidence, Some(&response), &facts)
    }
}

pub(crate) fn attest(extra_data: Vec<u8>, attested: Attested) -> Attest {
    let clock = ClockInfo { clock: 1, reset_count: 1, restart_count: 0, safe: 1 };
    Attest { qualified_signer: vec![0, 11], extra_data, clock, firmware: 1, attested }
}
