//! Requests to the token endpoint: authorization code, client credentials and refresh (RFC 6749
//! §4.1.3, §4.4, §6), token exchange (RFC 8693 §2.1) and, as a profile of it, transaction tokens
//! (draft-ietf-oauth-transaction-tokens §11.1), JWT authorization grants (RFC 7523 §2.1), device
//! codes (RFC 8628 §3.4), backchannel authentication (CIBA Core 1.0 §10.1) and deferred tokens.
//!
//! In scope: from parameters to a typed request. Not here: who the client is
//! ([`crate::client_assertion`]) and whether it gets what it asks for.

use std::fmt;

use jose::json::{self, NotStrict};
use serde_json::{Map, Value};

use crate::authorization_details::AuthorizationDetails;
use crate::confirmation::Confirmation;
use crate::error::ErrorCode;
use crate::form::Form;
use crate::parameter::{Refused, bounded};
use crate::pkce::CodeVerifier;
use crate::resource::{AudienceName, NotAResource, NotAnAudience, Resource};
use crate::scope::{NotAScope, ScopeSet};
use crate::token_text::{NotATokenText, TokenText};
use crate::token_type::TokenType;

/// Values of `resource` and of `audience`, together.
const MAX_TARGETS: usize = 8;
/// Bytes of `request_context` and of `request_details`, each.
const MAX_CONTEXT_BYTES: usize = 4_096;
/// Bytes of `requested_cnf`: one member with one hash.
const MAX_CONFIRMATION_BYTES: usize = 128;
/// Bytes of `redirect_uri`: of one that can be registered.
const MAX_REDIRECT_URI_BYTES: usize = 2_048;
/// Bytes of what an error repeats.
const MAX_EVIDENCE_BYTES: usize = 64;

/// The grants that the endpoint knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantType {
    ClientCredentials,
    TokenExchange,
    AuthorizationCode,
    RefreshToken,
    /// RFC 7523: also identity chaining and ID-JAG.
    JwtBearer,
    DeviceCode,
    Ciba,
    /// Deferred token response, a draft.
    Deferred,
}

impl GrantType {
    /// Every grant.
    pub const ALL: &'static [Self] = &[
        Self::ClientCredentials,
        Self::TokenExchange,
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::JwtBearer,
        Self::DeviceCode,
        Self::Ciba,
        Self::Deferred,
    ];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::Ciba => "urn:openid:params:grant-type:ciba",
            Self::Deferred => "urn:ietf:params:oauth:grant-type:deferred",
        }
    }

    /// The grant of that value.
    pub fn parse(value: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|grant| grant.as_str() == value)
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request, as far as its grant reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRequest {
    ClientCredentials(ClientCredentials),
    TokenExchange(Box<TokenExchange>),
    AuthorizationCode(Box<AuthorizationCode>),
    RefreshToken(Box<RefreshToken>),
    JwtBearer(Box<JwtBearer>),
    DeviceCode(DeviceCode),
    Ciba(Ciba),
    Deferred(Deferred),
}

/// A code that a user's browser brought (RFC 6749 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationCode {
    pub code: TokenText,
    /// As the client wrote it: to be the same text as in the authorization request.
    pub redirect_uri: Option<String>,
    pub code_verifier: Option<CodeVerifier>,
    pub asked: Asked,
}

/// A refresh token (RFC 6749 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    pub refresh_token: TokenText,
    pub asked: Asked,
}

/// An assertion of another issuer (RFC 7523 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtBearer {
    pub assertion: TokenText,
    pub asked: Asked,
}

/// A device that waits for its user (RFC 8628 §3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCode {
    pub device_code: TokenText,
    pub resources: Vec<Resource>,
}

/// A client that waits for a user whom the server asked (CIBA Core 1.0 §10.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciba {
    pub auth_req_id: TokenText,
    pub resources: Vec<Resource>,
}

/// A client that waits for an answer which was put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    pub deferral_code: TokenText,
}

/// How much of what was granted is asked for; all of it where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub scope: Option<ScopeSet>,
    pub resources: Vec<Resource>,
    pub authorization_details: Option<AuthorizationDetails>,
}

/// An agent on its own behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCredentials {
    pub scope: Option<ScopeSet>,
    pub resources: Vec<Resource>,
}

