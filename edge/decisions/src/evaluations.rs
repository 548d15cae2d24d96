//! Questions (AuthZEN §6, §7), and what the decision point says of itself (§9).

use std::sync::Arc;

use authzen::{Evaluations, Request as Question};
use axum::body::Body;
use axum::extract::State;
use decide::evaluate::{self, Told};
use decide::{End, Shown};
use env::World;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, StatusCode};

use crate::Shared;
use crate::answer::{self, Answer, Errors};
use crate::read::{self, Unread};

/// How long the document may be kept (AuthZEN §11.9).
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// `GET /.well-known/authzen-configuration`.
pub(crate) async fn metadata<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    let document = decide::metadata::metadata(&*shared.world);
    let mut answer = answer::json(StatusCode::OK, &document);
    answer.headers_mut().insert(CACHE_CONTROL, KEPT);
    answer
}

/// `POST /access/v1/evaluation`.
pub(crate) async fn one<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let parse = |bytes: &[u8]| {
        Question::parse(bytes).map(|question| Evaluations::Single(Box::new(question)))
    };
    decided(&shared, request, parse).await
}

/// `POST /access/v1/evaluations`.
pub(crate) async fn several<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    decided(&shared, request, Evaluations::parse).await
}

async fn decided<W: World>(
    shared: &Shared<W>,
    request: Request<Body>,
    parse: impl Fn(&[u8]) -> Result<Evaluations, authzen::Malformed>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let source = read::source(&parts);
    let below = authzen::path_of(&shared.world.site().issuer);
    // All of it is read before any of it is judged: over HTTP/2 some clients lose an answer that
    // comes before their request is done.
    let body = read::json(&parts.headers, body).await;
    let (shown, asks): (Shown, Evaluations) = match read::shown(&parts, below) {
        Err(unread) => return Errors::Text.unread(shared, &source, &unread),
        Ok(shown) => match body {
            Err(unread) => return Errors::Text.unread(shared, &source, &unread),
            Ok(bytes) => match parse(&bytes) {
                Ok(asks) => (shown, asks),
                Err(why) => {
                    return Errors::Text.unread(shared, &source, &Unread::Malformed(why));
                }
            },
        },
    };
    match evaluate::answer(&*shared.world, &shown, &asks).await {
        Err(unavailable) => Errors::Text.down(&unavailable),
        Ok(End::Stranger(refusal)) => {
            let answer = Errors::Text.unread(shared, &source, &Unread::Caller(refusal));
            answer::recorded(shared, answer, None).await
        }
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            // AuthZEN §10.1.2: "A successful request that results in a "deny" is indicated by a 200
            // OK status code with a { "decision": false } payload."
            let answer = match recorded.into_value() {
                Ok(Told::One(response)) => answer::json(StatusCode::OK, &response),
                Ok(Told::Many(responses)) => answer::json(StatusCode::OK, &responses),
                Err(refusal) => Errors::Text.refusal(&refusal),
            };
            answer::recorded(shared, answer, id).await
        }
    }
}
