//! `GET /identifier?handle=…`: which identifier to expect at a URL or host, for who shows a
//! certificate of ours (docs/identifiers.md).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use env::World;
use flow::lookup::{self, End, Question, Refusal};
use http::header::CACHE_CONTROL;
use http::{Request, StatusCode};

use crate::accept::Peer;
use crate::answer::{self, Answer, NO_STORE};
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::wire;

/// The one parameter.
const HANDLE: &str = "handle";
/// How many parameters are looked at.
const PARAMETERS_MAX: usize = 4;

/// Answers.
pub(crate) async fn serve<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, _) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return wire::of_unavailable().into_answer();
    };
    let source = Source::Address(peer.address);
    let counted = |unread: Unread| {
        shared.refuse(&source, &unread);
        wire::of_unread(&unread).into_answer()
    };
    let Some(handle) = handle(parts.uri.query().unwrap_or_default()) else {
        let why = "the one parameter is `handle`, once";
        return answer::error(StatusCode::BAD_REQUEST, "invalid_request", why);
    };
    let certificates = peer.chain.as_deref().unwrap_or_default().to_vec();
    match lookup::lookup(&*shared.world, &Question { handle, certificates }).await {
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let mut answer = match recorded.into_value() {
                Ok(found) => {
                    let shown = serde_json::json!({ "identifier": found.to_string() });
                    answer::json(StatusCode::OK, &shown)
                }
                Err(refusal) => told(&refusal),
            };
            answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
            answer::name_record(answer.headers_mut(), id);
            answer
        }
        Ok(End::Stranger(refusal)) => counted(Unread::Lookup(Box::new(refusal))),
        Err(unavailable) => {
            tracing::error!(%unavailable, "no identifier could be looked up");
            wire::of_unavailable().into_answer()
        }
    }
}

fn handle(query: &str) -> Option<String> {
    let mut given = form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX);
    let (name, value) = given.next()?;
    (name == HANDLE && given.next().is_none()).then(|| value.into_owned())
}

/// What a caller is told that is somebody.
fn told(refusal: &Refusal) -> Answer {
    let (status, code) = match refusal {
        Refusal::NoProof | Refusal::Channel(_) => (StatusCode::UNAUTHORIZED, "invalid_client"),
        Refusal::UnknownCaller { .. } | Refusal::NotInForce { .. } => {
            (StatusCode::FORBIDDEN, "access_denied")
        }
        Refusal::Length { .. } => (StatusCode::BAD_REQUEST, "invalid_request"),
        Refusal::Unknown { .. } => (StatusCode::NOT_FOUND, "not_found"),
        Refusal::Ambiguous { .. } => (StatusCode::CONFLICT, "ambiguous"),
    };
    answer::error(status, code, &refusal.to_string())
}
