//! What a client registers (RFC 7591 §2), as far as clients of this server can be: with a key or a
//! SPIFFE identity of their own, never with a secret, and without a browser.
//!
//! In scope: reading the document, and saying by name which member is in the way. Not here: who
//! may register, and the identifier that the client gets.

use std::fmt;

use jose::json::{self, NotStrict};
use jose::{JwkError, KeySet, PublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use spiffe::SpiffeId;

use crate::redirect_uri::NotARedirectUri;
use crate::scope::ScopeSet;
use crate::token_request::GrantType;

/// Bytes of a document.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 * 1_024;
/// Bytes of a name that people read.
const MAX_CLIENT_NAME_BYTES: usize = 256;
/// Keys of one client: the current one, the next one, and room.
const MAX_CLIENT_KEYS: usize = 16;
/// Grants that need no browser and no user who is asked.
const GRANTS: &[GrantType] = &[GrantType::ClientCredentials, GrantType::TokenExchange];
/// Members that would make the client one with a shared secret.
pub(crate) const SECRETS: &[&str] = &["client_secret", "client_secret_expires_at"];
/// Members of a security meaning that nothing here obeys: to ignore them would give a client
/// something else than it asked for. Others "MUST" be ignored (RFC 7591 §2).
const UNSUPPORTED: &[&str] = &[
    "redirect_uris",
    "response_types",
    "jwks_uri",
    "software_statement",
    "spiffe_bundle_endpoint",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
    "tls_client_certificate_bound_access_tokens",
    "dpop_bound_access_tokens",
    "authorization_details_types",
    "require_pushed_authorization_requests",
    "request_uris",
    "backchannel_client_notification_endpoint",
];

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// RFC 7523, with a key of `jwks`.
    PrivateKeyJwt,
    /// draft-ietf-oauth-spiffe-client-auth, with a JWT-SVID.
    SpiffeJwt,
    /// The same with an X.509-SVID.
    SpiffeX509,
    /// The same with a WIT-SVID.
    SpiffeWit,
}

impl AuthMethod {
    /// Every method.
    pub const ALL: &'static [Self] =
        &[Self::PrivateKeyJwt, Self::SpiffeJwt, Self::SpiffeX509, Self::SpiffeWit];

    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::SpiffeJwt => "spiffe_jwt",
            Self::SpiffeX509 => "spiffe_x509",
            Self::SpiffeWit => "spiffe_wit",
        }
    }

    /// The method of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == name)
    }
}

/// `spiffe_id`: the identity that may authenticate as the client, or all below a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeIdPattern {
    id: SpiffeId,
    all_below: bool,
}

impl SpiffeIdPattern {
    /// A SPIFFE ID with a path, or one followed by `/*`.
    pub fn parse(text: &str) -> Option<Self> {
        // draft-ietf-oauth-spiffe-client-auth §5.1: "If the spiffe_id value uses a wildcard, it
        // MUST end with the two-character sequence "/*"."
        let (id, all_below) = match text.strip_suffix("/*") {
            Some(id) => (id, true),
            None => (text, false),
        };
        let id = SpiffeId::parse(id).ok()?;
        (all_below || !id.path().is_empty()).then_some(Self { id, all_below })
    }

    /// Whether `id` may authenticate as the client.
    pub fn matches(&self, id: &SpiffeId) -> bool {
        if !self.all_below {
            return self.id == *id;
        }
        // The same section: "this prefix MUST correspond to complete path segment(s) of the SPIFFE
        // ID (for example, spiffe://example.org/client/* matches spiffe://example.org/client/123
        // but does not match spiffe://example.org/client123)."
        let below = id.as_str().strip_prefix(self.id.as_str());
        below.and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.is_empty())
    }
}

/// A registration that was understood and can be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    pub token_endpoint_auth_method: AuthMethod,
    pub grant_types: Vec<GrantType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    #[serde(default, skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    /// The keys of `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<KeySet>,
    /// The identity of `spiffe_*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<SpiffeIdPattern>,
}

