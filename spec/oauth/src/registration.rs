//! Registration of clients of every kind (RFC 7591, RFC 7592): the members of §2 and of what
//! extends it, read into one record.
//!
//! In scope: the form of each member, what members demand of each other, software statements, the
//! answer. Not here: who may register, which of it is served, and the narrower registration of
//! clients without a browser ([`crate::client_metadata`]).

use std::collections::BTreeSet;
use std::fmt;

use jose::{Algorithm, KeySet, Kind, NumericDate, Window, json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client_metadata::{self as member, ClientMetadataError, MAX_DOCUMENT_BYTES};
use crate::client_metadata::{SECRETS, SpiffeIdPattern};
use crate::error::ErrorCode;
use crate::identifier::ClientId;
use crate::metadata::Endpoint;
use crate::redirect_uri::RedirectUri;
use crate::scope::ScopeSet;
use crate::token_request::GrantType;
use crate::token_text::TokenText;

/// Redirection endpoints of one client.
const MAX_REDIRECT_URIS: usize = 32;
/// Values of any other list.
const MAX_VALUES: usize = 32;
/// Bytes of a text that has no bound of its own.
const MAX_TEXT_BYTES: usize = 1_024;
/// The names of `tls_client_auth`, of which there is one (RFC 8705 §2.1.2).
const TLS_NAMES: &[&str] = &[
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
];

/// Members that the answer of a server has, and a request must not (RFC 7592 §2.2).
const OF_THE_ANSWER: &[&str] = &[
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

/// `token_endpoint_auth_method`: every method that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuthMethod {
    None,
    SecretBasic,
    SecretPost,
    SecretJwt,
    PrivateKeyJwt,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
    Attestation,
    AttestationDpop,
    SpiffeJwt,
    SpiffeX509,
    SpiffeWit,
}

impl ClientAuthMethod {
    /// Every method by its registered name.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("client_secret_basic", Self::SecretBasic),
        ("client_secret_post", Self::SecretPost),
        ("client_secret_jwt", Self::SecretJwt),
        ("private_key_jwt", Self::PrivateKeyJwt),
        ("tls_client_auth", Self::TlsClientAuth),
        ("self_signed_tls_client_auth", Self::SelfSignedTlsClientAuth),
        ("attest_jwt_client_auth", Self::Attestation),
        ("attest_jwt_client_auth_dpop", Self::AttestationDpop),
        ("spiffe_jwt", Self::SpiffeJwt),
        ("spiffe_x509", Self::SpiffeX509),
        ("spiffe_wit", Self::SpiffeWit),
    ];

    /// The method of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, method)| *method == self);
        named.map_or("none", |(name, _)| name)
    }

    /// Whether client and server share a secret.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::SecretBasic | Self::SecretPost | Self::SecretJwt)
    }
}

impl fmt::Display for ClientAuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `application_type` (OpenID Connect Registration 1.0 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplicationType {
    #[default]
    Web,
    Native,
}

/// `backchannel_token_delivery_mode` (CIBA Core 1.0 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    Poll,
    Ping,
    Push,
}

/// `subject_type` (OpenID Connect Core 1.0 §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectType {
    #[default]
    Public,
    Pairwise,
}

/// What a client says of itself. Members that are not listed are ignored (RFC 7591 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub redirect_uris: Vec<RedirectUri>,
    pub token_endpoint_auth_method: ClientAuthMethod,
    pub grant_types: Vec<GrantType>,
    /// Whether it has `code` among `response_types`: the only one there is.
    pub takes_code: bool,
    pub application_type: ApplicationType,
    pub client_name: Option<String>,
    pub client_uri: Option<Endpoint>,
    pub logo_uri: Option<Endpoint>,
    pub tos_uri: Option<Endpoint>,
    pub policy_uri: Option<Endpoint>,
    pub contacts: Vec<String>,
    pub scope: ScopeSet,
    pub keys: Option<Keys>,
    pub software_id: Option<String>,
    pub software_version: Option<String>,
    /// As it was sent: what it says wins over the rest (RFC 7591 §2.3) once it is verified.
    pub software_statement: Option<TokenText>,
    /// RFC 8705 §2.1.2: which name, and its value.
    pub tls_client_auth: Option<(&'static str, String)>,
    pub tls_client_certificate_bound_access_tokens: bool,
    pub dpop_bound_access_tokens: bool,
    pub require_pushed_authorization_requests: bool,
    pub require_signed_request_object: bool,
    pub request_object_signing_alg: Option<Algorithm>,
    pub authorization_signed_response_alg: Option<Algorithm>,
    pub authorization_details_types: BTreeSet<String>,
    pub introspection_signed_response_alg: Option<Algorithm>,
    pub id_token_signed_response_alg: Option<Algorithm>,
    pub userinfo_signed_response_alg: Option<Algorithm>,
    pub token_endpoint_auth_signing_alg: Option<Algorithm>,
    pub subject_type: SubjectType,
    pub default_max_age: Option<u64>,
    pub default_acr_values: Vec<String>,
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    pub backchannel_logout_uri: Option<Endpoint>,
    pub backchannel_logout_session_required: bool,
    pub backchannel_token_delivery_mode: Option<DeliveryMode>,
    pub backchannel_client_notification_endpoint: Option<Endpoint>,
    pub backchannel_authentication_request_signing_alg: Option<Algorithm>,
    pub backchannel_user_code_parameter: bool,
    pub spiffe_id: Option<SpiffeIdPattern>,
    pub spiffe_bundle_endpoint: Option<Endpoint>,
}

