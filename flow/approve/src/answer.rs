//! The answer: of whom was asked, in a session of theirs, to exactly what they were shown; final,
//! and recorded (AUTHZ-18, AUTHZ-31).

use std::collections::BTreeSet;

use approval::approval::Answerer;
use approval::{Answered, Approval, Front, Whom};
use authentication::session::{Acr, Authenticated};
use authorization::granted::{GrantRecord, Way};
use env::{Change, Clock, Expect, Key, Recorded, Store, Stored, Unavailable, World, Write};
use monitoring::{Event, Outcome};
use oauth::device::UserCode;
use people::browser::Browser;
use people::end::{Check, End};
use people::sessions::{self, Signed};
use time::UnixTime;

use crate::Refusal;
use crate::ask::{describe, tell};
use crate::caller::Asker;
use crate::device;
use crate::facts::basis;
use crate::notify;
use crate::record::{begin, public_id, refused};
use crate::turns::{Operator, TRIES_MAX, overtaken, pause, settled};

/// Characters of an id that an error repeats.
const ID_CHARS_MAX: usize = 64;

/// What somebody says.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// To which question.
    pub id: &'a str,
    /// Yes or no.
    pub allow: bool,
    /// The hash of what they were shown.
    pub shown: &'a str,
    /// What they typed, where a device shows a code.
    pub user_code: Option<&'a str>,
}

