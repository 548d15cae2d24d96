//! Private keys that a process holds itself: a workload's own, a test's. Keys of the authority
//! stay behind its own door and never come here.
//!
//! Signing is the one place of this crate that uses randomness: ECDSA and RSA-PSS need it, and
//! aws-lc draws it itself; nothing can be passed in.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use serde::Deserialize;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::algorithm::{Algorithm, KeyType};
use crate::base64url;
use crate::json::{self, NotStrict};
use crate::key::{KeyError, PublicKey};
use crate::sign::Signature;

/// A private key, for one algorithm. The library wipes it when it is dropped.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
    algorithm: Algorithm,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// From DER PKCS #8 (RFC 5958). An RSA key is one for RS256 until
    /// [`PrivateKey::for_algorithm`] says otherwise.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        for signing in CURVES {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, der) {
                return Self::ecdsa(pair);
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::ed25519(pair);
        }
        match RsaKeyPair::from_pkcs8(der) {
            Ok(pair) => Self::rsa(pair),
            Err(_) => Err(PrivateKeyError::Unsupported),
        }
    }

    /// From a private JWK, as the WIT profile of the Workload API hands it out.
    pub fn from_jwk_private_text(text: &str) -> Result<Self, PrivateKeyError> {
        let members: PrivateMembers = json::parse(text)?;
        match (members.kty.as_str(), members.crv.as_deref()) {
            ("EC", Some("P-256")) => members.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            ("EC", Some("P-384")) => members.ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            ("EC", Some("P-521")) => members.ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
            ("OKP", Some("Ed25519")) => members.ed25519(),
            ("RSA", None) => members.rsa(),
            _ => Err(PrivateKeyError::Unsupported),
        }
    }

    /// The same key for another algorithm of its type: only an RSA key has more than one.
    pub fn for_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        let public = match &self.pair {
            Pair::Rsa(_) => PublicKey::from_spki_der(self.public.spki_der())?,
            _ => self.public,
        };
        Ok(Self { public: public.for_algorithm(algorithm)?, algorithm, ..self })
    }

    /// Signs the octets of a [`crate::SigningInput`].
    #[expect(
        clippy::expect_used,
        reason = "fails only when the library cannot allocate or its own check of the result fails"
    )]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let random = SystemRandom::new();
        let bytes = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).map(|made| made.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.try_sign(message).map(|made| made.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut made = vec![0; pair.public_modulus_len()];
                let encoding = rsa_encoding(self.algorithm);
                pair.sign(encoding, &random, message, &mut made).map(|()| made)
            }
        };
        Signature::from_bytes(&bytes.expect("signing with a key that was checked"))
    }

    /// The algorithm of the signatures.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key, for that algorithm alone.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// PKCS #8 in DER (RFC 5958), as the X.509 profile of the Workload API hands it out; not of an
    /// RSA key.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
        let made = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::Rsa(_) => return Err(PrivateKeyError::Unsupported),
        };
        let made = made.map_err(|_| PrivateKeyError::Invalid)?;
        Ok(Zeroizing::new(made.as_ref().to_vec()))
    }

    /// The private JWK, as the WIT profile of the Workload API hands it out; not of an RSA key.
    pub fn to_jwk_private_text(&self) -> Result<PrivateJwk, PrivateKeyError> {
        let secret = match &self.pair {
            Pair::Ecdsa(pair) => {
                let d: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_| PrivateKeyError::Invalid)?;
                Zeroizing::new(base64url::encode(d.as_ref()))
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(|_| PrivateKeyError::Invalid)?;
                let seed = seed.as_be_bytes().map_err(|_| PrivateKeyError::Invalid)?;
                Zeroizing::new(base64url::encode(seed.as_ref()))
            }
            Pair::Rsa(_) => return Err(PrivateKeyError::Unsupported),
        };
        let public = self.public.to_jwk().to_value().to_string();
        let open = public.strip_suffix('}').unwrap_or(&public);
        // RFC 7518 §6.2.2.1, RFC 8037 §2: the private key is the member `d`.
        let mut text = String::with_capacity(public.len() + secret.len() + 8);
        text.push_str(open);
        text.push_str(",\"d\":\"");
        text.push_str(&secret);
        text.push_str("\"}");
        Ok(PrivateJwk(text))
    }

    fn ecdsa(pair: EcdsaKeyPair) -> Result<Self, PrivateKeyError> {
        let spki = pair.public_key().as_der();
        Self::assemble(Pair::Ecdsa(pair), spki)
    }

    fn ed25519(pair: Ed25519KeyPair) -> Result<Self, PrivateKeyError> {
        let spki = pair.public_key().as_der();
        Self::assemble(Pair::Ed25519(pair), spki)
    }

    fn rsa(pair: RsaKeyPair) -> Result<Self, PrivateKeyError> {
        let spki = pair.public_key().as_der();
        Self::assemble(Pair::Rsa(pair), spki)
    }

    fn assemble<E>(
        pair: Pair,
        spki: Result<PublicKeyX509Der<'_>, E>,
    ) -> Result<Self, PrivateKeyError> {
        let spki = spki.map_err(|_| PrivateKeyError::Invalid)?;
        let public = PublicKey::from_spki_der(spki.as_ref())?;
        let algorithm = match public.key_type() {
            KeyType::P256 => Algorithm::Es256,
            KeyType::P384 => Algorithm::Es384,
            KeyType::P521 => Algorithm::Es512,
            KeyType::Ed25519 => Algorithm::EdDsa,
            KeyType::Rsa => Algorithm::Rs256,
        };
        let public = public.for_algorithm(algorithm)?;
        Ok(Self { pair, public, algorithm })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, of {:?})", self.algorithm, self.public)
    }
}

