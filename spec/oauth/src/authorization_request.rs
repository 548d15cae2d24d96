//! Requests to the authorization endpoint (RFC 6749 §4.1.1, OpenID Connect Core 1.0 §3.1.2.1), with
//! PKCE, resource indicators, rich authorization requests, the key of DPoP and response modes.
//!
//! In scope: from parameters to a typed request, in the two steps that decide who is told of a
//! fault: [`Arrived`] says who asks and where answers go, and what is wrong with that is told to
//! the user alone; what [`AuthorizationRequest::parse`] refuses may be told by redirect, once
//! client and redirect URI are known to belong together. Not here: whether they do.

use std::collections::BTreeMap;

use jose::{Thumbprint, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authorization_details::AuthorizationDetails;
use crate::error::ErrorCode;
use crate::form::Form;
use crate::identifier::ClientId;
use crate::parameter::{Fault, Refused, bounded, required};
use crate::pkce::CodeChallenge;
use crate::pushed::RequestUri;
use crate::resource::Resource;
use crate::scope::ScopeSet;
use crate::token_text::TokenText;

/// Bytes of `redirect_uri`.
const MAX_REDIRECT_URI_BYTES: usize = 2_048;
/// Bytes of `state` and of `nonce`, each.
const MAX_STATE_BYTES: usize = 2_048;
/// Bytes of `login_hint`, and of lists of words.
const MAX_HINT_BYTES: usize = 1_024;
/// Words of `acr_values` and of `ui_locales`, each.
const MAX_WORDS: usize = 16;
/// Values of `resource`.
const MAX_RESOURCES: usize = 8;
/// Bytes of `claims`.
const MAX_CLAIMS_BYTES: usize = 4_096;
/// Claims that are asked for in one place.
const MAX_CLAIMS: usize = 64;
/// Where most of the parameters are told.
const CORE: &str = "OpenID Connect Core 1.0 §3.1.2.1";

/// All that is read of a request. RFC 6749 §3.1: "The authorization server MUST ignore unrecognized
/// request parameters": they need not be kept either.
pub const PARAMETERS: &[&str] = &[
    "acr_values",
    "authorization_details",
    "claims",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "display",
    "dpop_jkt",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
];

/// Who asks, and how the request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// `client_id`, unproven.
    pub client_id: ClientId,
    /// Where the parameters are.
    pub by: By,
}

/// Where the parameters of a request are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// In the request itself.
    Parameters,
    /// In a signed request object (RFC 9101 §5): nothing outside counts.
    Value(TokenText),
    /// Pushed before (RFC 9126 §4).
    Reference(RequestUri),
}

impl Arrived {
    /// Reads what must be known before anything can be told by redirect.
    pub fn read(form: &Form) -> Result<Self, Refused> {
        const RULE: &str = "RFC 6749 §4.1.1";
        // RFC 6749 §4.1.2.1: "If the request fails due to a missing, invalid, or mismatching
        // redirection URI, or if the client identifier is missing or invalid, the authorization
        // server SHOULD inform the resource owner of the error and MUST NOT automatically redirect
        // the user-agent to the invalid redirection URI."
        let client_id = ClientId::parse(required(form, "client_id", RULE)?);
        let client_id = client_id.map_err(|why| Refused::form("client_id", RULE, why))?;
        let by = match (form.get("request"), form.get("request_uri")) {
            (None, None) => By::Parameters,
            // RFC 9101 §5: "If this parameter is present in the authorization request,
            // "request_uri" MUST NOT be present."
            (Some(_), Some(_)) => return Err(Refused::unexpected("request_uri", "RFC 9101 §5")),
            (Some(text), None) => {
                let text = TokenText::parse(text);
                By::Value(text.map_err(|why| Refused::form("request", "RFC 9101 §5.1", why))?)
            }
            (None, Some(uri)) => By::Reference(RequestUri::parse(uri)?),
        };
        Ok(Self { client_id, by })
    }
}

/// Where an answer goes, once it is known that the client may be answered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// As the client wrote it; absent where one is registered alone.
    pub redirect_uri: Option<String>,
    /// `state`, to be given back.
    pub state: Option<String>,
    /// `response_mode`.
    pub mode: ResponseMode,
}

impl ReplyTo {
    /// Reads it of a request, whatever else is wrong there: a `state` or mode that is refused is
    /// left out, for the refusal has to reach the client all the same.
    pub fn read(form: &Form) -> Result<Self, Refused> {
        const RULE: &str = "RFC 6749 §3.1.2";
        let uri = bounded(form, "redirect_uri", RULE, MAX_REDIRECT_URI_BYTES)?;
        Ok(Self {
            redirect_uri: uri.map(str::to_owned),
            state: state(form).ok().flatten(),
            mode: response_mode(form).unwrap_or_default(),
        })
    }
}

