//! The HTTPS origins: N, the issuer's, and N+1, the same endpoints where TLS asks for a client
//! certificate (RFC 8705 §5).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::body::Drained;
use ::people::throttle::Throttle;
use approve::shares::Shares;
use axum::Router;
use axum::body::Body;
use axum::extract::Request as AxumRequest;
use axum::handler::Handler;
use axum::middleware::map_response;
use axum::routing::{MethodFilter, MethodRouter, on, options};
use enrolment::session::Sessions;
use env::{Entropy, World};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use rustls::ServerConfig;
use socket::{Full, Places};
use tokio::net::TcpListener;
use tower::Service;

use crate::accept::{self, Answers, Listening, Peer};
use crate::answer::{self, Answer};
use crate::documents;
use crate::enrol;
use crate::health::Health;
use crate::identifier;
use crate::left;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::push;
use crate::refused::{OnRefused, Source, Unread};
use crate::registration;
use crate::routes::{PUBLIC, Public, Route};
use crate::status_lists::StatusLists;
use crate::tiles::Tiles;
use crate::token;
use crate::verify::{self, Verifications};
use crate::{about, asking};

/// The longest that an answer may take; then the client is told to come again.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The route of requests that met none.
const NO_ROUTE: &str = "other";
/// What a page may send along to any endpoint. To be answered without credentials is all it gets.
const CORS_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, dpop, oauth-client-attestation, oauth-client-attestation-pop, \
     mcp-protocol-version",
);
/// How long a browser may remember that, in seconds.
const CORS_MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
/// Pages of any origin; never together with `Access-Control-Allow-Credentials`.
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// What an origin is made of.
pub struct Parts<W> {
    /// The doors to the world.
    pub world: Arc<W>,
    /// The logs.
    pub tiles: Arc<dyn Tiles>,
    /// What the process knows of itself.
    pub health: Arc<dyn Health>,
    /// The bounds.
    pub limits: Limits,
    /// Told of what is refused before it reaches a flow.
    pub on_refused: OnRefused,
    /// What else the origin answers: pages, and decisions that others ask for.
    pub pages: Router,
}

/// The endpoints of the server. A handle: clones are cheap and mean the same origin.
pub struct Origin<W> {
    shared: Arc<Shared<W>>,
    router: Router,
}

impl<W> Clone for Origin<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), router: self.router.clone() }
    }
}

impl<W: World> Origin<W> {
    /// The origin of these parts.
    pub fn new(parts: Parts<W>) -> Self {
        let Parts { world, tiles, health, limits, on_refused, pages } = parts;
        let connections = Places::new(limits.connections_max, limits.connections_per_source_max);
        let requests = Places::new(limits.requests_max, limits.requests_per_source_max);
        let metrics = Metrics::default();
        let enrolments = Places::new(limits.enrolments_max, limits.enrolments_per_source_max);
        let sessions = Sessions::new(&world.entropy().secret());
        let verifications = Verifications::new(&world.entropy().secret());
        let shared = Arc::new(Shared {
            world,
            tiles,
            health,
            limits,
            on_refused,
            metrics,
            connections,
            sessions,
            enrolments,
            verifications,
            status_lists: StatusLists::default(),
            guesses: Throttle::default(),
            registered: flow::clients::endpoint::throttle(),
            shares: Shares::default(),
            requests,
        });
        let router = router(&shared).merge(pages.layer(map_response(of_pages)));
        Self { shared, router }
    }

    /// Serves a listener, N without certificates of clients or N+1 that demands them, until
    /// `stop` ends; then lets what is under way finish, for as long as the limits say.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        stop: impl Future<Output = ()>,
    ) {
        let shared = Arc::clone(&self.shared);
        let on_refused: OnRefused =
            Arc::new(move |source: &Source, unread: &Unread| shared.refuse(source, unread));
        let listening = Listening {
            answers: self.clone(),
            tls,
            limits: self.shared.limits.clone(),
            on_refused,
            connections: self.shared.connections.clone(),
        };
        accept::listen(listener, listening, stop).await;
    }

    /// A request to the token endpoint that came in another way: through the node API, from one of
    /// our components. The form and header fields, as names and values; answers status and body.
    pub async fn token(
        &self,
        component: &str,
        form: &[(String, String)],
        fields: &[(String, String)],
    ) -> (u16, Vec<u8>) {
        let source = Source::Component(component.to_owned());
        token::over(&self.shared, &source, form, fields).await
    }
}

