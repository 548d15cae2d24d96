//! Requests to the token endpoint: client credentials (RFC 6749 §4.4), token exchange (RFC 8693
//! §2.1) and, as a profile of it, transaction tokens (draft-ietf-oauth-transaction-tokens §11.1).
//!
//! In scope: from parameters to a typed request. Not here: who the client is
//! ([`crate::client_assertion`]) and whether it gets what it asks for.

use std::fmt;

use jose::json::{self, NotStrict};
use serde_json::{Map, Value};

use crate::error::ErrorCode;
use crate::form::Form;
use crate::resource::{AudienceName, NotAResource, NotAnAudience, Resource};
use crate::scope::{NotAScope, ScopeSet};
use crate::token_text::{NotATokenText, TokenText};
use crate::token_type::TokenType;

/// Values of `resource` and of `audience`, together.
const MAX_TARGETS: usize = 8;
/// Bytes of `request_context` and of `request_details`, each.
const MAX_CONTEXT_BYTES: usize = 4_096;
/// Bytes of what an error repeats.
const MAX_EVIDENCE_BYTES: usize = 64;

/// The grants that the endpoint knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantType {
    ClientCredentials,
    TokenExchange,
}

impl GrantType {
    /// Every grant.
    pub const ALL: &'static [Self] = &[Self::ClientCredentials, Self::TokenExchange];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
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
        // RFC 9396 §5: "The AS MUST refuse to process any unknown authorization details type"; no
        // type is known here.
        if form.has("authorization_details") {
            return Err(TokenRequestError::AuthorizationDetails);
        }
        match grant {
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
        }
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
            Self::AuthorizationDetails => ErrorCode::InvalidAuthorizationDetails,
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