/// `response_mode`: how an answer travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResponseMode {
    /// OAuth 2.0 Multiple Response Type Encoding Practices §2.1; the default of a code.
    #[default]
    Query,
    Fragment,
    /// OAuth 2.0 Form Post Response Mode §2.
    FormPost,
    /// JARM §2.3.1.
    QueryJwt,
    FragmentJwt,
    FormPostJwt,
}

impl ResponseMode {
    /// Every mode.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("query", Self::Query),
        ("fragment", Self::Fragment),
        ("form_post", Self::FormPost),
        ("query.jwt", Self::QueryJwt),
        ("fragment.jwt", Self::FragmentJwt),
        ("form_post.jwt", Self::FormPostJwt),
        // JARM §2.3.4: the default of its response type, which is the query for a code.
        ("jwt", Self::QueryJwt),
    ];

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }

    /// Whether the answer is a signed JWT.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::QueryJwt | Self::FragmentJwt | Self::FormPostJwt)
    }
}

/// A request, as it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    pub client_id: ClientId,
    pub redirect_uri: Option<String>,
    pub scope: Option<ScopeSet>,
    pub state: Option<String>,
    pub response_mode: ResponseMode,
    pub code_challenge: Option<CodeChallenge>,
    pub resources: Vec<Resource>,
    pub authorization_details: Option<AuthorizationDetails>,
    /// RFC 9449 §10: the key that the code is for.
    pub dpop_jkt: Option<Thumbprint>,
    pub nonce: Option<String>,
    pub prompt: Prompt,
    /// Seconds since the user authenticated, at most.
    pub max_age: Option<u64>,
    pub acr_values: Vec<String>,
    pub login_hint: Option<String>,
    pub id_token_hint: Option<TokenText>,
    pub ui_locales: Vec<String>,
    pub display: Option<Display>,
    pub claims: Option<ClaimsRequest>,
}

impl AuthorizationRequest {
    /// Reads the parameters of the request itself, of what was pushed, or of a request object.
    /// Those that are not known are ignored (RFC 6749 §3.1).
    pub fn parse(form: &Form) -> Result<Self, RequestRefused> {
        const FLOW: &str = "RFC 6749 §4.1.1";
        // RFC 6749 §3.1.1: "If an authorization request is missing the "response_type" parameter,
        // or if the response type is not understood, the authorization server MUST return an error
        // response". RFC 9700 §2.1.2 leaves none but `code`.
        let response_type = required(form, "response_type", "RFC 6749 §3.1.1")?;
        if response_type != "code" {
            let why = Refused::value("response_type", "RFC 9700 §2.1.2", response_type);
            return Err(RequestRefused { error: ErrorCode::UnsupportedResponseType, why });
        }
        let client_id = ClientId::parse(required(form, "client_id", FLOW)?);
        let uri = bounded(form, "redirect_uri", "RFC 6749 §3.1.2", MAX_REDIRECT_URI_BYTES)?;
        Ok(Self {
            client_id: client_id.map_err(|why| Refused::form("client_id", FLOW, why))?,
            redirect_uri: uri.map(str::to_owned),
            scope: scope(form)?,
            state: state(form)?,
            response_mode: response_mode(form)?,
            code_challenge: CodeChallenge::of_request(form)?,
            resources: resources(form)?,
            authorization_details: details(form)?,
            dpop_jkt: dpop_jkt(form)?,
            nonce: bounded(form, "nonce", CORE, MAX_STATE_BYTES)?.map(str::to_owned),
            prompt: Prompt::of_request(form)?,
            max_age: max_age(form)?,
            acr_values: words(form, "acr_values")?,
            login_hint: bounded(form, "login_hint", CORE, MAX_HINT_BYTES)?.map(str::to_owned),
            id_token_hint: hint(form)?,
            ui_locales: words(form, "ui_locales")?,
            display: display(form)?,
            claims: form.get("claims").map(ClaimsRequest::parse).transpose()?,
        })
    }
}

/// Why a request is refused, and the code that its client may be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct RequestRefused {
    /// RFC 6749 §4.1.2.1, and what extends it.
    pub error: ErrorCode,
    /// Parameter and rule.
    pub why: Refused,
}

impl From<Refused> for RequestRefused {
    fn from(why: Refused) -> Self {
        Self { error: ErrorCode::InvalidRequest, why }
    }
}

/// `prompt`: what the user is to be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Nothing: the answer is an error where something would have to be asked.
    pub none: bool,
    pub login: bool,
    pub consent: bool,
    pub select_account: bool,
}

impl Prompt {
    fn of_request(form: &Form) -> Result<Self, Refused> {
        let mut prompt = Self::default();
        for word in words(form, "prompt")? {
            match word.as_str() {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                other => return Err(Refused::value("prompt", CORE, other)),
            }
        }
        // OpenID Connect Core 1.0 §3.1.2.1: "If this parameter contains none with any other value,
        // an error is returned."
        if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            return Err(Refused::form("prompt", CORE, "`none` with another value"));
        }
        Ok(prompt)
    }
}

/// `display`: where the user sees the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    Page,
    Popup,
    Touch,
    Wap,
}

