//! The attestation result for an agent on a host (S1 §7; ATT-01, ATT-04): the one that was made
//! last, while everything that it was made of is the same, or a new one.

use std::collections::BTreeSet;
use std::sync::Arc;

use attestation::class::{Grade, RiskClass};
use attestation::verifier::{self, Assessment, Document, Host, Inquiry};
use attestation::{Selectors, evidence};
use credential::{KeyRing, Purpose, TokenText};
use env::rows::{Documents, Given, ResultRow};
use env::{Change, Expect, Key, SingleUse, Stored, Unavailable, World, Write};
use jose::TokenHash;
use monitoring::record::Used;
use monitoring::{Event, Outcome, Record};
use provisioning::CredentialKind;
use rats::Ear;
use registry::{AgentRecord, NodeRecord};
use time::{Span, UnixTime};
use wimse::Origin;

use crate::facts::{Basis, basis};
use crate::record::{begin, single_use};
use crate::sign::{self, ALGORITHM};

/// The rows that an appraisal reads beside the [`Basis`].
pub(crate) fn keys(agent: &str, host: &str, measured: &str) -> [Key; 3] {
    [
        Key::of::<ResultRow>(ResultRow::row(agent, host, measured)),
        Key::of::<Documents>(agent),
        Key::of::<KeyRing>(Purpose::AttestationResult.name()),
    ]
}

/// What is appraised.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) agent: &'a AgentRecord,
    pub(crate) host: &'a NodeRecord,
    /// What a node of ours measured; `None` where nothing was.
    pub(crate) found: Option<&'a Selectors>,
    pub(crate) class: &'a RiskClass,
    pub(crate) now: UnixTime,
}

/// A result, and what is to be stored and recorded of it.
pub(crate) struct Judged {
    pub(crate) row: Arc<ResultRow>,
    /// What stands in the store: nothing, or an older result, or this one.
    expect: Expect,
    fresh: Option<Fresh>,
}

/// What comes with a result that was made just now.
struct Fresh {
    claims: serde_json::Value,
    /// The documents of which single-use values are taken.
    accepted: Option<(Documents, u64)>,
    /// Each with the kind of its document.
    uses: Vec<(SingleUse, Used, String)>,
}

/// A document of which a single-use value was accepted before, and the value: its hash.
pub(crate) type Taken = Vec<([u8; 32], String)>;

/// The result. Of the documents named in `spent` a single-use value was accepted before, for
/// another document: they count for nothing.
pub(crate) async fn judge<W: World>(
    world: &W,
    facts: &Basis,
    asking: &Asking<'_>,
    spent: &BTreeSet<String>,
) -> Result<Judged, Unavailable> {
    let (agent, host) = (asking.agent.id.to_string(), asking.host.id.to_string());
    let measured = asking.found.map(ResultRow::measured).unwrap_or_default();
    let kept = facts.rows.get::<ResultRow>(&ResultRow::row(&agent, &host, &measured))?;
    let documents = facts.rows.get::<Documents>(&agent)?;
    let basis = basis_of(facts, asking, documents.as_ref(), spent);
    let expect = kept.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
    if let Some(row) = &kept
        && row.basis == basis
        && asking.now < row.until
    {
        return Ok(Judged { row: Arc::clone(&row.value), expect, fresh: None });
    }
    let (assessment, result) = assess(facts, asking, documents.as_ref(), spent);
    let token = signed(world, facts, &result, asking.now).await?;
    let claims = serde_json::to_value(&result).unwrap_or_default();
    let summary = assessment.summary(Some(&asking.host.mechanism));
    let row = ResultRow {
        basis,
        digest: token.hash().to_base64url(),
        token: token.expose().to_owned(),
        grade: asking.class.grade(&summary).ok(),
        summary,
        told: assessment.parts.iter().map(|(name, part)| (name.clone(), part.told())).collect(),
        selectors: asking.found.cloned().unwrap_or_default(),
        measured,
        until: assessment.until,
        held: kept.as_ref().and_then(|row| row.held),
        given: kept.as_ref().map(|row| row.given.clone()).unwrap_or_default(),
        asked: asking.now,
        agent,
        host,
    };
    let fresh = fresh(claims, &assessment, documents, &row.agent, spent);
    Ok(Judged { row: Arc::new(row), expect, fresh: Some(fresh) })
}

/// A result, signed by the verifier.
pub async fn signed<W: World>(
    world: &W,
    facts: &Basis,
    result: &Ear,
    now: UnixTime,
) -> Result<TokenText, Unavailable> {
    let ring = facts.rows.get::<KeyRing>(Purpose::AttestationResult.name())?;
    let ring = ring.ok_or_else(|| Unavailable::of("store", "the verifier has no key yet"))?;
    let key = sign::signer(&ring, now)?;
    let sealed = verifier::sealed(result, now, ALGORITHM, &key.kid)
        .map_err(|error| Unavailable::of("verifier", error))?;
    sign::token(world, &sign::handle(ring.purpose, key), sealed).await
}

