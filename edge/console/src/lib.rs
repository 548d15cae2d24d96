//! Pages for people: sign-in, consent, approval, what acts in their name, and the operators'
//! views (draft-klrc-aiagent-auth §10.6, held whole as S4 §10.6; AUTHN-11, AUTHZ-06, AUTHZ-18).
//!
//! In scope: paths, forms, cookies, and how an answer of a flow looks. Not here: any decision; what
//! a page shows or does, a flow of `flow/` says. Pages are plain HTML forms and work without
//! script, but for the one call that only a script can make (a passkey).

mod assets;
pub mod browser;
pub mod form;
pub mod guard;
pub mod page;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use env::World;

/// What the console is made of.
pub struct Parts<W> {
    /// The doors to the world.
    pub world: Arc<W>,
}

/// What all its requests share.
pub(crate) struct Shared<W> {
    pub(crate) world: Arc<W>,
    /// Our own origin, as browsers write it: `https://host:port`.
    pub(crate) origin: String,
}

/// The routes of the console, for the listener that serves the issuer's origin.
pub fn router<W: World>(parts: Parts<W>) -> Router {
    let Parts { world } = parts;
    let origin = guard::origin_of(&world.site().issuer);
    let shared = Arc::new(Shared { world, origin });
    let pages: Router<Arc<Shared<W>>> = Router::new()
        .route(assets::STYLE_PATH, get(assets::style))
        .route(assets::SCRIPT_PATH, get(assets::script))
        .route("/console", get(pages::home::show::<W>));
    let checked = Arc::clone(&shared);
    pages
        .layer(from_fn(move |request, next| guard::watch(checked.origin.clone(), request, next)))
        .with_state(shared)
}
