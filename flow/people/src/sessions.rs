//! Sessions: whose a cookie is, what somebody sees of their browsers, and ending one.

use authentication::session::{Acr, SEEN_AGAIN, Session};
use env::{
    Change, Clock, Entity, Expect, Index, Key, Recorded, Store, Stored, Unavailable, World, Write,
};
use monitoring::Event;
use registry::{UserName, UserRecord};
use time::{Span, UnixTime};

use crate::end::{Check, commit};
use crate::ending::{self, Because, Count};
use crate::facts::one;
use crate::record::begin;
use crate::secrets::session_hash;
use crate::standing::{self, NotAdmitted};
use crate::turns::{Operator, TRIES_MAX, overtaken, pause, settled};

/// How much of its idle time may pass until a session that is in use is written again.
const SEEN_PART: u64 = 8;

/// Somebody who is signed in, as of one instant.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The session.
    pub session: Stored<Session>,
    /// Whose.
    pub user: Stored<UserRecord>,
}

impl Signed {
    /// Whether they proved who they are strongly and lately enough (RFC 9470 §4): `acr` at least
    /// that, not longer ago than `max_age`.
    pub fn satisfies(&self, acr: Option<Acr>, max_age: Option<Span>, now: UnixTime) -> bool {
        let authenticated = &self.session.authenticated;
        // OpenID Connect Core 1.0 §3.1.2.1: "If the elapsed time is greater than this value, the OP
        // MUST attempt to actively re-authenticate the End-User."
        acr.is_none_or(|wanted| authenticated.acr.satisfies(wanted))
            && max_age.is_none_or(|most| self.session.proved_within(most, now))
    }
}

/// Why a cookie is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// There is no such session.
    #[error("nobody is signed in")]
    Nobody,
    /// It ended.
    #[error(transparent)]
    Ended(#[from] authentication::session::SessionEnded),
    /// Its owner gets nothing.
    #[error(transparent)]
    Standing(#[from] NotAdmitted),
}

/// Who is signed in by this cookie.
pub async fn of_cookie<W: World>(
    world: &W,
    cookie: &str,
) -> Result<Result<Signed, NotSigned>, Unavailable> {
    let Some(hash) = session_hash(cookie) else { return Ok(Err(NotSigned::Nobody)) };
    let Some(session) = one::<W, Session>(world, &hash).await? else {
        return Ok(Err(NotSigned::Nobody));
    };
    // Read again with its owner, both as of one instant.
    let keys = [Key::of::<Session>(&hash), Key::of::<UserRecord>(&session.user)];
    let rows = world.store().snapshot(&keys).await?;
    let (session, user) = (rows.get::<Session>(&hash)?, rows.get::<UserRecord>(&session.user)?);
    let (Some(session), Some(user)) = (session, user) else { return Ok(Err(NotSigned::Nobody)) };
    let now = world.clock().now();
    if let Err(ended) = session.is_live(now) {
        return Ok(Err(ended.into()));
    }
    if let Err(refusal) = standing::admits(&user, session.epoch) {
        return Ok(Err(refusal.into()));
    }
    Ok(Ok(Signed { session, user }))
}

/// Says that a session is in use. A busy page writes nothing.
pub async fn seen<W: World>(world: &W, signed: &Signed) -> Result<(), Unavailable> {
    let (session, now) = (&signed.session, world.clock().now());
    let pause = Span::from_millis(session.idle.millis() / SEEN_PART).max(SEEN_AGAIN);
    // A session that is idle sooner than that is seen at once.
    if now < session.seen.plus(pause.min(Span::from_millis(session.idle.millis() / 2))) {
        return Ok(());
    }
    let moved = Session { seen: now, ..(*session.value).clone() };
    let mut record = begin(world, Event::SignedIn);
    record.action = "session.seen".to_owned();
    record.subject = Some(session.user.clone());
    record.resource = Some(format!("session {}", session.id));
    let writes = vec![Write::put(&moved, Expect::Version(session.version))];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    // Whoever came first said the same, or ended it.
    settled(world.store().commit(change).await).map(|_| ())
}

/// The live sessions of a person, the newest first.
pub async fn list<W: World>(world: &W, user: &str) -> Result<Vec<Session>, Unavailable> {
    let found = ending::sessions_of(world, user, world.clock().now()).await?;
    let mut all: Vec<_> = found.into_iter().map(|session| (*session.value).clone()).collect();
    all.sort_by_key(|session| std::cmp::Reverse(session.seen));
    Ok(all)
}

/// A page of the live sessions of everybody, and where the next begins.
pub async fn page<W: World>(
    world: &W,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Session>, Option<String>), Unavailable> {
    page_of(world, (Index::All, ""), after, limit).await
}

/// The same of those that this index finds.
pub async fn page_of<W: World>(
    world: &W,
    (index, value): (Index, &str),
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Session>, Option<String>), Unavailable> {
    let now = world.clock().now();
    let page = world.store().scan(Session::TABLE, index, value, after, limit).await?;
    let mut found = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let value = row.value::<Session>().map_err(|error| Unavailable::of("store", error))?;
        found.extend(value.filter(|one| one.is_live(now).is_ok()).map(|one| (*one).clone()));
    }
    Ok((found, page.next))
}

