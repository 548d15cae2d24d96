//! A public key as JSON (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use x509::Certificate;

use crate::algorithm::{Algorithm, KeyType};
use crate::base64url;
use crate::hash::Thumbprint;
use crate::header::{KeyId, NotAKeyId};
use crate::json::{self as strict, NotStrict};
use crate::key::{KeyError, Material, PublicKey};

/// Certificates of one `x5c`.
const MAX_CERTIFICATES: usize = 10;
/// Operations of one `key_ops`.
const MAX_OPERATIONS: usize = 8;
/// Bytes of `use`, of an operation, of what an error repeats.
const MAX_WORD_BYTES: usize = 64;

/// A public JWK for signatures. It never holds a private or symmetric key: text that has one is
/// refused. Members that are not understood are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    key: PublicKey,
    kid: Option<KeyId>,
    alg: Option<Algorithm>,
    use_: Option<String>,
    key_ops: Option<Vec<String>>,
    x5c: Vec<Vec<u8>>,
}

impl Jwk {
    /// Reads the text of a JWK.
    pub fn parse(text: &str) -> Result<Self, JwkError> {
        strict::parse::<Members>(text)?.read()
    }

    /// Reads a JWK that is part of a document which was read strictly.
    pub fn from_value(value: &Value) -> Result<Self, JwkError> {
        let members = Members::deserialize(value);
        let syntax =
            |error: serde_json::Error| NotStrict::Syntax { reason: strict::reason(&error) };
        members.map_err(syntax)?.read()
    }

    /// The JWK of a key.
    pub(crate) fn of(key: PublicKey) -> Self {
        let alg = match key.algorithms().collect::<Vec<_>>().as_slice() {
            [algorithm] => Some(*algorithm),
            _ => None,
        };
        Self { key, kid: None, alg, use_: None, key_ops: None, x5c: Vec::new() }
    }

    /// The same with `kid`.
    #[must_use]
    pub fn with_kid(self, kid: KeyId) -> Self {
        Self { kid: Some(kid), ..self }
    }

    /// The same with `use`, one of our own words: `sig`, `jwt-svid`.
    #[must_use]
    pub fn with_use(self, use_: &'static str) -> Self {
        Self { use_: Some(use_.to_owned()), ..self }
    }

    /// The same with a certificate chain, whose first certificate must be of this key.
    pub fn with_x5c(self, certificates: Vec<Vec<u8>>) -> Result<Self, JwkError> {
        check_certificates(&certificates, &self.key)?;
        Ok(Self { x5c: certificates, ..self })
    }

    /// `kid`.
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    /// `alg`.
    pub const fn alg(&self) -> Option<Algorithm> {
        self.alg
    }

    /// `use`: `sig`, or what another specification defines.
    pub fn use_(&self) -> Option<&str> {
        self.use_.as_deref()
    }

    /// `key_ops`.
    pub fn key_ops(&self) -> Option<&[String]> {
        self.key_ops.as_deref()
    }

    /// `x5c`: DER certificates, the first of this key; empty if there are none.
    pub fn x5c(&self) -> &[Vec<u8>] {
        &self.x5c
    }

    /// What the key is.
    pub fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// RFC 7638, SHA-256: of the key, whatever else the JWK says.
    pub fn thumbprint(&self) -> Thumbprint {
        self.key.thumbprint()
    }

    /// The key, if the JWK lets it verify signatures.
    pub fn verification_key(&self) -> Result<&PublicKey, JwkError> {
        // RFC 7517 §4.2: "The "use" parameter is employed to indicate whether a public key is
        // used for encrypting data or verifying the signature on data."
        if self.use_.as_deref() == Some("enc") {
            return Err(JwkError::NotForSignatures);
        }
        // RFC 7517 §4.3: "The "key_ops" (key operations) parameter identifies the operation(s)
        // for which the key is intended to be used."
        let verifies = |operations: &[String]| operations.iter().any(|name| name == "verify");
        if !self.key_ops().is_none_or(verifies) {
            return Err(JwkError::NotForSignatures);
        }
        Ok(&self.key)
    }

