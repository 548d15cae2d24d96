//! From the end of a flow to an answer over HTTP.

use access::token;
use authzen::Malformed;
use authzen::access_request::ProblemType;
use axum::body::Body;
use decide::Refusal;
use env::{Unavailable, World};
use gateway::{Refusal as Caller, Status};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use monitoring::RecordId;
use oauth::challenge::Challenge;
use oauth::dpop;
use oauth::error::ErrorCode;
use serde::Serialize;
use serde_json::json;

use crate::Shared;
use crate::read::Unread;

/// An answer.
pub(crate) type Answer = Response<Body>;

/// The audit id of the decision that an answer tells.
const AUDIT_ID: HeaderName = HeaderName::from_static("aims-audit-id");
const JSON: &str = "application/json";
/// Access Request and Approval Profile, Error Responses: "MUST use `application/problem+json`".
const PROBLEM: &str = "application/problem+json";
/// AuthZEN §10.1.2: "An error message string".
const TEXT: &str = "text/plain; charset=utf-8";
/// Seconds after which whoever met a bound, or a store that is down, may come again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// Seconds between two looks at a task.
pub(crate) const POLL_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// How errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// As text, where decisions are asked for.
    Text,
    /// As problem details (RFC 9457), where access is.
    Problem,
}

/// A value as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    bytes(status, JSON, serde_json::to_vec(value).unwrap_or_default())
}

fn bytes(status: StatusCode, media: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl Errors {
    fn write(self, status: StatusCode, problem: Option<ProblemType>, message: &str) -> Answer {
        match self {
            Self::Text => bytes(status, TEXT, message.as_bytes().to_vec()),
            Self::Problem => {
                // RFC 9457 §4.2.1: "about:blank" where the status says it all.
                let title = status.canonical_reason().unwrap_or_default();
                let body = json!({
                    "type": problem.map_or("about:blank", ProblemType::uri),
                    "title": problem.map_or(title, ProblemType::title),
                    "status": status.as_u16(), "detail": message,
                });
                bytes(status, PROBLEM, serde_json::to_vec(&body).unwrap_or_default())
            }
        }
    }

    /// What was not read. It is counted.
    pub(crate) fn unread<W>(self, shared: &Shared<W>, source: &str, unread: &Unread) -> Answer {
        shared.count(source, unread.check());
        let text = |status, message: &str| self.write(status, None, message);
        match unread {
            Unread::Caller(refusal) => self.caller(refusal),
            Unread::ContentType => {
                text(StatusCode::BAD_REQUEST, "the `Content-Type` is not `application/json`")
            }
            Unread::ContentEncoding => {
                text(StatusCode::BAD_REQUEST, "the body is encoded: send it as it is")
            }
            Unread::TooLong(max) => {
                let message = format!("a body of more than {max} bytes");
                text(StatusCode::PAYLOAD_TOO_LARGE, &message)
            }
            Unread::Broken => text(StatusCode::BAD_REQUEST, "the body did not come whole"),
            Unread::Field(name) => {
                text(StatusCode::BAD_REQUEST, &format!("`{name}` is not what it must be"))
            }
            Unread::Malformed(malformed @ Malformed::TooMuch { .. }) => {
                text(StatusCode::PAYLOAD_TOO_LARGE, &malformed.to_string())
            }
            Unread::Malformed(malformed) => {
                // "An Access Request whose denial binding does not cover the submitted Subject,
                // Resource, Action […] (for every item when `items` is present) MUST be rejected".
                let problem = matches!(malformed, Malformed::Items)
                    .then_some(ProblemType::InvalidDenialBinding);
                self.write(StatusCode::BAD_REQUEST, problem, &malformed.to_string())
            }
        }
    }

    /// A refusal.
    pub(crate) fn refusal(self, refusal: &Refusal) -> Answer {
        if let Refusal::Caller(refusal) = refusal {
            return self.caller(refusal);
        }
        let problem = refusal.problem();
        let status = problem.map_or(refusal.status(), ProblemType::status);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut answer = self.write(status, problem, &refusal.to_string());
        if status == StatusCode::TOO_MANY_REQUESTS {
            answer.headers_mut().insert(RETRY_AFTER, POLL_SECONDS);
        }
        answer
    }

    /// A refusal of the token: RFC 6750 §3, RFC 9449 §7.1.
    fn caller(self, refusal: &Caller) -> Answer {
        let bound = matches!(refusal, Caller::Dpop(_) | Caller::Scheme { .. } | Caller::Replayed);
        let challenge = if bound { Challenge::dpop() } else { Challenge::bearer() };
        let (status, code) = match refusal.status() {
            Status::Authenticate => (StatusCode::UNAUTHORIZED, None),
            Status::InvalidRequest | Status::Malformed => {
                (StatusCode::BAD_REQUEST, Some(ErrorCode::InvalidRequest))
            }
            Status::UseDpopNonce => (StatusCode::UNAUTHORIZED, Some(ErrorCode::UseDpopNonce)),
            Status::InvalidDpopProof => {
                (StatusCode::UNAUTHORIZED, Some(ErrorCode::InvalidDpopProof))
            }
            _ => (StatusCode::UNAUTHORIZED, Some(ErrorCode::InvalidToken)),
        };
        let challenge = match code {
            None => challenge,
            Some(code) => challenge.error(code).description(&refusal.to_string()),
        };
        let mut answer = self.write(status, None, &refusal.to_string());
        if let Ok(value) = HeaderValue::try_from(challenge.to_string()) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        answer
    }

    /// Nothing can be answered just now.
    pub(crate) fn down(self, unavailable: &Unavailable) -> Answer {
        tracing::error!(%unavailable, "a decision could not be made");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut answer = self.write(status, None, "no decision can be made just now");
        answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        answer
    }
}

/// The answer with the id of its record, and what the next proof must repeat.
pub(crate) async fn recorded<W: World>(
    shared: &Shared<W>,
    mut answer: Answer,
    id: Option<RecordId>,
) -> Answer {
    if let Some(value) = id.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        answer.headers_mut().insert(AUDIT_ID, value);
    }
    if let Ok(Some(nonce)) = token::nonce(&*shared.world).await
        && let Ok(value) = HeaderValue::try_from(nonce)
    {
        answer.headers_mut().insert(dpop::NONCE_FIELD, value);
    }
    answer
}