/// Who ends sessions.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// Their owner, by identifier: of others they end none.
    Owner(&'a str),
    /// An operator.
    Operator(&'a Operator),
}

impl<'a> By<'a> {
    pub(crate) fn because(self, why: &'a str, now: UnixTime) -> Because<'a> {
        match self {
            Self::Owner(user) => Because { by: user, operator: None, why, now },
            Self::Operator(Operator(name)) => Because { by: name, operator: Some(name), why, now },
        }
    }
}

/// Why a session is not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none that is live, or it is somebody else's.
    #[error("no session `{id}`")]
    Unknown {
        /// Its public id.
        id: String,
    },
}

impl Check for Refusal {
    fn check(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "authentication::NoSession",
        }
    }
}

/// Ends one session, by its public id, and what goes with it.
pub async fn end<W: World>(
    world: &W,
    by: By<'_>,
    id: &str,
    why: &str,
) -> Result<Recorded<Result<Count, Refusal>>, Unavailable> {
    for turn in 0..TRIES_MAX {
        let now = world.clock().now();
        let because = by.because(why, now);
        let found = of_id(world, id).await?.filter(|session| match by {
            By::Owner(user) => session.user == user,
            By::Operator(_) => true,
        });
        let found = found.filter(|session| session.is_live(now).is_ok());
        let (mut change, mut count) = (Change::default(), Count::default());
        let ended = match found {
            Some(found) => {
                count = with_grants(world, &[found], &because, &mut change).await?;
                settled(world.store().commit(change).await)?
                    .map(|receipt| Recorded::new(Ok(count), &receipt))
            }
            None => {
                let mut record = begin(world, Event::SessionEnded);
                record.operator = because.operator.map(str::to_owned);
                record.subject = because.operator.is_none().then(|| because.by.to_owned());
                let refusal = Refusal::Unknown { id: id.chars().take(ID_CHARS_MAX).collect() };
                commit(world, change, record, Err(refusal))
                    .await?
                    .map(|recorded| recorded.map(|decided| decided.map(|()| count)))
            }
        };
        if let Some(ended) = ended {
            return Ok(ended);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Characters of an id that an error repeats.
const ID_CHARS_MAX: usize = 64;

/// Ends all sessions of a person, but the one with the public id `except`.
pub async fn end_all<W: World>(
    world: &W,
    by: By<'_>,
    user: &str,
    except: Option<&str>,
    why: &str,
) -> Result<Count, Unavailable> {
    let mut whole = Count::default();
    for turn in 0..TRIES_MAX {
        let now = world.clock().now();
        let found = ending::sessions_of(world, user, now).await?;
        let others = found.into_iter().filter(|session| Some(session.id.as_str()) != except);
        let others: Vec<_> = others.take(ALL_MAX).collect();
        if others.is_empty() {
            return Ok(whole);
        }
        let mut change = Change::default();
        let count = with_grants(world, &others, &by.because(why, now), &mut change).await?;
        if settled(world.store().commit(change).await)?.is_some() {
            whole.sessions += count.sessions;
            whole.grants += count.grants;
        } else {
            pause(world, turn).await;
        }
    }
    Err(overtaken())
}

/// Sessions that end in one commit.
const ALL_MAX: usize = 64;
/// Grants that end with them in one commit; what is over is ended by its own time.
const GRANTS_MAX: usize = 512;

/// Ends sessions, and the grants that last no longer than they do.
pub(crate) async fn with_grants<W: World>(
    world: &W,
    sessions: &[Stored<Session>],
    because: &Because<'_>,
    change: &mut Change,
) -> Result<Count, Unavailable> {
    let mut count = Count::default();
    for session in sessions {
        ending::session(world, session, because, change);
        count.sessions += 1;
        let grants = ending::grants_of(world, &session.user, because.now).await?;
        let of_it = grants.iter().filter(|grant| ending::ends_with(grant, &session.id));
        for grant in of_it.take(GRANTS_MAX.saturating_sub(count.grants)) {
            ending::grant(world, grant, because, change);
            count.grants += 1;
        }
    }
    Ok(count)
}

/// The session with that public id.
async fn of_id<W: World>(world: &W, id: &str) -> Result<Option<Stored<Session>>, Unavailable> {
    let found = ending::every::<W, Session>(world, Index::Handle, id).await?;
    Ok(found.into_iter().next())
}

/// Whose a session is, for operators.
pub fn owner(session: &Session) -> String {
    UserName::of_id(&session.user).map_or_else(|| session.user.clone(), |name| name.to_string())
}
