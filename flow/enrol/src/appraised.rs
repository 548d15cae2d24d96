//! The attestation result for an agent that enrols (ATT-01, ATT-04): the platform, what the agent
//! brought, and what an operator keeps for it.

use std::collections::{BTreeMap, BTreeSet};

use attestation::class::Grade;
use attestation::evidence;
use attestation::verifier::{self, Assessment, Document, Inquiry, Platform, Summary};
use env::rows::Documents;
use env::{Expect, Stored, Unavailable, World, Write};
use flow::appraise;
use flow::record::begin;
use monitoring::{Event, Outcome, Record};
use time::UnixTime;

use crate::enrol::{Asking, LIFE_MIN};
use crate::refusal::Refusal;
use crate::settle::{Of, Uses};

/// A result, signed.
pub(crate) struct Judged {
    /// base64url(SHA-256) of it.
    pub(crate) digest: String,
    /// The tier of each part.
    pub(crate) summary: Summary,
    /// Each part in words.
    pub(crate) told: BTreeMap<String, String>,
    /// How much of its class that is.
    pub(crate) grade: Option<Grade>,
    /// Kinds of documents that an operator keeps.
    pub(crate) kept: BTreeSet<String>,
    /// SHA-256 of each document.
    pub(crate) documents: BTreeMap<String, String>,
    /// Until when it counts.
    pub(crate) until: UnixTime,
    /// Documents that an operator keeps whose values are taken now.
    pub(crate) accepted: Option<Write>,
    claims: serde_json::Value,
}

/// Appraises everything, and signs the result.
pub(crate) async fn judge<W: World>(
    world: &W,
    asking: &Asking<'_>,
    uses: &mut Uses,
) -> Result<Result<Judged, Refusal>, Unavailable> {
    let Asking { facts, agent, asker, spent, now } = asking;
    let id = agent.id.to_string();
    let kept = facts.rows.get::<Documents>(&id)?;
    let all = documents(asking, kept.as_deref());
    let shown: Vec<_> =
        all.iter().map(|(kind, (sha256, bytes))| Document { kind, sha256, bytes }).collect();
    let policy = facts.version();
    let class = facts.set().attestation().class.get(&agent.entry.rule.class);
    let class = class.ok_or_else(|| Unavailable::of("store", "a class that is gone"))?;
    let found = &asker.appraisal;
    let inquiry = Inquiry {
        agent: &agent.id,
        host: None,
        platform: Some(Platform {
            mechanism: found.mechanism,
            vector: found.vector,
            found: &found.selectors,
        }),
        found: None,
        rule: &agent.entry.rule,
        key: Some(&asker.key),
        documents: &shown,
        rules: &facts.set().attestation().evidence,
        policy: &policy,
        now: *now,
        life: found.until.map_or(class.reassess, |end| class.reassess.min(end.since(*now))),
        skew: facts.set().domain().bounds.clock_skew,
    };
    let mut assessment = verifier::assess(&inquiry);
    // What ended a moment ago passes where clocks may differ, and gives nothing.
    let until = assessment.until;
    if until <= *now || until.since(*now) < LIFE_MIN {
        return Ok(Err(Refusal::Ended { until, now: *now }));
    }
    let known = kept.iter().flat_map(|row| &row.kinds);
    let known = known.filter(|(_, document)| document.spent).map(|(kind, _)| kind);
    for kind in known.chain(*spent) {
        assessment.used_before(kind, "a value of this document");
    }
    let issuer = appraise::issuer(facts.set().origin());
    let result = assessment.result(&inquiry, &issuer, None);
    let token = appraise::signed(world, facts, &result, *now).await?;
    let claims = serde_json::to_value(&result).unwrap_or_default();
    let known = kept.iter().flat_map(|row| row.kinds.keys().cloned()).collect();
    let accepted = taken(asking, &assessment, kept, uses);
    let mut summary = assessment.summary(None);
    summary.platform = Some(found.mechanism.to_owned());
    Ok(Ok(Judged {
        digest: token.hash().to_base64url(),
        grade: class.grade(&summary).ok(),
        kept: known,
        summary,
        told: assessment.parts.iter().map(|(name, part)| (name.clone(), part.told())).collect(),
        documents: all.into_iter().map(|(kind, (sha256, _))| (kind, sha256)).collect(),
        until: assessment.until,
        accepted,
        claims,
    }))
}

/// Takes the values of documents that serve once; those that an operator keeps are marked.
fn taken(
    asking: &Asking<'_>,
    assessment: &Assessment,
    kept: Option<Stored<Documents>>,
    uses: &mut Uses,
) -> Option<Write> {
    let is_kept = |kind: &str| kept.as_ref().is_some_and(|row| row.kinds.contains_key(kind));
    let mut accepted = kept.as_ref().map(|row| (*row.value).clone()).unwrap_or_default();
    for (kind, once) in &assessment.uses {
        if asking.spent.contains(*kind) {
            continue;
        }
        // What is kept is what was appraised.
        if is_kept(kind) {
            let Some(document) = accepted.kinds.get_mut(*kind) else { continue };
            if std::mem::replace(&mut document.accepted, true) {
                continue;
            }
        }
        let space = format!("evidence/{kind}/{}", asking.agent.id);
        uses.add(Of::Document((*kind).to_owned()), &space, &once.value, once.until);
    }
    kept.filter(|row| *row.value != accepted)
        .map(|row| Write::put(&accepted, Expect::Version(row.version)))
}

/// The documents by their kinds. What an operator keeps counts before what the agent brought: it
/// must not hide what is known of it.
fn documents(asking: &Asking<'_>, kept: Option<&Documents>) -> BTreeMap<String, (String, Vec<u8>)> {
    let kept = kept.iter().flat_map(|row| &row.kinds).map(|(kind, document)| {
        let bytes = evidence::from_text(&document.text).unwrap_or_default();
        (kind.clone(), (document.sha256.clone(), bytes))
    });
    let brought = asking.asker.documents.iter().map(|one| {
        let hash = evidence::sha256(one.bytes);
        (one.kind.to_owned(), (hash, one.bytes.to_vec()))
    });
    brought.chain(kept).collect()
}

impl Judged {
    /// The record of the result itself.
    pub(crate) fn record<W: World>(&self, world: &W, asking: &Asking<'_>) -> Record {
        let mut record = begin(world, Event::EvidenceAppraised);
        record.agent = Some(asking.agent.id.to_string());
        record.proof = Some(asking.asker.appraisal.mechanism.to_owned());
        record.jti = Some(self.digest.clone());
        record.facts = self.claims.clone();
        record.outcome = Outcome::Done;
        self.describe(&mut record);
        record
    }

    /// OBS-07: the attestation state, in the record of what was decided by it.
    pub(crate) fn describe(&self, record: &mut Record) {
        let mut put = |name: String, value: String| record.attestation.insert(name, value);
        put("mechanism".to_owned(), self.summary.platform.clone().unwrap_or_default());
        put("result".to_owned(), self.digest.clone());
        put("tier".to_owned(), self.summary.tier().to_string());
        for (name, told) in &self.told {
            put(format!("part.{name}"), told.clone());
        }
    }
}
