//! Orders about policy: plan before apply.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use env::rows::InForce;
use flow::apply_policy;
use http::{Request, StatusCode};

use crate::admin::Shared;
use crate::admin::messages::{PolicyApplied, PolicyFiles, PolicyInForce, PolicyOrder, PolicyPlan};
use crate::admin::operator::Uid;
use crate::admin::problem::{Undone, decided};
use crate::admin::query;
use crate::admin::router::Ended;
use crate::answer;

pub(crate) async fn plan<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Ended {
    let PolicyFiles { files } = query::document(request).await?;
    let planned = apply_policy::plan(&*shared.world, files).await;
    let planned = planned.map_err(|why| Undone::from(&why))?;
    let plan = planned.map_err(|refusal| Undone::from(&refusal))?;
    Ok(answer::json(StatusCode::OK, &PolicyPlan::from(plan)))
}

pub(crate) async fn apply<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let PolicyOrder { files, reason, expected } = query::document(request).await?;
    let reason = query::reason(reason)?;
    let operator = uid.operator();
    let done = apply_policy::apply(&*shared.world, &operator, files, reason, expected).await;
    let (plan, id) = decided(done)?;
    let mut answer = answer::json(StatusCode::OK, &PolicyPlan::from(plan));
    answer::name_record(answer.headers_mut(), id);
    Ok(answer)
}

pub(crate) async fn history<W: World>(State(shared): State<Arc<Shared<W>>>) -> Ended {
    let sets = apply_policy::history(&*shared.world).await.map_err(|why| Undone::from(&why))?;
    let sets: Vec<_> = sets.into_iter().map(PolicyApplied::from).collect();
    Ok(answer::json(StatusCode::OK, &sets))
}

pub(crate) async fn current<W: World>(State(shared): State<Arc<Shared<W>>>) -> Ended {
    let found = flow::facts::one::<W, InForce>(&*shared.world, InForce::ID).await;
    let found = found.map_err(|why| Undone::from(&why))?;
    let row = found.ok_or_else(|| Undone::not_found("no policy is in force yet"))?;
    let shown = PolicyInForce {
        version: row.set.version().as_str().to_owned(),
        applied: row.applied,
        by: row.by.clone(),
        reason: row.reason.clone(),
        files: row.set.files().clone(),
    };
    Ok(answer::json(StatusCode::OK, &shown))
}
