//! Answers of the authorization endpoint (RFC 6749 §4.1.2, RFC 9207, OAuth 2.0 Form Post Response
//! Mode, JARM): made by a server, and read by a client.

use form_urlencoded::Serializer as Encoder;
use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authorization_request::ResponseMode;
use crate::error::{Description, ErrorCode};
use crate::form::Form;
use crate::identifier::ClientId;
use crate::issuer::Issuer;
use crate::parameter::evidence;
use crate::redirect_uri::{NotARedirectUri, RedirectUri};
use crate::token_text::{NotATokenText, TokenText};

/// RFC 9700 §4.12: "request, the authorization server SHOULD use HTTP status code 303".
pub const REDIRECT_STATUS: u16 = 303;
/// What the page of a form post runs, and what its content security policy allows by hash.
pub const FORM_POST_SCRIPT: &str = "document.forms[0].submit()";

/// What the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationResponse {
    pub outcome: Outcome,
    /// As the client gave it.
    pub state: Option<String>,
    /// RFC 9207 §2: who answers.
    pub iss: Issuer,
}

/// A code, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Code(TokenText),
    Error { error: ErrorCode, description: Option<Description> },
}

impl AuthorizationResponse {
    /// The parameters by name.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        match &self.outcome {
            Outcome::Code(code) => parameters.push(("code", code.as_str().to_owned())),
            Outcome::Error { error, description } => {
                parameters.push(("error", error.as_str().to_owned()));
                if let Some(text) = description {
                    parameters.push(("error_description", text.as_str().to_owned()));
                }
            }
        }
        // RFC 6749 §4.1.2: "REQUIRED if the "state" parameter was present in the client
        // authorization request. The exact value received from the client."
        parameters.extend(self.state.clone().map(|state| ("state", state)));
        // RFC 9207 §2: in each answer, errors among them.
        parameters.push(("iss", self.iss.to_string()));
        parameters
    }

    /// The claims that a signed answer has (JARM §2.1).
    pub fn claims(&self, client_id: &ClientId, exp: NumericDate) -> ResponseClaims {
        let mut parameters: Map<String, Value> = Map::new();
        for (name, value) in self.parameters().into_iter().filter(|(name, _)| *name != "iss") {
            parameters.insert(name.to_owned(), Value::from(value));
        }
        let (iss, aud) = (self.iss.clone(), Audience::one(client_id.as_str()));
        ResponseClaims { iss, aud, exp, parameters }
    }
}

/// The kind of a signed answer.
#[derive(Clone, Copy, Debug)]
pub struct SignedResponse;

/// JARM §2.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseClaims {
    pub iss: Issuer,
    /// The client.
    pub aud: Audience,
    pub exp: NumericDate,
    /// What an unsigned answer would say.
    #[serde(flatten)]
    pub parameters: Map<String, Value>,
}

impl Kind for SignedResponse {
    // JARM §2.1 names no `typ`.
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = ResponseClaims;
    type Hint = Issuer;

    fn hint(claims: &ResponseClaims) -> Issuer {
        claims.iss.clone()
    }

    fn window(claims: &ResponseClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: None, iat: None }
    }
}

/// How an answer leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `Location`, with [`REDIRECT_STATUS`].
    Redirect(String),
    /// A page that posts the parameters.
    Page(String),
}

/// Addresses the parameters of an answer, or the one parameter `response` that a signed one has, to
/// an endpoint that its client registered.
pub fn deliver(to: &RedirectUri, mode: ResponseMode, parameters: &[(&str, &str)]) -> Delivery {
    let encoded = || {
        let mut encoder = Encoder::new(String::new());
        encoder.extend_pairs(parameters);
        encoder.finish()
    };
    let uri = to.as_str();
    match mode {
        ResponseMode::Query | ResponseMode::QueryJwt => {
            // RFC 6749 §3.1.2: "The endpoint URI MAY include an "application/x-www-form-urlencoded"
            // formatted [...] query component, which MUST be retained when adding additional query
            // parameters."
            let joint = match uri.split_once('?') {
                None => "?",
                Some((_, "")) => "",
                Some(_) => "&",
            };
            Delivery::Redirect(format!("{uri}{joint}{}", encoded()))
        }
        ResponseMode::Fragment | ResponseMode::FragmentJwt => {
            Delivery::Redirect(format!("{uri}#{}", encoded()))
        }
        ResponseMode::FormPost | ResponseMode::FormPostJwt => Delivery::Page(page(uri, parameters)),
    }
}

/// OAuth 2.0 Form Post Response Mode §2: the parameters are fields of a form that submits itself.
fn page(uri: &str, parameters: &[(&str, &str)]) -> String {
    let mut fields = String::new();
    for (name, value) in parameters {
        let (name, value) = (escaped(name), escaped(value));
        fields.push_str("<input type=\"hidden\" name=\"");
        fields.push_str(&name);
        fields.push_str("\" value=\"");
        fields.push_str(&value);
        fields.push_str("\">");
    }
    format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Continue</title></head><body>\
         <form method=\"post\" action=\"{}\">{fields}<noscript><button>Continue</button></noscript>\
         </form><script>{FORM_POST_SCRIPT}</script></body></html>",
        escaped(uri)
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

/// What a client got, after the checks that it must do before it looks at code or error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Code(TokenText),
    /// The name of the error, of bounded length: one that is not known here is still one.
    Error(String),
}

/// Reads an answer as the client that sent `state` to `issuer`. `iss_is_promised` is what the
/// metadata of the server says.
pub fn receive(
    form: &Form,
    state: &str,
    issuer: &str,
    iss_is_promised: bool,
) -> Result<Received, ResponseRefused> {
    // RFC 6749 §10.12: "The client MUST implement CSRF protection for its redirection URI."
    if form.get("state") != Some(state) {
        return Err(ResponseRefused::WrongState);
    }
    match form.get("iss") {
        // RFC 9207 §2.4: "If the value does not match the expected issuer identifier, clients MUST
        // reject the authorization response and MUST NOT proceed with the authorization grant."
        Some(found) if found != issuer => {
            let (found, expected) = (evidence(found), issuer.to_owned());
            return Err(ResponseRefused::WrongIssuer { found, expected });
        }
        // RFC 9207 §2.4: "Clients MUST reject authorization responses without the iss parameter
        // from authorization servers that do support the parameter according to the client's
        // configuration."
        None if iss_is_promised => return Err(ResponseRefused::NoIssuer),
        _ => {}
    }
    match (form.get("code"), form.get("error")) {
        (Some(code), None) => Ok(Received::Code(TokenText::parse(code)?)),
        (None, Some(error)) => Ok(Received::Error(evidence(error))),
        (Some(_), Some(_)) | (None, None) => Err(ResponseRefused::NotOne),
    }
}

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseRefused {
    #[error("an answer with another `state` (RFC 6749 §10.12)")]
    WrongState,
    #[error("an answer of `{found}`, expected `{expected}` (RFC 9207 §2.4)")]
    WrongIssuer { found: String, expected: String },
    #[error("an answer without `iss` of a server that promises it (RFC 9207 §2.4)")]
    NoIssuer,
    #[error("an answer with not exactly one of `code` and `error` (RFC 6749 §4.1.2)")]
    NotOne,
    #[error(transparent)]
    Code(#[from] NotATokenText),
    #[error(transparent)]
    RedirectUri(#[from] NotARedirectUri),
}
