//! Orders about approvals: operators see all, and answer where policy says that a role does.

use std::sync::Arc;

use approval::State as How;
use approve::answer::{self as answers, Said};
use approve::list;
use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use http::{Request, StatusCode, Uri};

use crate::admin::Shared;
use crate::admin::messages::{ApprovalAnswer, ApprovalShown, Page};
use crate::admin::operator::Uid;
use crate::admin::problem::Undone;
use crate::admin::query::{self, At, Query};
use crate::admin::router::Ended;
use crate::answer;

/// A page of approvals.
pub(crate) async fn list<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["state", "after", "limit"])?;
    let limit = query.limit(list::PAGE_MAX)?;
    let state = match query.get("state") {
        None => None,
        Some(name) => {
            let known = How::ALL.into_iter().find(|state| state.name() == name);
            Some(known.ok_or_else(|| Undone::misused(format!("no state `{name}`")))?)
        }
    };
    let page = list::page(&*shared.world, state, query.get("after"), limit).await;
    let (found, next) = page.map_err(|why| Undone::from(&why))?;
    let items: Vec<_> = found.into_iter().map(ApprovalShown::from).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

/// One approval.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(id): At<String>,
) -> Ended {
    let found = list::one(&*shared.world, &id).await.map_err(|why| Undone::from(&why))?;
    let found = found.ok_or_else(|| Undone::not_found(format!("no approval `{id}`")))?;
    Ok(answer::json(StatusCode::OK, &ApprovalShown::from(found)))
}

/// Allows or denies one.
pub(crate) async fn answer<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((id, act)): At<(String, String)>,
    request: Request<Body>,
) -> Ended {
    let allow = match act.as_str() {
        "approve" => true,
        "deny" => false,
        other => return Err(Undone::not_found(format!("no act `{other}`"))),
    };
    let ApprovalAnswer { shown } = query::document(request).await?;
    let said = Said { id: &id, allow, shown: &shown, user_code: None };
    let done = answers::by_operator(&*shared.world, &uid.operator(), said).await;
    let done = done.map_err(|why| Undone::from(&why))?;
    let record = done.audit_id();
    let answered = done.into_value().map_err(|refusal| Undone::from(&refusal).recorded(record))?;
    let mut told = answer::json(StatusCode::OK, &ApprovalShown::from(answered));
    answer::name_record(told.headers_mut(), record);
    Ok(told)
}
