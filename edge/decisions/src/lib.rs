//! Decisions over HTTPS: the binding of the [AuthZEN Authorization API
//! 1.0](https://openid.net/specs/authorization-api-1_0.html) (§10.1), its metadata (§9), and the
//! endpoints of its Access Request and Approval Profile (AUTHZ-24, AUTHZ-32).
//!
//! In scope: paths, header fields, bodies, and how an answer of a flow looks. Not here: any
//! decision (`flow/decide`), the listener (`edge/api`).
//!
//! What trusting it means: it shows the flow exactly what was sent, and lets out nothing that the
//! flow did not record.

mod answer;
mod evaluations;
mod read;
mod requests;

use std::sync::Arc;

use authzen::{EVALUATION_PATH, EVALUATIONS_PATH};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use decide::metadata::REQUESTS_PATH;
use env::World;
use http::HeaderName;

/// Told of a refusal of somebody who proved nothing: where they came from, and the check. It is
/// called on the way of a request: it must not block.
pub type OnRefused = Arc<dyn Fn(&str, &'static str) + Send + Sync>;

/// AuthZEN §10.1.3: "It is RECOMMENDED to specify the request identifier using the HTTPS Response
/// header `X-Request-ID`."
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the endpoints are made of.
pub struct Parts<W> {
    /// The doors to the world.
    pub world: Arc<W>,
    /// Told of what is counted instead of being recorded.
    pub on_refused: OnRefused,
}

/// What all their requests share.
pub(crate) struct Shared<W> {
    pub(crate) world: Arc<W>,
    on_refused: OnRefused,
}

impl<W> Shared<W> {
    /// Counts a refusal of somebody who proved nothing.
    pub(crate) fn count(&self, source: &str, check: &'static str) {
        (self.on_refused)(source, check);
    }
}

/// The routes, for the listener that serves the issuer's origin: below the path of the issuer,
/// where it has one.
pub fn router<W: World>(parts: Parts<W>) -> Router {
    let Parts { world, on_refused } = parts;
    let issuer = world.site().issuer.clone();
    let at = |path: &str| format!("{}{path}", authzen::path_of(&issuer));
    let task = at(&format!("{REQUESTS_PATH}/{{id}}"));
    let cancel = format!("{task}/{}", decide::task::CANCEL);
    Router::new()
        .route(&authzen::well_known(&issuer), get(evaluations::metadata::<W>))
        .route(&at(EVALUATION_PATH), post(evaluations::one::<W>))
        .route(&at(EVALUATIONS_PATH), post(evaluations::several::<W>))
        .route(&at(REQUESTS_PATH), post(requests::submit::<W>))
        .route(&task, get(requests::status::<W>))
        // "implementations MAY also accept HTTP `DELETE` against `links.cancel`".
        .route(&cancel, post(requests::cancel::<W>).delete(requests::cancel::<W>))
        .layer(from_fn(named))
        .with_state(Arc::new(Shared { world, on_refused }))
}

/// "If the PEP specified a request identifier in the request, the PDP MUST include the same
/// identifier in the response to that request."
async fn named(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut answer = next.run(request).await;
    if let Some(id) = id {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}
