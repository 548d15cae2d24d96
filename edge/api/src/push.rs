//! `POST /par` (RFC 9126): from bytes to a pushed request, and from its end to an answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use consent::push::{self, End, Refusal};
use env::World;
use http::{Request, StatusCode};
use oauth::pushed::{PushedResponse, STATUS};

use crate::answer::{self, Answer};
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::{token, wire};

/// Answers a request over HTTP.
pub(crate) async fn serve<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = Source::of(&parts);
    let (asker, form) = match token::asker(&shared, &parts, body).await {
        Ok(read) => read,
        Err(unread) => return token::refused(&shared, &source, &unread),
    };
    match push::push(&*shared.world, &shared.shares, asker, form).await {
        Ok(End::Stranger(why)) => token::stranger(&shared, &source, why).await,
        Ok(End::Unproved(decided)) => {
            if let Err(refusal) = &decided {
                shared.refuse(&source, &Unread::Unproved { check: refusal.check() });
            }
            told(&shared, decided).await
        }
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let mut answer = told(&shared, recorded.into_value()).await;
            answer::name_record(answer.headers_mut(), id);
            answer
        }
        Err(unavailable) => token::down(&shared, &unavailable),
    }
}

async fn told<W: World>(shared: &Shared<W>, decided: Result<PushedResponse, Refusal>) -> Answer {
    let mut answer = match decided {
        // RFC 9126 §2.2: "with a 201 HTTP status code".
        Ok(kept) => answer::json(StatusCode::from_u16(STATUS).unwrap_or(StatusCode::OK), &kept),
        Err(refusal) => {
            let answer = wire::of_pushed(&refusal).into_answer();
            token::with_nonce(shared, answer).await
        }
    };
    wire::not_kept(answer.headers_mut());
    answer
}
