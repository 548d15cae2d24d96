//! From claims to a token: the octets to sign go out, a signature comes in. Who signs, and where
//! the key lives, is not known here.

use std::fmt;
use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::hash::{TokenHash, redacted};
use crate::header::KeyId;
use crate::token::{Kind, MAX_TOKEN_BYTES};

/// Octets left for the signature: base64url of one by an RSA key of 8,192 bits.
const MAX_SIGNATURE_CHARACTERS: usize = 1_366;

/// Header and claims, encoded, ready to be signed.
pub struct SigningInput<K: Kind> {
    text: String,
    algorithm: Algorithm,
    kind: PhantomData<K>,
}

impl<K: Kind> SigningInput<K> {
    /// The header says `alg`, `kid` and the type of the kind.
    pub fn new(
        algorithm: Algorithm,
        kid: Option<&KeyId>,
        claims: &K::Claims,
    ) -> Result<Self, Unsignable> {
        let mut header = Map::new();
        header.insert("alg".to_owned(), json!(algorithm));
        if let Some(kid) = kid {
            header.insert("kid".to_owned(), json!(kid));
        }
        // draft-ietf-oauth-rfc8725bis §3.11: "producers are RECOMMENDED to omit the
        // "application/" prefix from "typ""
        if let Some(typ) = K::TYPES.first().filter(|_| may_have::<K>("typ")) {
            header.insert("typ".to_owned(), json!(typ));
        }
        let payload = serde_json::to_vec(claims)
            .map_err(|error| Unsignable::Claims { reason: error.to_string() })?;
        // RFC 7515 §5.1: "ASCII(BASE64URL(UTF8(JWS Protected Header)) || '.' ||
        // BASE64URL(JWS Payload))"
        let mut text = base64url::encode(Value::Object(header).to_string().as_bytes());
        text.push('.');
        base64url::encode_onto(&payload, &mut text);
        // What we could not read ourselves is not signed.
        let length = text.len() + 1 + MAX_SIGNATURE_CHARACTERS;
        if length > MAX_TOKEN_BYTES {
            return Err(Unsignable::TooLong { length, max: MAX_TOKEN_BYTES });
        }
        Ok(Self { text, algorithm, kind: PhantomData })
    }

    /// The octets to sign.
    pub const fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The algorithm that the header promises.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The token. That the signature fits is the signer's word: a wrong one makes a token that
    /// nobody accepts.
    pub fn attach(self, signature: Signature) -> Compact<K> {
        let mut text = self.text;
        text.push('.');
        base64url::encode_onto(&signature.0, &mut text);
        Compact { text, kind: PhantomData }
    }
}

impl<K: Kind> fmt::Debug for SigningInput<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "SigningInput", K::TYPES, TokenHash::of(&self.text))
    }
}

/// Why claims cannot be made a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsignable {
    #[error("claims cannot be written: {reason}")]
    Claims { reason: String },
    #[error("a token of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
}

/// A signature as JWS writes it: for ECDSA `r || s` (64 octets for ES256), never DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// The octets as they are; whether they are a signature shows when they are verified.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} octets)", self.0.len())
    }
}

/// A signed token, ready to be sent. It may be a bearer token: it has no `Display`, and `Debug`
/// shows the beginning of its hash.
pub struct Compact<K: Kind> {
    text: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Compact<K> {
    /// The text of the token.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text of the token.
    pub fn into_string(self) -> String {
        self.text
    }

    /// SHA-256 of the text.
    pub fn token_hash(&self) -> TokenHash {
        TokenHash::of(&self.text)
    }
}

impl<K: Kind> Clone for Compact<K> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), kind: PhantomData }
    }
}

impl<K: Kind> fmt::Debug for Compact<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "Compact", K::TYPES, self.token_hash())
    }
}

fn may_have<K: Kind>(name: &str) -> bool {
    K::HEADER_PARAMETERS.is_none_or(|allowed| allowed.contains(&name))
}