/// The keys of a client: given, or at a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    Here(Box<KeySet>),
    At(Endpoint),
}

impl Registration {
    /// Reads a registration.
    pub fn parse(text: &str) -> Result<Self, ClientMetadataError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            let length = text.len();
            return Err(ClientMetadataError::TooLong { length, max: MAX_DOCUMENT_BYTES });
        }
        Self::of_members(&json::parse(text)?)
    }

    /// Reads what replaces the registration of `client_id` (RFC 7592 §2.2).
    pub fn parse_update(text: &str, client_id: &ClientId) -> Result<Self, ClientMetadataError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            let length = text.len();
            return Err(ClientMetadataError::TooLong { length, max: MAX_DOCUMENT_BYTES });
        }
        let members: Map<String, Value> = json::parse(text)?;
        // RFC 7592 §2.2: "This request MUST include all client metadata fields as returned to the
        // client from a previous registration, read, or update operation. [...] The updated client
        // metadata fields request MUST NOT include the "registration_access_token",
        // "registration_client_uri", "client_secret_expires_at", or "client_id_issued_at" fields".
        if let Some(member) = OF_THE_ANSWER.iter().find(|name| members.contains_key(**name)) {
            return Err(ClientMetadataError::Unsupported { member });
        }
        // RFC 7592 §2.2: "The client MUST include its "client_id" field in the request, and it MUST
        // be the same as its currently issued client identifier."
        match member::text(&members, "client_id")? {
            None => Err(ClientMetadataError::Missing { member: "client_id" }),
            Some(found) if found != client_id.as_str() => Err(unknown("client_id", found)),
            Some(_) => Self::of_members(&members),
        }
    }

    /// Reads the members of a document that was read strictly.
    pub fn of_members(members: &Map<String, Value>) -> Result<Self, ClientMetadataError> {
        // RFC 7592 §2.2: "Omitted fields MUST be treated as null or empty values by the server":
        // so null says nothing either.
        let all: &Members = &members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let read = Self {
            redirect_uris: redirect_uris(all, "redirect_uris")?,
            token_endpoint_auth_method: auth_method(all)?,
            grant_types: grant_types(all)?,
            takes_code: takes_code(all)?,
            application_type: choice(all, "application_type", APPLICATION_TYPES)?
                .unwrap_or_default(),
            client_name: member::client_name(all)?,
            client_uri: endpoint(all, "client_uri")?,
            logo_uri: endpoint(all, "logo_uri")?,
            tos_uri: endpoint(all, "tos_uri")?,
            policy_uri: endpoint(all, "policy_uri")?,
            contacts: texts(all, "contacts")?,
            scope: member::scope(all)?,
            keys: keys(all)?,
            software_id: bounded(all, "software_id")?,
            software_version: bounded(all, "software_version")?,
            software_statement: statement(all)?,
            tls_client_auth: tls_client_auth(all)?,
            tls_client_certificate_bound_access_tokens: flag(
                all,
                "tls_client_certificate_bound_access_tokens",
            )?,
            dpop_bound_access_tokens: flag(all, "dpop_bound_access_tokens")?,
            require_pushed_authorization_requests: flag(
                all,
                "require_pushed_authorization_requests",
            )?,
            require_signed_request_object: flag(all, "require_signed_request_object")?,
            request_object_signing_alg: algorithm(all, "request_object_signing_alg")?,
            authorization_signed_response_alg: algorithm(all, "authorization_signed_response_alg")?,
            authorization_details_types: texts(all, "authorization_details_types")?
                .into_iter()
                .collect(),
            introspection_signed_response_alg: algorithm(all, "introspection_signed_response_alg")?,
            id_token_signed_response_alg: algorithm(all, "id_token_signed_response_alg")?,
            userinfo_signed_response_alg: algorithm(all, "userinfo_signed_response_alg")?,
            token_endpoint_auth_signing_alg: algorithm(all, "token_endpoint_auth_signing_alg")?,
            subject_type: choice(all, "subject_type", SUBJECT_TYPES)?.unwrap_or_default(),
            default_max_age: seconds(all, "default_max_age")?,
            default_acr_values: texts(all, "default_acr_values")?,
            post_logout_redirect_uris: redirect_uris(all, "post_logout_redirect_uris")?,
            backchannel_logout_uri: endpoint(all, "backchannel_logout_uri")?,
            backchannel_logout_session_required: flag(all, "backchannel_logout_session_required")?,
            backchannel_token_delivery_mode: choice(
                all,
                "backchannel_token_delivery_mode",
                DELIVERY_MODES,
            )?,
            backchannel_client_notification_endpoint: endpoint(
                all,
                "backchannel_client_notification_endpoint",
            )?,
            backchannel_authentication_request_signing_alg: algorithm(
                all,
                "backchannel_authentication_request_signing_alg",
            )?,
            backchannel_user_code_parameter: flag(all, "backchannel_user_code_parameter")?,
            spiffe_id: member::spiffe_id(all)?,
            spiffe_bundle_endpoint: endpoint(all, "spiffe_bundle_endpoint")?,
        };
        read.is_whole()?;
        Ok(read)
    }

    /// What members demand of each other.
    fn is_whole(&self) -> Result<(), ClientMetadataError> {
        let missing = |member| Err(ClientMetadataError::Missing { member });
        // RFC 7591 §2: "redirect_uris [...] Clients using flows with redirection MUST register
        // their redirection URI values."
        let code = self.grant_types.contains(&GrantType::AuthorizationCode);
        if code && self.redirect_uris.is_empty() {
            return missing("redirect_uris");
        }
        // RFC 7591 §2.1: "a server supporting these fields SHOULD take steps to ensure that a
        // client cannot register itself into an inconsistent state".
        if code != self.takes_code {
            return missing(if code { "response_types" } else { "grant_types" });
        }
        if self.grant_types.contains(&GrantType::Ciba)
            && self.backchannel_token_delivery_mode.is_none()
        {
            return missing("backchannel_token_delivery_mode");
        }
        // CIBA Core 1.0 §4: "REQUIRED if the token delivery mode is set to ping or push."
        let told = self.backchannel_client_notification_endpoint.is_some();
        let mode = self.backchannel_token_delivery_mode;
        if mode.is_some_and(|mode| mode != DeliveryMode::Poll) && !told {
            return missing("backchannel_client_notification_endpoint");
        }
        use ClientAuthMethod as Method;
        match self.token_endpoint_auth_method {
            Method::PrivateKeyJwt | Method::SelfSignedTlsClientAuth if self.keys.is_none() => {
                missing("jwks")
            }
            Method::TlsClientAuth if self.tls_client_auth.is_none() => {
                missing("tls_client_auth_subject_dn")
            }
            // draft-ietf-oauth-spiffe-client-auth §5.1: "spiffe_id: REQUIRED."
            Method::SpiffeJwt | Method::SpiffeX509 | Method::SpiffeWit
                if self.spiffe_id.is_none() =>
            {
                missing("spiffe_id")
            }
            _ => Ok(()),
        }
    }
}

