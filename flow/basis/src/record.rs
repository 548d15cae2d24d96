//! Beginning a record, and naming what may be used once.

use env::{Clock, Entropy, SingleUse, World};
use jose::TokenHash;
use monitoring::record::Used;
use monitoring::{Event, Outcome, Record, RecordId, Why};
use time::UnixTime;

/// A record of this component, now.
pub fn begin<W: World>(world: &W, event: Event) -> Record {
    let now = world.clock().now();
    Record::new(record_id(world, now), now, world.component().clone(), event)
}

/// A fresh record id.
pub fn record_id<W: World>(world: &W, now: UnixTime) -> RecordId {
    let random = world.entropy().public();
    let mut ten = [0; 10];
    for (to, from) in ten.iter_mut().zip(random) {
        *to = from;
    }
    RecordId::new(now, ten)
}

/// A fresh id that others will see: of a token, a lineage, a transaction.
pub fn public_id<W: World>(world: &W) -> String {
    let hash = TokenHash::from_bytes(widen(world.entropy().public())).to_base64url();
    let id: String = hash.chars().take(22).collect();
    // Where people type it, one that begins with a dash would be taken for an option.
    match id.strip_prefix('-') {
        Some(rest) => format!("A{rest}"),
        None => id,
    }
}

fn widen(bytes: [u8; 16]) -> [u8; 32] {
    let mut wide = [0; 32];
    for (to, from) in wide.iter_mut().zip(bytes) {
        *to = from;
    }
    wide
}

/// Marks a record as a refusal.
pub fn refused(record: &mut Record, check: &str, message: &impl ToString, needs: Option<String>) {
    record.outcome = Outcome::Refused;
    record.why = Some(Why { check: check.to_owned(), message: message.to_string(), needs });
}

/// A single-use value of `space` (the verifying audience and the kind of value), and what the
/// record says of it. It is remembered until it would be refused for its age.
pub fn single_use(space: &str, value: &str, until: UnixTime) -> (SingleUse, Used) {
    let hash = TokenHash::of(&format!("{space}\0{value}"));
    (SingleUse { hash: *hash.as_bytes(), until }, Used { hash: hash.to_base64url(), until })
}
