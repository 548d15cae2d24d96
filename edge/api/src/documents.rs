//! What anyone may read: metadata, keys, the bundle, the logs, and whether the server is ready.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use env::{Clock, Unavailable, World};
use flow::discovery::At;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode, Uri};
use serde::Serialize;

use crate::answer::{self, Answer, NO_STORE};
use crate::metrics::{self, Gauges};
use crate::origin::{Shared, not_found};
use crate::tiles;

/// How long documents may be kept: well under the time that a new key is published ahead of its
/// first use.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// RFC 8414 §3.2: "A successful response MUST use the 200 OK HTTP status code and return a JSON
/// object using the "application/json" content type".
pub(crate) async fn metadata<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    document(flow::publish::metadata(&*shared.world).await)
}

/// RFC 7517 §5.
pub(crate) async fn jwks<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    document(flow::publish::jwks(&*shared.world).await)
}

/// The keys of transaction tokens.
pub(crate) async fn txn_token_jwks<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    document(flow::publish::txn_token_jwks(&*shared.world).await)
}

/// draft-ietf-oauth-status-list-20 §8.1: "In the case of "application/statuslist+jwt", the response
/// MUST be of type JWT".
pub(crate) async fn status_list<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(list): Path<String>,
) -> Answer {
    match shared.status_lists.get(&*shared.world, &list).await {
        Ok(Some(answer)) => answer,
        Ok(None) => not_found(),
        Err(unavailable) => document::<()>(Err(unavailable)),
    }
}

/// OpenID Connect Discovery 1.0 §4.2: for clients that sign users in, and for relying parties that
/// take JWT-SVIDs as ID tokens, each at its issuer's URL.
pub(crate) async fn oidc_discovery<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let host = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .or_else(|| request.headers().get(HOST).and_then(|host| host.to_str().ok()));
    let at = At { host, path: request.uri().path() };
    document_if(flow::discovery::openid_configuration(&*shared.world, at).await)
}

/// The keys of JWT-SVIDs as a plain JWK Set (RFC 7517 §5): `jwks_uri` of the second document.
pub(crate) async fn oidc_keys<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Answer {
    document_if(flow::discovery::svid_keys(&*shared.world, uri.path()).await)
}

/// SPIFFE Federation §5.2.1.3 (`https_web`), §5.2.2.3 (`https_spiffe`): "Upon receiving an HTTP GET
/// request for the correct path, the bundle endpoint server MUST respond with the most up-to-date
/// version of the SPIFFE bundle available", so it is not kept on the way.
///
/// `?wit-svid=off` leaves out the keys of WITs: an implementation that does not know that `use` may
/// refuse the whole bundle.
pub(crate) async fn bundle<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Answer {
    let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut with_wit = true;
    for (_, value) in given.filter(|(name, _)| name == WIT_SVID).take(PARAMETERS_MAX) {
        with_wit = match value.as_ref() {
            "on" => true,
            "off" => false,
            _ => {
                let why = "`wit-svid` is `on` or `off`";
                return answer::error(StatusCode::BAD_REQUEST, "invalid_request", why);
            }
        };
    }
    let bundle = document(flow::publish::bundle(&*shared.world, with_wit).await);
    answer::kept(bundle, HeaderValue::from_static("no-cache"))
}

/// The parameter of `/bundle`, and how often it is looked at.
const WIT_SVID: &str = "wit-svid";
const PARAMETERS_MAX: usize = 4;

/// A file of a log.
pub(crate) async fn tile<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let tiles = Arc::clone(&shared.tiles);
    tiles::serve(tiles, request.uri().path()).await.unwrap_or_else(not_found)
}

/// Ready: the process says so, and a decision could be made.
pub(crate) async fn ready<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    let why = match shared.health.ready() {
        Err(why) => Some(why),
        Ok(()) => flow::facts::basis(&*shared.world, Vec::new()).await.err().map(|_| {
            // What the store said is for the operator's log.
            "the state cannot be read".to_owned()
        }),
    };
    let answer = match why {
        None => answer::json(StatusCode::OK, &serde_json::json!({ "ready": true })),
        Some(why) => {
            let body = serde_json::json!({ "ready": false, "why": why });
            let mut answer = answer::json(StatusCode::SERVICE_UNAVAILABLE, &body);
            let again = answer::RETRY_AFTER_SECONDS;
            answer.headers_mut().insert(http::header::RETRY_AFTER, again);
            answer
        }
    };
    answer::kept(answer, NO_STORE)
}

/// draft-ietf-oauth-attestation-based-client-auth §6.1: "The Authorization Server or Resource
/// Server MUST make the response uncacheable by adding a Cache-Control header field including the
/// value no-store."
pub(crate) async fn challenge<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    answer::kept(document_if(flow::token::challenge(&*shared.world).await), NO_STORE)
}

/// Counters and gauges.
pub(crate) async fn metrics<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    let gauges = Gauges {
        connections: shared.connections.taken(),
        durable_commits: shared.health.durable_commits(),
        logs: shared.health.logs(),
        seen: shared.health.seen(),
        now: shared.world.clock().now(),
    };
    let text = shared.metrics.text(&gauges);
    answer::kept(answer::bytes(StatusCode::OK, metrics::TEXT, text.into_bytes()), NO_STORE)
}

/// A document that is there only where policy says so.
fn document_if<T: Serialize>(read: Result<Option<T>, Unavailable>) -> Answer {
    match read.transpose() {
        Some(read) => document(read),
        None => not_found(),
    }
}

fn document<T: Serialize>(read: Result<T, Unavailable>) -> Answer {
    match read {
        Ok(document) => answer::kept(answer::json(StatusCode::OK, &document), KEPT),
        Err(unavailable) => {
            tracing::error!(%unavailable, "a document could not be read");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            answer::error(status, "temporarily_unavailable", "nothing can be read just now")
        }
    }
}