/// The code that a client is told (RFC 7591 §3.2.2).
pub fn error_code(refused: &ClientMetadataError) -> ErrorCode {
    match refused {
        ClientMetadataError::Form { member: "redirect_uris" }
        | ClientMetadataError::Redirect { member: "redirect_uris", .. }
        | ClientMetadataError::Missing { member: "redirect_uris" } => ErrorCode::InvalidRedirectUri,
        ClientMetadataError::Form { member: "software_statement" } => {
            ErrorCode::InvalidSoftwareStatement
        }
        _ => ErrorCode::InvalidClientMetadata,
    }
}

/// Members beside those of the registration in an answer (RFC 7591 §3.2.1, RFC 7592 §3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    pub client_id: ClientId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id_issued_at: Option<u64>,
    /// RFC 7592 §3: "REQUIRED" where the client may be managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_access_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_client_uri: Option<String>,
    /// What was registered. RFC 7591 §3.2.1: "the authorization server MUST return all registered
    /// metadata about this client".
    #[serde(flatten)]
    pub metadata: Map<String, Value>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The kind of a software statement (RFC 7591 §2.3).
#[derive(Clone, Copy, Debug)]
pub struct SoftwareStatement;

/// RFC 7591 §2.3: "MUST contain an "iss" (issuer) claim denoting the party attesting to the claims
/// in the software statement."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementClaims {
    pub iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    /// The members that it vouches for.
    #[serde(flatten)]
    pub metadata: Map<String, Value>,
}

