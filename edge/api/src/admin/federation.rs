//! Orders about relations to other trust domains.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use credential::federation::{Relation, Terms};
use env::World;
use flow::federate::{self, Refusal, Shown};
use http::{Request, StatusCode};
use spiffe::TrustDomain;

use crate::admin::Shared;
use crate::admin::messages::RelationShown;
use crate::admin::operator::Uid;
use crate::admin::problem::{Done, Undone, decided};
use crate::admin::query::{self, At};
use crate::admin::router::Ended;
use crate::answer;

pub(crate) async fn add<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let terms: Terms = query::document(request).await?;
    let done = federate::add(&*shared.world, &uid.operator(), terms).await;
    ended(StatusCode::CREATED, done)
}

pub(crate) async fn list<W: World>(State(shared): State<Arc<Shared<W>>>) -> Ended {
    let all = federate::list(&*shared.world).await.map_err(|why| Undone::from(&why))?;
    let all: Vec<_> = all.into_iter().map(RelationShown::from).collect();
    Ok(answer::json(StatusCode::OK, &all))
}

pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let domain = domain(&text)?;
    let all = federate::list(&*shared.world).await.map_err(|why| Undone::from(&why))?;
    let found = all.into_iter().find(|one| one.relation.terms.trust_domain == domain);
    let found = found.ok_or_else(|| Undone::from(&Refusal::Unknown { domain }))?;
    Ok(answer::json(StatusCode::OK, &RelationShown::from(found)))
}

/// Refresh, remove.
pub(crate) async fn act<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((text, act)): At<(String, String)>,
) -> Ended {
    let (world, operator, domain) = (&*shared.world, uid.operator(), domain(&text)?);
    let done = match act.as_str() {
        "refresh" => federate::refresh(world, &operator, &domain).await,
        "remove" => federate::remove(world, &operator, &domain).await,
        other => return Err(Undone::not_found(format!("relations know no `{other}`"))),
    };
    ended(StatusCode::OK, done)
}

fn domain(text: &str) -> Result<TrustDomain, Undone> {
    TrustDomain::parse(text).map_err(|error| Undone::misused(format!("`{text}`: {error}")))
}

fn ended(status: StatusCode, done: Done<Relation, Refusal>) -> Ended {
    let (relation, id) = decided(done)?;
    let shown = RelationShown::from(Shown { relation, keys: None });
    Ok(answer::recorded(status, &shown, id))
}