/// One token for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenExchange {
    pub resources: Vec<Resource>,
    pub audiences: Vec<AudienceName>,
    pub scope: Option<ScopeSet>,
    pub requested_token_type: Option<TokenType>,
    pub subject: TypedToken,
    pub actor: Option<TypedToken>,
    /// `requested_cnf`: the key of whoever will use the token, where that is not the client
    /// (draft-ietf-oauth-identity-chaining appendix B.3 has it as a claim, a parameter by
    /// extension).
    pub requested_cnf: Option<Confirmation>,
    /// `request_context`, for `rctx` of a transaction token.
    pub request_context: Option<Map<String, Value>>,
    /// `request_details`, for `tctx` of a transaction token.
    pub request_details: Option<Map<String, Value>>,
}

/// A token and what the client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedToken {
    pub token: TokenText,
    pub token_type: TokenType,
}

impl TokenRequest {
    /// Reads the parameters. Those that no grant knows are ignored, as RFC 6749 §3.2 demands, save
    /// those that would narrow what is asked: to ignore them would give more.
    pub fn parse(form: &Form) -> Result<Self, TokenRequestError> {
        let grant = required(form, "grant_type")?;
        let grant = GrantType::parse(grant)
            .ok_or_else(|| TokenRequestError::UnsupportedGrantType { found: evidence(grant) })?;
        let takes_details = matches!(
            grant,
            GrantType::AuthorizationCode | GrantType::RefreshToken | GrantType::JwtBearer
        );
        // RFC 9396 §5: "The AS MUST refuse to process any unknown authorization details type"; no
        // type is known to the other grants.
        if form.has("authorization_details") && !takes_details {
            return Err(TokenRequestError::AuthorizationDetails);
        }
        match grant {
            GrantType::AuthorizationCode => {
                AuthorizationCode::parse(form).map(Box::new).map(Self::AuthorizationCode)
            }
            GrantType::RefreshToken => {
                let (refresh_token, asked) = (token(form, "refresh_token")?, Asked::parse(form)?);
                Ok(Self::RefreshToken(Box::new(RefreshToken { refresh_token, asked })))
            }
            GrantType::JwtBearer => {
                // RFC 7523 §2.1: "The value of the "assertion" parameter MUST contain a single
                // JWT."
                let (assertion, asked) = (token(form, "assertion")?, Asked::parse(form)?);
                Ok(Self::JwtBearer(Box::new(JwtBearer { assertion, asked })))
            }
            GrantType::DeviceCode => {
                let (device_code, resources) = (token(form, "device_code")?, resources(form)?);
                Ok(Self::DeviceCode(DeviceCode { device_code, resources }))
            }
            GrantType::Ciba => {
                let (auth_req_id, resources) = (token(form, "auth_req_id")?, resources(form)?);
                Ok(Self::Ciba(Ciba { auth_req_id, resources }))
            }
            GrantType::Deferred => {
                Ok(Self::Deferred(Deferred { deferral_code: token(form, "deferral_code")? }))
            }
            GrantType::ClientCredentials => {
                let (scope, resources) = (scope(form)?, resources(form)?);
                Ok(Self::ClientCredentials(ClientCredentials { scope, resources }))
            }
            GrantType::TokenExchange => {
                TokenExchange::parse(form).map(Box::new).map(Self::TokenExchange)
            }
        }
    }

    /// The grant of the request.
    pub const fn grant_type(&self) -> GrantType {
        match self {
            Self::ClientCredentials(_) => GrantType::ClientCredentials,
            Self::TokenExchange(_) => GrantType::TokenExchange,
            Self::AuthorizationCode(_) => GrantType::AuthorizationCode,
            Self::RefreshToken(_) => GrantType::RefreshToken,
            Self::JwtBearer(_) => GrantType::JwtBearer,
            Self::DeviceCode(_) => GrantType::DeviceCode,
            Self::Ciba(_) => GrantType::Ciba,
            Self::Deferred(_) => GrantType::Deferred,
        }
    }

    /// `resource`.
    pub fn resources(&self) -> &[Resource] {
        match self {
            Self::ClientCredentials(request) => &request.resources,
            Self::TokenExchange(request) => &request.resources,
            Self::AuthorizationCode(request) => &request.asked.resources,
            Self::RefreshToken(request) => &request.asked.resources,
            Self::JwtBearer(request) => &request.asked.resources,
            Self::DeviceCode(request) => &request.resources,
            Self::Ciba(request) => &request.resources,
            Self::Deferred(_) => &[],
        }
    }
}

