//! How a request of a browser ends.

use env::{Change, CommitFault, Recorded, SingleUse, Store, Unavailable, World};
use monitoring::Record;
use monitoring::record::Used;

use crate::record::{begin, refused};
use crate::turns::settled;

/// The end of a request: who proved something is recorded, who proved nothing is counted.
#[derive(Debug)]
pub enum End<T, R> {
    /// It was decided, and recorded.
    Decided(Recorded<Result<T, R>>),
    /// Whoever it was proved nothing: count it, tell it no more than that.
    Stranger(R),
}

impl<T, R> End<T, R> {
    /// What came of it, for tests and for pages that show both alike.
    pub fn into_result(self) -> Result<T, R> {
        match self {
            Self::Decided(recorded) => recorded.into_value(),
            Self::Stranger(refusal) => Err(refusal),
        }
    }
}

/// What a refusal is called in records.
pub trait Check: std::fmt::Display {
    /// The variant's name, as `box::Variant`.
    fn check(&self) -> &'static str;
}

/// Commits what was decided; `None` when another commit came first and all is to be decided again.
pub(crate) async fn commit<W: World, T, R: Check>(
    world: &W,
    mut change: Change,
    mut record: Record,
    decided: Result<T, R>,
) -> Result<Option<Recorded<Result<T, R>>>, Unavailable> {
    if let Err(refusal) = &decided {
        refused(&mut record, refusal.check(), refusal, None);
    }
    // The decision first: it is what the answer names.
    change.records.insert(0, record);
    let receipt = settled(world.store().commit(change).await)?;
    Ok(receipt.map(|receipt| Recorded::new(decided, &receipt)))
}

/// The same with something that serves once: `spent` is what it is refused with when it was used
/// before, by whoever came first.
pub(crate) async fn commit_once<W: World, T, R: Check>(
    world: &W,
    mut change: Change,
    mut record: Record,
    decided: Result<T, R>,
    once: Once<R>,
) -> Result<Option<Recorded<Result<T, R>>>, Unavailable> {
    // What is refused uses nothing up: it gave nothing.
    if decided.is_err() {
        return commit(world, change, record, decided).await;
    }
    let Once { used: (single, used), spent } = once;
    let again = record.clone();
    record.used.push(used);
    change.uses.push(single);
    change.records.insert(0, record);
    match world.store().commit(change).await {
        Ok(receipt) => Ok(Some(Recorded::new(decided, &receipt))),
        Err(CommitFault::Conflict(_)) => Ok(None),
        Err(CommitFault::Unavailable(why)) => Err(why),
        Err(CommitFault::Used(_)) => {
            let mut record = begin(world, again.event);
            (record.action, record.subject) = (again.action, again.subject);
            (record.proof, record.policy) = (again.proof, again.policy);
            (record.epoch, record.attestation) = (again.epoch, again.attestation);
            commit(world, Change::default(), record, Err(spent)).await
        }
    }
}

/// Something that serves once.
pub(crate) struct Once<R> {
    pub(crate) used: (SingleUse, Used),
    pub(crate) spent: R,
}
