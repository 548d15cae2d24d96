//! An authenticator of passkeys in software, with its browser: makes a credential and signs in with
//! it as options ask. What a test changes of either is a field.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fixture that cannot be made fails the test"
)]

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Bits of authenticator data: somebody was there, it was the user, the credential may be copied
/// and was.
pub const UP: u8 = 1;
/// The user was verified.
pub const UV: u8 = 1 << 2;
/// The credential may be backed up.
pub const BE: u8 = 1 << 3;
/// It is backed up.
pub const BS: u8 = 1 << 4;
/// A new credential follows.
pub const AT: u8 = 1 << 6;
/// Outputs of extensions follow.
pub const ED: u8 = 1 << 7;

/// What a passkey signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// COSE algorithm -7.
    Es256,
    /// COSE algorithm -8.
    EdDsa,
    /// COSE algorithm -257.
    Rs256,
}

impl Signs {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// Its number in the registry of COSE.
    pub const fn cose(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::EdDsa => -8,
            Self::Rs256 => -257,
        }
    }
}

/// A passkey: a private key, and whose it is where.
pub struct Passkey {
    pair: Pair,
    id: Vec<u8>,
    user: Vec<u8>,
    rp_id: String,
    /// How often it signed; 0 and never more where [`Passkey::counts`] is off.
    pub sign_count: u32,
    /// Whether it counts.
    pub counts: bool,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// The statement of an attestation object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `none`.
    None,
    /// `packed`, signed by the credential, which says that it did so with this algorithm.
    PackedSelf(i64),
    /// Another format, with the CBOR of its statement.
    Other(&'static str, Vec<u8>),
}

/// A credential is being made: what the browser and the authenticator are about to say.
#[derive(Clone, Debug)]
pub struct Made {
    /// Client data, as its text.
    pub client_data: String,
    /// SHA-256 of the relying party identifier.
    pub rp_id_hash: [u8; 32],
    /// The bits.
    pub flags: u8,
    /// The counter.
    pub sign_count: u32,
    /// The model.
    pub aaguid: [u8; 16],
    /// What the authenticator calls the credential.
    pub id: Vec<u8>,
    /// What the browser calls it.
    pub named: Vec<u8>,
    /// The public key, as CBOR.
    pub key: Vec<u8>,
    /// CBOR after it.
    pub extensions: Vec<u8>,
    /// Who vouches for it.
    pub statement: Statement,
    /// How the authenticator is reached.
    pub transports: Vec<&'static str>,
}

/// A credential is being used: what the browser and the authenticator are about to say.
#[derive(Clone, Debug)]
pub struct Used {
    /// Client data, as its text.
    pub client_data: String,
    /// SHA-256 of the relying party identifier.
    pub rp_id_hash: [u8; 32],
    /// The bits.
    pub flags: u8,
    /// The counter.
    pub sign_count: u32,
    /// What follows the counter.
    pub rest: Vec<u8>,
    /// What the credential is called.
    pub id: Vec<u8>,
    /// Whose it is.
    pub user: Option<Vec<u8>>,
}

impl Passkey {
    /// A new key, made as `options` (`PublicKeyCredentialCreationOptionsJSON`) ask a browser at
    /// `origin`. It is discoverable, backed up, and attested by `none`.
    pub fn create(options: &Value, origin: &str, signs: Signs) -> (Self, Made) {
        let pair = Pair::generate(signs);
        let key = pair.cose();
        let id = digest::digest(&digest::SHA256, &key).as_ref().to_vec();
        let rp_id = text(options, "/rp/id").to_owned();
        let user = decode(text(options, "/user/id"));
        let passkey = Self { pair, id, user, rp_id, sign_count: 0, counts: true };
        let made = Made {
            client_data: client_data("webauthn.create", text(options, "/challenge"), origin),
            rp_id_hash: sha256(passkey.rp_id.as_bytes()),
            flags: UP | UV | BE | BS | AT,
            sign_count: 0,
            aaguid: *b"testkit passkey.",
            id: passkey.id.clone(),
            named: passkey.id.clone(),
            key,
            extensions: Vec::new(),
            statement: Statement::None,
            transports: vec!["hybrid", "internal"],
        };
        (passkey, made)
    }

    /// Signs in as `options` (`PublicKeyCredentialRequestOptionsJSON`) ask a browser at `origin`.
    pub fn sign_in(&mut self, options: &Value, origin: &str) -> Used {
        self.sign_count += u32::from(self.counts);
        Used {
            client_data: client_data("webauthn.get", text(options, "/challenge"), origin),
            rp_id_hash: sha256(text(options, "/rpId").as_bytes()),
            flags: UP | UV | BE | BS,
            sign_count: self.sign_count,
            rest: Vec::new(),
            id: self.id.clone(),
            user: Some(self.user.clone()),
        }
    }

    /// What it is called.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// The signature over `message`, as an authenticator writes it.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) => pair.sign(&random, message).expect("it signs").as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.expect("it signs");
                signature
            }
        }
    }
}

impl Made {
    /// Authenticator data.
    pub fn data(&self) -> Vec<u8> {
        let length = u16::try_from(self.id.len()).expect("a short id");
        let mut data = data(&self.rp_id_hash, self.flags, self.sign_count);
        if self.flags & AT != 0 {
            data.extend_from_slice(&self.aaguid);
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(&self.id);
            data.extend_from_slice(&self.key);
        }
        data.extend_from_slice(&self.extensions);
        data
    }

