//! Operators and people: adding somebody, letting them in, stopping them.

use std::collections::BTreeSet;

use authentication::session::{CodePurpose, SignInCode};
use env::rows::DomainEpoch;
use env::{
    Change, Clock, Entity, Entropy, Expect, Index, Key, Recorded, Store, Stored, Unavailable,
    World, Write,
};
use monitoring::{Event, Record};
use provisioning::{Epoch, Lifecycle, State};
use registry::user::ROLES_MAX;
use registry::{UserName, UserRecord};
use time::{Span, UnixTime};

use crate::end::{Check, commit};
use crate::ending::{self, Because, Count};
use crate::facts::{Basis, basis, one};
use crate::issuing;
use crate::record::begin;
use crate::secrets::{self, Secret};
use crate::standing::{NotAdmitted, UserAct, active, state_name};
use crate::turns::{Operator, TRIES_MAX, overtaken, pause, settled};

/// How long a link lives unless an operator says otherwise, and at most.
pub const LINK_LIFE: Span = Span::from_seconds(86_400);
/// The longest that a link may live.
pub const LINK_LIFE_MAX: Span = Span::from_seconds(7 * 86_400);
/// How long a code lives unless an operator says otherwise.
pub const CODE_LIFE: Span = Span::from_seconds(600);
/// The longest that a code may live.
pub const CODE_LIFE_MAX: Span = Span::from_seconds(86_400);
/// How often a code may be used at most.
pub const USES_MAX: u32 = 1_000;
/// The most records of one page.
pub const PAGE_MAX: usize = 500;
/// Bytes of what a person is called, and of an address.
const TEXT_BYTES_MAX: usize = 256;
/// Where a link leads.
pub const LINK_PATH: &str = "/sign-in/link";

/// Somebody new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// What pages call them; the name unless given.
    pub display_name: Option<String>,
    /// Where they are written to.
    pub email: Option<String>,
    /// What policy may ask of them.
    pub roles: BTreeSet<String>,
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is, or was, somebody's.
    #[error("the name `{name}` is taken: a user of it is {} since {since}", state_name(*.state))]
    Taken {
        /// The name.
        name: UserName,
        /// Where its owner stands.
        state: State,
        /// Since when.
        since: UnixTime,
    },
    /// Nobody of that name.
    #[error("no user `{name}`")]
    Unknown {
        /// The name.
        name: UserName,
    },
    /// Something about them cannot stand.
    #[error("{what}: {why}")]
    Unfit {
        /// Which member.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The act does not fit where they stand.
    #[error("`{act}` does not fit: the user is {} since {since}", state_name(*.state))]
    Transition {
        /// The act.
        act: &'static str,
        /// Their state.
        state: State,
        /// Since when.
        since: UnixTime,
    },
    /// They get nothing.
    #[error(transparent)]
    Standing(#[from] NotAdmitted),
    /// Policy has codes switched off.
    #[error("policy lets nobody in by a code")]
    CodesOff,
    /// A bound was passed.
    #[error("{what} must be {bound}")]
    Bound {
        /// Which.
        what: &'static str,
        /// What is allowed.
        bound: String,
    },
}

impl Check for Refusal {
    fn check(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "registry::UserTaken",
            Self::Unknown { .. } => "registry::UserUnknown",
            Self::Unfit { .. } => "registry::UserUnfit",
            Self::Transition { .. } => "provisioning::Transition",
            Self::Standing(_) => "provisioning::Standing",
            Self::CodesOff => "sign_in::CodesOff",
            Self::Bound { .. } => "sign_in::Bound",
        }
    }
}

/// An order's end: what was done, or why not; recorded either way.
pub type Done<T> = Result<Recorded<Result<T, Refusal>>, Unavailable>;

/// A link or a code, as it is shown, once.
#[derive(Clone, Debug)]
pub struct Given {
    /// The link, or the code to type.
    pub text: Secret,
    /// Whose.
    pub user: UserName,
    /// How often it serves.
    pub uses: u32,
    /// Until when.
    pub until: UnixTime,
}