/// What all requests share.
pub(crate) struct Shared<W> {
    pub(crate) world: Arc<W>,
    pub(crate) tiles: Arc<dyn Tiles>,
    pub(crate) health: Arc<dyn Health>,
    pub(crate) limits: Limits,
    pub(crate) on_refused: OnRefused,
    pub(crate) metrics: Metrics,
    pub(crate) connections: Places,
    /// What the nonces of enrolment are known by, in this life of the process.
    pub(crate) sessions: Sessions,
    pub(crate) enrolments: Places,
    pub(crate) verifications: Verifications,
    pub(crate) status_lists: StatusLists,
    /// Wrong codes of users, and registrations without a token.
    pub(crate) guesses: Throttle,
    pub(crate) registered: Throttle,
    /// What clients leave here that prove nothing.
    pub(crate) shares: Shares,
    requests: Places,
}

impl<W> Shared<W> {
    /// Counts what is refused before it reaches a flow.
    pub(crate) fn refuse(&self, source: &Source, unread: &Unread) {
        self.metrics.unread(unread.check());
        (self.on_refused)(source, unread);
    }
}

impl<W: World> Answers for Origin<W> {
    fn answer(
        &self,
        peer: Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let Self { shared, mut router } = self.clone();
        async move {
            let (address, mut request) = (peer.address, whole(request));
            let source = Source::Address(address);
            let _place = match shared.requests.take(address) {
                Ok(place) => place,
                Err(full) => return too_many(&shared, &source, full),
            };
            // Whence it comes, for routes that are not ours: they know no `Peer`.
            request.extensions_mut().insert(peer.chain.clone());
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(address);
            let mut answer = match tokio::time::timeout(ANSWER_MAX, router.call(request)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(never)) => match never {},
                Err(_) => down(),
            };
            let route = answer.extensions_mut().remove::<Met>().map_or(NO_ROUTE, |met| met.0);
            match answer.status() {
                StatusCode::NOT_FOUND if route == NO_ROUTE => {
                    shared.refuse(&source, &Unread::NotFound);
                }
                StatusCode::METHOD_NOT_ALLOWED => shared.refuse(&source, &Unread::Method),
                _ => {}
            }
            shared.metrics.answered(route, answer.status().as_u16());
            answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
            answer
        }
    }
}

/// The request with a body that is read to its end even where it is refused early.
fn whole(request: Request<Incoming>) -> Request<Body> {
    match request.version() {
        Version::HTTP_2 => request.map(|body| Body::new(Drained::new(body))),
        _ => request.map(Body::new),
    }
}

/// A document is what its type says, whatever its bytes look like.
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

fn too_many<W>(shared: &Shared<W>, source: &Source, full: Full) -> Answer {
    let (status, unread) = match full {
        Full::All => {
            let max = shared.limits.requests_max;
            (StatusCode::SERVICE_UNAVAILABLE, Unread::Requests { max })
        }
        Full::Source => {
            let max = shared.limits.requests_per_source_max;
            (StatusCode::TOO_MANY_REQUESTS, Unread::RequestsOfSource { max })
        }
    };
    shared.refuse(source, &unread);
    shared.metrics.answered(NO_ROUTE, status.as_u16());
    answer::error(status, "temporarily_unavailable", &unread.to_string())
}

fn down() -> Answer {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    answer::error(status, "temporarily_unavailable", "no answer in time")
}

