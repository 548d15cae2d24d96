//! The relations to other trust domains that policy keeps (`federation/*.toml`): putting a set into
//! force begins and ends them, in the same commit.
//!
//! Policy takes over what an operator began with a trust domain that it names, and never ends what
//! an operator keeps. Terms that changed begin the relation anew.

use credential::federation::{Keeper, RELATIONS_MAX, Relation};
use env::rows::TrustRow;
use env::{Clock, Expect, Unavailable, World, Write};
use monitoring::{Event, Record};
use policy::PolicySet;
use spiffe::TrustDomain;

use crate::facts::one;
use crate::federate::{Refusal, all, forgotten, told};
use crate::record::begin;

/// What is written.
#[derive(Debug, Default)]
pub(super) struct Relations {
    pub(super) writes: Vec<Write>,
    pub(super) records: Vec<Record>,
}

/// Decides what the set does to the relations.
pub(super) async fn decide<W: World>(
    world: &W,
    set: &PolicySet,
) -> Result<Result<Relations, Refusal>, Unavailable> {
    let found = all(world).await?;
    let wanted = set.federation();
    let is_wanted = |domain: &TrustDomain| wanted.iter().any(|one| one.trust_domain == *domain);
    let staying = found
        .iter()
        .filter(|row| row.keeper == Keeper::Operator && !is_wanted(&row.terms.trust_domain));
    let count = staying.count() + wanted.len();
    if count > RELATIONS_MAX {
        return Ok(Err(Refusal::TooMany { count }));
    }
    let (now, mut decided) = (world.clock().now(), Relations::default());
    // What is not believed any longer, or not before it is fetched again.
    let mut gone = Vec::new();
    for terms in wanted {
        let row = found.iter().find(|row| row.terms.trust_domain == terms.trust_domain);
        let relation = match row {
            Some(row) if row.terms == *terms && row.keeper == Keeper::Policy => continue,
            Some(row) if row.terms == *terms => {
                Relation { keeper: Keeper::Policy, ..(*row.value).clone() }
            }
            Some(_) => {
                gone.push(&terms.trust_domain);
                Relation::begin(terms.clone(), Keeper::Policy, now)
            }
            None => Relation::begin(terms.clone(), Keeper::Policy, now),
        };
        let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
        decided.writes.push(Write::put(&relation, expect));
        let mut record = record(world, "federation.add", &terms.trust_domain);
        record.facts = told(terms);
        decided.records.push(record);
    }
    for row in found.iter().filter(|row| row.keeper == Keeper::Policy) {
        let domain = &row.terms.trust_domain;
        if !is_wanted(domain) {
            let expect = Expect::Version(row.version);
            decided.writes.push(Write::delete::<Relation>(domain.as_str(), expect));
            decided.records.push(record(world, "federation.remove", domain));
            gone.push(domain);
        }
    }
    if !gone.is_empty() {
        let trust = one::<W, TrustRow>(world, TrustRow::ID).await?;
        decided.writes.extend(forgotten(trust.as_ref(), gone));
    }
    Ok(Ok(decided))
}

fn record<W: World>(world: &W, action: &str, domain: &TrustDomain) -> Record {
    let mut record = begin(world, Event::FederationChanged);
    record.action = action.to_owned();
    record.resource = Some(domain.to_string());
    record
}
