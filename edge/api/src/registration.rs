//! `POST /register` (RFC 7591) and the URLs at which clients manage themselves (RFC 7592).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse as _;
use env::{Unavailable, World};
use flow::clients::endpoint::{self, Request as Registration};
use flow::clients::manage::{self, Act, Request as Order};
use flow::clients::{Answer as Registered, End, Refusal};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use oauth::bearer::{self, BearerError};
use oauth::error::ErrorCode;
use oauth::registration::error_code;

use crate::answer::{self, Answer};
use crate::limits::FORM_BYTES_MAX;
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::token::{down, read_body, refused};
use crate::wire;

/// What the endpoint reads.
const JSON: &str = "application/json";

/// RFC 7591 §3.1: "sends an HTTP POST to the client registration endpoint with a content type of
/// "application/json"."
pub(crate) async fn register<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    let (metadata, token) = match asked(&shared, &parts, Some(body)).await {
        Ok(asked) => asked,
        Err(unread) => return refused(&shared, &source, &unread),
    };
    let request = Registration::new(metadata, token.as_deref(), source.to_string());
    let end = endpoint::register(&*shared.world, &shared.registered, &request).await;
    let end = end.map(|end| end.map(Some));
    // RFC 7591 §3.2.1: "responds with an HTTP 201 Created status code".
    finish(&shared, &source, StatusCode::CREATED, end)
}

/// RFC 7592 §2: `GET`, `PUT` and `DELETE`.
pub(crate) async fn manage<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    let body = (parts.method == Method::PUT).then_some(body);
    let (metadata, token) = match asked(&shared, &parts, body).await {
        Ok(asked) => asked,
        Err(unread) => return refused(&shared, &source, &unread),
    };
    let (act, status) = match parts.method {
        Method::PUT => (Act::Replace(metadata), StatusCode::OK),
        // RFC 7592 §2.3: "the authorization server MUST respond with an HTTP 204 No Content
        // message."
        Method::DELETE => (Act::Delete, StatusCode::NO_CONTENT),
        _ => (Act::Read, StatusCode::OK),
    };
    let order = Order::new(id, token.as_deref(), act);
    finish(&shared, &source, status, manage::manage(&*shared.world, &order).await)
}

/// The body, where one is read, and the bearer token.
async fn asked<W: World>(
    shared: &Shared<W>,
    parts: &Parts,
    body: Option<Body>,
) -> Result<(String, Option<String>), Unread> {
    let read = match body {
        Some(body) => Some(read_body(body, FORM_BYTES_MAX, shared.limits.body_max).await),
        None => None,
    };
    if parts.uri.query().is_some() {
        return Err(Unread::Query);
    }
    let values = parts.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    // RFC 7591 §3: "the initial access token [...] MUST [...] be sent as [...] RFC6750"; in the
    // field alone.
    let token = match bearer::from_authorization(values) {
        Ok(token) => Some(token.as_str().to_owned()),
        Err(BearerError::Absent) => None,
        Err(_) => return Err(Unread::Authorization { scheme: "Bearer" }),
    };
    let Some(read) = read else { return Ok((String::new(), token)) };
    let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(JSON)
    };
    match (types.next(), types.next()) {
        (Some(one), None) if is_json(one) => {}
        _ => return Err(Unread::ContentType { expected: JSON }),
    }
    let text = String::from_utf8(read?).map_err(|_| Unread::BrokenBody)?;
    Ok((text, token))
}

fn finish<W: World>(
    shared: &Shared<W>,
    source: &Source,
    status: StatusCode,
    end: Result<End<Option<Registered>>, Unavailable>,
) -> Answer {
    match end {
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let mut answer = match recorded.into_value() {
                Ok(Some(told)) => answer::json(status, &body_of(told)),
                Ok(None) => status.into_response(),
                Err(refusal) => of_refusal(&refusal),
            };
            wire::not_kept(answer.headers_mut());
            answer::name_record(answer.headers_mut(), id);
            answer
        }
        Ok(End::Stranger(refusal)) => {
            let answer = of_refusal(&refusal);
            shared.refuse(source, &Unread::Registration(Box::new(refusal)));
            answer
        }
        Err(unavailable) => down(shared, &unavailable),
    }
}

/// RFC 7591 §3.2.1: the members, and the secret where there is one.
pub(crate) fn body_of(told: Registered) -> serde_json::Value {
    let mut body = serde_json::to_value(&told.registered).unwrap_or_default();
    if let (Some(secret), Some(members)) = (told.secret, body.as_object_mut()) {
        members.insert("client_secret".to_owned(), secret.expose().into());
    }
    body
}

/// RFC 7591 §3.2.2, RFC 7592 §2: what a client is told.
fn of_refusal(refusal: &Refusal) -> Answer {
    let (status, code) = match refusal {
        Refusal::Off => (StatusCode::FORBIDDEN, "access_denied"),
        // RFC 7592 §2.1: "If the registration access token used to make this request is not valid,
        // the server MUST respond with an error as described in OAuth Bearer Token Usage".
        Refusal::NoToken | Refusal::UnknownToken | Refusal::Expired(_) | Refusal::UsedUp => {
            (StatusCode::UNAUTHORIZED, "invalid_token")
        }
        Refusal::TooMany { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TemporarilyUnavailable.as_str())
        }
        Refusal::Metadata(why) => (StatusCode::BAD_REQUEST, error_code(why).as_str()),
        Refusal::Unadmitted(_) | Refusal::Profile(_) | Refusal::Bound(_) => {
            (StatusCode::BAD_REQUEST, ErrorCode::InvalidClientMetadata.as_str())
        }
        Refusal::NoStatement | Refusal::StatementMalformed(_) | Refusal::Statement(_) => {
            (StatusCode::BAD_REQUEST, ErrorCode::InvalidSoftwareStatement.as_str())
        }
        // RFC 7591 §3.2.2: "The software statement presented is not approved for use by this
        // authorization server."
        Refusal::StatementIssuer(_) => (StatusCode::BAD_REQUEST, "unapproved_software_statement"),
        // RFC 7592 §2.1: "If the client does not have permission to read its record, the server
        // MUST return an HTTP 403 Forbidden."
        Refusal::Disabled(_) => (StatusCode::FORBIDDEN, "access_denied"),
        Refusal::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
    };
    let mut answer = answer::error(status, code, &refusal.to_string());
    wire::not_kept(answer.headers_mut());
    if let Refusal::TooMany { wait } = refusal {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*wait));
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6585 §4: "MAY include a Retry-After header indicating how long to wait".
    #[test]
    fn rfc6585_4_who_registers_too_often_is_told_when_to_come_again() {
        let answer = of_refusal(&Refusal::TooMany { wait: 10 });
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()[RETRY_AFTER], "10");
    }
}