    /// The attestation object, of whom `signer` attests where anybody does.
    pub fn attestation_object(&self, signer: &Passkey) -> Vec<u8> {
        let data = self.data();
        let (format, statement) = match &self.statement {
            Statement::None => ("none", vec![0xa0]),
            Statement::PackedSelf(algorithm) => {
                let message = [data.as_slice(), &sha256(self.client_data.as_bytes())].concat();
                let signature = cbor_bytes(&signer.sign(&message));
                let members =
                    [cbor_text("alg"), integer(*algorithm), cbor_text("sig"), signature].concat();
                ("packed", [vec![0xa2], members].concat())
            }
            Statement::Other(format, statement) => (*format, statement.clone()),
        };
        let members = [
            cbor_text("fmt"),
            cbor_text(format),
            cbor_text("attStmt"),
            statement,
            cbor_text("authData"),
            cbor_bytes(&data),
        ];
        [vec![0xa3], members.concat()].concat()
    }

    /// `RegistrationResponseJSON`.
    pub fn response(&self, signer: &Passkey) -> Value {
        json!({
            "id": encode(&self.named),
            "rawId": encode(&self.named),
            "response": {
                "clientDataJSON": encode(self.client_data.as_bytes()),
                "authenticatorData": encode(&self.data()),
                "transports": self.transports,
                "publicKeyAlgorithm": signer.pair.signs().cose(),
                "attestationObject": encode(&self.attestation_object(signer)),
            },
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "type": "public-key",
        })
    }
}

impl Used {
    /// Authenticator data.
    pub fn data(&self) -> Vec<u8> {
        let mut data = data(&self.rp_id_hash, self.flags, self.sign_count);
        data.extend_from_slice(&self.rest);
        data
    }

    /// `AuthenticationResponseJSON`, signed by `signer`.
    pub fn response(&self, signer: &Passkey) -> Value {
        let message = [self.data(), sha256(self.client_data.as_bytes()).to_vec()].concat();
        let mut response = json!({
            "id": encode(&self.id),
            "rawId": encode(&self.id),
            "response": {
                "clientDataJSON": encode(self.client_data.as_bytes()),
                "authenticatorData": encode(&self.data()),
                "signature": encode(&signer.sign(&message)),
            },
            "clientExtensionResults": {},
            "type": "public-key",
        });
        if let Some(user) = &self.user {
            response["response"]["userHandle"] = json!(encode(user));
        }
        response
    }
}

impl Pair {
    fn generate(signs: Signs) -> Self {
        let random = SystemRandom::new();
        match signs {
            Signs::Es256 => {
                let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
                Self::Es256(made.expect("a key"))
            }
            Signs::EdDsa => {
                let made = Ed25519KeyPair::generate_pkcs8v1(&random).expect("a key");
                Self::EdDsa(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key"))
            }
            Signs::Rs256 => Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        }
    }

    const fn signs(&self) -> Signs {
        match self {
            Self::Es256(_) => Signs::Es256,
            Self::EdDsa(_) => Signs::EdDsa,
            Self::Rs256(_) => Signs::Rs256,
        }
    }

    /// The `COSE_Key` of the public half.
    fn cose(&self) -> Vec<u8> {
        let algorithm = integer(self.signs().cose());
        let member = |label: i64, value: Vec<u8>| [integer(label), value].concat();
        match self {
            Self::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let of = [member(1, integer(2)), member(3, algorithm), member(-1, integer(1))];
                let point = [member(-2, cbor_bytes(x)), member(-3, cbor_bytes(y))];
                [vec![0xa5], of.concat(), point.concat()].concat()
            }
            Self::EdDsa(pair) => {
                let of = [member(1, integer(1)), member(3, algorithm), member(-1, integer(6))];
                let x = member(-2, cbor_bytes(pair.public_key().as_ref()));
                [vec![0xa4], of.concat(), x].concat()
            }
            Self::Rs256(pair) => {
                // DER of 2,048 bits and the exponent 65537 has one form: SEQUENCE (4 bytes),
                // INTEGER (4 bytes and a sign), 256 bytes, INTEGER (2 bytes), 3 bytes.
                let der = pair.public_key().as_ref();
                let (modulus, exponent) = (&der[9..265], &der[267..270]);
                let of = [member(1, integer(3)), member(3, algorithm)];
                let key = [member(-1, cbor_bytes(modulus)), member(-2, cbor_bytes(exponent))];
                [vec![0xa4], of.concat(), key.concat()].concat()
            }
        }
    }
}

fn client_data(kind: &str, challenge: &str, origin: &str) -> String {
    // The order in which browsers write it.
    format!(
        r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#
    )
}

fn data(rp_id_hash: &[u8; 32], flags: u8, sign_count: u32) -> Vec<u8> {
    [rp_id_hash.as_slice(), &[flags], &sign_count.to_be_bytes()].concat()
}

fn text<'a>(options: &'a Value, pointer: &str) -> &'a str {
    options.pointer(pointer).and_then(Value::as_str).expect("options have it")
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("options are base64url")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

/// The head of a CBOR item.
fn head(major: u8, argument: usize) -> Vec<u8> {
    let major = major << 5;
    match u16::try_from(argument).expect("a short item").to_be_bytes() {
        [0, short @ 0..=23] => vec![major | short],
        [0, byte] => vec![major | 24, byte],
        [high, low] => vec![major | 25, high, low],
    }
}

fn integer(number: i64) -> Vec<u8> {
    let major = u8::from(number < 0);
    let argument = if number < 0 { -1 - number } else { number };
    head(major, usize::try_from(argument).expect("not negative"))
}

fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

fn cbor_text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}