/// The route that a request met, for counting.
#[derive(Clone, Copy)]
struct Met(&'static str);

fn router<W: World>(shared: &Arc<Shared<W>>) -> Router {
    let mut router = Router::new();
    for route in PUBLIC {
        let path = route.path;
        let mut methods = method_router::<W>(route);
        if route.cors {
            methods = methods.merge(options(preflight(route.method)));
        }
        let cors = route.cors;
        let methods = methods.layer(map_response(move |mut answer: Answer| async move {
            answer.extensions_mut().insert(Met(path));
            if cors {
                answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
                answer.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
            answer
        }));
        router = router.route(path, methods);
    }
    router
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            answer::error(status, "invalid_request", &Unread::Method.to_string())
        })
        .fallback(async || not_found())
        .with_state(Arc::clone(shared))
}

/// Nothing is there.
pub(crate) fn not_found() -> Answer {
    answer::error(StatusCode::NOT_FOUND, "not_found", &Unread::NotFound.to_string())
}

/// What a page may read beside the body.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("aims-audit-id, dpop-nonce, retry-after, www-authenticate");

fn method_router<W: World>(route: &Route<Public>) -> MethodRouter<Arc<Shared<W>>> {
    match route.endpoint {
        Public::Token => of(route, token::serve::<W>),
        Public::Push => of(route, push::serve::<W>),
        Public::Challenge => of(route, documents::challenge::<W>),
        Public::Introspect => of(route, about::introspect::<W>),
        Public::Revoke => of(route, about::revoke::<W>),
        Public::Userinfo => of(route, about::userinfo::<W>),
        Public::RegisterClient => of(route, registration::register::<W>),
        Public::ManageClient => of(route, registration::manage::<W>),
        Public::Device => of(route, asking::device::<W>),
        Public::Backchannel => of(route, asking::backchannel::<W>),
        Public::Transaction => of(route, asking::transaction::<W>),
        Public::EnrolSession => of(route, enrol::session::<W>),
        Public::Enrol => of(route, enrol::serve::<W>),
        Public::EnrolRenew => of(route, enrol::renewed::<W>),
        Public::VerifierOpen => of(route, verify::open::<W>),
        Public::VerifierSubmit => of(route, verify::submit::<W>),
        Public::VerifierShow => of(route, verify::show::<W>),
        Public::VerifierDelete => of(route, verify::delete::<W>),
        Public::VerifierDiscovery => of(route, verify::discovery::<W>),
        Public::VerifierKeys => of(route, verify::keys::<W>),
        Public::UpstreamLogout => of(route, left::serve::<W>),
        Public::Metadata => of(route, documents::metadata::<W>),
        Public::Jwks => of(route, documents::jwks::<W>),
        Public::TxnTokenKeys => of(route, documents::txn_token_jwks::<W>),
        Public::StatusList => of(route, documents::status_list::<W>),
        Public::OidcDiscovery => of(route, documents::oidc_discovery::<W>),
        Public::OidcKeys => of(route, documents::oidc_keys::<W>),
        Public::Identifier => of(route, identifier::serve::<W>),
        Public::Bundle => of(route, documents::bundle::<W>),
        Public::Tile => of(route, documents::tile::<W>),
        Public::Ready => of(route, documents::ready::<W>),
        Public::Metrics => of(route, documents::metrics::<W>),
    }
}

fn of<W, H, T>(route: &Route<Public>, handler: H) -> MethodRouter<Arc<Shared<W>>>
where
    W: World,
    H: Handler<T, Arc<Shared<W>>>,
    T: 'static,
{
    let filter = match route.method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    on(filter, handler)
}

/// All pages count as one route: their paths name people's things.
async fn of_pages(mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(Met("pages"));
    answer
}

/// The answer to a page that asks first (Fetch, "CORS-preflight fetch").
fn preflight(
    method: &'static str,
) -> impl Fn(AxumRequest) -> std::future::Ready<Answer> + Clone + Send + Sync + 'static {
    move |_| {
        let mut answer = Answer::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let methods = HeaderValue::from_static(method);
        let fields: [(HeaderName, HeaderValue); 3] = [
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE),
        ];
        answer.headers_mut().extend(fields);
        std::future::ready(answer)
    }
}
