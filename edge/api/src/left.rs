//! `POST /sign-in/upstream/{name}/logout`: an identity provider says that somebody left there
//! (OpenID Connect Back-Channel Logout 1.0 §2.5, with us as the client).

use std::sync::Arc;

use ::people::end::{Check as _, End};
use ::people::upstream::{self, Refusal};
use axum::body::Body;
use axum::extract::{Path, State};
use env::{Unavailable, World};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Request, StatusCode};
use oauth::form::Form;

use crate::answer::{self, Answer, NO_STORE};
use crate::limits::FORM_BYTES_MAX;
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::token::{FORM, is_form, read_body};
use crate::wire;

/// Answers the provider.
pub(crate) async fn serve<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
    let bytes = read_body(body, FORM_BYTES_MAX, shared.limits.body_max).await;
    let read = match (types.next(), types.next()) {
        (Some(one), None) if is_form(one) => bytes,
        _ => Err(Unread::ContentType { expected: FORM }),
    };
    let ended = match read.and_then(|bytes| Ok(Form::parse(&bytes)?)) {
        Ok(form) => {
            let token = form.get("logout_token").unwrap_or_default();
            told(upstream::left(&*shared.world, &name, token).await)
        }
        Err(unread) => Err(unread),
    };
    let mut answer = match ended {
        Ok(answer) => answer,
        Err(unread) => {
            shared.refuse(&source, &unread);
            // §2.8: "If the logout request was invalid or the logout failed, the RP MUST respond
            // with HTTP 400 Bad Request."
            answer::error(StatusCode::BAD_REQUEST, "invalid_request", &unread.to_string())
        }
    };
    // §2.8: "The RP's response SHOULD include the Cache-Control HTTP response header field with a
    // no-store value".
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}

type Ended = Result<End<::people::Count, Refusal>, Unavailable>;

fn told(ended: Ended) -> Result<Answer, Unread> {
    match ended {
        // Who is gone already is gone: a token that comes twice is answered like the first.
        Ok(End::Decided(_)) => Ok(answer::json(StatusCode::OK, &serde_json::json!({}))),
        Ok(End::Stranger(refusal)) => {
            Err(Unread::Left { check: refusal.check(), message: refusal.to_string() })
        }
        Err(_) => Ok(wire::of_unavailable().into_answer()),
    }
}