/// Adds somebody, with the link that lets them add their first passkey. A name that was ever given
/// is never given again.
pub async fn add<W: World>(
    world: &W,
    operator: &Operator,
    new: &NewUser,
) -> Done<(UserRecord, Given)> {
    for turn in 0..TRIES_MAX {
        let facts = basis(world, vec![Key::of::<UserRecord>(new.name.id())]).await?;
        let now = issuing::now(world, &facts)?;
        let taken = facts.rows.get::<UserRecord>(&new.name.id())?;
        let decided = decide_add(new, taken.as_deref(), &facts, now);
        let mut record = ordered(world, Event::UserRegistered, "user.add", operator, &facts);
        record.subject = Some(new.name.id());
        let mut change = Change::default();
        let decided = decided.map(|user| {
            record.facts = serde_json::json!({
                "display_name": user.display_name, "roles": user.roles,
            });
            change.writes.push(Write::put(&user, Expect::Absent));
            let given = new_link(world, operator, &new.name, LINK_LIFE, now, &mut change);
            (user, given)
        });
        if let Some(recorded) = commit(world, change, record, decided).await? {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn decide_add(
    new: &NewUser,
    taken: Option<&UserRecord>,
    facts: &Basis,
    now: UnixTime,
) -> Result<UserRecord, Refusal> {
    if let Some(other) = taken {
        let (state, since) = (other.lifecycle.state, other.lifecycle.since);
        return Err(Refusal::Taken { name: new.name.clone(), state, since });
    }
    let display_name = new.display_name.clone().unwrap_or_else(|| new.name.to_string());
    fits_whole(&display_name, new.email.as_deref(), &new.roles)?;
    Ok(UserRecord {
        name: new.name.clone(),
        display_name,
        email: new.email.clone(),
        email_said_by: None,
        roles: new.roles.clone(),
        lifecycle: Lifecycle::begin(facts.epoch, now),
        registered: now,
        passkeys: Vec::new(),
        accounts: Vec::new(),
        left: Vec::new(),
        user_code: None,
    })
}

/// What operators say of somebody.
pub(crate) fn fits_whole(
    display_name: &str,
    email: Option<&str>,
    roles: &BTreeSet<String>,
) -> Result<(), Refusal> {
    fits("display_name", display_name)?;
    if let Some(email) = email {
        fits("email", email)?;
        if !email.contains('@') {
            let why = format!("`{email}` is no address");
            return Err(Refusal::Unfit { what: "email", why });
        }
    }
    if roles.len() > ROLES_MAX {
        return Err(Refusal::Unfit { what: "roles", why: format!("more than {ROLES_MAX}") });
    }
    roles.iter().try_for_each(|role| fits("roles", role))
}

/// A text that people read.
pub(crate) fn fits(what: &'static str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        let why = format!("1 to {TEXT_BYTES_MAX} bytes are needed");
        return Err(Refusal::Unfit { what, why });
    }
    letters::name(text).map_err(|why| Refusal::Unfit { what, why: why.to_string() })
}

/// Disables, enables or removes somebody. What stops them ends all that is theirs at once: the
/// epoch that they begin anew with is in the same commit, and what is of before counts nowhere.
pub async fn act<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    act: UserAct,
    reason: &str,
) -> Done<(UserRecord, Count)> {
    let (recorded, is_more) = act_once(world, operator, name, act, reason).await?;
    let Ok((_, first)) = recorded.value() else { return Ok(recorded) };
    let mut whole = *first;
    if is_more {
        let rest = rest_of(world, operator, name, reason).await?;
        whole =
            Count { sessions: whole.sessions + rest.sessions, grants: whole.grants + rest.grants };
    }
    Ok(recorded.map(|decided| decided.map(|(user, _)| (user, whole))))
}

async fn act_once<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    act: UserAct,
    reason: &str,
) -> Result<(Recorded<Result<(UserRecord, Count), Refusal>>, bool), Unavailable> {
    for turn in 0..TRIES_MAX {
        let keys = vec![Key::of::<UserRecord>(name.id()), Key::of::<DomainEpoch>(DomainEpoch::ID)];
        let facts = basis(world, keys).await?;
        let now = world.clock().now();
        let found = facts.rows.get::<UserRecord>(&name.id())?;
        let raises = Lifecycle::raises(act.step());
        let next = if raises { facts.epoch.next() } else { facts.epoch };
        let decided = decide_act(found.as_ref(), name, act, next, reason, now);
        let action = format!("user.{}", act.name());
        let mut record = ordered(world, Event::UserLifecycle, &action, operator, &facts);
        record.subject = Some(name.id());
        record.epoch = Some(next.0);
        let (mut change, mut count, mut is_more) = (Change::default(), Count::default(), false);
        if let (Ok(moved), Some(found)) = (&decided, &found) {
            change.writes.push(Write::put(moved, Expect::Version(found.version)));
            if raises {
                change.writes.push(raised(&facts, next)?);
                let because =
                    Because { by: &operator.0, operator: Some(&operator.0), why: reason, now };
                (count, is_more) = ending::all_of(world, &name.id(), &because, &mut change).await?;
            }
        }
        record.facts = serde_json::json!({
            "reason": reason, "was": found.as_ref().map(|found| found.lifecycle.state),
            "sessions": count.sessions, "grants": count.grants,
        });
        let decided = decided.map(|user| (user, count));
        if let Some(recorded) = commit(world, change, record, decided).await? {
            return Ok((recorded, is_more));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// The write of the next epoch.
fn raised(facts: &Basis, next: Epoch) -> Result<Write, Unavailable> {
    let row = facts.rows.get::<DomainEpoch>(DomainEpoch::ID)?;
    let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
    Ok(Write::put(&DomainEpoch { epoch: next }, expect))
}

/// What one commit could not hold. It counts for nothing already; this says so to clients.
async fn rest_of<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    reason: &str,
) -> Result<Count, Unavailable> {
    let mut whole = Count::default();
    for turn in 0..TRIES_MAX {
        let now = world.clock().now();
        let because = Because { by: &operator.0, operator: Some(&operator.0), why: reason, now };
        let mut change = Change::default();
        let (count, is_more) = ending::all_of(world, &name.id(), &because, &mut change).await?;
        if change.writes.is_empty() {
            return Ok(whole);
        }
        if settled(world.store().commit(change).await)?.is_none() {
            pause(world, turn).await;
            continue;
        }
        whole.sessions += count.sessions;
        whole.grants += count.grants;
        if !is_more {
            return Ok(whole);
        }
    }
    Err(overtaken())
}

fn decide_act(
    found: Option<&Stored<UserRecord>>,
    name: &UserName,
    act: UserAct,
    next: Epoch,
    reason: &str,
    now: UnixTime,
) -> Result<UserRecord, Refusal> {
    let Some(found) = found else { return Err(Refusal::Unknown { name: name.clone() }) };
    let lifecycle = found.lifecycle.after(act.step(), next, reason.to_owned(), now);
    let lifecycle = lifecycle.map_err(|why| Refusal::Transition {
        act: act.name(),
        state: why.state,
        since: why.since,
    })?;
    let moved = UserRecord { lifecycle, ..(*found.value).clone() };
    if act != UserAct::Remove {
        return Ok(moved);
    }
    // Of whom was removed the name stays, so that nobody else gets it, and nothing else.
    Ok(UserRecord {
        display_name: moved.name.to_string(),
        email: None,
        email_said_by: None,
        roles: BTreeSet::new(),
        passkeys: Vec::new(),
        accounts: Vec::new(),
        left: Vec::new(),
        user_code: None,
        ..moved
    })
}

/// A link that lets somebody add a passkey: the first, or after all were lost. Links of before
/// serve no longer.
pub async fn link<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    life: Span,
) -> Done<Given> {
    give(world, operator, name, Gift::Link { life }).await
}

/// A code that lets somebody in, typed beside their name.
pub async fn code<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    uses: u32,
    life: Span,
) -> Done<Given> {
    give(world, operator, name, Gift::Code { uses, life }).await
}

