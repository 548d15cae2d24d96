//! The verifier (RFC 9334 §3): all evidence about an agent becomes one attestation result, with a
//! submodule for each part (ATT-01, ATT-04).
//!
//! RFC 9334 §7.4 lets a verifier and a relying party be one machine; here the verifier still has a
//! key of its own, and whoever decides about a credential reads the result and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use credential::Checked;
use jose::{Algorithm, KeyId, SigningInput, Unsignable};
use rats::{Appraisal, Claim, Ear, EarToken, Profile, Tier, Vector, VerifierId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::{Span, UnixTime};
use wimse::WorkloadId;

use crate::evidence::{self, AgentEvidence, AgentFacts, EvidenceRule, Failure, Finding, digests};
use crate::mechanism::{Step, Use};
use crate::rule::Rule;
use crate::selector::Selectors;

/// The submodule of the host.
pub const HOST: &str = "host";
/// The submodule of the platform of an agent that runs on no host of ours.
pub const PLATFORM: &str = "platform";
/// The submodule of the process.
pub const PROCESS: &str = "process";
/// Who makes this verifier.
const DEVELOPER: &str = "AIMS";
/// Longest text of a claim that is passed on, in bytes.
const CLAIMS_BYTES_MAX: usize = 4 * 1024;

/// What is known of the host, from when it joined.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// By what it joined.
    pub mechanism: &'a str,
    /// How far that let it be trusted.
    pub vector: Vector,
    /// When.
    pub joined: UnixTime,
    /// Until when what it showed counts, where that had an end.
    pub until: Option<UnixTime>,
}

/// What an agent proved by itself that runs on no host of ours.
#[derive(Clone, Copy, Debug)]
pub struct Platform<'a> {
    /// By which mechanism.
    pub mechanism: &'a str,
    /// How far that lets it be trusted.
    pub vector: Vector,
    /// What was proved.
    pub found: &'a Selectors,
}

/// A document about the agent.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// SHA-256 of it, lower-case hex.
    pub sha256: &'a str,
    /// The document.
    pub bytes: &'a [u8],
}

/// All that is appraised together, and by what.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// Whom it is about.
    pub agent: &'a WorkloadId,
    /// The host, where it runs on one of ours.
    pub host: Option<Host<'a>>,
    /// What it proved by itself, where it runs on none.
    pub platform: Option<Platform<'a>>,
    /// What was measured of its process, where one was.
    pub found: Option<&'a Selectors>,
    /// What its record demands of a process.
    pub rule: &'a Rule,
    /// Thumbprint of the key that a credential will bind, where it is known.
    pub key: Option<&'a str>,
    /// What was said about it.
    pub documents: &'a [Document<'a>],
    /// What policy says of each kind of document.
    pub rules: &'a BTreeMap<String, EvidenceRule>,
    /// The version of policy.
    pub policy: &'a str,
    /// Now.
    pub now: UnixTime,
    /// How long the result may count.
    pub life: Span,
    /// How far clocks may differ.
    pub skew: Span,
}

/// What was found out about all parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Each part, by its label.
    pub parts: BTreeMap<String, Part>,
    /// Facts that documents gave.
    pub facts: BTreeSet<String>,
    /// Values of documents that may be accepted once, each with the kind of its document.
    pub uses: Vec<(&'static str, Use)>,
    /// Until when it counts: the life asked for, or less if a document ends earlier.
    pub until: UnixTime,
}

/// One part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How it counts.
    pub vector: Vector,
    /// Why it counts for nothing, where a check fired.
    pub failure: Option<Failure>,
    /// What is worth showing.
    pub claims: Map<String, Value>,
}

/// A result as decisions read it: the tier of each part, and what documents said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// By what the host joined, if there is one.
    pub host: Option<String>,
    /// By what the agent enrolled, if it runs on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The tier of each part, by its label.
    pub parts: BTreeMap<String, Tier>,
    /// What documents said.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub facts: BTreeSet<String>,
}

impl Summary {
    /// The tier of the part trusted least.
    pub fn tier(&self) -> Tier {
        self.parts.values().copied().max().unwrap_or_default()
    }

    /// Whether this part was attested, and no worse than `worst`. `host.MECHANISM` is the host if
    /// it joined by that, `platform.MECHANISM` what the agent enrolled by.
    pub fn is_attested(&self, name: &str, worst: Tier) -> bool {
        let label = match name.split_once('.') {
            Some((HOST, mechanism)) if self.host.as_deref() == Some(mechanism) => HOST,
            Some((PLATFORM, mechanism)) if self.platform.as_deref() == Some(mechanism) => PLATFORM,
            Some((HOST | PLATFORM, _)) => return false,
            _ => name,
        };
        let tier = self.parts.get(label).copied().unwrap_or_default();
        tier > Tier::None && tier <= worst
    }
}