/// The text of a private JWK, wiped when it is dropped.
#[derive(ZeroizeOnDrop)]
pub struct PrivateJwk(String);

impl PrivateJwk {
    /// The text, for the one who may have the key.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateJwk(…)")
    }
}

/// Why a private key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    #[error("not a private key of a supported type and encoding")]
    Unsupported,
    #[error("the private key does not fit its public key")]
    Invalid,
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("member `{name}` is absent or not base64url")]
    Member { name: &'static str },
    #[error(transparent)]
    Public(#[from] KeyError),
}

const CURVES: [&EcdsaSigningAlgorithm; 3] = [
    &ECDSA_P256_SHA256_FIXED_SIGNING,
    &ECDSA_P384_SHA384_FIXED_SIGNING,
    &ECDSA_P521_SHA512_FIXED_SIGNING,
];

/// A member that is wiped when it is dropped.
#[derive(Deserialize, ZeroizeOnDrop)]
struct SecretText(String);

/// A private JWK (RFC 7518 §6.2.2, §6.3.2; RFC 8037 §2).
#[derive(Deserialize)]
struct PrivateMembers {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<SecretText>,
    p: Option<SecretText>,
    q: Option<SecretText>,
    dp: Option<SecretText>,
    dq: Option<SecretText>,
    qi: Option<SecretText>,
}

impl PrivateMembers {
    fn ecdsa(
        &self,
        signing: &'static EcdsaSigningAlgorithm,
    ) -> Result<PrivateKey, PrivateKeyError> {
        let (x, y) = (public(&self.x, "x")?, public(&self.y, "y")?);
        let point = [&[0x04], x.as_slice(), &y].concat();
        let d = secret(&self.d, "d")?;
        EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point)
            .map_err(|_| PrivateKeyError::Invalid)
            .and_then(PrivateKey::ecdsa)
    }

    fn ed25519(&self) -> Result<PrivateKey, PrivateKeyError> {
        let (x, d) = (public(&self.x, "x")?, secret(&self.d, "d")?);
        Ed25519KeyPair::from_seed_and_public_key(&d, &x)
            .map_err(|_| PrivateKeyError::Invalid)
            .and_then(PrivateKey::ed25519)
    }

    fn rsa(&self) -> Result<PrivateKey, PrivateKeyError> {
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: public(&self.n, "n")?, e: public(&self.e, "e")? },
            d: secret(&self.d, "d")?,
            p: secret(&self.p, "p")?,
            q: secret(&self.q, "q")?,
            dP: secret(&self.dp, "dp")?,
            dQ: secret(&self.dq, "dq")?,
            qInv: secret(&self.qi, "qi")?,
        };
        RsaKeyPair::from_components(&components)
            .map_err(|_| PrivateKeyError::Invalid)
            .and_then(PrivateKey::rsa)
    }
}

fn public(member: &Option<String>, name: &'static str) -> Result<Vec<u8>, PrivateKeyError> {
    member.as_deref().and_then(base64url::decode).ok_or(PrivateKeyError::Member { name })
}

fn secret(
    member: &Option<SecretText>,
    name: &'static str,
) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let octets = member.as_ref().and_then(|text| base64url::decode(&text.0));
    octets.map(Zeroizing::new).ok_or(PrivateKeyError::Member { name })
}

/// RSA keys are only ever of these algorithms.
fn rsa_encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        _ => &RSA_PKCS1_SHA256,
    }
}
