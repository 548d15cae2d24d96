//! Signed request objects (RFC 9101, OpenID Connect Core 1.0 §6), and what FAPI 2.0 Message Signing
//! asks of them.
//!
//! In scope: the claims, the checks of the server, and the parameters that they stand for. Not
//! here: encryption, objects behind a URL, which client has which keys, and whether the `jti` was
//! seen before.

use jose::{Audience, Kind, NumericDate, Verified, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::form::Form;
use crate::identifier::{ClientId, TokenId};
use crate::issuer::Issuer;
use crate::parameter::evidence;

/// FAPI 2.0 Message Signing §5.3.1: "shall require the request object to contain an nbf claim that
/// is no longer than 60 minutes in the past", and an `exp` "no longer than 60 minutes after the nbf
/// claim".
const FAPI_SPAN: Span = Span::from_seconds(3_600);
/// Parameters of one object.
const MAX_PARAMETERS: usize = 64;
/// Claims that speak of the object, not of the request.
const OF_THE_OBJECT: &[&str] = &["iss", "aud", "exp", "nbf", "iat", "jti", "sub"];

/// The kind `oauth-authz-req+jwt`, which older clients leave untyped.
#[derive(Clone, Copy, Debug)]
pub struct RequestObject;

/// RFC 9101 §4, §5.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestObjectClaims {
    /// Inside as well as outside (RFC 9101 §5).
    pub client_id: ClientId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<TokenId>,
    /// The parameters.
    #[serde(flatten)]
    pub parameters: Map<String, Value>,
}

impl Kind for RequestObject {
    // RFC 9101 §10.8: "requiring explicitly typed Request Objects at existing authorization
    // servers will break most existing deployments".
    const TYPES: &'static [&'static str] = &["oauth-authz-req+jwt", "JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = RequestObjectClaims;
    type Hint = ClientId;

    fn hint(claims: &RequestObjectClaims) -> ClientId {
        claims.client_id.clone()
    }

    fn window(claims: &RequestObjectClaims) -> Window {
        Window { exp: claims.exp, nbf: claims.nbf, iat: claims.iat }
    }
}

/// How strictly objects are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// RFC 9101: `aud` and times are obeyed where they are.
    Jar,
    /// FAPI 2.0 Message Signing §5.3.1.
    FapiMessageSigning,
}

/// Checks an object that was verified with a key of the client that it names, and gives the
/// parameters of the request. `client_id` is the parameter outside, or who pushed it.
pub fn check(
    token: &Verified<RequestObject>,
    client_id: &ClientId,
    issuer: &Issuer,
    profile: Profile,
    now: UnixTime,
) -> Result<Form, ObjectRefused> {
    let claims = token.claims();
    // RFC 9101 §5: "The value MUST match the "request" or "request_uri" Request Object's (Section
    // 2.1) "client_id"."
    if claims.client_id != *client_id {
        let (found, expected) = (claims.client_id.clone(), client_id.clone());
        return Err(ObjectRefused::WrongClient { found, expected });
    }
    if let Some(found) = claims.iss.clone().filter(|iss| iss != client_id) {
        return Err(ObjectRefused::WrongIssuer { found, expected: client_id.clone() });
    }
    // RFC 9101 §10.8: "A simple way to prevent this is to never use the client ID as the "sub"
    // value in a Request Object": it would be an assertion of the client.
    if claims.sub.as_deref() == Some(client_id.as_str()) {
        return Err(ObjectRefused::Assertion);
    }
    // RFC 9101 §4: "The value of "aud" should be the value of the authorization server (AS)
    // "issuer"".
    let aud = claims.aud.as_ref();
    if aud.is_some_and(|aud| !aud.contains(issuer.as_str())) {
        return Err(ObjectRefused::WrongAudience { expected: issuer.clone() });
    }
    if profile == Profile::FapiMessageSigning {
        fits_fapi(claims, now)?;
    }
    parameters(client_id, &claims.parameters)
}

