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
mod visit;
mod words;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, map_response};
use axum::routing::{any, get, post};
use basis::shares::Shares;
use env::{Entropy, World};
use monitoring::trace::Trace;
use people::ceremony::Ceremonies;
use people::throttle::Throttle;

use crate::pages::{acting, approvals, authorize, home, leave, methods, operate, sign_in};

/// Told of a refusal of somebody who proved nothing: where they came from, and the check. It is
/// called on the way of a request: it must not block.
pub type OnRefused = Arc<dyn Fn(&str, &'static str) + Send + Sync>;

/// What [`Stories`] gives: none where nothing in the logs has that root, transaction or token; else
/// why the logs do not read.
pub type Story = Result<Option<Trace>, String>;
/// The story of a task, from the logs of this process: a door that the wiring opens.
pub type Stories = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Story> + Send>> + Send + Sync>;

/// What the console is made of.
pub struct Parts<W> {
    /// The doors to the world.
    pub world: Arc<W>,
    /// Told of what is counted instead of being recorded.
    pub on_refused: OnRefused,
    /// What operators read in the logs.
    pub stories: Stories,
}

/// What all its requests share.
pub(crate) struct Shared<W> {
    pub(crate) world: Arc<W>,
    /// Our own origin, as browsers write it: `https://host:port`.
    pub(crate) origin: String,
    pub(crate) throttle: Throttle,
    pub(crate) shares: Shares,
    pub(crate) ceremonies: Ceremonies,
    pub(crate) stories: Stories,
    on_refused: OnRefused,
}

impl<W> Shared<W> {
    /// Counts a refusal of somebody who proved nothing.
    pub(crate) fn count(&self, source: &str, check: &'static str) {
        (self.on_refused)(source, check);
    }
}

/// The routes of the console, for the listener that serves the issuer's origin.
pub fn router<W: World>(parts: Parts<W>) -> Router {
    let Parts { world, on_refused, stories } = parts;
    let origin = guard::origin_of(&world.site().issuer);
    let ceremonies = Ceremonies::new(&world.entropy().secret());
    let throttle = Throttle::default();
    let shares = Shares::default();
    let shared =
        Arc::new(Shared { world, origin, throttle, shares, ceremonies, stories, on_refused });
    let pages: Router<Arc<Shared<W>>> = Router::new()
        .route(assets::STYLE_PATH, get(assets::style))
        .route(assets::SCRIPT_PATH, get(assets::script))
        .route(authorize::AUTHORIZE, get(authorize::begin::<W>).post(authorize::post::<W>))
        .route("/interaction/{name}", get(authorize::show::<W>).post(authorize::answer::<W>))
        .route(visit::SIGN_IN, get(sign_in::show::<W>).post(sign_in::by_code::<W>))
        .route(sign_in::PASSKEY, post(sign_in::by_passkey::<W>))
        .route(sign_in::LINK, get(sign_in::link::<W>).post(sign_in::by_link::<W>))
        .route("/sign-in/upstream/{name}/begin", post(sign_in::to_provider::<W>))
        .route("/sign-in/upstream/{name}", get(sign_in::by_provider::<W>))
        .route(visit::SIGN_OUT, post(leave::sign_out::<W>))
        .route(leave::EVERYWHERE, post(leave::everywhere::<W>))
        .route(leave::END_SESSION, get(leave::asked::<W>).post(leave::post::<W>))
        .route(leave::CONFIRM, post(leave::answered::<W>))
        .route(acting::START, get(acting::show::<W>))
        .route("/console/grants/{id}/end", post(acting::end_grant::<W>))
        .route(acting::END_ALL, get(acting::all_of::<W>).post(acting::end_all::<W>))
        .route("/console/sessions/{id}/end", post(acting::end_session::<W>))
        .route(approvals::LIST, get(approvals::all::<W>))
        .route("/console/approvals/{id}", get(approvals::one::<W>).post(approvals::answer::<W>))
        .route(approvals::DEVICE, get(approvals::typed::<W>).post(approvals::connect::<W>))
        .route(methods::METHODS, get(methods::show::<W>))
        .route(methods::ADD, post(methods::add::<W>))
        .route("/console/sign-in-methods/{id}/remove", post(methods::remove::<W>))
        .route("/console/sign-in-methods/accounts/{id}/remove", post(methods::remove_account::<W>))
        .route(operate::OPERATE, get(operate::home::<W>))
        .route("/console/operate/{what}", get(operate::list::<W>))
        .route("/console/operate/{what}/one", get(operate::show::<W>))
        .route("/console/operate/{what}/act", post(operate::act::<W>))
        .route("/console/operate/grants/{id}/end", post(operate::end_grant::<W>))
        .route("/console/operate/sessions/{id}/end", post(operate::end_session::<W>));
    let checked = Arc::clone(&shared);
    // Nothing is done at these, whoever sends it.
    let others: Router<Arc<Shared<W>>> = Router::new()
        .route(assets::ICON_PATH, get(assets::icon))
        .route("/", any(home::root))
        .route("/console/", any(home::root))
        .route("/console/{*rest}", any(home::unknown::<W>));
    pages
        .layer(from_fn(move |request, next| guard::watch(checked.origin.clone(), request, next)))
        .merge(others.layer(map_response(guard::safe)))
        .with_state(shared)
}