    /// The JWK as JSON.
    pub fn to_value(&self) -> Value {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| {
            members.insert(name.to_owned(), value);
        };
        put("kty", json!(self.key_type().kty()));
        if let Some(crv) = self.key_type().crv() {
            put("crv", json!(crv));
        }
        match self.key.material() {
            Material::Ec { x, y, .. } => {
                put("x", json!(x));
                put("y", json!(y));
            }
            Material::Ed25519 { x } => put("x", json!(x)),
            Material::Rsa { n, e } => {
                put("n", json!(n));
                put("e", json!(e));
            }
        }
        if let Some(kid) = &self.kid {
            put("kid", json!(kid));
        }
        if let Some(alg) = &self.alg {
            put("alg", json!(alg));
        }
        if let Some(use_) = &self.use_ {
            put("use", json!(use_));
        }
        if let Some(key_ops) = &self.key_ops {
            put("key_ops", json!(key_ops));
        }
        if !self.x5c.is_empty() {
            let certificates = self.x5c.iter().map(|der| base64url::encode_standard(der));
            put("x5c", certificates.collect());
        }
        Value::Object(members)
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer)?.read().map_err(de::Error::custom)
    }
}

/// Why a JWK is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("no member `{name}`")]
    MemberAbsent { name: &'static str },
    #[error("key type `{kty}` is not supported")]
    UnknownKeyType { kty: String },
    #[error("curve `{crv}` is not supported for `{kty}`")]
    UnknownCurve { kty: String, crv: String },
    #[error("private or symmetric key: member `{name}`")]
    PrivateMember { name: &'static str },
    #[error("member `{name}` is not base64url without padding")]
    Encoding { name: &'static str },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("algorithm `{alg}` is not one of those known")]
    UnknownAlgorithm { alg: String },
    #[error(transparent)]
    KeyId(#[from] NotAKeyId),
    #[error("`use` of {length} bytes")]
    Use { length: usize },
    #[error("`key_ops` has too many, too long or repeated operations")]
    KeyOperations,
    #[error("`x5c` has {count} certificates, not 1 to {max}")]
    CertificateCount { count: usize, max: usize },
    #[error("`x5c` is not base64 of a certificate")]
    Certificate,
    #[error("`x5c` is of another key")]
    CertificateKey,
    #[error("the key is not for signatures")]
    NotForSignatures,
}

/// Members that have a meaning here, as they stand. Others "MUST be ignored" (RFC 7517 §4).
#[derive(Default)]
struct Members(Fields);

#[derive(Default, Deserialize)]
struct Fields {
    kty: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    use_: Option<String>,
    key_ops: Option<Vec<String>>,
    x5c: Option<Vec<String>>,
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

/// Only from an object: serde would read an array as the members in their order.
impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JWK")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members, A::Error> {
        // RFC 7517 §4: "The member names within a JWK MUST be unique": serde refuses a repeated
        // one among those that are read.
        Fields::deserialize(MapAccessDeserializer::new(map)).map(Members)
    }
}

impl Members {
    fn read(self) -> Result<Jwk, JwkError> {
        let Self(fields) = self;
        if let Some(name) = private_member(&fields) {
            return Err(JwkError::PrivateMember { name });
        }
        let alg = fields.alg.as_deref().map(algorithm).transpose()?;
        let key = public_key(&fields, alg)?;
        let kid = fields.kid.as_deref().map(KeyId::parse).transpose()?;
        if let Some(length) = fields.use_.as_ref().map(String::len).filter(|n| *n > MAX_WORD_BYTES)
        {
            return Err(JwkError::Use { length });
        }
        if !fields.key_ops.as_deref().is_none_or(operations_are_sound) {
            return Err(JwkError::KeyOperations);
        }
        let x5c = fields.x5c.map_or(Ok(Vec::new()), |texts| certificates(&texts, &key))?;
        Ok(Jwk { key, kid, alg, use_: fields.use_, key_ops: fields.key_ops, x5c })
    }
}

fn private_member(fields: &Fields) -> Option<&'static str> {
    // RFC 7518 §6.2.2, §6.3.2, §6.4 and RFC 8037 §2: the members that represent private and
    // symmetric keys.
    let Fields { d, p, q, dp, dq, qi, oth, k, .. } = fields;
    let members =
        [("d", d), ("p", p), ("q", q), ("dp", dp), ("dq", dq), ("qi", qi), ("oth", oth), ("k", k)];
    members.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name)
}