/// Why a verified object is refused; each is `invalid_request_object`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectRefused {
    #[error("request object of `{found}`, expected `{expected}` (RFC 9101 §5)")]
    WrongClient { found: ClientId, expected: ClientId },
    #[error("request object issued by `{found}`, expected `{expected}` (RFC 9101 §4)")]
    WrongIssuer { found: ClientId, expected: ClientId },
    #[error("request object whose `sub` is its client (RFC 9101 §10.8)")]
    Assertion,
    #[error("request object that is not for `{expected}` (RFC 9101 §4)")]
    WrongAudience { expected: Issuer },
    #[error("request object without `{claim}` (FAPI 2.0 Message Signing §5.3.1)")]
    Missing { claim: &'static str },
    #[error("request object not before {nbf}, long before {now} (FAPI 2.0 Message Signing §5.3.1)")]
    TooOld { nbf: UnixTime, now: UnixTime },
    #[error("request object from {nbf} to {exp}, too long (FAPI 2.0 Message Signing §5.3.1)")]
    LivesTooLong { nbf: UnixTime, exp: UnixTime },
    #[error("`{name}` inside a request object (RFC 9101 §4)")]
    Nested { name: &'static str },
    #[error("`{name}` in a request object is no value of a parameter (RFC 9101 §4)")]
    Parameter { name: String },
    #[error("more than {max} parameters in a request object")]
    TooMany { max: usize },
}

fn fits_fapi(claims: &RequestObjectClaims, now: UnixTime) -> Result<(), ObjectRefused> {
    if claims.aud.is_none() {
        return Err(ObjectRefused::Missing { claim: "aud" });
    }
    let nbf = claims.nbf.ok_or(ObjectRefused::Missing { claim: "nbf" })?.time();
    let exp = claims.exp.ok_or(ObjectRefused::Missing { claim: "exp" })?.time();
    if nbf.plus(FAPI_SPAN) < now {
        return Err(ObjectRefused::TooOld { nbf, now });
    }
    if exp > nbf.plus(FAPI_SPAN) {
        return Err(ObjectRefused::LivesTooLong { nbf, exp });
    }
    Ok(())
}

/// The parameters that the members of a verified object stand for.
///
/// RFC 9101 §6.3: "The authorization server MUST only use the parameters in the Request Object,
/// even if the same parameter is provided in the query parameter."
pub fn parameters(
    client_id: &ClientId,
    members: &Map<String, Value>,
) -> Result<Form, ObjectRefused> {
    // RFC 9101 §4: "The "request" and "request_uri" parameters MUST NOT be included in Request
    // Objects."
    for name in ["request", "request_uri"] {
        if members.contains_key(name) {
            return Err(ObjectRefused::Nested { name });
        }
    }
    let mut form = vec![("client_id".to_owned(), client_id.as_str().to_owned())];
    let own = members.iter().filter(|(name, _)| !OF_THE_OBJECT.contains(&name.as_str()));
    for (name, value) in own {
        match value {
            Value::Null => {}
            Value::String(text) => form.push((name.clone(), text.clone())),
            // RFC 9101 §4: "Numerical values are included as JSON numbers."
            Value::Number(number) => form.push((name.clone(), number.to_string())),
            Value::Bool(truth) => form.push((name.clone(), truth.to_string())),
            // RFC 8707 §2: several values of `resource` are an array of strings.
            Value::Array(values) if name == "resource" => {
                for value in values {
                    let text = value.as_str().map(str::to_owned);
                    let refused = || ObjectRefused::Parameter { name: evidence(name) };
                    form.push((name.clone(), text.ok_or_else(refused)?));
                }
            }
            Value::Array(_) | Value::Object(_)
                if matches!(name.as_str(), "authorization_details" | "claims") =>
            {
                form.push((name.clone(), value.to_string()));
            }
            // What no parameter is, nobody reads.
            Value::Array(_) | Value::Object(_) => {
                return Err(ObjectRefused::Parameter { name: evidence(name) });
            }
        }
        if form.len() > MAX_PARAMETERS {
            return Err(ObjectRefused::TooMany { max: MAX_PARAMETERS });
        }
    }
    Ok(Form::of(form))
}