/// What the same evidence shows now, without a result being made: for whoever only looks whether
/// it got worse.
pub(crate) fn look(facts: &Basis, asking: &Asking<'_>) -> Result<Option<Grade>, Unavailable> {
    let documents = facts.rows.get::<Documents>(&asking.agent.id.to_string())?;
    let (assessment, _) = assess(facts, asking, documents.as_ref(), &BTreeSet::new());
    let summary = assessment.summary(Some(&asking.host.mechanism));
    Ok(asking.class.grade(&summary).ok())
}

/// The identifier of the verifier of a trust domain: whom a result names as its issuer.
pub fn issuer(origin: &Origin) -> String {
    format!("{origin}/aims/verifier")
}

fn assess(
    facts: &Basis,
    asking: &Asking<'_>,
    kept: Option<&Stored<Documents>>,
    spent: &BTreeSet<String>,
) -> (Assessment, Ear) {
    let read: Vec<_> = kept
        .iter()
        .flat_map(|row| &row.kinds)
        .map(|(kind, kept)| (kind, &kept.sha256, evidence::from_text(&kept.text)))
        .collect();
    let documents: Vec<_> = read
        .iter()
        .map(|(kind, sha256, bytes)| Document {
            kind,
            sha256,
            bytes: bytes.as_deref().unwrap_or_default(),
        })
        .collect();
    let policy = facts.version();
    let host = asking.host;
    let inquiry = Inquiry {
        agent: &asking.agent.id,
        host: Some(Host {
            mechanism: &host.mechanism,
            vector: host.vector,
            joined: host.joined,
            until: host.counts,
        }),
        platform: None,
        found: asking.found,
        rule: &asking.agent.entry.rule,
        key: None,
        documents: &documents,
        rules: &facts.set().attestation().evidence,
        policy: &policy,
        now: asking.now,
        life: asking.class.reassess,
        skew: facts.set().domain().bounds.clock_skew,
    };
    let mut assessment = verifier::assess(&inquiry);
    let known = kept.iter().flat_map(|row| &row.kinds);
    let known = known.filter(|(_, document)| document.spent).map(|(kind, _)| kind);
    for kind in known.chain(spent) {
        assessment.used_before(kind, "a value of this document");
    }
    let issuer = issuer(facts.set().origin());
    let result = assessment.result(&inquiry, &issuer, None);
    (assessment, result)
}

/// Names what results are made of beside what is measured or brought: policy, and what an operator
/// keeps about the agent.
pub fn kept_basis(facts: &Basis, agent: &str) -> String {
    let kept = facts.rows.get::<Documents>(agent).ok().flatten();
    let kept: Vec<_> = kept
        .iter()
        .flat_map(|row| &row.kinds)
        .map(|(kind, document)| (kind, &document.sha256))
        .collect();
    TokenHash::of(&serde_json::json!([facts.version(), kept]).to_string()).to_base64url()
}

/// Whether that is still so, asked after what was decided on it stands in the store.
///
/// INVARIANT: whoever changes policy or a document sees what was decided when it looks at results
/// again, or we see the change.
pub async fn still_stands<W: World>(
    world: &W,
    facts: &Basis,
    agent: &str,
) -> Result<bool, Unavailable> {
    let now = basis(world, vec![Key::of::<Documents>(agent)]).await?;
    Ok(kept_basis(&now, agent) == kept_basis(facts, agent))
}

/// Names all that a result is made of.
fn basis_of(
    facts: &Basis,
    asking: &Asking<'_>,
    documents: Option<&Stored<Documents>>,
    spent: &BTreeSet<String>,
) -> String {
    let (host, rule) = (asking.host, &asking.agent.entry.rule);
    // One line a fact: no selector, name or hash has a line feed in it.
    let mut all = String::with_capacity(BASIS_BYTES);
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        use std::fmt::Write as _;
        let _ = writeln!(all, "{name} {value}");
    };
    line("policy", &facts.set().version().as_str());
    line("class", &rule.class);
    rule.selectors.iter().for_each(|one| line("rule", one));
    rule.nodes.iter().for_each(|one| line("node", one));
    line("mechanism", &host.mechanism);
    line("joined", &host.joined.millis());
    line("vector", &host.vector);
    line("counts", &host.counts.map(UnixTime::millis).unwrap_or_default());
    asking.found.into_iter().flat_map(Selectors::iter).for_each(|one| line("found", one));
    for (kind, kept) in documents.iter().flat_map(|row| &row.kinds) {
        line(kind, &kept.sha256);
        line("spent", &(kept.spent || spent.contains(kind)));
    }
    TokenHash::of(&all).to_base64url()
}

