//! What is asked about tokens and their users: `POST /introspect` (RFC 7662, RFC 9701), `POST
//! /revoke` (RFC 7009), `GET` and `POST /userinfo` (OpenID Connect Core 1.0 §5.3).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use env::World;
use flow::introspect::{self, Answer as Told};
use flow::token::asker::End;
use flow::{revoke, userinfo};
use gateway::{Refusal, Status};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use monitoring::RecordId;
use oauth::bearer::{self, BearerError};
use oauth::challenge::Challenge;
use oauth::error::{ErrorCode, TokenError};
use oauth::introspection::{IntrospectionRequest, MEDIA_TYPE};
use oauth::revocation::RevocationRequest;
use oauth::{ScopeSet, TokenText};

use crate::answer::{self, Answer};
use crate::limits::FORM_BYTES_MAX;
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::token;
use crate::wire;

/// `POST /introspect`.
pub(crate) async fn introspect<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    // RFC 9701 §4: "The resource server [...] setting the Accept HTTP header value".
    let signed = wants_signed(&parts);
    let read = match token::asker(&shared, &parts, body).await {
        Ok((asker, form)) => IntrospectionRequest::parse(&form)
            .map(|request| introspect::Question { asker, request, signed })
            .map_err(Unread::from),
        Err(unread) => Err(unread),
    };
    let asked = match read {
        Ok(asked) => asked,
        Err(unread) => return token::refused(&shared, &source, &unread),
    };
    match introspect::answer(&*shared.world, asked).await {
        Ok(End::Stranger(why)) => {
            let mut answer = token::stranger(&shared, &source, why).await;
            // RFC 7662 §2.3: "HTTP 401 (Unauthorized)".
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            answer
        }
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let answer = match recorded.into_value() {
                Ok(Told::Plain(told)) => answer::json(StatusCode::OK, &*told),
                Ok(Told::Signed(text)) => {
                    let mut answer = Response::new(Body::from(text));
                    let media = HeaderValue::from_static(MEDIA_TYPE);
                    answer.headers_mut().insert(CONTENT_TYPE, media);
                    answer
                }
                Err(refusal) => wire::of_asker(&refusal).into_answer(),
            };
            private(answer, id)
        }
        Err(unavailable) => token::down(&shared, &unavailable),
    }
}

/// `POST /revoke`.
pub(crate) async fn revoke<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    let read = match token::asker(&shared, &parts, body).await {
        Ok((asker, form)) => RevocationRequest::parse(&form)
            .map(|request| revoke::Order { asker, request })
            .map_err(Unread::from),
        Err(unread) => Err(unread),
    };
    let order = match read {
        Ok(order) => order,
        Err(unread) => return token::refused(&shared, &source, &unread),
    };
    match revoke::answer(&*shared.world, order).await {
        Ok(End::Stranger(why)) => token::stranger(&shared, &source, why).await,
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let answer = match recorded.into_value() {
                // RFC 7009 §2.2: "The content of the response body is ignored by the client".
                Ok(()) => Response::new(Body::empty()),
                Err(refusal) => {
                    token::with_nonce(&shared, wire::of_asker(&refusal).into_answer()).await
                }
            };
            private(answer, id)
        }
        Err(unavailable) => token::down(&shared, &unavailable),
    }
}

/// `GET` or `POST /userinfo`.
pub(crate) async fn userinfo<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    // Nothing in it counts. Over HTTP/2 some clients lose an answer that comes before it is sent.
    let _ = token::read_body(body, FORM_BYTES_MAX, shared.limits.body_max).await;
    let asked = match token_of(&parts) {
        Ok(asked) => asked,
        Err(refusal) => return of_userinfo(&refusal, None),
    };
    match userinfo::answer(&*shared.world, asked).await {
        Ok(userinfo::End::Stranger(refusal)) => of_userinfo(&refusal, None),
        Ok(userinfo::End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let answer = match recorded.into_value() {
                Ok(told) => private(answer::json(StatusCode::OK, &told), id),
                Err(refusal) => of_userinfo(&refusal, id),
            };
            token::with_nonce(&shared, answer).await
        }
        Err(unavailable) => token::down(&shared, &unavailable),
    }
}

