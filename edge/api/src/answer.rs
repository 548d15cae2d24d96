//! Answers of the origin that are not a token's: JSON, or bytes of a stated type.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use monitoring::RecordId;
use serde::Serialize;

/// The audit id of the decision that an answer tells.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("aims-audit-id");
/// Seconds after which a client that met a full house, or a store that is down, may come again.
pub(crate) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// Content type of JSON.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What must not be kept.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer.
pub(crate) type Answer = Response<Body>;

/// Bytes of a stated type.
pub(crate) fn bytes(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// A value as JSON. Our own types do not fail to serialize; if one did, the answer would be empty.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    bytes(status, JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// An error of the origin, in the form that OAuth errors have; not to be kept.
pub(crate) fn error(status: StatusCode, error: &str, description: &str) -> Answer {
    let body = serde_json::json!({ "error": error, "error_description": description });
    let mut answer = json(status, &body);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    if may_come_again(status) {
        answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    answer
}

/// The same, with how long it may be kept.
pub(crate) fn kept(mut answer: Answer, how: HeaderValue) -> Answer {
    answer.headers_mut().insert(CACHE_CONTROL, how);
    answer
}

/// RFC 9110 §10.2.3, RFC 6585 §4: the statuses that say when to come again.
pub(crate) fn may_come_again(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// A document, with the record of what it tells of.
pub(crate) fn recorded(status: StatusCode, shown: &impl Serialize, id: Option<RecordId>) -> Answer {
    let mut answer = json(status, shown);
    name_record(answer.headers_mut(), id);
    answer
}

/// Names the record of the decision.
pub(crate) fn name_record(headers: &mut HeaderMap, id: Option<RecordId>) {
    if let Some(value) = id.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        headers.insert(AUDIT_ID, value);
    }
}