/// What an operator gives.
#[derive(Clone, Copy)]
enum Gift {
    Link { life: Span },
    Code { uses: u32, life: Span },
}

impl Gift {
    const fn action(self) -> &'static str {
        match self {
            Self::Link { .. } => "user.link",
            Self::Code { .. } => "user.code",
        }
    }

    fn check(self) -> Result<(), Refusal> {
        let (life, most) = match self {
            Self::Link { life } => (life, LINK_LIFE_MAX),
            Self::Code { life, .. } => (life, CODE_LIFE_MAX),
        };
        if life == Span::ZERO || life > most {
            let bound = format!("1 to {} s", most.seconds());
            return Err(Refusal::Bound { what: "the life", bound });
        }
        match self {
            Self::Code { uses, .. } if !(1..=USES_MAX).contains(&uses) => {
                Err(Refusal::Bound { what: "the uses", bound: format!("1 to {USES_MAX}") })
            }
            _ => Ok(()),
        }
    }
}

async fn give<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    gift: Gift,
) -> Done<Given> {
    for turn in 0..TRIES_MAX {
        let facts = basis(world, vec![Key::of::<UserRecord>(name.id())]).await?;
        let now = issuing::now(world, &facts)?;
        let found = facts.rows.get::<UserRecord>(&name.id())?;
        let mut change = Change::default();
        let decided = match decide_give(found.as_ref(), name, gift, &facts) {
            Err(refusal) => Err(refusal),
            Ok(()) => Ok(match gift {
                Gift::Link { life } => {
                    forget_links(world, name, &mut change).await?;
                    new_link(world, operator, name, life, now, &mut change)
                }
                Gift::Code { uses, life } => {
                    new_code(world, operator, name, (uses, life), now, &mut change)
                }
            }),
        };
        // Who is disabled meanwhile gets nothing: the row that says so is as it was read.
        if let (Ok(_), Some(found)) = (&decided, &found) {
            change.writes.push(Write::put(&*found.value, Expect::Version(found.version)));
        }
        let mut record = ordered(world, Event::UserChanged, gift.action(), operator, &facts);
        record.subject = Some(name.id());
        if let Ok(given) = &decided {
            let until = given.until.to_string();
            record.facts = serde_json::json!({ "uses": given.uses, "until": until });
        }
        if let Some(recorded) = commit(world, change, record, decided).await? {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn decide_give(
    found: Option<&Stored<UserRecord>>,
    name: &UserName,
    gift: Gift,
    facts: &Basis,
) -> Result<(), Refusal> {
    gift.check()?;
    active(found.ok_or_else(|| Refusal::Unknown { name: name.clone() })?)?;
    if matches!(gift, Gift::Code { .. }) && !facts.set().domain().sign_in.codes {
        return Err(Refusal::CodesOff);
    }
    Ok(())
}

async fn forget_links<W: World>(
    world: &W,
    name: &UserName,
    change: &mut Change,
) -> Result<(), Unavailable> {
    for old in ending::every::<W, SignInCode>(world, Index::User, &name.id()).await? {
        if old.purpose == CodePurpose::AddPasskey {
            let expect = Expect::Version(old.version);
            change.writes.push(Write::delete::<SignInCode>(old.hash.clone(), expect));
        }
    }
    Ok(())
}

fn new_code<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    (uses, life): (u32, Span),
    now: UnixTime,
    change: &mut Change,
) -> Given {
    let text = secrets::code(world.entropy().secret());
    let row = SignInCode {
        // INVARIANT: `text` is a code.
        hash: secrets::code_hash(&name.id(), text.expose()).unwrap_or_default(),
        user: name.id(),
        purpose: CodePurpose::SignIn,
        uses_left: uses,
        until: now.plus(life),
        by: operator.0.clone(),
    };
    change.writes.push(Write::put(&row, Expect::Absent));
    Given { text, user: name.clone(), uses, until: row.until }
}

fn new_link<W: World>(
    world: &W,
    operator: &Operator,
    name: &UserName,
    life: Span,
    now: UnixTime,
    change: &mut Change,
) -> Given {
    let secret = secrets::link(&world.entropy().secret());
    let row = SignInCode {
        // INVARIANT: `secret` is that of a link.
        hash: secrets::link_hash(secret.expose()).unwrap_or_default(),
        user: name.id(),
        purpose: CodePurpose::AddPasskey,
        uses_left: 1,
        until: now.plus(life),
        by: operator.0.clone(),
    };
    change.writes.push(Write::put(&row, Expect::Absent));
    let text = Secret::new(format!(
        "{}{LINK_PATH}?secret={}",
        world.site().issuer.trim_end_matches('/'),
        secret.expose()
    ));
    Given { text, user: name.clone(), uses: 1, until: row.until }
}

/// One person.
pub async fn show<W: World>(world: &W, name: &UserName) -> Result<Option<UserRecord>, Unavailable> {
    let found = one::<W, UserRecord>(world, &name.id()).await?;
    Ok(found.map(|user| (*user.value).clone()))
}

/// A page of people, by name, and where the next begins.
pub async fn list<W: World>(
    world: &W,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<UserRecord>, Option<String>), Unavailable> {
    let limit = limit.min(PAGE_MAX);
    let page = world.store().scan(UserRecord::TABLE, Index::All, "", after, limit).await?;
    let mut found = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        let value = row.value::<UserRecord>().map_err(|error| Unavailable::of("store", error))?;
        found.extend(value.map(|user| (*user).clone()));
    }
    Ok((found, page.next))
}

pub(crate) fn ordered<W: World>(
    world: &W,
    event: Event,
    action: &str,
    operator: &Operator,
    facts: &Basis,
) -> Record {
    let mut record = begin(world, event);
    record.action = action.to_owned();
    record.operator = Some(operator.0.clone());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record
}