/// About how long the text is that a basis is the hash of.
const BASIS_BYTES: usize = 1_024;

/// A document whose values were not taken yet takes them with the first result that it is in.
fn fresh(
    claims: serde_json::Value,
    assessment: &Assessment,
    documents: Option<Stored<Documents>>,
    agent: &str,
    spent: &BTreeSet<String>,
) -> Fresh {
    let mut fresh = Fresh { claims, accepted: None, uses: Vec::new() };
    let Some(row) = documents else { return fresh };
    let mut accepted = (*row.value).clone();
    for kind in spent {
        if let Some(document) = accepted.kinds.get_mut(kind) {
            document.spent = true;
        }
    }
    for (kind, once) in &assessment.uses {
        let Some(document) = accepted.kinds.get_mut(*kind) else { continue };
        if row.kinds.get(*kind).is_some_and(|kept| kept.accepted) {
            continue;
        }
        document.accepted = true;
        let space = format!("evidence/{kind}/{agent}");
        let (use_, used) = single_use(&space, &once.value, once.until);
        fresh.uses.push((use_, used, (*kind).to_owned()));
    }
    if !fresh.uses.is_empty() || !spent.is_empty() {
        fresh.accepted = Some((accepted, row.version));
    }
    fresh
}

impl Judged {
    /// Puts into a change what is to be stored, and the record of a new result. `granted` tells
    /// what is issued on it, and how long that lives. True if a row is stored.
    pub(crate) fn put<W: World>(
        &mut self,
        world: &W,
        change: &mut Change,
        now: UnixTime,
        granted: Option<(CredentialKind, Span)>,
    ) -> bool {
        let held = granted.map_or(self.row.held, |_| self.row.held.max(self.row.grade));
        let late = now.since(self.row.asked) >= ResultRow::ASKED_AGAIN;
        let new = granted.filter(|(kind, life)| self.is_more(*kind, *life, now));
        if self.fresh.is_none() && !late && held == self.row.held && new.is_none() {
            return false;
        }
        let mut given = self.row.given.clone();
        given.retain(|_, one| now < one.end());
        if let Some((kind, life)) = granted {
            let one = given.entry(kind.name().to_owned()).or_insert(Given { life, last: now });
            *one = Given { life: one.life.max(life), last: now };
        }
        let row = ResultRow { held, given, asked: now, ..(*self.row).clone() };
        change.writes.push(Write::put(&row, self.expect));
        self.row = Arc::new(row);
        let Some(fresh) = &self.fresh else { return true };
        let mut record = begin(world, Event::EvidenceAppraised);
        record.agent = Some(self.row.agent.clone());
        record.transport = Some(self.row.host.clone());
        record.jti = Some(self.row.digest.clone());
        record.facts = fresh.claims.clone();
        record.outcome = Outcome::Done;
        for (use_, used, _) in &fresh.uses {
            change.uses.push(use_.clone());
            record.used.push(used.clone());
        }
        if let Some((documents, version)) = &fresh.accepted {
            change.writes.push(Write::put(documents, Expect::Version(*version)));
        }
        self.describe(&mut record);
        let told = self.row.told.iter();
        let parts = told.map(|(name, told)| (format!("part.{name}"), told.clone()));
        record.attestation.extend(parts);
        change.records.push(record);
        true
    }

    /// Whether this is more of its kind than is known to have been given.
    fn is_more(&self, kind: CredentialKind, life: Span, now: UnixTime) -> bool {
        self.row
            .given
            .get(kind.name())
            .is_none_or(|one| one.life < life || now.since(one.last) >= ResultRow::ASKED_AGAIN)
    }

    /// The documents whose values are taken with the change.
    pub(crate) fn taken(&self) -> Taken {
        let uses = self.fresh.iter().flat_map(|fresh| &fresh.uses);
        uses.map(|(use_, _, kind)| (use_.hash, kind.clone())).collect()
    }

    /// OBS-07: the attestation state, in the record of what was decided by it. The parts stand in
    /// the record of the result, which has its hash for an id.
    pub(crate) fn describe(&self, record: &mut Record) {
        let mut put = |name: String, value: String| record.attestation.insert(name, value);
        put("result".to_owned(), self.row.digest.clone());
        put("tier".to_owned(), self.row.summary.tier().to_string());
        put("grade".to_owned(), self.row.grade.map_or("none", Grade::name).to_owned());
    }
}