/// Who says it.
enum By<'a> {
    Person(&'a Signed),
    Operator(&'a Operator),
}

/// Answers as the person who is signed in. Of many answers at once, one counts.
pub async fn answer<W: World>(
    world: &W,
    browser: &Browser<'_>,
    said: Said<'_>,
) -> Result<End<Approval, Refusal>, Unavailable> {
    let signed = match browser.session {
        Some(cookie) => sessions::of_cookie(world, cookie).await?,
        None => Err(sessions::NotSigned::Nobody),
    };
    match signed {
        Ok(signed) => settle(world, &By::Person(&signed), said).await.map(End::Decided),
        Err(refusal) => Ok(End::Stranger(refusal.into())),
    }
}

/// Answers as an operator of this machine: only where policy says that a role answers.
pub async fn by_operator<W: World>(
    world: &W,
    operator: &Operator,
    said: Said<'_>,
) -> Result<Recorded<Result<Approval, Refusal>>, Unavailable> {
    settle(world, &By::Operator(operator), said).await
}

async fn settle<W: World>(
    world: &W,
    by: &By<'_>,
    said: Said<'_>,
) -> Result<Recorded<Result<Approval, Refusal>>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(recorded) = attempt(world, by, said).await? {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// One try; `None` where another commit came first.
async fn attempt<W: World>(
    world: &W,
    by: &By<'_>,
    said: Said<'_>,
) -> Result<Option<Recorded<Result<Approval, Refusal>>>, Unavailable> {
    let found = load(world, said).await?;
    let now = world.clock().now();
    let mut record = begin(world, Event::ApprovalAnswered);
    record.action = if said.allow { "approval.allow" } else { "approval.deny" }.to_owned();
    let mut change = Change::default();
    let decided = match &found {
        None => Err(Refusal::Unknown(said.id.chars().take(ID_CHARS_MAX).collect())),
        Some(found) => {
            describe(&mut record, found);
            let answered = by.answered(now);
            let may = match by {
                By::Person(signed) if said.allow && found.whom == Whom::Typed => {
                    device::may_allow(world, found, signed).await?
                }
                _ if said.allow && found.front != Front::AccessRequest => {
                    asker_is_in_force(world, found, now).await?
                }
                _ => Ok(()),
            };
            may.and_then(|()| decide(found, by, said, answered).map_err(Refusal::from))
        }
    };
    match (by, &found) {
        // Who answers, where that is not in whose name it is, stands beside.
        (By::Person(signed), _) => {
            record.attestation.insert("answered_by".to_owned(), signed.user.id());
            record.subject.get_or_insert_with(|| signed.user.id());
        }
        (By::Operator(operator), _) => record.operator = Some(operator.0.clone()),
    }
    let decided = match (decided, &found) {
        (Ok(mut answered), Some(found)) => {
            record.outcome = Outcome::Permitted;
            // What serves one question of somebody else gives no tokens.
            if said.allow && answered.front != Front::AccessRequest {
                let grant = grant(world, &answered, by);
                answered.grant = Some(grant.id.clone());
                change.writes.push(Write::put(&grant, Expect::Absent));
                record.attestation.insert("grant".to_owned(), grant.id);
            }
            tell(&mut record, "state", answered.state.name());
            change.writes.push(Write::put(&answered, Expect::Version(found.version)));
            change.writes.extend(notify::of_answer(world, &answered, now).await?);
            Ok(answered)
        }
        (Err(refusal), _) => {
            refused(&mut record, refusal.check(), &refusal, None);
            Err(refusal)
        }
        (Ok(answered), None) => Ok(answered),
    };
    change.records.push(record);
    let receipt = settled(world.store().commit(change).await)?;
    Ok(receipt.map(|receipt| Recorded::new(decided, &receipt)))
}

/// Refuses a yes to a client that is not in force, or was not since it asked: what it began before
/// does not come back with it (docs/design.md §2, idea 6).
async fn asker_is_in_force<W: World>(
    world: &W,
    found: &Approval,
    now: UnixTime,
) -> Result<Result<(), Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let asker = Asker::load(world, &facts, &found.asks.client_id, Some(found.epoch), now).await?;
    Ok(asker.map(|_| ()))
}

/// The question. One that a device asked is there for whoever typed its code alone.
async fn load<W: World>(
    world: &W,
    said: Said<'_>,
) -> Result<Option<Stored<Approval>>, Unavailable> {
    let key = Key::of::<Approval>(said.id);
    let found = world.store().snapshot(&[key]).await?.get::<Approval>(said.id)?;
    let Some(found) = found else { return Ok(None) };
    if found.whom != Whom::Typed {
        return Ok(Some(found));
    }
    let Some(Ok(code)) = said.user_code.map(UserCode::parse) else { return Ok(None) };
    let shown = device::of_code(world, &code).await?;
    Ok(shown.filter(|shown| shown.id == found.id))
}

fn decide(
    found: &Approval,
    by: &By<'_>,
    said: Said<'_>,
    answered: Answered,
) -> Result<Approval, approval::NotAllowed> {
    let roles = by.roles(found);
    let (user, acr) = (answered.by.clone(), answered.acr.unwrap_or(Acr::Code));
    let answerer = Answerer { user: &user, roles: &roles, acr };
    match said.allow {
        true => found.allow(&answerer, said.shown, answered),
        false => found.deny(&answerer, answered),
    }
}

impl By<'_> {
    fn answered(&self, at: time::UnixTime) -> Answered {
        match self {
            Self::Person(signed) => Answered {
                at,
                by: signed.user.id(),
                session: Some(signed.session.id.clone()),
                acr: Some(signed.session.authenticated.acr),
            },
            Self::Operator(operator) => {
                Answered { at, by: operator.0.clone(), session: None, acr: None }
            }
        }
    }

    /// An operator of the machine answers for any role, and for no person.
    fn roles(&self, found: &Approval) -> BTreeSet<String> {
        match (self, &found.whom) {
            (Self::Person(signed), _) => signed.user.roles.clone(),
            (Self::Operator(_), Whom::Role(role)) => BTreeSet::from([role.clone()]),
            (Self::Operator(_), _) => BTreeSet::new(),
        }
    }

    fn authenticated(&self) -> Option<(String, Authenticated, String)> {
        match self {
            Self::Person(signed) => {
                let session = &signed.session;
                Some((signed.user.id(), session.authenticated.clone(), session.id.clone()))
            }
            Self::Operator(_) => None,
        }
    }
}

/// What comes of a yes.
fn grant<W: World>(world: &W, approval: &Approval, by: &By<'_>) -> GrantRecord {
    let own = by.authenticated();
    let subject = match (approval.asks.subject.is_empty(), &own) {
        (true, Some((user, ..))) => user.clone(),
        _ => approval.asks.subject.clone(),
    };
    // How somebody else authenticated says nothing of the one in whose name it is.
    let own = own.filter(|(user, ..)| *user == subject);
    GrantRecord {
        id: public_id(world),
        client_id: approval.asks.client_id.clone(),
        subject,
        way: match approval.front {
            Front::Device => Way::Device,
            Front::Ciba => Way::Ciba,
            Front::Deferred | Front::Challenge | Front::AccessRequest => Way::Approval,
        },
        targets: approval.sought.targets.clone(),
        openid: approval.sought.openid.clone(),
        authenticated: own.as_ref().map(|(_, authenticated, _)| authenticated.clone()),
        // What was granted on one device does not end when its user signs out on another.
        session: None,
        binding: None,
        epoch: approval.epoch,
        created: world.clock().now(),
        until: approval.grant_until.unwrap_or(approval.until),
        ended: None,
        used: None,
        refresh: None,
    }
}
