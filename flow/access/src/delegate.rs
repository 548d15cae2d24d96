//! A gateway gets leave to sign transaction tokens with a key of its own (docs/design.md §5).

use attestation::mechanism::Role;
use credential::{AuthorityKey, KeyRing, Purpose};
use env::{Change, Delegation, Expect, Key, Recorded, Store, Unavailable, World, Write};
use jose::{Jwk, KeyId};
use monitoring::Event;
use provisioning::{Epoch, NotInForce};
use registry::NodeRecord;
use wimse::WorkloadId;

use crate::facts::basis;
use crate::issuing;
use crate::record::{begin, refused};
use crate::turns::{overtaken, settled};

/// Why no leave is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only gateways get it.
    #[error("`{0}` is not a gateway of ours")]
    NotAGateway(WorkloadId),
    /// It is not in force.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// Another key with this id is published already.
    #[error("a key with the id `{0}` is published already")]
    Taken(String),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NotAGateway(_) => "delegate::NotAGateway",
            Self::NotInForce(_) => "delegate::NotInForce",
            Self::Taken(_) => "delegate::Taken",
        }
    }
}

/// Publishes `public` among the keys of transaction tokens, for as long as a component's credential
/// lives.
pub async fn delegate<W: World>(
    world: &W,
    caller: &WorkloadId,
    proved: Option<u64>,
    public: Jwk,
) -> Result<Recorded<Result<Delegation, Refusal>>, Unavailable> {
    let purpose = Purpose::TxnToken;
    let keys = vec![Key::of::<NodeRecord>(caller.to_string()), Key::of::<KeyRing>(purpose.name())];
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no transaction token keys yet"))?;
    let node = facts.rows.get::<NodeRecord>(&caller.to_string())?;
    let id = public.thumbprint().to_base64url();
    let kid = KeyId::parse(&id).map_err(|error| Unavailable::of("keys", error))?;
    let decided = decide(node.as_deref(), caller, proved, &ring, &kid);
    let lifetimes = &facts.set().domain().lifetimes;
    let mut record = begin(world, Event::KeyRotated);
    record.action = "key.delegate".to_owned();
    record.transport = Some(caller.to_string());
    record.resource = Some(format!("{}/{id}", purpose.name()));
    let mut change = Change::default();
    let decided = decided.map(|()| {
        let until = now.plus(lifetimes.component);
        let key = AuthorityKey {
            kid: kid.clone(),
            public: public.with_kid(kid.clone()),
            certificate: None,
            above: None,
            published: now,
            signs_from: now,
            signs_until: until,
            kept_until: until.plus(lifetimes.txn_token),
            holder: Some(caller.to_string()),
            tainted: None,
        };
        change.writes.push(Write::put(&ring.with(key, now), Expect::Version(ring.version)));
        record.outcome = monitoring::Outcome::Permitted;
        Delegation { kid, until }
    });
    if let Err(refusal) = &decided {
        refused(&mut record, refusal.check(), refusal, None);
    }
    change.records.push(record);
    let receipt = settled(world.store().commit(change).await)?.ok_or_else(overtaken)?;
    Ok(Recorded::new(decided, &receipt))
}

fn decide(
    node: Option<&NodeRecord>,
    caller: &WorkloadId,
    proved: Option<u64>,
    ring: &KeyRing,
    kid: &KeyId,
) -> Result<(), Refusal> {
    let node = node
        .filter(|node| node.role == Role::Gateway)
        .ok_or_else(|| Refusal::NotAGateway(caller.clone()))?;
    node.lifecycle.admits(proved.map(Epoch))?;
    if ring.keys.iter().any(|key| &key.kid == kid) {
        return Err(Refusal::Taken(kid.as_str().to_owned()));
    }
    Ok(())
}
