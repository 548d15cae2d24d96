//! What waits for somebody, and what became of what they were asked.

use std::collections::{BTreeMap, BTreeSet};

use approval::approval::Answerer;
use approval::{Approval, State, Whom};
use authorization::granted::GrantRecord;
use env::rows::{role_handle, waits_handle};
use env::{Clock, Entity, Index, Key, Store, Unavailable, World};
use people::sessions::Signed;

/// Approvals that one page shows.
pub const PAGE_MAX: usize = 100;
/// Rows that are looked at for it.
const LOOKED_AT_MAX: usize = 1_024;

/// What a person is asked, or was: the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    /// What waits for their answer.
    pub waiting: Vec<Approval>,
    /// What is over, or waits for somebody else.
    pub others: Vec<Approval>,
}

/// The approvals of a person: theirs by name, by role, or in whose name they are.
pub async fn of_person<W: World>(world: &W, signed: &Signed) -> Result<Theirs, Unavailable> {
    let user = signed.user.id();
    let mut handles = vec![user.clone()];
    handles.extend(signed.user.roles.iter().map(|role| role_handle(role)));
    let mut found: Vec<Approval> = Vec::new();
    // What waits comes first: however much is over, it is seen.
    let waiting = handles.iter().map(|handle| (Index::Handle, waits_handle(handle)));
    let places: Vec<_> =
        waiting.chain(handles.iter().map(|handle| (Index::User, handle.clone()))).collect();
    for (index, value) in places {
        let page = world.store().scan(Approval::TABLE, index, &value, None, LOOKED_AT_MAX).await?;
        for row in &page.rows {
            let read = row.value::<Approval>().map_err(|error| Unavailable::of("store", error))?;
            let new = read.filter(|one| !found.iter().any(|other| other.id == one.id));
            found.extend(new.map(|one| (*one).clone()));
        }
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.created));
    let now = world.clock().now();
    let waits = |one: &Approval| {
        one.state_at(now) == State::Pending && one.whom != Whom::Typed && asks(one, signed)
    };
    let (waiting, mut others): (Vec<_>, Vec<_>) = found.into_iter().partition(waits);
    others.truncate(PAGE_MAX);
    Ok(Theirs { waiting, others })
}

/// One approval, for who is asked, who answered, or in whose name it is.
pub async fn one_of<W: World>(
    world: &W,
    signed: &Signed,
    id: &str,
) -> Result<Option<Approval>, Unavailable> {
    let user = signed.user.id();
    let found = one(world, id).await?;
    Ok(found.filter(|one| {
        let asked = one.whom != Whom::Typed && asks(one, signed);
        let answered = one.answered.as_ref().is_some_and(|answered| answered.by == user);
        asked || answered || one.asks.subject == user
    }))
}

/// The grants that came of these, by id.
pub async fn grants_of<W: World>(
    world: &W,
    approvals: &[&Approval],
) -> Result<BTreeMap<String, GrantRecord>, Unavailable> {
    let ids: BTreeSet<_> = approvals.iter().filter_map(|one| one.grant.as_deref()).collect();
    let keys: Vec<_> = ids.iter().map(|id| Key::of::<GrantRecord>(*id)).collect();
    let rows = world.store().snapshot(&keys).await?;
    let mut found = BTreeMap::new();
    for id in ids {
        let grant = rows.get::<GrantRecord>(id)?;
        found.extend(grant.map(|grant| (id.to_owned(), (*grant.value).clone())));
    }
    Ok(found)
}

/// Whether it is this person's to answer: others may look at it.
pub fn asks(approval: &Approval, signed: &Signed) -> bool {
    let (user, acr) = (signed.user.id(), signed.session.authenticated.acr);
    approval.is_asked(&Answerer { user: &user, roles: &signed.user.roles, acr }).is_ok()
}

/// One approval, for operators.
pub async fn one<W: World>(world: &W, id: &str) -> Result<Option<Approval>, Unavailable> {
    let found = world.store().snapshot(&[Key::of::<Approval>(id)]).await?.get::<Approval>(id)?;
    Ok(found.map(|found| (*found.value).clone()))
}

/// A page of all approvals, for operators, and where the next begins.
pub async fn page<W: World>(
    world: &W,
    state: Option<State>,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Approval>, Option<String>), Unavailable> {
    let within = match state {
        Some(state) => (Index::State, state.name()),
        None => (Index::All, ""),
    };
    page_of(world, within, after, limit).await
}

/// The same of those that this index finds.
pub async fn page_of<W: World>(
    world: &W,
    (index, value): (Index, &str),
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Approval>, Option<String>), Unavailable> {
    let page = world.store().scan(Approval::TABLE, index, value, after, limit).await?;
    let mut found = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let read = row.value::<Approval>().map_err(|error| Unavailable::of("store", error))?;
        found.extend(read.map(|one| (*one).clone()));
    }
    Ok((found, page.next))
}
