//! A token that somebody shows to one of our own endpoints: read, whatever its form, and held
//! against what ended and who is in force.

use authorization::presented::{self, Presented};
use credential::{KeyRing, Purpose};
use env::rows::OpaqueToken;
use env::{Key, Store, Unavailable, World};
use gateway::Refusal;
use oauth::Issuer;
use time::UnixTime;

use crate::call::standing;
use crate::facts::Basis;
use crate::opaque;
use crate::token::ring;

/// The rows that [`read`] needs.
pub fn keys(text: &str) -> Vec<Key> {
    let mut keys = vec![
        Key::of::<KeyRing>(Purpose::AccessToken.name()),
        Key::of::<KeyRing>(Purpose::IdToken.name()),
    ];
    if opaque::is_one(text) {
        keys.push(Key::of::<OpaqueToken>(opaque::hash_of(text)));
    }
    keys
}

/// An access token of ours, signed or opaque; only that: it may have ended.
pub fn read(
    facts: &Basis,
    issuer: &Issuer,
    text: &str,
    now: UnixTime,
) -> Result<Result<Presented, presented::Refusal>, Unavailable> {
    if opaque::is_one(text) {
        return Ok(match facts.rows.get::<OpaqueToken>(&opaque::hash_of(text))? {
            Some(row) => Presented::of_opaque(row.claims.clone(), issuer, now),
            None => Err(presented::Refusal::Unknown),
        });
    }
    let ring = ring(facts, Purpose::AccessToken)?;
    let skew = facts.set().domain().bounds.clock_skew;
    Ok(Presented::access_token(text, &ring, issuer, now, skew))
}

/// Refuses one that ended, or that concerns somebody who is not in force.
pub async fn still_counts<W: World>(
    world: &W,
    token: &Presented,
) -> Result<Result<(), Refusal>, Unavailable> {
    let (mut concerned, lineage) = (token.concerned(), token.lineage());
    // A resource is in no registry; an agent that is one is looked at where it is called.
    concerned.retain(|who| who != token.audience() || who == token.client_id());
    let rows = world.store().snapshot(&standing::keys(&concerned, &lineage)).await?;
    standing::check(&rows, &concerned, &lineage, |_| token.epoch())
}
