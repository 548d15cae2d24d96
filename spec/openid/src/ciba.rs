//! Users who are asked out of band (CIBA Core 1.0, FAPI-CIBA): the request in both forms, its
//! answer, and what a client is told when the user has decided.
//!
//! In scope: messages and their limits. Not here: finding the user, asking, polling too fast.

use std::fmt;

use jose::{Audience, Kind, NumericDate, Verified, Window};
use oauth::authorization_details::AuthorizationDetails;
use oauth::error::ErrorCode;
use oauth::form::Form;
use oauth::jwt_grant::JwtGrantClaims;
use oauth::parameter::{Refused, bounded};
use oauth::registration::DeliveryMode;
use oauth::request_object::{ObjectRefused, parameters};
use oauth::token_response::TokenResponse;
use oauth::{ClientId, Issuer, Resource, ScopeSet, TokenId, TokenText};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

/// Where the parameters are told.
const RULE: &str = "CIBA Core 1.0 §7.1";
/// §7.1: "The length of the token MUST NOT exceed 1024 characters".
const MAX_NOTIFICATION_TOKEN: usize = 1_024;
/// Characters of `binding_message`. §7.1: it "SHOULD be relatively short".
const MAX_BINDING_MESSAGE: usize = 128;
/// Bytes of `login_hint`, of `acr_values` and of `user_code`.
const MAX_BYTES: usize = 1_024;
/// Values of `resource`.
const MAX_RESOURCES: usize = 8;
/// FAPI-CIBA §5.2.2: "limit the lifetime of the request to no more than 60 minutes".
const FAPI_LIFETIME: Span = Span::from_seconds(3_600);
/// §7.3: "If no value is provided, clients MUST use 5 as the default value."
pub const DEFAULT_INTERVAL_SECONDS: u64 = 5;
/// §11: "the interval MUST be increased by at least 5 seconds".
pub const SLOW_DOWN_SECONDS: u64 = 5;
/// Claims that speak of a signed request, not of what is asked.
const OF_THE_REQUEST: &[&str] = &["iss", "aud", "exp", "nbf", "iat", "jti"];
/// Parameters that must not stand beside a signed request.
const ASKED: &[&str] = &[
    "scope",
    "client_notification_token",
    "acr_values",
    "login_hint_token",
    "id_token_hint",
    "login_hint",
    "binding_message",
    "user_code",
    "requested_expiry",
    "authorization_details",
    "resource",
];

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackchannelRequest {
    pub scope: ScopeSet,
    pub hint: Hint,
    /// What the client will know us by when it is told.
    pub client_notification_token: Option<TokenText>,
    pub acr_values: Vec<String>,
    pub binding_message: Option<String>,
    pub user_code: Option<UserSecret>,
    /// Seconds.
    pub requested_expiry: Option<u64>,
    pub authorization_details: Option<AuthorizationDetails>,
    pub resources: Vec<Resource>,
}

/// Who is to be asked: exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    Login(String),
    LoginToken(TokenText),
    IdToken(TokenText),
}

/// `user_code`: a secret of the user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSecret(String);

impl UserSecret {
    /// The text, to be compared in constant time.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSecret(…)")
    }
}

/// How the client registered.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    pub mode: DeliveryMode,
    pub user_code_parameter: bool,
}

impl BackchannelRequest {
    /// Reads the parameters, or those of a signed request.
    pub fn parse(form: &Form, client: Registered) -> Result<Self, BackchannelRefused> {
        let scope = form.get("scope").ok_or(Refused::missing("scope", RULE))?;
        let scope = ScopeSet::parse(scope).map_err(|why| {
            BackchannelRefused::new(ErrorCode::InvalidScope, Refused::form("scope", RULE, why))
        })?;
        let details = form.get("authorization_details").map(AuthorizationDetails::parse);
        let details = details
            .transpose()
            .map_err(|why| BackchannelRefused::new(ErrorCode::InvalidAuthorizationDetails, why))?;
        let acr = bounded(form, "acr_values", RULE, MAX_BYTES)?.unwrap_or_default();
        Ok(Self {
            scope,
            hint: Hint::of(form)?,
            client_notification_token: notification_token(form, client.mode)?,
            acr_values: acr.split_ascii_whitespace().map(str::to_owned).collect(),
            binding_message: binding_message(form)?,
            user_code: user_code(form, client.user_code_parameter)?,
            requested_expiry: requested_expiry(form)?,
            authorization_details: details,
            resources: resources(form)?,
        })
    }
}