/// Whether the client would rather wait than be refused where a human is to be asked first
/// (Deferred Token Response, a draft): `completion_mode=deferred`.
pub fn may_be_deferred(form: &Form) -> Result<bool, Refused> {
    const RULE: &str = "draft Deferred Token Response";
    match form.get("completion_mode") {
        None => Ok(false),
        Some("deferred") => Ok(true),
        Some(other) => Err(Refused::value("completion_mode", RULE, other)),
    }
}

impl AuthorizationCode {
    fn parse(form: &Form) -> Result<Self, TokenRequestError> {
        let redirect_uri = form.get("redirect_uri");
        if let Some(uri) = redirect_uri.filter(|uri| uri.len() > MAX_REDIRECT_URI_BYTES) {
            let (length, max) = (uri.len(), MAX_REDIRECT_URI_BYTES);
            return Err(TokenRequestError::ContextTooLong { name: "redirect_uri", length, max });
        }
        let asked = Asked::parse(form)?;
        // RFC 6749 §4.1.3 has no `scope`: what the user agreed to is settled.
        Ok(Self {
            code: token(form, "code")?,
            redirect_uri: redirect_uri.map(str::to_owned),
            code_verifier: form.get("code_verifier").map(CodeVerifier::parse).transpose()?,
            asked: Asked { scope: None, ..asked },
        })
    }
}

impl Asked {
    fn parse(form: &Form) -> Result<Self, TokenRequestError> {
        let details = form.get("authorization_details").map(AuthorizationDetails::parse);
        let details = details.transpose().map_err(TokenRequestError::Details)?;
        let (scope, resources) = (scope(form)?, resources(form)?);
        Ok(Self { scope, resources, authorization_details: details })
    }
}

impl TokenExchange {
    fn parse(form: &Form) -> Result<Self, TokenRequestError> {
        let request = Self {
            resources: resources(form)?,
            audiences: audiences(form)?,
            scope: scope(form)?,
            requested_token_type: optional_type(form, "requested_token_type")?,
            subject: TypedToken {
                token: token(form, "subject_token")?,
                token_type: token_type(form, "subject_token_type")?,
            },
            actor: actor(form)?,
            requested_cnf: confirmation(form)?,
            request_context: context(form, "request_context")?,
            request_details: context(form, "request_details")?,
        };
        if request.requested_token_type == Some(TokenType::TxnToken) {
            request.fits_transaction_token()?;
        }
        Ok(request)
    }