impl ClientMetadata {
    /// Reads a registration.
    pub fn parse(text: &str) -> Result<Self, ClientMetadataError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            let length = text.len();
            return Err(ClientMetadataError::TooLong { length, max: MAX_DOCUMENT_BYTES });
        }
        let members: Map<String, Value> = json::parse(text)?;
        refuse_unsupported(&members)?;
        let metadata = Self {
            token_endpoint_auth_method: auth_method(&members)?,
            grant_types: grant_types(&members)?,
            client_name: client_name(&members)?,
            scope: scope(&members)?,
            jwks: jwks(&members)?,
            spiffe_id: spiffe_id(&members)?,
        };
        metadata.method_has_its_credential()?;
        Ok(metadata)
    }

    fn method_has_its_credential(&self) -> Result<(), ClientMetadataError> {
        let member = match self.token_endpoint_auth_method {
            AuthMethod::PrivateKeyJwt => self.jwks.is_none().then_some("jwks"),
            // draft-ietf-oauth-spiffe-client-auth §5.1: "spiffe_id: REQUIRED."
            AuthMethod::SpiffeJwt | AuthMethod::SpiffeX509 | AuthMethod::SpiffeWit => {
                self.spiffe_id.is_none().then_some("spiffe_id")
            }
        };
        member.map_or(Ok(()), |member| Err(ClientMetadataError::Missing { member }))
    }
}

/// Why a registration is refused; each names the member that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientMetadataError {
    #[error("registration of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("`{member}`: no client has a secret here")]
    Secret { member: &'static str },
    #[error("`client_secret` is not the one that was issued, and only that may be sent here")]
    OtherSecret,
    #[error("`{member}` is not supported")]
    Unsupported { member: &'static str },
    #[error("`{member}` is absent")]
    Missing { member: &'static str },
    #[error("`{member}` is not of the form that it must have")]
    Form { member: &'static str },
    /// The entry is counted from 1.
    #[error("entry {entry} of `{member}`: {reason}")]
    Redirect { member: &'static str, entry: usize, reason: NotARedirectUri },
    #[error("`{member}` has the value `{found}`, which is not supported")]
    Value { member: &'static str, found: String },
    #[error("key {index} of `jwks`: {reason}")]
    Key { index: usize, reason: JwkError },
    #[error("`jwks` has {count} keys, not 1 to {max}")]
    KeyCount { count: usize, max: usize },
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for AuthMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AuthMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom("unknown authentication method"))
    }
}

impl Serialize for GrantType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for GrantType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom("unknown grant type"))
    }
}

impl fmt::Display for SpiffeIdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.all_below { "/*" } else { "" };
        write!(f, "{}{below}", self.id.as_str())
    }
}

impl Serialize for SpiffeIdPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpiffeIdPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a SPIFFE ID or a prefix of some"))
    }
}

fn refuse_unsupported(members: &Map<String, Value>) -> Result<(), ClientMetadataError> {
    let present = |name: &&&'static str| members.get(**name).is_some_and(says_something);
    if let Some(member) = SECRETS.iter().find(|name| members.contains_key(**name)) {
        return Err(ClientMetadataError::Secret { member });
    }
    match UNSUPPORTED.iter().find(present) {
        Some(member) => Err(ClientMetadataError::Unsupported { member }),
        None => Ok(()),
    }
}

/// `null`, `false` and `[]` ask for nothing.
fn says_something(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
        && value.as_array().is_none_or(|values| !values.is_empty())
}

