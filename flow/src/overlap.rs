//! A new rule is compared with those in force: a process that matches several records gets no
//! identity, so the new one would stop what runs, or never begin (docs/design.md §3).
//!
//! Two orders that are given at once do not see each other: `aims doctor` names what came of it.

use std::collections::BTreeMap;

use env::{Index, Store, Table, Unavailable, World};
use identifier::AgentName;
use policy::PolicySet;
use provisioning::State;
use registry::{AgentRecord, Overlap, Registration};

use crate::agents::{PAGE_MAX, Refusal};

/// The most records in force that a new one is compared with.
const RECORDS_MAX: usize = 10_000;

/// What is wrong with two such records.
pub(crate) fn told(Overlap { narrow, broad, are_equal }: &Overlap) -> String {
    let what = if *are_equal {
        format!("the rules of `{narrow}` and `{broad}` are the same")
    } else {
        format!("each process of `{narrow}` is one of `{broad}`, too")
    };
    format!("{what}, and a process that several records match gets no identity")
}

/// That the rule of `entry` and one in force do not contain each other.
pub(crate) async fn none<W: World>(
    world: &W,
    entry: &Registration,
    set: &PolicySet,
) -> Result<Result<(), Refusal>, Unavailable> {
    let others = in_force(world).await?;
    let found = first(entry, others.values(), set);
    Ok(found.map_or(Ok(()), |overlap| Err(Refusal::Overlap(overlap))))
}

/// The first of `others` whose rule contains that of `entry`, or is contained in it.
pub(crate) fn first<'a>(
    entry: &Registration,
    others: impl IntoIterator<Item = &'a Registration>,
    set: &PolicySet,
) -> Option<Overlap> {
    let others = others.into_iter().filter(|other| other.name != entry.name);
    others.filter(|other| !set.gives_all(entry, other)).find_map(|one| Overlap::of(entry, one))
}

/// What agents in force registered, by their names.
pub(crate) async fn in_force<W: World>(
    world: &W,
) -> Result<BTreeMap<AgentName, Registration>, Unavailable> {
    let (mut all, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let (store, state) = (world.store(), State::Active.name());
        let page =
            store.scan(Table::Agents, Index::State, state, after.as_deref(), PAGE_MAX).await?;
        for row in &page.rows {
            let agent =
                row.value::<AgentRecord>().map_err(|error| Unavailable::of("store", error))?;
            all.extend(agent.map(|agent| (agent.entry.name.clone(), agent.entry.clone())));
        }
        after = page.next;
        if after.is_none() || all.len() >= RECORDS_MAX {
            return Ok(all);
        }
    }
}
