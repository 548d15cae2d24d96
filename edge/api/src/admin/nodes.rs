//! Orders about hosts and gateways that joined.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use flow::nodes::{self, Refusal};
use http::{Request, StatusCode};
use provisioning::NodeAct;
use wimse::WorkloadId;

use crate::admin::Shared;
use crate::admin::messages::{NodeShown, Reason};
use crate::admin::operator::Uid;
use crate::admin::problem::Undone;
use crate::admin::query::{self, At};
use crate::admin::router::Ended;
use crate::answer;

/// The most agents of a node that are shown.
const AGENTS_MAX: usize = 500;

pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let id = id(&text)?;
    let world = &*shared.world;
    let found = nodes::show(world, &id).await.map_err(|why| Undone::from(&why))?;
    let node = found.ok_or_else(|| Undone::from(&Refusal::Unknown(id.clone())))?;
    let hosted = nodes::hosted(world, &id, AGENTS_MAX).await.map_err(|why| Undone::from(&why))?;
    let agents = Some(hosted.into_iter().map(|row| row.agent).collect());
    let heard = shared.health.heard(&node.id.to_string());
    Ok(answer::json(StatusCode::OK, &NodeShown { agents, ..NodeShown::new(&node, heard) }))
}

/// Suspend, resume, revoke, forget.
pub(crate) async fn act<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((text, act)): At<(String, String)>,
    request: Request<Body>,
) -> Ended {
    let id = id(&text)?;
    let no_act = || Undone::not_found(format!("nodes are not moved by `{act}`"));
    let act = NodeAct::ALL.into_iter().find(|known| known.name() == act).ok_or_else(no_act)?;
    let Reason { reason } = query::document(request).await?;
    let reason = query::reason(reason)?;
    let done = nodes::act(&*shared.world, &uid.operator(), &id, act, reason).await;
    let done = done.map_err(|why| Undone::from(&why))?;
    let audit = done.audit_id();
    let moved = done.into_value().map_err(|refusal| Undone::from(&refusal).recorded(audit))?;
    let heard = shared.health.heard(&moved.node.id.to_string());
    let shown = NodeShown { ended: moved.ended, ..NodeShown::new(&moved.node, heard) };
    let mut answer = answer::json(StatusCode::OK, &shown);
    answer::name_record(answer.headers_mut(), audit);
    Ok(answer)
}

fn id(text: &str) -> Result<WorkloadId, Undone> {
    WorkloadId::parse(text).map_err(|error| Undone::misused(error.to_string()))
}