impl Kind for SoftwareStatement {
    // RFC 7591 §2.3 names no `typ`.
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = StatementClaims;
    type Hint = String;

    fn hint(claims: &StatementClaims) -> String {
        claims.iss.clone()
    }

    fn window(claims: &StatementClaims) -> Window {
        Window { exp: claims.exp, nbf: claims.nbf, iat: claims.iat }
    }
}

/// The members of a request with those of its verified statement.
pub fn with_statement(
    mut request: Map<String, Value>,
    statement: &StatementClaims,
) -> Map<String, Value> {
    // RFC 7591 §3.1.1: "If the same client metadata name is present in both locations and the
    // software statement is trusted by the authorization server, the value of a claim in the
    // software statement MUST take precedence."
    for (name, value) in &statement.metadata {
        if !SECRETS.contains(&name.as_str()) {
            request.insert(name.clone(), value.clone());
        }
    }
    request
}

const APPLICATION_TYPES: &[(&str, ApplicationType)] =
    &[("web", ApplicationType::Web), ("native", ApplicationType::Native)];
const SUBJECT_TYPES: &[(&str, SubjectType)] =
    &[("public", SubjectType::Public), ("pairwise", SubjectType::Pairwise)];
const DELIVERY_MODES: &[(&str, DeliveryMode)] =
    &[("poll", DeliveryMode::Poll), ("ping", DeliveryMode::Ping), ("push", DeliveryMode::Push)];

type Members = Map<String, Value>;
type Read<T> = Result<T, ClientMetadataError>;

fn auth_method(all: &Members) -> Read<ClientAuthMethod> {
    const MEMBER: &str = "token_endpoint_auth_method";
    // RFC 7591 §2: "If unspecified or omitted, the default is "client_secret_basic"".
    let Some(name) = member::text(all, MEMBER)? else { return Ok(ClientAuthMethod::SecretBasic) };
    ClientAuthMethod::parse(name).ok_or_else(|| unknown(MEMBER, name))
}

