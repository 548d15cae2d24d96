//! Building a credential of each kind once it is decided: made by one module, checked by another,
//! then signed (docs/style.md, rule 10).

use std::collections::BTreeSet;

use attestation::class::{Attribute, RiskClass};
use credential::{KeyRing, TokenText, jwt_svid, wit, x509_svid};
use env::{AssignedCredential, Entropy, IssueKind, Unavailable, World};
use jose::PublicKey;
use provisioning::CredentialKind;
use registry::AgentRecord;
use spiffe::Attributes;
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{DnsName, Request};

use super::Refusal;
use crate::facts::Basis;
use crate::sign::{self, ALGORITHM, CERTIFICATE_ALGORITHM};

/// CRED-07: what policy lets the credential say about its agent.
pub fn attributes(
    agent: &AgentRecord,
    class: &RiskClass,
    kind: CredentialKind,
    result: &str,
) -> Attributes {
    let entry = &agent.entry;
    let said = |attribute| class.attributes.contains(&attribute);
    Attributes {
        owner: said(Attribute::Owner).then(|| entry.owner.clone()),
        capabilities: said(Attribute::Capabilities).then(|| entry.capabilities_hash()),
        locator: entry.locator.clone().filter(|_| said(Attribute::Locator)),
        result: said(Attribute::Result).then(|| result.to_owned()),
        methods: if said(Attribute::Methods) {
            kind.methods().iter().map(|&method| method.to_owned()).collect()
        } else {
            Vec::new()
        },
    }
}

/// What one credential is made of.
pub struct Making<'a> {
    id: &'a WorkloadId,
    life: Span,
    jti: String,
    now: UnixTime,
    epoch: u64,
    /// `iss` of JWT-SVIDs.
    issuer: Option<&'a oauth::Issuer>,
    attributes: &'a Attributes,
    dns_names: &'a BTreeSet<DnsName>,
}

impl<'a> Making<'a> {
    /// For this agent, with this life and id.
    pub fn new(
        facts: &'a Basis,
        agent: &'a AgentRecord,
        life: Span,
        jti: String,
        now: UnixTime,
        attributes: &'a Attributes,
    ) -> Self {
        let issuer = facts.set().domain().jwt_svid.issuer.as_ref();
        let (epoch, dns_names) = (facts.epoch.0, &agent.entry.dns_names);
        Self { id: &agent.id, life, jti, now, epoch, issuer, attributes, dns_names }
    }

    /// Builds, checks and signs. The outer error is ours, the inner one the asker's.
    pub async fn make<W: World>(
        &self,
        world: &W,
        ring: &KeyRing,
        kind: &IssueKind,
    ) -> Result<Result<AssignedCredential, Refusal>, Unavailable> {
        make(world, ring, self, kind).await
    }
}

async fn make<W: World>(
    world: &W,
    ring: &KeyRing,
    making: &Making<'_>,
    kind: &IssueKind,
) -> Result<Result<AssignedCredential, Refusal>, Unavailable> {
    let key = sign::signer(ring, making.now)?;
    let handle = sign::handle(ring.purpose, key);
    match kind {
        IssueKind::X509 { request } => make_x509(world, ring, making, request).await,
        IssueKind::Wit { request } => {
            let public = match bound_key(request) {
                Ok(public) => public,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let order = wit::Order {
                id: making.id,
                key: &public,
                jti: making.jti.clone(),
                now: making.now,
                life: making.life,
                epoch: making.epoch,
                attributes: making.attributes,
            };
            match wit::build(&order, ALGORITHM, &key.kid) {
                Ok(checked) => {
                    let token = sign::token(world, &handle, checked).await?;
                    Ok(Ok(AssignedCredential::Wit { token }))
                }
                Err(fault) => Ok(Err(Refusal::Key(fault.to_string()))),
            }
        }
        IssueKind::Jwt { audiences } => {
            let Some(id) = making.id.as_spiffe() else {
                return Ok(Err(Refusal::NotSpiffe(making.id.clone())));
            };
            let order = jwt_svid::Order {
                id,
                audiences,
                jti: making.jti.clone(),
                issuer: making.issuer.map(|issuer| issuer.as_str().to_owned()),
                now: making.now,
                life: making.life,
                epoch: making.epoch,
                attributes: making.attributes,
            };
            match jwt_svid::build(&order, ALGORITHM, &key.kid) {
                Ok(checked) => {
                    let token: TokenText = sign::token(world, &handle, checked).await?;
                    let expires = making.now.plus(making.life);
                    Ok(Ok(AssignedCredential::Jwt { token, expires }))
                }
                Err(fault) => Ok(Err(Refusal::Order(fault.to_string()))),
            }
        }
    }
}

/// [`make`] for a certificate: the key is the one that the request proves.
async fn make_x509<W: World>(
    world: &W,
    ring: &KeyRing,
    making: &Making<'_>,
    request: &[u8],
) -> Result<Result<AssignedCredential, Refusal>, Unavailable> {
    let key = sign::signer(ring, making.now)?;
    let request = match Request::verify(request) {
        Ok(request) => request,
        Err(error) => return Ok(Err(Refusal::Request(error))),
    };
    let authority = sign::authority(key)?;
    let order = x509_svid::Order {
        id: making.id,
        spki_der: request.spki_der(),
        dns_names: making.dns_names.iter().map(ToString::to_string).collect(),
        ip_names: Vec::new(),
        authority: &authority,
        random: world.entropy().public(),
        now: making.now,
        life: making.life,
        epoch: making.epoch,
        attributes: making.attributes,
    };
    let checked = match x509_svid::build(&order, CERTIFICATE_ALGORITHM) {
        Ok(checked) => checked,
        Err(fault) => return Ok(Err(Refusal::Order(fault.to_string()))),
    };
    let leaf = sign::certificate(world, &sign::handle(ring.purpose, key), checked).await?;
    let mut chain = vec![leaf.into_bytes()];
    chain.extend(sign::issuers(key));
    Ok(Ok(AssignedCredential::X509 { chain }))
}

/// The key that a request proves, with its one algorithm.
fn bound_key(request: &[u8]) -> Result<PublicKey, Refusal> {
    let request = Request::verify(request).map_err(Refusal::Request)?;
    let key = PublicKey::from_spki_der(request.spki_der())
        .map_err(|error| Refusal::Key(error.to_string()))?;
    let algorithm = key.algorithms().next().ok_or_else(|| Refusal::Key("no algorithm".into()))?;
    key.for_algorithm(algorithm).map_err(|error| Refusal::Key(error.to_string()))
}