fn auth_method(members: &Map<String, Value>) -> Result<AuthMethod, ClientMetadataError> {
    const MEMBER: &str = "token_endpoint_auth_method";
    // RFC 7591 §2: "If unspecified or omitted, the default is "client_secret_basic"", which no
    // client has here: it must be said.
    let missing = ClientMetadataError::Missing { member: MEMBER };
    let name = text(members, MEMBER)?.ok_or(missing)?;
    AuthMethod::parse(name)
        .ok_or_else(|| ClientMetadataError::Value { member: MEMBER, found: evidence(name) })
}

fn grant_types(members: &Map<String, Value>) -> Result<Vec<GrantType>, ClientMetadataError> {
    const MEMBER: &str = "grant_types";
    // RFC 7591 §2: "If omitted, the default behavior is that the client will use only the
    // "authorization_code" Grant Type."
    let missing = ClientMetadataError::Missing { member: MEMBER };
    let form = ClientMetadataError::Form { member: MEMBER };
    let names = members.get(MEMBER).ok_or(missing)?.as_array().ok_or(form.clone())?;
    let mut grants = Vec::new();
    for name in names {
        let name = name.as_str().ok_or(form.clone())?;
        let grant = GrantType::parse(name)
            .filter(|grant| GRANTS.contains(grant))
            .ok_or_else(|| ClientMetadataError::Value { member: MEMBER, found: evidence(name) })?;
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    if grants.is_empty() { Err(form) } else { Ok(grants) }
}

pub(crate) fn client_name(
    members: &Map<String, Value>,
) -> Result<Option<String>, ClientMetadataError> {
    let name = text(members, "client_name")?;
    let fits = |name: &str| name.len() <= MAX_CLIENT_NAME_BYTES && letters::name(name).is_ok();
    if !name.is_none_or(fits) {
        return Err(ClientMetadataError::Form { member: "client_name" });
    }
    Ok(name.map(str::to_owned))
}

pub(crate) fn scope(members: &Map<String, Value>) -> Result<ScopeSet, ClientMetadataError> {
    let Some(text) = text(members, "scope")? else { return Ok(ScopeSet::default()) };
    ScopeSet::parse(text).map_err(|_| ClientMetadataError::Form { member: "scope" })
}

/// Every entry must be a public key for signatures: what a client registers is not read leniently.
pub(crate) fn jwks(members: &Map<String, Value>) -> Result<Option<KeySet>, ClientMetadataError> {
    // RFC 7591 §2: "Client's JSON Web Key Set [RFC7517] document value, which contains the
    // client's public keys."
    let Some(value) = members.get("jwks") else { return Ok(None) };
    let form = |_| ClientMetadataError::Form { member: "jwks" };
    let set: KeySet = serde_json::from_value(value.clone()).map_err(form)?;
    if let Some(ignored) = set.ignored().first() {
        let (index, reason) = (ignored.index, ignored.reason.clone());
        return Err(ClientMetadataError::Key { index, reason });
    }
    let count = set.keys().len();
    if count == 0 || count > MAX_CLIENT_KEYS {
        return Err(ClientMetadataError::KeyCount { count, max: MAX_CLIENT_KEYS });
    }
    for (index, key) in set.keys().iter().enumerate() {
        PublicKey::from_jwk(key).map_err(|reason| ClientMetadataError::Key { index, reason })?;
    }
    Ok(Some(set))
}

pub(crate) fn spiffe_id(
    members: &Map<String, Value>,
) -> Result<Option<SpiffeIdPattern>, ClientMetadataError> {
    let Some(text) = text(members, "spiffe_id")? else { return Ok(None) };
    let form = ClientMetadataError::Form { member: "spiffe_id" };
    SpiffeIdPattern::parse(text).map(Some).ok_or(form)
}

pub(crate) fn text<'a>(
    members: &'a Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'a str>, ClientMetadataError> {
    match members.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ClientMetadataError::Form { member }),
    }
}

pub(crate) fn evidence(text: &str) -> String {
    const MAX_CHARACTERS: usize = 64;
    text.chars().filter(|character| !character.is_control()).take(MAX_CHARACTERS).collect()
}