    fn fits_transaction_token(&self) -> Result<(), TokenRequestError> {
        // draft-ietf-oauth-transaction-tokens §11.1: "audience REQUIRED. The value MUST be set to
        // the Trust Domain name."
        match self.audiences.len() {
            0 => return Err(TokenRequestError::Missing { name: "audience" }),
            1 => {}
            _ => return Err(TokenRequestError::SeveralAudiences),
        }
        // draft-ietf-oauth-transaction-tokens §11.1: "scope REQUIRED."
        if self.scope.is_none() {
            return Err(TokenRequestError::Missing { name: "scope" });
        }
        Ok(())
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    #[error("parameter `{name}` is absent")]
    Missing { name: &'static str },
    #[error("grant type `{found}` is not supported")]
    UnsupportedGrantType { found: String },
    #[error("no type of `authorization_details` is supported")]
    AuthorizationDetails,
    #[error(transparent)]
    Details(Refused),
    #[error(transparent)]
    Parameter(#[from] Refused),
    #[error(transparent)]
    Scope(#[from] NotAScope),
    #[error(transparent)]
    Resource(#[from] NotAResource),
    #[error(transparent)]
    Audience(#[from] NotAnAudience),
    #[error("more than {max} values of `resource` and `audience`")]
    TooManyTargets { max: usize },
    #[error("a transaction token is for one `audience`")]
    SeveralAudiences,
    #[error("token type `{found}` in `{name}` is not known")]
    UnknownTokenType { name: &'static str, found: String },
    #[error("`actor_token_type` without `actor_token`")]
    ActorTypeAlone,
    #[error("`{name}`: {reason}")]
    Token { name: &'static str, reason: NotATokenText },
    #[error("`{name}` of {length} bytes, more than {max}")]
    ContextTooLong { name: &'static str, length: usize, max: usize },
    #[error("`{name}`: {reason}")]
    Context { name: &'static str, reason: NotStrict },
}

impl TokenRequestError {
    /// The code that the specification has for it.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnsupportedGrantType { .. } => ErrorCode::UnsupportedGrantType,
            Self::AuthorizationDetails | Self::Details(_) => ErrorCode::InvalidAuthorizationDetails,
            Self::Scope(_) => ErrorCode::InvalidScope,
            // RFC 8707 §2: "invalid_target: The requested resource is invalid, missing, unknown,
            // or malformed."
            Self::Resource(_)
            | Self::Audience(_)
            | Self::TooManyTargets { .. }
            | Self::SeveralAudiences => ErrorCode::InvalidTarget,
            // RFC 8693 §2.2.2: "The value of the "error" parameter MUST be the "invalid_request"
            // error code."
            Self::Missing { .. }
            | Self::Parameter(_)
            | Self::UnknownTokenType { .. }
            | Self::ActorTypeAlone
            | Self::Token { .. }
            | Self::ContextTooLong { .. }
            | Self::Context { .. } => ErrorCode::InvalidRequest,
        }
    }
}

fn required<'a>(form: &'a Form, name: &'static str) -> Result<&'a str, TokenRequestError> {
    form.get(name).ok_or(TokenRequestError::Missing { name })
}

fn scope(form: &Form) -> Result<Option<ScopeSet>, TokenRequestError> {
    Ok(form.get("scope").map(ScopeSet::parse).transpose()?)
}

fn resources(form: &Form) -> Result<Vec<Resource>, TokenRequestError> {
    let targets = form.all("resource").count() + form.all("audience").count();
    if targets > MAX_TARGETS {
        return Err(TokenRequestError::TooManyTargets { max: MAX_TARGETS });
    }
    Ok(form.all("resource").map(Resource::parse).collect::<Result<_, _>>()?)
}

fn audiences(form: &Form) -> Result<Vec<AudienceName>, TokenRequestError> {
    Ok(form.all("audience").map(AudienceName::parse).collect::<Result<_, _>>()?)
}

fn confirmation(form: &Form) -> Result<Option<Confirmation>, TokenRequestError> {
    const NAME: &str = "requested_cnf";
    const RULE: &str = "draft-ietf-oauth-identity-chaining appendix B.3";
    let Some(text) = bounded(form, NAME, RULE, MAX_CONFIRMATION_BYTES)? else { return Ok(None) };
    let refused = |why: &dyn fmt::Display| {
        TokenRequestError::from(Refused::form(NAME, RULE, why.to_string()))
    };
    let members = json::parse(text).map_err(|why| refused(&why))?;
    match serde_json::from_value(Value::Object(members)).map_err(|why| refused(&why))? {
        Confirmation::Jwk(_) => Err(refused(&"a key is named by its thumbprint alone")),
        thumbprint => Ok(Some(thumbprint)),
    }
}

fn actor(form: &Form) -> Result<Option<TypedToken>, TokenRequestError> {
    // RFC 8693 §2.1: "This is REQUIRED when the "actor_token" parameter is present in the request
    // but MUST NOT be included otherwise."
    if !form.has("actor_token") {
        let alone = form.has("actor_token_type");
        return if alone { Err(TokenRequestError::ActorTypeAlone) } else { Ok(None) };
    }
    let token = token(form, "actor_token")?;
    Ok(Some(TypedToken { token, token_type: token_type(form, "actor_token_type")? }))
}

fn token(form: &Form, name: &'static str) -> Result<TokenText, TokenRequestError> {
    let token = TokenText::parse(required(form, name)?);
    token.map_err(|reason| TokenRequestError::Token { name, reason })
}

fn token_type(form: &Form, name: &'static str) -> Result<TokenType, TokenRequestError> {
    optional_type(form, name)?.ok_or(TokenRequestError::Missing { name })
}

fn optional_type(form: &Form, name: &'static str) -> Result<Option<TokenType>, TokenRequestError> {
    let unknown =
        |found: &str| TokenRequestError::UnknownTokenType { name, found: evidence(found) };
    let parse = |urn: &str| TokenType::parse(urn).ok_or_else(|| unknown(urn));
    form.get(name).map(parse).transpose()
}

/// draft-ietf-oauth-transaction-tokens §11.1: "This parameter contains a JSON object".
fn context(
    form: &Form,
    name: &'static str,
) -> Result<Option<Map<String, Value>>, TokenRequestError> {
    let Some(text) = form.get(name) else { return Ok(None) };
    if text.len() > MAX_CONTEXT_BYTES {
        let length = text.len();
        return Err(TokenRequestError::ContextTooLong { name, length, max: MAX_CONTEXT_BYTES });
    }
    json::parse(text).map(Some).map_err(|reason| TokenRequestError::Context { name, reason })
}

fn evidence(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_EVIDENCE_BYTES).collect()
}
