//! The first start of an installation, and what a server needs at each start.

use std::net::IpAddr;

use basis::for_clients;
use credential::{KeyRing, Purpose, x509_svid};
use env::rows::{DomainEpoch, InForce};
use env::{Change, Entropy, Expect, Handle, Key, Keys, Store, Unavailable, World, Write};
use monitoring::Event;
use policy::Files;
use provisioning::Epoch;
use time::{Span, UnixTime};
use wimse::{Origin, WorkloadId};
use x509::CertificateDer;

use crate::apply_policy;
use crate::facts::basis;
use crate::issuing;
use crate::record::begin;
use crate::rotate;
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};
use crate::turns::{Operator, settled};

/// A certificate of our own and the handle of its key.
#[derive(Debug)]
pub struct Identity {
    /// Certificates in DER, leaf first.
    pub chain: Vec<CertificateDer>,
    /// The key.
    pub key: Handle,
    /// When it is to be renewed.
    pub renew: UnixTime,
}

/// Brings the state up to what a server needs: a policy, an epoch, keys, a bundle. Policy is taken
/// from `files` only where none is in force yet.
pub async fn ready<W: World>(
    world: &W,
    files: Files,
    web_names: &[String],
) -> Result<Result<(), apply_policy::Refusal>, Unavailable> {
    let keys = [Key::of::<InForce>(InForce::ID), Key::of::<DomainEpoch>(DomainEpoch::ID)];
    let rows = world.store().snapshot(&keys).await?;
    if let Some(policy) = rows.get::<InForce>(InForce::ID)? {
        issuing::now_within(world, policy.set.domain().bounds.clock_skew)?;
    }
    if rows.get::<DomainEpoch>(DomainEpoch::ID)?.is_none() {
        let record = begin(world, Event::Started);
        let first = DomainEpoch { epoch: Epoch(1) };
        let writes = vec![Write::put(&first, Expect::Absent)];
        let change = Change { writes, uses: Vec::new(), records: vec![record] };
        settled(world.store().commit(change).await)?;
    } else {
        let record = begin(world, Event::Started);
        settled(world.store().commit(Change::record(record)).await)?;
    }
    if rows.get::<InForce>(InForce::ID)?.is_none() {
        let operator = Operator("first start".to_owned());
        let reason = "first start".to_owned();
        let applied = apply_policy::apply(world, &operator, files, reason, None).await?;
        if let Err(refusal) = applied.into_value() {
            return Ok(Err(refusal));
        }
    }
    rotate::first(world, web_names).await?;
    for_clients::abandoned(world).await?;
    crate::nodes::settle(world).await?;
    Ok(Ok(()))
}

/// The server's own X.509-SVID, for its nodes and gateways.
pub async fn server_identity<W: World>(
    world: &W,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<Identity, Unavailable> {
    identity(world, rotate::server_id, names, addresses).await
}

/// The X.509-SVID that SPIRE agents ask for of their server.
pub async fn spire_identity<W: World>(
    world: &W,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<Identity, Unavailable> {
    let id = |origin: &Origin| {
        if !origin.is_spiffe() {
            let why =
                format!("agents of SPIRE know SPIFFE IDs alone, and our origin is `{origin}`");
            return Err(Unavailable::of("policy", why));
        }
        origin.workload("/spire/server").map_err(|error| Unavailable::of("store", error))
    };
    identity(world, id, names, addresses).await
}

async fn identity<W: World>(
    world: &W,
    id: impl Fn(&Origin) -> Result<WorkloadId, Unavailable>,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<Identity, Unavailable> {
    let purpose = Purpose::X509Authority;
    let facts = basis(world, vec![Key::of::<KeyRing>(purpose.name())]).await?;
    let now = issuing::now(world, &facts)?;
    let ring = facts.rows.get::<KeyRing>(purpose.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "no X.509 authority yet"))?;
    let signer = sign::signer(&ring, now)?;
    let authority = sign::authority(signer)?;
    let (key, public) = world.keys().generate(Purpose::Component, ALGORITHM).await?;
    let life = sign::life(signer, facts.set().domain().lifetimes.component, now);
    let order = x509_svid::Order {
        id: &id(facts.set().origin())?,
        spki_der: public.spki_der(),
        dns_names: names.to_vec(),
        ip_names: addresses.to_vec(),
        authority: &authority,
        random: world.entropy().public(),
        now,
        life,
        epoch: facts.epoch.0,
        attributes: &spiffe::Attributes::default(),
    };
    let checked = x509_svid::build(&order, CERTIFICATE_ALGORITHM)
        .map_err(|fault| Unavailable::of("keys", fault))?;
    let leaf = sign::certificate(world, &sign::handle(purpose, signer), checked).await?;
    let renew = now.plus(Span::from_millis(life.millis() / 2));
    let mut chain = vec![leaf];
    for issuer in sign::issuers(signer) {
        let issuer = CertificateDer::from_der(issuer);
        chain.push(issuer.map_err(|error| Unavailable::of("store", error))?);
    }
    Ok(Identity { chain, key, renew })
}
