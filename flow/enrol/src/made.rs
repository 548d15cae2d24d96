//! The credentials of an enrolment: what policy gives for the result, signed, each with its record.

use std::collections::BTreeMap;

use attestation::Selectors;
use attestation::class::RiskClass;
use credential::KeyRing;
use enrolment::Wanted;
use env::rows::Enrolment;
use env::{AssignedCredential, Entropy, IssueKind, Key, Stored, Unavailable, World};
use flow::facts::Basis;
use flow::issue::{self, making};
use flow::record::{public_id, record_id};
use flow::sign;
use monitoring::{Outcome, Record};
use provisioning::{CredentialKind, Demand, renewal};
use registry::AgentRecord;
use time::{Span, UnixTime};

use crate::enrol::LIFE_MIN;
use crate::refusal::Refusal;

/// The kinds there are.
const KINDS: [CredentialKind; 3] = [CredentialKind::X509, CredentialKind::Wit, CredentialKind::Jwt];

/// The rows that signing reads.
pub(crate) fn rings() -> impl Iterator<Item = Key> {
    KINDS.into_iter().map(|kind| Key::of::<KeyRing>(issue::purpose_of(kind).name()))
}

/// For whom, and what is asked for.
pub(crate) struct Making<'a> {
    facts: &'a Basis,
    agent: &'a AgentRecord,
    class: &'a RiskClass,
    found: &'a Selectors,
    wanted: &'a Wanted,
    now: UnixTime,
}

/// What was made.
pub(crate) struct Made {
    pub(crate) credentials: Vec<AssignedCredential>,
    /// One of each credential.
    pub(crate) records: Vec<Record>,
    pub(crate) expires: UnixTime,
    pub(crate) renew_after: UnixTime,
    /// When the credential of each kind ends.
    pub(crate) given: BTreeMap<String, UnixTime>,
}

impl<'a> Making<'a> {
    pub(crate) fn new(
        facts: &'a Basis,
        agent: &'a AgentRecord,
        found: &'a Selectors,
        wanted: &'a Wanted,
        now: UnixTime,
    ) -> Result<Self, Unavailable> {
        let class = facts.set().attestation().class.get(&agent.entry.rule.class);
        let class = class.ok_or_else(|| Unavailable::of("store", "a class that is gone"))?;
        Ok(Self { facts, agent, class, found, wanted, now })
    }

    fn demand(&self, kind: CredentialKind) -> Demand<'a> {
        Demand {
            kind,
            node: None,
            found: self.found,
            rule: &self.agent.entry.rule,
            lifecycle: &self.agent.lifecycle,
            class: self.class,
            lifetimes: &self.facts.set().domain().lifetimes,
        }
    }

    /// Whether what was proved is the agent at all: only then is it worth an appraisal.
    pub(crate) fn fits(&self) -> Result<(), Refusal> {
        Ok(self.demand(CredentialKind::X509).fits()?)
    }

    /// How long each may live; all of them, or none is made.
    fn lives(&self, row: &Enrolment) -> Result<Vec<(CredentialKind, Span)>, Refusal> {
        // Nothing outlives the result that it stands on: nobody looks at that again meanwhile.
        let left = row.until.since(self.now);
        let mut lives = Vec::new();
        for kind in KINDS {
            if self.wanted.kinds.iter().any(|wanted| wanted == kind.name()) {
                lives.push((kind, self.demand(kind).decide(&row.summary)?.min(left)));
            }
        }
        if row.until <= self.now || left < LIFE_MIN {
            return Err(Refusal::Ended { until: row.until, now: self.now });
        }
        Ok(lives)
    }

    /// Decides, signs. `decision` is the record that those of the credentials are like.
    pub(crate) async fn make<W: World>(
        &self,
        world: &W,
        row: &Enrolment,
        decision: &Record,
    ) -> Result<Result<Made, Refusal>, Unavailable> {
        let mut lives = match self.lives(row) {
            Ok(lives) => lives,
            Err(refusal) => return Ok(Err(refusal)),
        };
        for (kind, life) in &mut lives {
            // Nothing outlives the key that it is verified with, nor what stands above that.
            *life = sign::life(sign::signer(&self.ring(*kind)?.value, self.now)?, *life, self.now);
        }
        let shortest = lives.iter().map(|(_, life)| *life).min().unwrap_or(Span::ZERO);
        let expires = self.now.plus(shortest);
        let [low, high, ..] = world.entropy().public();
        let renew_after = renewal::due(self.now, expires, u16::from_le_bytes([low, high]));
        let (credentials, records) = (Vec::new(), Vec::new());
        let given = BTreeMap::new();
        let mut made = Made { credentials, records, expires, renew_after, given };
        for (kind, life) in lives {
            made.given.insert(kind.name().to_owned(), self.now.plus(life));
            let said = making::attributes(self.agent, self.class, kind, &row.digest);
            let jti = public_id(world);
            let record = self.record(world, decision, (kind, life), &jti);
            let making = making::Making::new(self.facts, self.agent, life, jti, self.now, &said);
            match making.make(world, &self.ring(kind)?.value, &self.order(kind)).await? {
                Ok(credential) => made.credentials.push(credential),
                Err(refusal) => return Ok(Err(Refusal::Order(refusal.to_string()))),
            }
            made.records.push(record);
        }
        Ok(Ok(made))
    }

    fn ring(&self, kind: CredentialKind) -> Result<Stored<KeyRing>, Unavailable> {
        let ring = self.facts.rows.get::<KeyRing>(issue::purpose_of(kind).name())?;
        ring.ok_or_else(|| Unavailable::of("store", "no signing keys yet"))
    }

    fn order(&self, kind: CredentialKind) -> IssueKind {
        let request = self.wanted.request.clone();
        match kind {
            CredentialKind::X509 => IssueKind::X509 { request },
            CredentialKind::Wit => IssueKind::Wit { request },
            CredentialKind::Jwt => IssueKind::Jwt { audiences: self.wanted.audiences.clone() },
        }
    }

    fn record<W: World>(
        &self,
        world: &W,
        decision: &Record,
        (kind, life): (CredentialKind, Span),
        jti: &str,
    ) -> Record {
        let mut record = decision.clone();
        record.id = record_id(world, record.time);
        record.action = format!("credential.issue.{}", kind.name());
        record.jti = Some(jti.to_owned());
        record.outcome = Outcome::Permitted;
        record.facts = issue::reasons(self.facts, self.agent, kind, (self.now, life));
        if kind == CredentialKind::Jwt {
            record.resource = self.wanted.audiences.first().cloned();
        }
        record
    }
}