fn public_key(fields: &Fields, alg: Option<Algorithm>) -> Result<PublicKey, JwkError> {
    // RFC 7517 §4.1: "The "kty" value is a case-sensitive string. This member MUST be present"
    let kty = required(&fields.kty, "kty")?;
    if kty == "RSA" {
        let (n, e) = (octets(&fields.n, "n")?, octets(&fields.e, "e")?);
        return Ok(PublicKey::rsa(&n, &e, alg)?);
    }
    if kty != "EC" && kty != "OKP" {
        return Err(JwkError::UnknownKeyType { kty: word(kty) });
    }
    let crv = required(&fields.crv, "crv")?;
    let x = octets(&fields.x, "x")?;
    let key_type = match (kty, crv) {
        ("EC", "P-256") => KeyType::P256,
        ("EC", "P-384") => KeyType::P384,
        ("EC", "P-521") => KeyType::P521,
        ("OKP", "Ed25519") => return Ok(PublicKey::ed25519(&x, alg)?),
        _ => return Err(JwkError::UnknownCurve { kty: word(kty), crv: word(crv) }),
    };
    Ok(PublicKey::ec(key_type, &x, &octets(&fields.y, "y")?, alg)?)
}

fn algorithm(name: &str) -> Result<Algorithm, JwkError> {
    Algorithm::parse(name).ok_or_else(|| JwkError::UnknownAlgorithm { alg: word(name) })
}

fn operations_are_sound(operations: &[String]) -> bool {
    // RFC 7517 §4.3: "Duplicate key operation values MUST NOT be present in the array."
    let mut seen: Vec<&String> = Vec::new();
    operations.len() <= MAX_OPERATIONS
        && operations.iter().all(|name| {
            let fresh = !seen.contains(&name);
            seen.push(name);
            fresh && name.len() <= MAX_WORD_BYTES
        })
}

fn certificates(texts: &[String], key: &PublicKey) -> Result<Vec<Vec<u8>>, JwkError> {
    let decoded = texts.iter().map(|text| base64url::decode_standard(text));
    let decoded: Vec<_> = decoded.collect::<Option<_>>().ok_or(JwkError::Certificate)?;
    check_certificates(&decoded, key)?;
    Ok(decoded)
}

fn check_certificates(certificates: &[Vec<u8>], key: &PublicKey) -> Result<(), JwkError> {
    let first = certificates.first().filter(|_| certificates.len() <= MAX_CERTIFICATES);
    let count = JwkError::CertificateCount { count: certificates.len(), max: MAX_CERTIFICATES };
    // RFC 7517 §4.7: "The key in the first certificate MUST match the public key represented by
    // other members of the JWK."
    let first = Certificate::parse(first.ok_or(count)?).map_err(|_| JwkError::Certificate)?;
    if first.spki_der() != key.spki_der() {
        return Err(JwkError::CertificateKey);
    }
    Ok(())
}

fn required<'a>(member: &'a Option<String>, name: &'static str) -> Result<&'a str, JwkError> {
    member.as_deref().ok_or(JwkError::MemberAbsent { name })
}

fn octets(member: &Option<String>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    base64url::decode(required(member, name)?).ok_or(JwkError::Encoding { name })
}

fn word(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_WORD_BYTES).collect()
}
