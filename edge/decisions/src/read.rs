//! From a request over HTTP to what a flow is asked.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use decide::Shown;
use gateway::Refusal as Caller;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use oauth::bearer::{self, BearerError};
use oauth::dpop;

/// The one media type that is read.
const JSON: &str = "application/json";

/// Why a request is not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Its token.
    Caller(Caller),
    /// AuthZEN §10.1: "Requests MUST include a `Content-Type` header with the value
    /// `application/json`".
    ContentType,
    /// It is encoded.
    ContentEncoding,
    /// It is longer than this.
    TooLong(usize),
    /// It did not come whole.
    Broken,
    /// It does not read as what it must be.
    Malformed(authzen::Malformed),
    /// A header field.
    Field(&'static str),
}

impl Unread {
    /// What counts of it are called.
    pub(crate) const fn check(&self) -> &'static str {
        match self {
            Self::Caller(refusal) => refusal.check(),
            Self::ContentType => "decisions::ContentType",
            Self::ContentEncoding => "decisions::ContentEncoding",
            Self::TooLong(_) => "decisions::TooLong",
            Self::Broken => "decisions::Broken",
            Self::Malformed(_) => "decisions::Malformed",
            Self::Field(_) => "decisions::Field",
        }
    }
}

/// Where a request comes from, for counting strangers.
pub(crate) fn source(parts: &Parts) -> String {
    parts.extensions.get::<IpAddr>().map(ToString::to_string).unwrap_or_default()
}

/// What a request shows of who asks. `issuer_path`: what the paths of the issuer begin with.
pub(crate) fn shown(parts: &Parts, issuer_path: &str) -> Result<Shown, Unread> {
    let values = || parts.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let bad = |why: BearerError| Unread::Caller(Caller::BadRequest { why: why.to_string() });
    if let Some(query) = parts.uri.query() {
        bearer::refuse_in_query(query).map_err(bad)?;
    }
    let (token, is_dpop) = match bearer::from_authorization(values()) {
        Ok(token) => (token, false),
        Err(BearerError::OtherScheme { .. }) => match bearer::from_dpop_authorization(values()) {
            Ok(token) => (token, true),
            Err(BearerError::OtherScheme { .. }) => return Err(Unread::Caller(Caller::NoToken)),
            Err(error) => return Err(bad(error)),
        },
        Err(BearerError::Absent) => return Err(Unread::Caller(Caller::NoToken)),
        Err(error) => return Err(bad(error)),
    };
    // The listener hands on the certificates of the channel, unverified.
    let chain = parts.extensions.get::<Option<Arc<[Vec<u8>]>>>().cloned().flatten();
    let path = parts.uri.path();
    Ok(Shown {
        token,
        is_dpop,
        dpop: all(&parts.headers, dpop::FIELD),
        wit: all(&parts.headers, wimse::WORKLOAD_IDENTITY_TOKEN),
        wpt: all(&parts.headers, wimse::WORKLOAD_PROOF_TOKEN),
        certificates: chain.as_deref().unwrap_or_default().to_vec(),
        method: match parts.method {
            Method::GET => "GET",
            Method::DELETE => "DELETE",
            _ => "POST",
        },
        path: path.strip_prefix(issuer_path).unwrap_or(path).to_owned(),
    })
}

fn all(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

/// A body of JSON, whole, within its bounds.
pub(crate) async fn json(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Unread> {
    let bytes = whole(headers, body).await;
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if is_json(one) => bytes,
        _ => Err(Unread::ContentType),
    }
}

/// A body that may be none.
pub(crate) async fn json_or_none(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Unread> {
    if headers.contains_key(CONTENT_TYPE) {
        return json(headers, body).await;
    }
    let bytes = whole(headers, body).await?;
    if bytes.is_empty() { Ok(bytes) } else { Err(Unread::ContentType) }
}

async fn whole(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Unread> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Unread::ContentEncoding);
    }
    let max = authzen::MESSAGE_BYTES_MAX;
    // How long it may take to come, the listener says.
    match Limited::new(body, max).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unread::TooLong(max)),
        Err(_) => Err(Unread::Broken),
    }
}

/// The media type, in UTF-8 if it says so.
fn is_json(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let utf8 = ["", "charset=utf-8", "charset=\"utf-8\""];
    essence.trim().eq_ignore_ascii_case(JSON)
        && utf8.iter().any(|known| parameters.trim().eq_ignore_ascii_case(known))
}

/// `Idempotency-Key`, where there is one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Unread> {
    const NAME: &str = "idempotency-key";
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let max = authzen::access_request::IDEMPOTENCY_KEY_BYTES_MAX;
    let text = value.to_str().ok().filter(|text| (1..=max).contains(&text.len()));
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        _ => Err(Unread::Field("Idempotency-Key")),
    }
}
