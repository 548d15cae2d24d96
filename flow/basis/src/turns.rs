//! Deciding again when another commit came first, and who orders.

use env::{Clock, CommitFault, Entropy, Receipt, Unavailable, World};
use time::Span;

/// How often a commit that another one overtook is decided again.
pub const TRIES_MAX: u32 = 64;
/// The longest pause before another try, in milliseconds: the losers of one round do not all come
/// again at the same moment.
const PAUSE_MILLIS_MAX: u64 = 64;

/// Waits before the try after `turn`: longer each time, and not as long as the others.
pub async fn pause<W: World>(world: &W, turn: u32) {
    let longest = 1_u64.checked_shl(turn).unwrap_or(PAUSE_MILLIS_MAX).min(PAUSE_MILLIS_MAX);
    let [low, high, ..] = world.entropy().public();
    let drawn = u64::from(u16::from_le_bytes([low, high])) % longest;
    world.clock().sleep(Span::from_millis(drawn)).await;
}

/// `None` when another commit came first and all is to be decided again.
pub fn settled(commit: Result<Receipt, CommitFault>) -> Result<Option<Receipt>, Unavailable> {
    match commit {
        Ok(receipt) => Ok(Some(receipt)),
        Err(CommitFault::Conflict(_)) => Ok(None),
        Err(CommitFault::Used(_)) => Err(Unavailable::of("store", "an unexpected second use")),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

pub fn overtaken() -> Unavailable {
    Unavailable::of("store", "other changes kept coming first; try again")
}

/// Who orders something: a person of this machine, `uid:1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator(pub String);
