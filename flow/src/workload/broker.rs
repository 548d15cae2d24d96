//! Brokers: workloads of ours that ask for others on their node (SPIFFE Broker API; PROV-10).
//! Policy names each, and for which risk classes it may ask.

use env::{Clock, Key, Unavailable, World};
use provisioning::Epoch;
use registry::AgentRecord;
use spiffe::{SpiffeId, SvidError, X509Svid};
use wimse::WorkloadId;
use x509::{Certificate, Purpose};

use super::Refusal;
use crate::facts::basis;

/// A workload of ours that asks for others, as its connection proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its identifier.
    pub id: WorkloadId,
    /// The epoch of its credential.
    pub epoch: Option<u64>,
}

/// Why nobody is a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotABroker {
    /// Its certificate proves nothing here.
    #[error("the certificate: {0}")]
    Svid(#[from] SvidError),
    /// Policy names no such broker.
    #[error("policy names no broker `{0}`")]
    Unknown(SpiffeId),
}

/// Who shows `chain` (leaf first, its key proved in the handshake), if policy lets it be a broker.
///
/// SPIFFE Broker API §4.1: "Implementations MUST maintain a strict allow-only policy that prevents
/// any caller that is not authorized".
pub async fn broker<W: World>(
    world: &W,
    chain: &[Certificate],
) -> Result<Result<Broker, NotABroker>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let now = world.clock().now();
    let verified = X509Svid::verify(chain, facts.trust.bundles.spiffe(), Purpose::Client, now);
    let svid = match verified {
        Ok(svid) => svid,
        Err(why) => return Ok(Err(why.into())),
    };
    let id = WorkloadId::Spiffe(svid.spiffe_id().clone());
    let known = facts.set().attestation().broker.contains_key(&id);
    if !known || !id.is_member_of(&facts.trust.own) {
        return Ok(Err(NotABroker::Unknown(svid.spiffe_id().clone())));
    }
    Ok(Ok(Broker { id, epoch: svid.epoch() }))
}

/// Whether the broker stands, and policy lets it ask for this agent: now, and not only when it
/// connected.
pub(super) async fn may_ask<W: World>(
    world: &W,
    broker: &Broker,
    agent: &AgentRecord,
) -> Result<Result<(), Refusal>, Unavailable> {
    let facts = basis(world, vec![Key::of::<AgentRecord>(broker.id.to_string())]).await?;
    let gone = |why: String| Refusal::BrokerGone { broker: broker.id.clone(), why };
    let Some(own) = facts.rows.get::<AgentRecord>(&broker.id.to_string())? else {
        return Ok(Err(gone("it has no record here".to_owned())));
    };
    if let Err(why) = own.lifecycle.admits(broker.epoch.map(Epoch)) {
        return Ok(Err(gone(why.to_string())));
    }
    let class = &agent.entry.rule.class;
    let rule = facts.set().attestation().broker.get(&broker.id);
    if !rule.is_some_and(|rule| rule.classes.contains(class)) {
        let (broker, class) = (broker.id.clone(), class.clone());
        return Ok(Err(Refusal::Broker { broker, class }));
    }
    // Whoever has it is an authority: it goes to the process itself alone.
    if agent.entry.downstream {
        return Ok(Err(Refusal::Downstream { id: agent.id.clone() }));
    }
    Ok(Ok(()))
}