/// `claims` (OpenID Connect Core 1.0 §5.5): what the client would like to be told, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub userinfo: BTreeMap<String, Option<ClaimRequest>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id_token: BTreeMap<String, Option<ClaimRequest>>,
}

/// OpenID Connect Core 1.0 §5.5.1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    #[serde(default)]
    pub essential: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

impl ClaimsRequest {
    /// Reads the parameter; members that are not known are ignored, as §5.5 says.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        const RULE: &str = "OpenID Connect Core 1.0 §5.5";
        if text.len() > MAX_CLAIMS_BYTES {
            let fault = Fault::TooLong { length: text.len(), max: MAX_CLAIMS_BYTES };
            return Err(Refused { name: "claims", fault, rule: RULE });
        }
        let read: Self = json::parse(text).map_err(|why| Refused::form("claims", RULE, why))?;
        if read.userinfo.len() > MAX_CLAIMS || read.id_token.len() > MAX_CLAIMS {
            let fault = Fault::TooMany { max: MAX_CLAIMS };
            return Err(Refused { name: "claims", fault, rule: RULE });
        }
        Ok(read)
    }
}

fn scope(form: &Form) -> Result<Option<ScopeSet>, RequestRefused> {
    let refused = |why| RequestRefused {
        error: ErrorCode::InvalidScope,
        why: Refused::form("scope", "RFC 6749 §3.3", why),
    };
    form.get("scope").map(ScopeSet::parse).transpose().map_err(refused)
}

fn state(form: &Form) -> Result<Option<String>, Refused> {
    const RULE: &str = "RFC 6749 appendix A.5";
    let state = bounded(form, "state", RULE, MAX_STATE_BYTES)?;
    // RFC 6749 appendix A.5: "state = 1*VSCHAR"
    if state.is_some_and(|state| !state.bytes().all(|byte| matches!(byte, b' '..=b'~'))) {
        return Err(Refused::form("state", RULE, "a character that it must not have"));
    }
    Ok(state.map(str::to_owned))
}

fn response_mode(form: &Form) -> Result<ResponseMode, Refused> {
    let Some(name) = form.get("response_mode") else { return Ok(ResponseMode::default()) };
    ResponseMode::parse(name).ok_or_else(|| Refused::value("response_mode", CORE, name))
}

fn resources(form: &Form) -> Result<Vec<Resource>, RequestRefused> {
    const RULE: &str = "RFC 8707 §2";
    let refused = |why| RequestRefused { error: ErrorCode::InvalidTarget, why };
    if form.all("resource").count() > MAX_RESOURCES {
        let fault = Fault::TooMany { max: MAX_RESOURCES };
        return Err(refused(Refused { name: "resource", fault, rule: RULE }));
    }
    let read = form.all("resource").map(Resource::parse).collect::<Result<_, _>>();
    read.map_err(|why| refused(Refused::form("resource", RULE, why)))
}

fn details(form: &Form) -> Result<Option<AuthorizationDetails>, RequestRefused> {
    let error = ErrorCode::InvalidAuthorizationDetails;
    let read = form.get("authorization_details").map(AuthorizationDetails::parse).transpose();
    read.map_err(|why| RequestRefused { error, why })
}

fn dpop_jkt(form: &Form) -> Result<Option<Thumbprint>, Refused> {
    // RFC 9449 §10: "The value of the dpop_jkt authorization request parameter is the JSON Web Key
    // (JWK) Thumbprint [RFC7638] of the proof-of-possession public key".
    let read = form.get("dpop_jkt").map(Thumbprint::parse).transpose();
    read.map_err(|why| Refused::form("dpop_jkt", "RFC 9449 §10", why))
}

fn max_age(form: &Form) -> Result<Option<u64>, Refused> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.ok_or_else(|| Refused::form("max_age", CORE, "not a number of seconds"))
    };
    form.get("max_age").map(number).transpose()
}

fn words(form: &Form, name: &'static str) -> Result<Vec<String>, Refused> {
    let Some(text) = bounded(form, name, CORE, MAX_HINT_BYTES)? else { return Ok(Vec::new()) };
    let words: Vec<String> =
        text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if words.len() > MAX_WORDS {
        return Err(Refused { name, fault: Fault::TooMany { max: MAX_WORDS }, rule: CORE });
    }
    Ok(words)
}

fn hint(form: &Form) -> Result<Option<TokenText>, Refused> {
    let read = form.get("id_token_hint").map(TokenText::parse).transpose();
    read.map_err(|why| Refused::form("id_token_hint", CORE, why))
}

fn display(form: &Form) -> Result<Option<Display>, Refused> {
    match form.get("display") {
        None => Ok(None),
        Some("page") => Ok(Some(Display::Page)),
        Some("popup") => Ok(Some(Display::Popup)),
        Some("touch") => Ok(Some(Display::Touch)),
        Some("wap") => Ok(Some(Display::Wap)),
        Some(other) => Err(Refused::value("display", CORE, other)),
    }
}
