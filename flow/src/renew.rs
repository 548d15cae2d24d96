//! A node or gateway renews its own credential, with a new key (S1 §8; PROV-02, CRED-11).

use attestation::mechanism::Role;
use credential::{KeyRing, Purpose};
use env::{Change, Expect, Key, Recorded, RenewOrder, Renewed, Store, Unavailable, World, Write};
use jose::PublicKey;
use monitoring::Event;
use provisioning::{Epoch, NotInForce};
use registry::NodeRecord;
use wimse::WorkloadId;
use x509::{Request, RequestError};

use crate::facts::basis;
use crate::issuing;
use crate::join::component_svid;
use crate::record::{begin, refused};
use crate::turns::{overtaken, settled};

/// Why a credential is not renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not in the registry.
    #[error("`{0}` is not in the registry; join again")]
    Unknown(WorkloadId),
    /// It is not in force, or the credential it shows is too old.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// PROV-07.
    #[error("the request is not proved: {0}")]
    Request(RequestError),
    /// A SPIRE agent that can attest again does that instead (PROV-03).
    #[error("`{0}` attests again instead of renewing")]
    MustAttest(WorkloadId),
    /// CRED-11: "Every renewal binds a new key".
    #[error("the key is that of the credential before; make a new one")]
    SameKey,
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "renew::Unknown",
            Self::NotInForce(_) => "renew::NotInForce",
            Self::Request(_) => "renew::Request",
            Self::MustAttest(_) => "renew::MustAttest",
            Self::SameKey => "renew::SameKey",
        }
    }
}

/// Renews. `caller` and `proved` are the identity and the epoch of the credential that the
/// connection proved.
pub async fn renew<W: World>(
    world: &W,
    caller: &WorkloadId,
    proved: Option<u64>,
    order: RenewOrder,
) -> Result<Recorded<Result<Renewed, Refusal>>, Unavailable> {
    let keys = vec![
        Key::of::<NodeRecord>(caller.to_string()),
        Key::of::<KeyRing>(Purpose::X509Authority.name()),
    ];
    let facts = basis(world, keys).await?;
    let node = facts.rows.get::<NodeRecord>(&caller.to_string())?;
    let now = issuing::now(world, &facts)?;
    let mut record = begin(world, Event::NodeRenewed);
    record.resource = Some(caller.to_string());
    record.transport = Some(caller.to_string());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    let mut change = Change::default();
    let decided = match (decide(node.as_deref(), caller, proved, &order), &node) {
        (Ok((spki, key)), Some(node)) => {
            let (chain, ends) = component_svid(world, &facts, caller, &spki, now).await?;
            let ends = Some(ends);
            let renewed = NodeRecord { renewed: now, key, ends, ..(*node.value).clone() };
            change.writes.push(Write::put(&renewed, Expect::Version(node.version)));
            record.outcome = monitoring::Outcome::Permitted;
            Ok(Renewed { chain })
        }
        (Err(refusal), _) => Err(refusal),
        (Ok(_), None) => Err(Refusal::Unknown(caller.clone())),
    };
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
    order: &RenewOrder,
) -> Result<(Vec<u8>, String), Refusal> {
    let node = node.ok_or_else(|| Refusal::Unknown(caller.clone()))?;
    node.lifecycle.admits(proved.map(Epoch))?;
    if node.role == Role::SpireAgent && !node.once {
        return Err(Refusal::MustAttest(caller.clone()));
    }
    let request = Request::verify(&order.request).map_err(Refusal::Request)?;
    let key = PublicKey::from_spki_der(request.spki_der())
        .map(|key| key.thumbprint().to_base64url())
        .unwrap_or_default();
    if key == node.key {
        return Err(Refusal::SameKey);
    }
    Ok((request.spki_der().to_vec(), key))
}
