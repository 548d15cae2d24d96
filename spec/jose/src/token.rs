//! From the text of a token to its parts: everything that can be refused without a key.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::base64url;
use crate::claims::{Window, named};
use crate::hash::{TokenHash, redacted};
use crate::header::{Header, NotAKeyId};
use crate::json::{self, NotStrict};

/// Bytes of a compact token: an HTTP header field of usual servers has room for this.
pub const MAX_TOKEN_BYTES: usize = 16_384;

/// A kind of token, declared by the crate of its specification. Two kinds share no type, so that
/// one is never taken for the other.
pub trait Kind: 'static {
    /// Accepted values of `typ`, without `application/`; the first is written when signing.
    const TYPES: &'static [&'static str];
    /// Whether a token without `typ` may be of this kind: only where its specification is older
    /// than explicit typing.
    const TYPE_MAY_BE_ABSENT: bool;
    /// Header parameters that may be there at all; `None`: others are ignored.
    const HEADER_PARAMETERS: Option<&'static [&'static str]>;
    /// Whether a token without `exp` is refused.
    const EXP_REQUIRED: bool;
    /// The claims; what is required is not an `Option`.
    type Claims: DeserializeOwned + Serialize;
    /// What a [`crate::KeySource`] needs of the claims to find the key: an issuer, for example.
    type Hint;

    /// Reads the hint. It is unproven: whoever made the token chose it.
    fn hint(claims: &Self::Claims) -> Self::Hint;

    /// Reads when the token holds.
    fn window(claims: &Self::Claims) -> Window;
}

/// A token whose parts can be read and whose signature nobody has checked.
pub struct Unverified<K: Kind> {
    text: Box<str>,
    signed_length: usize,
    header: Header,
    claims: K::Claims,
    signature: Vec<u8>,
    kind: PhantomData<K>,
}

impl<K: Kind> Unverified<K> {
    /// Reads the compact serialization.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Malformed::TooLong { length: text.len(), max: MAX_TOKEN_BYTES });
        }
        // RFC 7515 §7.1: "BASE64URL(UTF8(JWS Protected Header)) || '.' || BASE64URL(JWS Payload)
        // || '.' || BASE64URL(JWS Signature)"
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Parts { count: text.split('.').count() });
        };
        let members: Map<String, Value> = object(Part::Header, header)?;
        let header_read = Header::of::<K>(&members)?;
        let octets = decode(Part::Signature, signature)?;
        if octets.is_empty() {
            return Err(Malformed::SignatureAbsent);
        }
        let claims = object(Part::Payload, payload)?;
        Ok(Self {
            text: text.into(),
            signed_length: header.len() + 1 + payload.len(),
            header: header_read,
            claims,
            signature: octets,
            kind: PhantomData,
        })
    }

    /// The header, which is as unproven as the rest.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What helps to find the key, before anything is proven: good for nothing else.
    pub fn hint(&self) -> K::Hint {
        K::hint(&self.claims)
    }

    /// SHA-256 of the text.
    pub fn token_hash(&self) -> TokenHash {
        TokenHash::of(&self.text)
    }

    /// The octets that the signature is over.
    pub(crate) fn signing_input(&self) -> &[u8] {
        self.text.as_bytes().get(..self.signed_length).unwrap_or_default()
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    pub(crate) fn window(&self) -> Window {
        K::window(&self.claims)
    }

    pub(crate) fn into_parts(self) -> (Header, K::Claims) {
        (self.header, self.claims)
    }
}

impl<K: Kind> fmt::Debug for Unverified<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "Unverified", K::TYPES, self.token_hash())
    }
}

/// A part of a compact token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Header,
    Payload,
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// Why a text is no token of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("token of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("token of {count} parts, not three")]
    Parts { count: usize },
    #[error("{part} is not base64url without padding")]
    Encoding { part: Part },
    #[error("{part}: {reason}")]
    Json { part: Part, reason: NotStrict },
    #[error("header parameter `crit`: no extension is understood")]
    Critical,
    #[error("no `alg` in the header")]
    AlgorithmAbsent,
    #[error("algorithm `{alg}` is not one of those known")]
    UnknownAlgorithm { alg: String },
    #[error("no `typ` in the header, expected {}", named(expected.iter().copied()))]
    TypeAbsent { expected: &'static [&'static str] },
    #[error("token of type `{found}`, expected {}", named(expected.iter().copied()))]
    WrongType { found: String, expected: &'static [&'static str] },
    #[error("header parameter `{name}` has no place in this kind of token")]
    HeaderParameter { name: String },
    #[error("header parameter `{name}` is not a string")]
    NotText { name: &'static str },
    #[error(transparent)]
    KeyId(#[from] NotAKeyId),
    #[error("no signature")]
    SignatureAbsent,
}

fn object<T: DeserializeOwned>(part: Part, text: &str) -> Result<T, Malformed> {
    // RFC 7519 §7.2: "Base64url decode the Encoded JOSE Header following the restriction that no
    // line breaks, whitespace, or other additional characters have been used."
    json::parse_bytes(&decode(part, text)?).map_err(|reason| Malformed::Json { part, reason })
}

fn decode(part: Part, text: &str) -> Result<Vec<u8>, Malformed> {
    base64url::decode(text).ok_or(Malformed::Encoding { part })
}
