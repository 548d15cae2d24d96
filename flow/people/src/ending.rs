//! What ends together: sessions with the notices to their clients, grants with all that came of
//! them, codes and links. Rows and records of one commit.

use authentication::notice::Notice;
use authentication::session::{Session, SignInCode};
use authorization::granted::GrantRecord;
use basis::ends::{self, Ending};
use env::{Change, Entity, Expect, Index, Store, Stored, Unavailable, World, Write};
use monitoring::Event;
use time::UnixTime;

use crate::record::begin;

/// The most sessions, grants and codes, of each, that end in one commit.
const BATCH: usize = 128;
/// Rows that are looked at in one go.
const PAGE: usize = 256;

/// Whom and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Because<'a> {
    /// By whom: a user, an operator.
    pub(crate) by: &'a str,
    /// An operator, where it is one.
    pub(crate) operator: Option<&'a str>,
    /// Why, in words.
    pub(crate) why: &'a str,
    /// Now.
    pub(crate) now: UnixTime,
}

/// How much ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Sessions.
    pub sessions: usize,
    /// Grants.
    pub grants: usize,
}

/// The live sessions of a person.
pub(crate) async fn sessions_of<W: World>(
    world: &W,
    user: &str,
    now: UnixTime,
) -> Result<Vec<Stored<Session>>, Unavailable> {
    let all = every::<W, Session>(world, Index::User, user).await?;
    Ok(all.into_iter().filter(|session| session.is_live(now).is_ok()).collect())
}

/// The live grants in a person's name.
pub(crate) async fn grants_of<W: World>(
    world: &W,
    user: &str,
    now: UnixTime,
) -> Result<Vec<Stored<GrantRecord>>, Unavailable> {
    let all = every::<W, GrantRecord>(world, Index::User, user).await?;
    Ok(all.into_iter().filter(|grant| grant.is_live(now).is_ok()).collect())
}

/// Every row under an index.
pub(crate) async fn every<W: World, E: Entity>(
    world: &W,
    index: Index,
    value: &str,
) -> Result<Vec<Stored<E>>, Unavailable> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = world.store().scan(E::TABLE, index, value, after.as_deref(), PAGE).await?;
        for row in &page.rows {
            let value = row.value::<E>().map_err(|error| Unavailable::of("store", error))?;
            found.extend(value.map(|value| Stored { value, version: row.version }));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Adds the end of everything of a person to `change`, as much as one commit holds; whether there
/// is more.
pub(crate) async fn all_of<W: World>(
    world: &W,
    user: &str,
    because: &Because<'_>,
    change: &mut Change,
) -> Result<(Count, bool), Unavailable> {
    let sessions = sessions_of(world, user, because.now).await?;
    let grants = grants_of(world, user, because.now).await?;
    let codes = every::<W, SignInCode>(world, Index::User, user).await?;
    let is_more = [sessions.len(), grants.len(), codes.len()].iter().any(|many| *many > BATCH);
    let mut count = Count::default();
    for one in sessions.iter().take(BATCH) {
        session(world, one, because, change);
        count.sessions += 1;
    }
    for one in grants.iter().take(BATCH) {
        grant(world, one, because, change);
        count.grants += 1;
    }
    for one in codes.iter().take(BATCH) {
        let expect = Expect::Version(one.version);
        change.writes.push(Write::delete::<SignInCode>(one.hash.clone(), expect));
    }
    Ok((count, is_more))
}

/// Ends a session: it is kept for its owner to see, and its clients will be told.
pub(crate) fn session<W: World>(
    world: &W,
    found: &Stored<Session>,
    because: &Because<'_>,
    change: &mut Change,
) {
    let until = found.until.min(because.now);
    let ended = Session { until, ..(*found.value).clone() };
    change.writes.push(Write::put(&ended, Expect::Version(found.version)));
    for client in &found.clients {
        let notice = Notice::new(client, &found.id, &found.user, because.now);
        change.writes.push(Write::put(&notice, Expect::Any));
    }
    let mut record = begin(world, Event::SessionEnded);
    record.subject = Some(found.user.clone());
    record.operator = because.operator.map(str::to_owned);
    record.resource = Some(format!("session {}", found.id));
    record.facts = serde_json::json!({
        "by": because.by, "why": because.why, "clients": found.clients,
    });
    change.records.push(record);
}

/// Ends a grant, and with its id the whole lineage of its tokens.
pub(crate) fn grant<W: World>(
    world: &W,
    found: &Stored<GrantRecord>,
    because: &Because<'_>,
    change: &mut Change,
) {
    let ending = Ending { by: because.by, operator: because.operator, why: because.why };
    change.writes.extend(ends::of_grant(found, ending, because.now));
    change.records.push(ends::told(world, found, ending));
}

/// Whether a grant ends with the session that it came of.
///
/// OpenID Connect Back-Channel Logout 1.0 §2.7: "Refresh tokens issued without the offline_access
/// property to a session being logged out SHOULD be revoked. Refresh tokens issued with the
/// offline_access property normally SHOULD NOT be revoked."
pub(crate) fn ends_with(grant: &GrantRecord, sid: &str) -> bool {
    let is_offline = grant.openid.iter().any(|scope| scope.as_str() == "offline_access");
    grant.session.as_deref() == Some(sid) && !is_offline
}
