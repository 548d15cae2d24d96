//! How a request of a browser ends.

use env::{Change, Recorded, Store, Unavailable, World};
use monitoring::Record;

use crate::record::refused;
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
