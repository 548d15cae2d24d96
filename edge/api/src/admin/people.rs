//! Orders about users and their sessions.

use std::sync::Arc;

use ::people::change::{self, Changes};
use ::people::orders::{self, CODE_LIFE, Done, Given, LINK_LIFE, PAGE_MAX};
use ::people::sessions::{self, By};
use ::people::standing::UserAct;
use ::people::user_code;
use axum::body::Body;
use axum::extract::{Extension, State};
use env::World;
use http::{Request, StatusCode, Uri};
use monitoring::RecordId;
use registry::UserName;
use serde::Serialize;
use time::Span;

use crate::admin::Shared;
use crate::admin::messages::{
    AskCode, AskCodeShown, GiveOrder, GivenShown, NewUser, Page, Reason, SessionShown,
    SessionsEnded, UserAdded, UserChange, UserMoved, UserShown,
};
use crate::admin::operator::Uid;
use crate::admin::problem::{Undone, decided};
use crate::admin::query::{self, At, Query};
use crate::admin::router::Ended;
use crate::answer::{self, NO_STORE};

pub(crate) async fn add<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    request: Request<Body>,
) -> Ended {
    let order: NewUser = query::document(request).await?;
    let NewUser { display_name, email, roles, .. } = order;
    let new = orders::NewUser { name: name(&order.name)?, display_name, email, roles };
    let done = orders::add(&*shared.world, &uid.operator(), &new).await;
    let (added, id) = decided(done)?;
    let (user, link) = (UserShown::from(&added.0), GivenShown::from(&added.1));
    Ok(told(StatusCode::CREATED, &UserAdded { user, link }, id))
}

pub(crate) async fn list<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["after", "limit"])?;
    let limit = query.limit(PAGE_MAX)?;
    let page = orders::list(&*shared.world, query.get("after"), limit).await;
    let (items, next) = page.map_err(|why| Undone::from(&why))?;
    let items: Vec<_> = items.iter().map(UserShown::from).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    At(text): At<String>,
) -> Ended {
    let name = name(&text)?;
    let found = orders::show(&*shared.world, &name).await.map_err(|why| Undone::from(&why))?;
    let found = found.ok_or_else(|| Undone::from(&orders::Refusal::Unknown { name }))?;
    Ok(answer::json(StatusCode::OK, &UserShown::from(&found)))
}

pub(crate) async fn change<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(text): At<String>,
    request: Request<Body>,
) -> Ended {
    let (name, order) = (name(&text)?, query::document(request).await?);
    let UserChange { display_name, email, roles, not_roles, reason } = order;
    let reason = query::reason(reason)?;
    let changes = Changes { display_name, email, roles, not_roles };
    let done = change::change(&*shared.world, &uid.operator(), &name, &changes, &reason).await;
    let (user, id) = decided(done)?;
    Ok(told(StatusCode::OK, &UserShown::from(&user), id))
}

/// Disable, enable, remove.
pub(crate) async fn act<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At((text, act)): At<(String, String)>,
    request: Request<Body>,
) -> Ended {
    let name = name(&text)?;
    let unknown = || Undone::not_found(format!("users know no `{act}`"));
    let act = UserAct::parse(&act).ok_or_else(unknown)?;
    let Reason { reason } = query::document(request).await?;
    let reason = query::reason(reason)?;
    let done = orders::act(&*shared.world, &uid.operator(), &name, act, &reason).await;
    let (moved, id) = decided(done)?;
    let (user, count) = (UserShown::from(&moved.0), moved.1);
    let (sessions_ended, grants_ended) = (count.sessions, count.grants);
    Ok(told(StatusCode::OK, &UserMoved { user, sessions_ended, grants_ended }, id))
}

pub(crate) async fn link<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(text): At<String>,
    request: Request<Body>,
) -> Ended {
    let name = name(&text)?;
    let order: GiveOrder = query::document(request).await?;
    if order.uses.is_some_and(|uses| uses != 1) {
        return Err(Undone::misused("a link serves once"));
    }
    let life = order.life_seconds.map_or(LINK_LIFE, Span::from_seconds);
    given(orders::link(&*shared.world, &uid.operator(), &name, life).await)
}

