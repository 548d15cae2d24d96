//! Where somebody starts.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use env::World;
use http::HeaderMap;

use crate::browser::Browser;
use crate::{Shared, page};

/// Nobody is signed in yet.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    headers: HeaderMap,
) -> Response {
    let browser = Browser::of(shared.world.as_ref(), &headers);
    page::remembered(page::see_other("/sign-in"), &browser)
}