/// Appraises everything. A check that fires is told in its part; it never keeps the others from
/// being appraised.
pub fn assess(inquiry: &Inquiry<'_>) -> Assessment {
    assess_by(evidence::KINDS, inquiry)
}

/// The same where there are these kinds of documents.
pub fn assess_by(kinds: &[&'static dyn AgentEvidence], inquiry: &Inquiry<'_>) -> Assessment {
    let mut assessment = Assessment {
        parts: BTreeMap::new(),
        facts: BTreeSet::new(),
        uses: Vec::new(),
        until: inquiry.now.plus(inquiry.life),
    };
    let found = inquiry.found.or(inquiry.platform.map(|platform| platform.found));
    let measured = found.map(digests).unwrap_or_default();
    for document in inquiry.documents {
        let facts = |rule| AgentFacts {
            agent: inquiry.agent,
            measured: &measured,
            key: inquiry.key,
            rule,
            now: inquiry.now,
            skew: inquiry.skew,
        };
        let kind = kinds.iter().copied().find(|kind| kind.name() == document.kind);
        let rule = inquiry.rules.get(document.kind);
        let part = match (kind, rule) {
            (Some(kind), Some(rule)) => match kind.appraise(document.bytes, &facts(rule)) {
                Ok(found) => assessment.take(kind.name(), found),
                Err(failure) => Part::failed(failure),
            },
            // What policy has no table for is nobody's to judge.
            _ => Part::failed(Failure::new(
                Step::Policy,
                format!("policy has no table `evidence.{}`", document.kind),
            )),
        };
        let part = part.about("document", json!(document.sha256));
        assessment.parts.insert(document.kind.to_owned(), part);
    }
    if let Some(host) = inquiry.host {
        let part = assessment.host(&host, inquiry.now);
        assessment.parts.insert(HOST.to_owned(), part);
    }
    if let Some(platform) = inquiry.platform {
        let shown: Vec<_> = platform.found.iter().map(ToString::to_string).collect();
        let part = Part { vector: platform.vector, ..Part::default() };
        let part = part.about("mechanism", json!(platform.mechanism));
        assessment.parts.insert(PLATFORM.to_owned(), part.about("selectors", json!(shown)));
    }
    if let Some(found) = inquiry.found {
        let part = process(inquiry.rule, found, &measured, &assessment);
        assessment.parts.insert(PROCESS.to_owned(), part);
    }
    assessment
}

/// The process: known by its user and path, or down to what it runs.
fn process(
    rule: &Rule,
    found: &Selectors,
    measured: &BTreeSet<String>,
    assessment: &Assessment,
) -> Part {
    let demanded = digests(&rule.selectors);
    let by_record = measured.iter().any(|digest| demanded.contains(digest));
    // A document that was bound to what was measured, and affirms it, is a reference value too.
    let affirms = |part: &Part| Tier::of(part.vector.value(Claim::Executables)) == Tier::Affirming;
    // What the host measured of itself says nothing of what runs on it.
    let documents = assessment.parts.iter().filter(|(name, _)| name.as_str() != HOST);
    let by_document = documents.map(|(_, part)| part).any(affirms);
    // AR4SI §2.3.4: executables 3 is "Only a recognized genuine set of approved executables have
    // been loaded during the boot process"; 33 that some are not recognised.
    let executables = if by_record || by_document { 3 } else { 33 };
    let vector = Vector::NONE.with(Claim::InstanceIdentity, 2);
    let vector = vector.with(Claim::Executables, executables);
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    Part { vector, ..Part::default() }.about("selectors", json!(shown))
}

impl Part {
    /// A part of which a check fired.
    pub(crate) fn failed(failure: Failure) -> Self {
        let all = |value| {
            Claim::ALL.into_iter().fold(Vector::NONE, |vector, claim| vector.with(claim, value))
        };
        let vector = match failure.step {
            // AR4SI §2.3.3: "99: Cryptographic validation of the Evidence has failed."
            Step::Signature | Step::Chain => all(Vector::CRYPTOGRAPHIC_FAILURE),
            // It is about somebody, or something, else: §2.3.4, "97: The Attesting Environment is
            // not recognized; however the Verifier believes it should be."
            Step::Binding => Vector::NONE.with(Claim::InstanceIdentity, 97),
            // §2.3.2: "1: The Evidence received contains unknown elements which the Verifier is
            // unable to evaluate." It counts for nothing.
            Step::Form | Step::Content | Step::Policy => {
                Vector::NONE.with(Claim::InstanceIdentity, 1)
            }
        };
        Self { vector, failure: Some(failure), claims: Map::new() }
    }

    /// The same with one more claim, if it is short enough to be shown.
    pub(crate) fn about(mut self, name: &str, value: Value) -> Self {
        if value.to_string().len() <= CLAIMS_BYTES_MAX {
            self.claims.insert(name.to_owned(), value);
        }
        self
    }

    /// In words, for records: the tier, the vector, and what failed.
    pub fn told(&self) -> String {
        let failed = self.failure.as_ref().map(|failure| format!("; {failure}"));
        format!("{} ({}){}", self.vector.tier(), self.vector, failed.unwrap_or_default())
    }
}

impl Assessment {
    fn take(&mut self, kind: &'static str, found: Finding) -> Part {
        self.facts.extend(found.selectors.iter().map(ToString::to_string));
        self.uses.extend(found.uses.into_iter().map(|one| (kind, one)));
        if let Some(until) = found.until {
            self.until = self.until.min(until);
        }
        let mut part = Part { vector: found.vector, ..Part::default() };
        for (name, value) in found.claims {
            part = part.about(&name, value);
        }
        part
    }

    /// The host, for as long as what it showed counts.
    fn host(&mut self, host: &Host<'_>, now: UnixTime) -> Part {
        let part = match host.until {
            // Evidence that ended says nothing of now (RFC 9334 §10, freshness).
            Some(until) if until <= now => {
                Part::failed(Failure::new(Step::Content, format!("it ended at {until}")))
            }
            until => {
                self.until = until.map_or(self.until, |until| self.until.min(until));
                Part { vector: host.vector, ..Part::default() }
            }
        };
        let part = part.about("mechanism", json!(host.mechanism));
        part.about("joined", json!(host.joined.to_string()))
    }

    /// The part of this document counts for nothing: a value of it was accepted before.
    pub fn used_before(&mut self, kind: &str, value: &str) {
        self.uses.retain(|(of, _)| *of != kind);
        if let Some(part) = self.parts.get_mut(kind) {
            let failure = Failure::new(Step::Binding, format!("`{value}` was accepted before"));
            *part = Part { claims: std::mem::take(&mut part.claims), ..Part::failed(failure) };
        }
    }

    /// The tiers alone.
    pub fn summary(&self, host: Option<&str>) -> Summary {
        let tiers = self.parts.iter().map(|(label, part)| (label.clone(), part.vector.tier()));
        let (parts, facts) = (tiers.collect(), self.facts.clone());
        Summary { host: host.map(str::to_owned), platform: None, parts, facts }
    }

    /// The result as it is signed.
    pub fn result(&self, inquiry: &Inquiry<'_>, issuer: &str, nonce: Option<&str>) -> Ear {
        let submods = self.parts.iter().map(|(label, part)| {
            let mut one = Appraisal::new(part.vector, inquiry.policy);
            one.attester_claims.clone_from(&part.claims);
            if let Some(failure) = &part.failure {
                one.attester_claims.insert("failed".to_owned(), json!(failure.to_string()));
            }
            (label.clone(), one)
        });
        Ear {
            profile: Profile::Ear04,
            issued: inquiry.now,
            expires: Some(self.until),
            verifier: ourselves(),
            issuer: Some(issuer.to_owned()),
            subject: Some(inquiry.agent.to_string()),
            nonce: nonce.map(str::to_owned),
            submods: submods.collect(),
        }
    }
}

/// Which software appraises.
pub(crate) fn ourselves() -> VerifierId {
    let build = concat!("aims ", env!("CARGO_PKG_VERSION")).to_owned();
    VerifierId { developer: DEVELOPER.to_owned(), build }
}

/// The result, checked, ready to be signed by the verifier's key `kid`.
pub fn sealed(
    result: &Ear,
    now: UnixTime,
    algorithm: Algorithm,
    kid: &KeyId,
) -> Result<Checked<SigningInput<EarToken>>, Unsealed> {
    if result.submods.is_empty() {
        return Err(Unsealed::Nothing);
    }
    if result.expires.is_none_or(|until| until <= now) {
        return Err(Unsealed::NoLife);
    }
    Ok(Checked::assertion(SigningInput::new(algorithm, Some(kid), result)?))
}

/// Why a result is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// Nothing was appraised.
    #[error("a result without a part says nothing")]
    Nothing,
    /// It would be born dead.
    #[error("the result would end as it begins")]
    NoLife,
    /// It cannot be encoded.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}
