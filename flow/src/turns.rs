//! Deciding again when another commit came first.

use env::{Clock, Entropy, World};
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
