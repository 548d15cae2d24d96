//! Orders about OAuth clients that are not agents: RFC 7591 metadata in, RFC 7591 answers out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use env::{Recorded, World};
use flow::agents::PAGE_MAX;
use flow::clients;
use http::header::CACHE_CONTROL;
use http::{Request, StatusCode, Uri};
use oauth::client_metadata::ClientMetadata;
use registry::ClientRecord;

use crate::admin::Shared;
use crate::admin::messages::{ClientInformation, Page};
use crate::admin::operator::Uid;
use crate::admin::problem::Undone;
use crate::admin::query::{self, At, Query};
use crate::admin::router::Ended;
use crate::answer::{self, Answer, NO_STORE};

/// RFC 7591 §3.2: "The server responds with an HTTP 201 Created status code and a body of type
/// "application/json" with content as described in Section 3.2.1."
pub(crate) async fn register<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let text = query::text(request).await?;
    let metadata = ClientMetadata::parse(&text).map_err(|error| Undone::from(&error))?;
    let done = clients::register(&*shared.world, &uid.operator(), metadata).await;
    Ok(told(StatusCode::CREATED, done.map_err(|why| Undone::from(&why))?))
}

pub(crate) async fn list<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["after", "limit"])?;
    let limit = query.limit(PAGE_MAX)?;
    let page = clients::list(&*shared.world, query.get("after"), limit).await;
    let (items, next) = page.map_err(|why| Undone::from(&why))?;
    let items: Vec<_> = items.into_iter().map(ClientInformation::from).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(id): At<String>,
) -> Ended {
    let found = clients::show(&*shared.world, &id).await.map_err(|why| Undone::from(&why))?;
    let shown = |client| answer::json(StatusCode::OK, &ClientInformation::from(client));
    found.map(shown).ok_or_else(|| unknown(&id))
}

pub(crate) async fn disable<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(id): At<String>,
) -> Ended {
    let done = clients::disable(&*shared.world, &uid.operator(), &id).await;
    let done = done.map_err(|why| Undone::from(&why))?.ok_or_else(|| unknown(&id))?;
    Ok(told(StatusCode::OK, done))
}

fn unknown(id: &str) -> Undone {
    Undone::not_found(format!("no client `{id}`"))
}

fn told(status: StatusCode, done: Recorded<ClientRecord>) -> Answer {
    let id = done.audit_id();
    let mut answer = answer::json(status, &ClientInformation::from(done.into_value()));
    answer::name_record(answer.headers_mut(), id);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}
