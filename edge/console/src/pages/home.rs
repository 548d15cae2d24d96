//! Addresses that people type and browsers ask for by themselves: the origin, and what is no page
//! of the console. Programs get the same answer as everywhere at this origin.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use env::World;
use http::header::{ACCEPT, VARY};
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use super::acting::START;
use crate::visit::Visit;
use crate::{Shared, page};

/// What a browser says that it shows.
const PAGE: &str = "text/html";

/// `/` and `/console/`: on to the console.
pub(crate) async fn root(headers: HeaderMap) -> Response {
    by_accept(if shows_pages(&headers) { page::see_other(START) } else { nothing() })
}

/// What is no page below the console.
pub(crate) async fn unknown<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    if !shows_pages(&parts.headers) {
        return by_accept(nothing());
    }
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let what = "Perhaps the address was cut off or mistyped.";
    by_accept(visit.refusal(StatusCode::NOT_FOUND, "There is no such page", what))
}

/// Whether it is a browser that shows what it gets to somebody (RFC 9110 §12.5.1).
fn shows_pages(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = all.flat_map(|value| value.split(','));
    let mut essences = ranges.map(|one| one.split(';').next().unwrap_or_default().trim());
    essences.any(|one| one.eq_ignore_ascii_case(PAGE))
}

/// For programs, in the words of the other endpoints.
fn nothing() -> Response {
    let body = serde_json::json!({
        "error": "not_found", "error_description": "nothing is at this path",
    });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// RFC 9110 §12.5.5: the answer depends on this field.
fn by_accept(mut answer: Response) -> Response {
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    answer
}