impl Hint {
    fn of(form: &Form) -> Result<Self, Refused> {
        let token = |name: &'static str| {
            let read = form.get(name).map(TokenText::parse).transpose();
            read.map_err(|why| Refused::form(name, RULE, why))
        };
        let login = bounded(form, "login_hint", RULE, MAX_BYTES)?;
        // §7.1: "it is REQUIRED that the Client provides one (and only one) of the hints specified
        // above in the authentication request".
        match (login, token("login_hint_token")?, token("id_token_hint")?) {
            (Some(login), None, None) => Ok(Self::Login(login.to_owned())),
            (None, Some(token), None) => Ok(Self::LoginToken(token)),
            (None, None, Some(token)) => Ok(Self::IdToken(token)),
            (None, None, None) => Err(Refused::missing("login_hint", RULE)),
            _ => Err(Refused::form("login_hint", RULE, "more than one hint")),
        }
    }
}

fn notification_token(form: &Form, mode: DeliveryMode) -> Result<Option<TokenText>, Refused> {
    const NAME: &str = "client_notification_token";
    // §7.1: "REQUIRED if the Client is registered to use Ping or Push modes."
    let Some(text) = bounded(form, NAME, RULE, MAX_NOTIFICATION_TOKEN)? else {
        let polls = mode == DeliveryMode::Poll;
        return if polls { Ok(None) } else { Err(Refused::missing(NAME, RULE)) };
    };
    // §7.1: "it MUST conform to the syntax for Bearer credentials".
    let token = TokenText::of_field([text.as_bytes()]);
    token.map(Some).map_err(|why| Refused::form(NAME, RULE, why))
}

fn binding_message(form: &Form) -> Result<Option<String>, BackchannelRefused> {
    let Some(text) = form.get("binding_message") else { return Ok(None) };
    // §7.1: "the "binding_message" value SHOULD be relatively short and use a limited set of plain
    // text characters." Nothing in it can turn the text around or hide a part of it.
    let plain = |c: char| c.is_alphanumeric() || c == ' ' || c.is_ascii_punctuation();
    if text.chars().count() > MAX_BINDING_MESSAGE || !text.chars().all(plain) {
        let what = format!("more than {MAX_BINDING_MESSAGE} characters, or one that is not plain");
        let why = Refused::form("binding_message", RULE, what);
        return Err(BackchannelRefused::new(ErrorCode::InvalidBindingMessage, why));
    }
    Ok(Some(text.to_owned()))
}

fn user_code(form: &Form, takes: bool) -> Result<Option<UserSecret>, BackchannelRefused> {
    // §7.1: "This parameter should only be present if the client registration parameter
    // "backchannel_user_code_parameter" indicates support for the user code."
    match bounded(form, "user_code", RULE, MAX_BYTES)? {
        Some(_) if !takes => Err(Refused::unexpected("user_code", RULE).into()),
        code => Ok(code.map(|code| UserSecret(code.to_owned()))),
    }
}

fn requested_expiry(form: &Form) -> Result<Option<u64>, Refused> {
    const NAME: &str = "requested_expiry";
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        // §7.1: "A positive integer".
        let number = text.parse().ok().filter(|number| digits && *number > 0);
        number.ok_or_else(|| Refused::form(NAME, RULE, "not a positive number of seconds"))
    };
    form.get(NAME).map(number).transpose()
}

fn resources(form: &Form) -> Result<Vec<Resource>, BackchannelRefused> {
    let refused = |what: String| {
        let why = Refused::form("resource", "RFC 8707 §2", what);
        BackchannelRefused::new(ErrorCode::InvalidTarget, why)
    };
    if form.all("resource").count() > MAX_RESOURCES {
        return Err(refused(format!("more than {MAX_RESOURCES} values")));
    }
    let read = form.all("resource").map(Resource::parse).collect::<Result<_, _>>();
    read.map_err(|why| refused(why.to_string()))
}

/// Why a request is refused, and the code of §13.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct BackchannelRefused {
    pub error: ErrorCode,
    pub why: Refused,
}

impl BackchannelRefused {
    const fn new(error: ErrorCode, why: Refused) -> Self {
        Self { error, why }
    }
}

impl From<Refused> for BackchannelRefused {
    fn from(why: Refused) -> Self {
        let error = ErrorCode::InvalidRequest;
        Self { error, why }
    }
}

/// The kind of a signed request (§7.1.1), for which no type is defined.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest;

/// §7.1.1: each of these is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRequestClaims {
    pub iss: ClientId,
    pub aud: Audience,
    pub exp: NumericDate,
    pub iat: NumericDate,
    pub nbf: NumericDate,
    pub jti: TokenId,
    /// What is asked.
    #[serde(flatten)]
    pub parameters: Map<String, Value>,
}

impl Kind for SignedRequest {
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = SignedRequestClaims;
    type Hint = ClientId;

    fn hint(claims: &SignedRequestClaims) -> ClientId {
        claims.iss.clone()
    }

    fn window(claims: &SignedRequestClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: Some(claims.nbf), iat: Some(claims.iat) }
    }
}

