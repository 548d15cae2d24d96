//! The one commit of an enrolment or a renewal: what it uses up, what it writes, what it records.

use std::collections::BTreeSet;

use env::rows::Enrolment;
use env::{
    Change, CommitFault, Entity, Expect, Key, Recorded, SingleUse, Store, Unavailable, World, Write,
};
use flow::appraise::still_stands;
use flow::facts::Basis;
use flow::record::{begin, refused, single_use};
use flow::turns::{overtaken, settled};
use monitoring::Record;
use monitoring::record::Used;
use time::UnixTime;

use crate::enrol::Enrolled;
use crate::refusal::Refusal;

/// What a commit uses up, and what is to be said if that was used before.
#[derive(Default)]
pub(crate) struct Uses(Vec<(SingleUse, Used, Of)>);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Of {
    Nonce,
    Key,
    Evidence,
    Proof,
    Document(String),
}

impl Uses {
    pub(crate) fn add(&mut self, of: Of, space: &str, value: &str, until: UnixTime) {
        let (use_, used) = single_use(space, value, until);
        self.0.push((use_, used, of));
    }

    /// What is refused uses up no document: it may be shown again, with what was missing.
    fn put(&self, change: &mut Change, record: &mut Record, is_granted: bool) {
        let counts = |of: &Of| is_granted || !matches!(of, Of::Document(_));
        for (use_, used, _) in self.0.iter().filter(|(_, _, of)| counts(of)) {
            change.uses.push(use_.clone());
            record.used.push(used.clone());
        }
    }

    /// Whose it is that was used before.
    fn of(&self, found: &SingleUse) -> Of {
        let of = self.0.iter().find(|(use_, ..)| use_.hash == found.hash);
        of.map_or(Of::Nonce, |(_, _, of)| of.clone())
    }
}

/// Until when keys are remembered that were certified here: by then all that binds them has ended.
pub(crate) fn key_kept(now: UnixTime) -> UnixTime {
    now.plus(credential::policy::RESULT_LIFE_MAX).plus(credential::policy::RESULT_LIFE_MAX)
}

pub(crate) const KEY_SPACE: &str = "enrol/key";
pub(crate) const NONCE_SPACE: &str = "enrol/nonce";

/// Commits, and says what came of it; or which documents are to count for nothing when it is
/// decided again, none if another commit came first.
pub(crate) async fn settle<W: World, R: Why>(
    world: &W,
    facts: &Basis,
    mut change: Change,
    mut record: Record,
    made: Result<Enrolled, R>,
    uses: &Uses,
) -> Result<Result<Recorded<Result<Enrolled, R>>, BTreeSet<String>>, Unavailable> {
    match &made {
        Ok(enrolled) => {
            record.outcome = monitoring::Outcome::Permitted;
            record.resource = Some(enrolled.id.to_string());
        }
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    uses.put(&mut change, &mut record, made.is_ok());
    let again = record.clone();
    let rows: Vec<_> = change.writes.iter().map(|write| write.key.clone()).collect();
    // The decision first: it is what the answer names.
    change.records.insert(0, record);
    let refusal = match world.store().commit(change).await {
        Ok(receipt) => match &made {
            Ok(enrolled) if !still_stands(world, facts, enrolled.id.as_str()).await? => {
                return overtaken_by_policy(world, &again, rows).await.map(Ok);
            }
            _ => return Ok(Ok(Recorded::new(made, &receipt))),
        },
        Err(CommitFault::Conflict(_)) => return Ok(Err(BTreeSet::new())),
        Err(CommitFault::Unavailable(why)) => return Err(why),
        Err(CommitFault::Used(found)) => match uses.of(&found) {
            Of::Document(kind) => return Ok(Err([kind].into())),
            of => R::from(replayed(&of)),
        },
    };
    refuse(world, &again, Vec::new(), refusal).await.map(Ok)
}

/// What was made is not released, and its enrolment is gone: it must be asked for anew.
async fn overtaken_by_policy<W: World, R: Why>(
    world: &W,
    again: &Record,
    rows: Vec<Key>,
) -> Result<Recorded<Result<Enrolled, R>>, Unavailable> {
    let rows = rows.into_iter().filter(|key| key.table == Enrolment::TABLE);
    let writes = rows.map(|key| Write::delete::<Enrolment>(key.id, Expect::Any)).collect();
    refuse(world, again, writes, R::from(Refusal::Overtaken)).await
}

/// Records a refusal in place of what `again` said.
async fn refuse<W: World, R: Why>(
    world: &W,
    again: &Record,
    writes: Vec<Write>,
    refusal: R,
) -> Result<Recorded<Result<Enrolled, R>>, Unavailable> {
    let mut record = begin(world, again.event);
    record.action.clone_from(&again.action);
    (record.agent, record.proof) = (again.agent.clone(), again.proof.clone());
    (record.policy, record.attestation) = (again.policy.clone(), again.attestation.clone());
    refused(&mut record, refusal.check(), &refusal, None);
    let change = Change { writes, ..Change::record(record) };
    let receipt = settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(Err(refusal), &receipt))
}

/// What the refusals of both requests have in common.
pub(crate) trait Why: std::fmt::Display + From<Refusal> {
    fn check(&self) -> &'static str;
}

impl Why for Refusal {
    fn check(&self) -> &'static str {
        Self::check(self)
    }
}

impl Why for crate::renew::Refusal {
    fn check(&self) -> &'static str {
        Self::check(self)
    }
}

fn replayed(of: &Of) -> Refusal {
    match of {
        Of::Key => Refusal::KeyUsed,
        Of::Evidence => Refusal::Replayed("evidence"),
        Of::Proof => Refusal::Replayed("proof"),
        Of::Nonce | Of::Document(_) => Refusal::Replayed("nonce"),
    }
}