fn grant_types(all: &Members) -> Read<Vec<GrantType>> {
    const MEMBER: &str = "grant_types";
    // RFC 7591 §2: "If omitted, the default behavior is that the client will use only the
    // "authorization_code" Grant Type."
    if !all.contains_key(MEMBER) {
        return Ok(vec![GrantType::AuthorizationCode]);
    }
    let mut grants = Vec::new();
    for name in texts(all, MEMBER)? {
        let grant = GrantType::parse(&name).ok_or_else(|| unknown(MEMBER, &name))?;
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    if grants.is_empty() {
        return Err(ClientMetadataError::Form { member: MEMBER });
    }
    Ok(grants)
}

fn takes_code(all: &Members) -> Read<bool> {
    const MEMBER: &str = "response_types";
    // RFC 7591 §2: "If omitted, the default is that the client will use only the "code" response
    // type." Where it has grants without a browser alone, it means none.
    if !all.contains_key(MEMBER) {
        return Ok(grant_types(all)?.contains(&GrantType::AuthorizationCode));
    }
    let names = texts(all, MEMBER)?;
    match names.iter().find(|name| *name != "code") {
        // RFC 9700 §2.1.2 leaves no other.
        Some(other) => Err(unknown(MEMBER, other)),
        None => Ok(!names.is_empty()),
    }
}

fn redirect_uris(all: &Members, name: &'static str) -> Read<Vec<RedirectUri>> {
    let form = ClientMetadataError::Form { member: name };
    let Some(value) = all.get(name) else { return Ok(Vec::new()) };
    let values = value.as_array().filter(|values| values.len() <= MAX_REDIRECT_URIS);
    let values = values.ok_or(form.clone())?;
    let one = |(entry, value): (usize, &Value)| {
        let text = value.as_str().ok_or(form.clone())?;
        let refused =
            |reason| ClientMetadataError::Redirect { member: name, entry: entry + 1, reason };
        RedirectUri::parse(text).map_err(refused)
    };
    values.iter().enumerate().map(one).collect()
}

/// RFC 7591 §2: "The "jwks_uri" and "jwks" parameters MUST NOT both be present in the same request
/// or response."
fn keys(all: &Members) -> Read<Option<Keys>> {
    match (member::jwks(all)?, endpoint(all, "jwks_uri")?) {
        (None, None) => Ok(None),
        (Some(set), None) => Ok(Some(Keys::Here(Box::new(set)))),
        (None, Some(uri)) => Ok(Some(Keys::At(uri))),
        (Some(_), Some(_)) => Err(ClientMetadataError::Unsupported { member: "jwks_uri" }),
    }
}

/// RFC 8705 §2.1.2: "A client using the "tls_client_auth" authentication method MUST use exactly
/// one of the below metadata parameters".
fn tls_client_auth(all: &Members) -> Read<Option<(&'static str, String)>> {
    let mut found = None;
    for name in TLS_NAMES {
        if let Some(text) = bounded(all, name)? {
            if found.is_some() {
                return Err(ClientMetadataError::Unsupported { member: name });
            }
            found = Some((*name, text));
        }
    }
    Ok(found)
}

fn statement(all: &Members) -> Read<Option<TokenText>> {
    const MEMBER: &str = "software_statement";
    let form = |_| ClientMetadataError::Form { member: MEMBER };
    member::text(all, MEMBER)?.map(TokenText::parse).transpose().map_err(form)
}

fn endpoint(all: &Members, name: &'static str) -> Read<Option<Endpoint>> {
    let form = |_| ClientMetadataError::Form { member: name };
    member::text(all, name)?.map(Endpoint::parse).transpose().map_err(form)
}

fn algorithm(all: &Members, name: &'static str) -> Read<Option<Algorithm>> {
    let one = |text: &str| Algorithm::parse(text).ok_or_else(|| unknown(name, text));
    member::text(all, name)?.map(one).transpose()
}

fn choice<T: Copy>(all: &Members, name: &'static str, values: &[(&str, T)]) -> Read<Option<T>> {
    let Some(text) = member::text(all, name)? else { return Ok(None) };
    let found = values.iter().find(|(known, _)| *known == text).map(|(_, value)| *value);
    found.map(Some).ok_or_else(|| unknown(name, text))
}

fn bounded(all: &Members, name: &'static str) -> Read<Option<String>> {
    let fits = |text: &str| text.len() <= MAX_TEXT_BYTES && letters::name(text).is_ok();
    match member::text(all, name)? {
        Some(text) if !fits(text) => Err(ClientMetadataError::Form { member: name }),
        text => Ok(text.map(str::to_owned)),
    }
}

fn texts(all: &Members, name: &'static str) -> Read<Vec<String>> {
    let Some(value) = all.get(name) else { return Ok(Vec::new()) };
    let values = value.as_array().filter(|values| values.len() <= MAX_VALUES);
    let one = |value: &Value| {
        value.as_str().filter(|text| text.len() <= MAX_TEXT_BYTES).map(str::to_owned)
    };
    let read = values.and_then(|values| values.iter().map(one).collect());
    read.ok_or(ClientMetadataError::Form { member: name })
}

fn flag(all: &Members, name: &'static str) -> Read<bool> {
    match all.get(name) {
        None => Ok(false),
        Some(Value::Bool(truth)) => Ok(*truth),
        Some(_) => Err(ClientMetadataError::Form { member: name }),
    }
}

fn seconds(all: &Members, name: &'static str) -> Read<Option<u64>> {
    let form = || ClientMetadataError::Form { member: name };
    all.get(name).map(|value| value.as_u64().ok_or_else(form)).transpose()
}

fn unknown(member: &'static str, found: &str) -> ClientMetadataError {
    ClientMetadataError::Value { member, found: member::evidence(found) }
}