/// The kind of a `login_hint_token` (§7.1): "The particular details and security requirements for
/// the login_hint_token as well as how the End-User is identified by its content are deployment or
/// profile specific." Here it is a JWT about its `sub`, with a type of its own, so that neither an
/// assertion nor an ID token is taken for one.
#[derive(Clone, Copy, Debug)]
pub struct LoginHint;

impl Kind for LoginHint {
    const TYPES: &'static [&'static str] = &["login-hint+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = JwtGrantClaims;
    type Hint = String;

    fn hint(claims: &JwtGrantClaims) -> String {
        claims.iss.clone()
    }

    fn window(claims: &JwtGrantClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: claims.nbf, iat: claims.iat }
    }
}

/// The signed request in the parameters, if there is one.
pub fn signed(form: &Form) -> Result<Option<TokenText>, Refused> {
    const SIGNED: &str = "CIBA Core 1.0 §7.1.1";
    let Some(text) = form.get("request") else { return Ok(None) };
    // §7.1.1: "Authentication request parameters MUST NOT be present outside of the JWT".
    if let Some(name) = ASKED.iter().find(|name| form.has(name)) {
        return Err(Refused::unexpected(name, SIGNED));
    }
    let token = TokenText::parse(text);
    token.map(Some).map_err(|why| Refused::form("request", SIGNED, why))
}

/// Checks a signed request that was verified with a key of the client which authenticated, and
/// gives what is asked. `fapi`: whether FAPI-CIBA limits its life.
pub fn check_signed(
    token: &Verified<SignedRequest>,
    client_id: &ClientId,
    issuer: &Issuer,
    fapi: bool,
) -> Result<Form, SignedRefused> {
    let claims = token.claims();
    // §7.1.1: "The Issuer claim MUST be the "client_id" of the OAuth Client."
    if claims.iss != *client_id {
        let (found, expected) = (claims.iss.clone(), client_id.clone());
        return Err(SignedRefused::WrongClient { found, expected });
    }
    // §7.1.1: "The Audience claim MUST contain the value of the Issuer Identifier for the OP".
    if !claims.aud.contains(issuer.as_str()) {
        let (found, expected) = (claims.aud.clone(), issuer.clone());
        return Err(SignedRefused::WrongAudience { found, expected });
    }
    // FAPI-CIBA §5.2.2: "shall require the Signed Authentication Request to contain nbf and exp
    // claims that limit the lifetime of the request to no more than 60 minutes".
    let (nbf, exp) = (claims.nbf.time(), claims.exp.time());
    if fapi && exp > nbf.plus(FAPI_LIFETIME) {
        return Err(SignedRefused::LivesTooLong { nbf, exp });
    }
    let mut asked = claims.parameters.clone();
    asked.retain(|name, _| !OF_THE_REQUEST.contains(&name.as_str()) && name != "client_id");
    Ok(parameters(client_id, &asked)?)
}

/// Why a verified request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedRefused {
    #[error("request of `{found}`, expected `{expected}` (CIBA Core 1.0 §7.1.1)")]
    WrongClient { found: ClientId, expected: ClientId },
    #[error("request for {found}, expected `{expected}` (CIBA Core 1.0 §7.1.1)")]
    WrongAudience { found: Audience, expected: Issuer },
    #[error("request from {nbf} to {exp}, too long (FAPI-CIBA §5.2.2)")]
    LivesTooLong { nbf: UnixTime, exp: UnixTime },
    #[error(transparent)]
    Parameter(#[from] ObjectRefused),
}

/// FAPI-CIBA §5.2.2 about a client: "shall not support CIBA push mode".
pub const fn fapi_allows(mode: DeliveryMode) -> bool {
    !matches!(mode, DeliveryMode::Push)
}

/// FAPI-CIBA §5.2.2 about a request: "shall ensure unique authorization context exists in the
/// authorization request or require a binding_message in the authentication request".
pub const fn has_context(request: &BackchannelRequest) -> bool {
    request.binding_message.is_some() || request.authorization_details.is_some()
}

/// The answer to a request (§7.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackchannelResponse {
    pub auth_req_id: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds; absent for push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
}

/// What is posted to a client that is pinged (§10.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    pub auth_req_id: String,
}

/// What is posted to a client that is pushed its tokens (§10.3.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    pub auth_req_id: String,
    #[serde(flatten)]
    pub tokens: TokenResponse,
}

/// What is posted where there are none (§12): `access_denied`, `expired_token` or
/// `transaction_failed`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushError {
    pub error: ErrorCode,
    pub auth_req_id: String,
}

impl fmt::Debug for BackchannelResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expires_in, interval) = (self.expires_in, self.interval);
        write!(f, "BackchannelResponse(… for {expires_in} s, {interval:?})")
    }
}

impl fmt::Debug for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ping(…)")
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl fmt::Debug for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushError").field("error", &self.error).finish_non_exhaustive()
    }
}
