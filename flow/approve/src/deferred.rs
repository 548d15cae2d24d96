//! Deferred Token Response (draft-gerber-oauth-deferred-token-response): a client whose token wants
//! an approval first, and that says that it can wait, gets somebody asked (AUTHZ-17, AUTHZ-31).
//! Drafts move: what is sent is what the AuthZEN profile of access requests for OAuth quotes of it.
//!
//! Not here: that policy wants it, and what comes of a yes (`access::token`).

use access::token::Wanting;
use approval::{Asks, Front, Kind, Sought};
use env::{Change, Clock, Recorded, Store, Unavailable, World};
use monitoring::{Event, Outcome};
use oauth::token_request::GrantType;
use people::end::Check;
use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::Refusal;
use crate::ask::{self, Posed, Waits};
use crate::caller::Asker;
use crate::facts::{Basis, basis};
use crate::record::{begin, refused};
use crate::turns::{TRIES_MAX, overtaken, pause, settled};
use crate::whom;

/// What the client waits with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// What it polls with.
    pub deferral_code: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds between two requests.
    pub interval: u64,
}

impl std::fmt::Debug for Deferral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Deferral(… for {} s, {})", self.expires_in, self.interval)
    }
}

/// Whether clients may wait.
pub async fn is_on<W: World>(world: &W) -> Result<bool, Unavailable> {
    Ok(basis(world, Vec::new()).await?.set().domain().approvals.deferred)
}

/// Gets somebody asked for what is wanting. The client was authenticated a moment ago, for the
/// request that was refused for want of this.
pub async fn defer<W: World>(
    world: &W,
    wanting: Wanting,
) -> Result<Recorded<Result<Deferral, Refusal>>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(done) = attempt(world, wanting.clone()).await? {
            return Ok(done);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// One try; `None` where the same people were asked something else first.
async fn attempt<W: World>(
    world: &W,
    wanting: Wanting,
) -> Result<Option<Recorded<Result<Deferral, Refusal>>>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let now = world.clock().now();
    let mut record = begin(world, Event::ApprovalAsked);
    record.action = "token.defer".to_owned();
    record.agent = Some(wanting.client_id.clone());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    let mut change = Change::default();
    let binding = wanting.binding.clone();
    let approval = match pose(world, &facts, wanting, now).await? {
        Ok(posed) => ask::approval(world, (&facts, now), posed).await?,
        Err(refusal) => Err(refusal),
    };
    let decided = approval.map(|placed| {
        let until = placed.approval.until;
        let Waits { text, ticket } = ask::ticket(world, Kind::Deferred, &placed.approval, binding);
        ask::put(placed, &ticket, &mut change, &mut record);
        told(text, until, now, ticket.interval.seconds())
    });
    match &decided {
        Ok(_) => record.outcome = Outcome::Done,
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    change.records.push(record);
    let receipt = settled(world.store().commit(change).await)?;
    Ok(receipt.map(|receipt| Recorded::new(decided, &receipt)))
}

fn told(deferral_code: String, until: UnixTime, now: UnixTime, interval: u64) -> Deferral {
    Deferral { deferral_code, expires_in: until.since(now).seconds(), interval }
}

/// The question, to whom policy names for the resource.
async fn pose<W: World>(
    world: &W,
    facts: &Basis,
    wanting: Wanting,
    now: UnixTime,
) -> Result<Result<Posed, Refusal>, Unavailable> {
    let approvals = &facts.set().domain().approvals;
    if !approvals.deferred {
        return Ok(Err(Refusal::Denied(Box::new(wanting.denial))));
    }
    let issued = wanting.epoch.or(Some(facts.epoch));
    let asker = match Asker::load(world, facts, &wanting.client_id, issued, now).await? {
        Ok(asker) => asker,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = asker.may(GrantType::Deferred) {
        return Ok(Err(refusal));
    }
    let rule = approvals.at(Some(&wanting.name));
    let whom = whom::of_policy(world, &rule.ask, &wanting.subject, &asker.owner).await?;
    Ok(whom.map(|whom| Posed {
        whom,
        by_subject: rule.by_subject,
        acr: rule.acr,
        asks: Asks {
            client_id: asker.id,
            name: asker.name,
            owner: asker.owner,
            subject: wanting.subject,
            actors: wanting.actors,
        },
        sought: Sought {
            targets: [(wanting.audience, wanting.granted)].into(),
            txn: wanting.txn,
            ..Sought::default()
        },
        front: Front::Deferred,
        root: wanting.root,
        parent: wanting.parent,
        above: wanting.above,
        wait: approvals.wait,
        grant_until: None,
        bound: None,
    }))
}
