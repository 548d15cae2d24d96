//! Orders about agents.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use flow::agents::{self, PAGE_MAX, Refusal};
use http::{Request, StatusCode, Uri};
use identifier::AgentName;
use provisioning::Act;
use registry::{AgentRecord, Registration};

use crate::admin::Shared;
use crate::admin::messages::{Page, Reason};
use crate::admin::operator::Uid;
use crate::admin::problem::{Done, Undone, decided};
use crate::admin::query::{self, At, Query};
use crate::admin::router::Ended;
use crate::answer;

pub(crate) async fn register<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let entry: Registration = query::document(request).await?;
    let done = agents::register(&*shared.world, &uid.operator(), entry).await;
    ended(StatusCode::CREATED, done)
}

pub(crate) async fn list<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["after", "limit"])?;
    let limit = query.limit(PAGE_MAX)?;
    let page = agents::list(&*shared.world, query.get("after"), limit).await;
    let (items, next) = page.map_err(|why| Undone::from(&why))?;
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let name = name(&text)?;
    let found = agents::show(&*shared.world, &name).await.map_err(|why| Undone::from(&why))?;
    let unknown = || Undone::from(&Refusal::Unknown { name: text });
    found.map(|agent| answer::json(StatusCode::OK, &agent)).ok_or_else(unknown)
}

/// Suspend, resume, revoke, retire.
pub(crate) async fn act<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((text, act)): At<(String, String)>,
    request: Request<Body>,
) -> Ended {
    let name = name(&text)?;
    let no_act = || Undone::not_found(format!("agents are not moved by `{act}`"));
    let act = Act::ALL.into_iter().find(|known| known.name() == act).ok_or_else(no_act)?;
    let Reason { reason } = query::document(request).await?;
    let reason = query::reason(reason)?;
    let done = agents::act(&*shared.world, &uid.operator(), &name, act, reason).await;
    ended(StatusCode::OK, done)
}

fn name(text: &str) -> Result<AgentName, Undone> {
    AgentName::parse(text).map_err(Undone::misused)
}

fn ended(status: StatusCode, done: Done<AgentRecord, Refusal>) -> Ended {
    let (agent, id) = decided(done)?;
    Ok(answer::recorded(status, &agent, id))
}