pub(crate) async fn code<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(text): At<String>,
    request: Request<Body>,
) -> Ended {
    let name = name(&text)?;
    let order: GiveOrder = query::document(request).await?;
    let life = order.life_seconds.map_or(CODE_LIFE, Span::from_seconds);
    let uses = order.uses.unwrap_or(1);
    given(orders::code(&*shared.world, &uid.operator(), &name, uses, life).await)
}

/// The code without which no client gets a user asked: a new one, or none.
pub(crate) async fn ask_code<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(text): At<String>,
    request: Request<Body>,
) -> Ended {
    let user = name(&text)?;
    let order: AskCode = query::document(request).await?;
    let done = user_code::set(&*shared.world, &uid.operator(), &user, !order.off).await;
    let (code, id) = decided(done)?;
    let text = code.map(|code| code.expose().to_owned());
    Ok(told(StatusCode::OK, &AskCodeShown { user: user.to_string(), text }, id))
}

fn given(done: Done<Given>) -> Ended {
    let (given, id) = decided(done)?;
    Ok(told(StatusCode::CREATED, &GivenShown::from(&given), id))
}

/// Live sessions: of everybody, or of one.
pub(crate) async fn sessions<W: World>(State(shared): State<Arc<Shared<W>>>, uri: Uri) -> Ended {
    let query = Query::read(&uri, &["user", "after", "limit"])?;
    let limit = query.limit(PAGE_MAX)?;
    let unavailable = |why| Undone::from(&why);
    let (found, next) = match query.get("user") {
        Some(text) => {
            let user = name(text)?.id();
            let found = sessions::list(&*shared.world, &user).await.map_err(unavailable)?;
            (found, None)
        }
        None => {
            let page = sessions::page(&*shared.world, query.get("after"), limit).await;
            page.map_err(unavailable)?
        }
    };
    let items: Vec<_> = found.iter().map(SessionShown::from).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next }))
}

/// Ends one session.
pub(crate) async fn end<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(id): At<String>,
    request: Request<Body>,
) -> Ended {
    let Reason { reason } = query::document(request).await?;
    let (operator, reason) = (uid.operator(), query::reason(reason)?);
    let done = sessions::end(&*shared.world, By::Operator(&operator), &id, &reason).await;
    let (count, id) = decided(done)?;
    let (sessions_ended, grants_ended) = (count.sessions, count.grants);
    Ok(told(StatusCode::OK, &SessionsEnded { sessions_ended, grants_ended }, id))
}

/// Ends all sessions of a user.
pub(crate) async fn end_all<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Extension(uid): Extension<Uid>,
    At(text): At<String>,
    request: Request<Body>,
) -> Ended {
    let (name, world) = (name(&text)?, &*shared.world);
    let Reason { reason } = query::document(request).await?;
    let (operator, reason) = (uid.operator(), query::reason(reason)?);
    let unavailable = |why| Undone::from(&why);
    if orders::show(world, &name).await.map_err(unavailable)?.is_none() {
        return Err(Undone::from(&orders::Refusal::Unknown { name }));
    }
    let by = By::Operator(&operator);
    let ended = sessions::end_all(world, by, &name.id(), None, &reason).await;
    let count = ended.map_err(unavailable)?;
    let (sessions_ended, grants_ended) = (count.sessions, count.grants);
    Ok(told(StatusCode::OK, &SessionsEnded { sessions_ended, grants_ended }, None))
}

fn name(text: &str) -> Result<UserName, Undone> {
    UserName::parse(text).map_err(Undone::misused)
}

/// Secrets are shown once, and kept by nobody on the way.
fn told(status: StatusCode, shown: &impl Serialize, id: Option<RecordId>) -> answer::Answer {
    answer::kept(answer::recorded(status, shown, id), NO_STORE)
}