fn wants_signed(parts: &Parts) -> bool {
    let accepted = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    types.any(|one| {
        let essence = one.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(MEDIA_TYPE)
    })
}

/// The one token of a request to `/userinfo`, in the header (Core 1.0 §5.3.1: "It is RECOMMENDED
/// that the request use the HTTP GET method and the Access Token be sent using the Authorization
/// header field").
fn token_of(parts: &Parts) -> Result<userinfo::Asked, Refusal> {
    let values = || parts.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let bad = |why: BearerError| Refusal::BadRequest { why: why.to_string() };
    if let Some(query) = parts.uri.query() {
        bearer::refuse_in_query(query).map_err(bad)?;
    }
    let (token, is_dpop): (TokenText, bool) = match bearer::from_authorization(values()) {
        Ok(token) => (token, false),
        Err(BearerError::OtherScheme { .. }) => match bearer::from_dpop_authorization(values()) {
            Ok(token) => (token, true),
            Err(BearerError::OtherScheme { .. }) => return Err(Refusal::NoToken),
            Err(error) => return Err(bad(error)),
        },
        Err(BearerError::Absent) => return Err(Refusal::NoToken),
        Err(error) => return Err(bad(error)),
    };
    let method = if parts.method == Method::POST { "POST" } else { "GET" };
    Ok(userinfo::Asked { token, is_dpop, dpop: token::dpop(&parts.headers), method })
}

/// Core 1.0 §5.3.3: "error responses are as defined in Section 3 of OAuth 2.0 Bearer Token Usage".
fn of_userinfo(refusal: &Refusal, id: Option<RecordId>) -> Answer {
    let bound = matches!(refusal, Refusal::Dpop(_) | Refusal::Scheme { .. } | Refusal::Replayed);
    let challenge = if bound { Challenge::dpop() } else { Challenge::bearer() };
    let (status, code) = match refusal.status() {
        Status::Authenticate => (StatusCode::UNAUTHORIZED, None),
        Status::InvalidRequest | Status::Malformed => {
            (StatusCode::BAD_REQUEST, Some(ErrorCode::InvalidRequest))
        }
        Status::InsufficientScope(_) => (StatusCode::FORBIDDEN, Some(ErrorCode::InsufficientScope)),
        Status::UseDpopNonce => (StatusCode::UNAUTHORIZED, Some(ErrorCode::UseDpopNonce)),
        Status::InvalidDpopProof | Status::InvalidProof => {
            (StatusCode::UNAUTHORIZED, Some(ErrorCode::InvalidDpopProof))
        }
        _ => (StatusCode::UNAUTHORIZED, Some(ErrorCode::InvalidToken)),
    };
    let challenge = match (code, refusal) {
        (None, _) => challenge,
        (Some(code), Refusal::Scope { scope }) => {
            let needed: ScopeSet = [scope.clone()].into_iter().collect();
            challenge.error(code).scope(&needed)
        }
        (Some(code), _) => challenge.error(code).description(&refusal.to_string()),
    };
    let mut answer = match code {
        None => Response::new(Body::empty()),
        Some(code) => {
            let told = TokenError::new(code).with_description(&refusal.to_string());
            answer::json(status, &told)
        }
    };
    *answer.status_mut() = status;
    if let Ok(value) = HeaderValue::try_from(challenge.to_string()) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    private(answer, id)
}

/// An answer that nobody keeps, with the id of its record.
fn private(mut answer: Answer, id: Option<RecordId>) -> Answer {
    wire::not_kept(answer.headers_mut());
    answer::name_record(answer.headers_mut(), id);
    answer
}
