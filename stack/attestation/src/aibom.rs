//! `aibom`: what an agent is made of, and whether something is known against a part of it (ATT-09).
//! A CycloneDX bill of materials in an in-toto statement (DSSE, or a Sigstore bundle), or under a
//! JWS over its exact bytes.
//!
//! Policy: `[evidence.aibom]`, docs/evidence.md. A part that is known to be vulnerable, or that
//! policy denies, is no refusal: the finding says so.

use std::collections::BTreeSet;

use ::provenance::Statement;
use bom::{Advisories, Advisory, Bom, BomError, Component, PREDICATE, Score};
use jose::jws::{Jws, JwsError};
use rats::{Claim, Vector};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::evidence::{AgentEvidence, AgentFacts, EvidenceRule, Failure, Finding};
use crate::mechanism::Step;
use crate::signer::{self, Fault, Signer, Signers};

const NAME: &str = "aibom";
/// Most models that are named as facts.
const MODELS_MAX: usize = 24;
/// Most suppliers that are named as facts.
const SUPPLIERS_MAX: usize = 24;
/// Most advisories that a claim shows.
const SHOWN_MAX: usize = 16;
/// From which score on a vulnerability is not acceptable, where policy does not say: what CVSS 3.1
/// §5 calls critical.
const UNACCEPTABLE: u8 = 90;
/// The kinds of components that run, or that decide what runs.
const HASHED: [&str; 3] = ["machine-learning-model", "application", "library"];
const MODEL: &str = "machine-learning-model";
/// What a JWS over a bill may say of its type.
const TYPES: [&str; 3] = ["JOSE", "vnd.cyclonedx+json", "application/vnd.cyclonedx+json"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    signers: Vec<Signer>,
    #[serde(default)]
    trusted_root: Option<String>,
    /// OSV JSON: what is known against packages.
    #[serde(default)]
    advisories: Option<String>,
    /// OSV JSON: what is not wanted, however severe it is.
    #[serde(default)]
    denied: Option<String>,
    /// From which base score on a vulnerability is not acceptable.
    #[serde(default)]
    unacceptable_from: Option<f64>,
    /// The signers that may say that a component is not affected.
    #[serde(default)]
    vex_signers: Vec<String>,
    /// Whether each model must have a model card.
    #[serde(default)]
    model_cards: bool,
}

/// The settings, read.
struct Policy {
    signers: Signers,
    advisories: Advisories,
    denied: Advisories,
    unacceptable: Score,
    vex_signers: Vec<String>,
    model_cards: bool,
}

impl Policy {
    fn read(rule: &EvidenceRule) -> Result<Self, Fault> {
        let settings: Settings = rule.settings().map_err(|why| (String::new(), why))?;
        let signers = Signers::read(&settings.signers, settings.trusted_root.as_deref())?;
        let list = |key: &str, text: &Option<String>| match text {
            None => Ok(Advisories::default()),
            Some(text) => Advisories::parse(text.as_bytes())
                .map_err(|error| (key.to_owned(), error.to_string())),
        };
        if let Some(name) = settings.vex_signers.iter().find(|name| !signers.has(name)) {
            return Err(("vex_signers".to_owned(), format!("`{name}` is no signer")));
        }
        Ok(Self {
            signers,
            advisories: list("advisories", &settings.advisories)?,
            denied: list("denied", &settings.denied)?,
            unacceptable: threshold(settings.unacceptable_from)?,
            vex_signers: settings.vex_signers,
            model_cards: settings.model_cards,
        })
    }
}

/// A score as people write it, with one digit behind the point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100, checked")]
fn threshold(score: Option<f64>) -> Result<Score, Fault> {
    let Some(score) = score else {
        return Ok(Score::from_tenths(UNACCEPTABLE).unwrap_or(Score::MAX));
    };
    let tenths = (score * 10.0).round();
    let is_exact = (score * 10.0 - tenths).abs() < 1e-9 && (0.0..=100.0).contains(&tenths);
    let read = is_exact.then(|| Score::from_tenths(tenths as u8)).flatten();
    read.ok_or_else(|| ("unacceptable_from".to_owned(), "a score is 0.0 to 10.0".to_owned()))
}

/// The kind `aibom`.
#[derive(Debug)]
pub struct Kind;

impl AgentEvidence for Kind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.in-toto.cyclonedx+dsse", "application/vnd.cyclonedx+jose"]
    }

    fn faults(&self, rule: &EvidenceRule) -> Vec<(String, String)> {
        Policy::read(rule).err().into_iter().collect()
    }

    fn appraise(&self, document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Failure> {
        let policy = Policy::read(facts.rule).map_err(Refusal::Settings)?;
        // CycloneDX is JSON, and so is an envelope; a JWS is not.
        let (signer, bom, digest) = if document.trim_ascii_start().starts_with(b"{") {
            from_statement(document, &policy, facts)?
        } else {
            from_jws(document, &policy, facts)?
        };
        let reached = bom.reached();
        check_components(&reached, &policy)?;
        let weighed = weigh(&bom, signer, &policy, facts);
        let mut vector = Vector::NONE.with(Claim::Configuration, weighed.value);
        if bom.has_unattested_data() {
            // AR4SI, sourced-data 32: "Attester source data objects come from unattested sources".
            vector = vector.with(Claim::SourcedData, 32);
        }
        let mut told = vec![("aibom:signer", signer.to_owned())];
        told.extend(facts_of(&bom, &reached)?);
        let mut claims = Map::new();
        claims.insert("signer".to_owned(), Value::from(signer));
        claims.insert("sha256".to_owned(), Value::from(digest));
        claims.insert("components".to_owned(), Value::from(bom.components().len()));
        if !weighed.against.is_empty() {
            claims.insert("advisories".to_owned(), json!(weighed.against));
        }
        let selectors = signer::selectors(told)?;
        Ok(Finding { vector, selectors, until: None, uses: Vec::new(), claims })
    }
}

/// The signer, the bill, and the digest of what runs that it is about.
type Bill<'a> = (&'a str, Bom, &'a str);

/// A bill as the predicate of a statement.
fn from_statement<'a>(
    document: &[u8],
    policy: &'a Policy,
    facts: &AgentFacts<'a>,
) -> Result<Bill<'a>, Failure> {
    let signed = policy.signers.open(document)?;
    let statement = Statement::read(&signed.opened).map_err(signer::Refusal::from)?;
    let digest = signer::measured(&statement, facts)?;
    if statement.predicate_type() != PREDICATE {
        let found = statement.predicate_type().to_owned();
        return Err(Refusal::Predicate { found }.into());
    }
    let bom = Bom::parse(statement.predicate().get().as_bytes()).map_err(Refusal::Bom)?;
    // The statement says what it is about; a bill that says something else is another's.
    let own = bom.subject().hashes().sha256();
    if own.is_some_and(|own| !facts.measured.contains(own)) {
        let told = own.map(str::to_owned).into_iter().collect::<Vec<_>>();
        return Err(signer::Refusal::not_measured(&told, facts).into());
    }
    Ok((signed.signer, bom, digest))
}

/// A compact JWS, and the bill in it; or, where the JWS is detached, a newline and the bill behind
/// it.
fn from_jws<'a>(
    document: &[u8],
    policy: &'a Policy,
    facts: &AgentFacts<'a>,
) -> Result<Bill<'a>, Failure> {
    let (head, rest) = match document.iter().position(|byte| *byte == b'\n') {
        Some(at) => document.split_at_checked(at).unwrap_or((document, &[])),
        None => (document, &[][..]),
    };
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let head = std::str::from_utf8(head).map_err(|_| Refusal::NoText)?;
    let (jws, attached) = Jws::parse_compact(head.trim_end()).map_err(Refusal::Jws)?;
    if jws.typ().is_some_and(|typ| !TYPES.contains(&typ)) {
        return Err(Refusal::JwsType { found: jws.typ().unwrap_or_default().to_owned() }.into());
    }
    // RFC 7515 Appendix F: the payload is "the empty string" where it is detached.
    let payload = match (attached.is_empty(), rest.is_empty()) {
        (false, true) => attached.as_slice(),
        (true, false) => rest,
        (false, false) => return Err(Refusal::TwoPayloads.into()),
        (true, true) => return Err(Refusal::NoPayload.into()),
    };
    let signer = policy.signers.of_jws(&jws, payload)?;
    let bom = Bom::parse(payload).map_err(Refusal::Bom)?;
    let own = bom.subject().hashes().sha256().ok_or(Refusal::NoSubjectHash)?;
    let Some(digest) = facts.measured.get(own) else {
        return Err(signer::Refusal::not_measured(&[own.to_owned()], facts).into());
    };
    Ok((signer, bom, digest))
}

/// Each part that runs must be fixed by a hash: a name says nothing of a content.
fn check_components(reached: &[&Component], policy: &Policy) -> Result<(), Refusal> {
    for component in reached {
        let name = || component.name().to_owned();
        if HASHED.contains(&component.kind()) && component.hashes().is_empty() {
            return Err(Refusal::NoHash { name: name() });
        }
        if policy.model_cards && component.kind() == MODEL && !component.has_model_card() {
            return Err(Refusal::NoModelCard { name: name() });
        }
    }
    Ok(())
}

/// What is known against a bill.
struct Weighed {
    value: i8,
    against: BTreeSet<String>,
}

/// AR4SI, configuration: 3 "The configuration includes or exposes no known vulnerabilities", 32
/// "includes or exposes known vulnerabilities", 96 "is unsupportable as it exposes unacceptable
/// security vulnerabilities". Every component counts, whether the graph reaches it or not.
fn weigh(bom: &Bom, signer: &str, policy: &Policy, facts: &AgentFacts<'_>) -> Weighed {
    let may_clear = policy.vex_signers.iter().any(|name| name == signer);
    let mut weighed = Weighed { value: 0, against: BTreeSet::new() };
    // Without a list nothing was looked for.
    if !policy.advisories.is_empty() || !policy.denied.is_empty() {
        weighed.value = 3;
    }
    for component in std::iter::once(bom.subject()).chain(bom.components()) {
        let is_cleared = |advisory: &Advisory| {
            may_clear && bom.is_cleared(component, |id| advisory.is_called(id))
        };
        for advisory in policy.advisories.of(component, facts.now) {
            if is_cleared(advisory) {
                continue;
            }
            // A severity that is not known may be the highest.
            let severity = advisory.severity_for(component).unwrap_or(Score::MAX);
            weighed.add(if severity >= policy.unacceptable { 96 } else { 32 }, advisory, component);
        }
        // What policy denies nobody clears.
        for advisory in policy.denied.of(component, facts.now) {
            weighed.add(96, advisory, component);
        }
    }
    weighed
}

impl Weighed {
    fn add(&mut self, value: i8, advisory: &Advisory, component: &Component) {
        self.value = self.value.max(value);
        if self.against.len() < SHOWN_MAX {
            self.against.insert(format!("{} in {}", advisory.id(), component.name()));
        }
    }
}

/// The models, and who supplied them and the agent.
fn facts_of(
    bom: &Bom,
    reached: &[&Component],
) -> Result<impl Iterator<Item = (&'static str, String)> + use<>, Refusal> {
    let models = reached.iter().filter(|one| one.kind() == MODEL);
    let named =
        |model: &&&Component| format!("{}@{}", model.name(), model.version().unwrap_or("unknown"));
    let names: BTreeSet<String> = models.clone().map(|model| named(&model)).collect();
    let parts = std::iter::once(bom.subject()).chain(models.copied());
    let suppliers: BTreeSet<String> =
        parts.filter_map(Component::supplier).map(str::to_owned).collect();
    if names.len() > MODELS_MAX {
        return Err(Refusal::TooMany { what: "models", count: names.len(), max: MODELS_MAX });
    }
    if suppliers.len() > SUPPLIERS_MAX {
        let (count, max) = (suppliers.len(), SUPPLIERS_MAX);
        return Err(Refusal::TooMany { what: "suppliers", count, max });
    }
    let names = names.into_iter().map(|name| ("aibom:model", name));
    Ok(names.chain(suppliers.into_iter().map(|name| ("aibom:supplier", name))))
}

/// Why a bill of materials proves nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy does not compile with such settings.
    #[error("policy does not read: `{}`: {}", .0.0, .0.1)]
    Settings(Fault),
    /// Neither JSON nor a JWS.
    #[error("neither an envelope nor a JWS")]
    NoText,
    /// The JWS does not read.
    #[error(transparent)]
    Jws(JwsError),
    /// A signature that was made for something else.
    #[error("a JWS of type `{found}`")]
    JwsType {
        /// Its type.
        found: String,
    },
    /// Which of them would be signed?
    #[error("a JWS with a payload in it, and one behind it")]
    TwoPayloads,
    /// Nothing is signed.
    #[error("a detached JWS without the bill behind it")]
    NoPayload,
    /// A statement about something else.
    #[error("a statement of type `{found}`, not `{PREDICATE}`")]
    Predicate {
        /// What it says it is.
        found: String,
    },
    /// The bill does not read, or has holes.
    #[error(transparent)]
    Bom(BomError),
    /// Nothing says which package it is about.
    #[error("`metadata.component` has no hash by SHA-256")]
    NoSubjectHash,
    /// A part that may be anything.
    #[error("component `{name}` has no strong hash")]
    NoHash {
        /// Its name.
        name: String,
    },
    /// A model of which nothing is told.
    #[error("model `{name}` has no model card, and policy wants one")]
    NoModelCard {
        /// Its name.
        name: String,
    },
    /// Too many to be facts.
    #[error("{count} {what}, at most {max} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::NoText
            | Refusal::Jws(_)
            | Refusal::JwsType { .. }
            | Refusal::TwoPayloads
            | Refusal::NoPayload => Step::Form,
            Refusal::NoSubjectHash => Step::Binding,
            Refusal::Predicate { .. }
            | Refusal::Bom(_)
            | Refusal::NoHash { .. }
            | Refusal::TooMany { .. } => Step::Content,
            Refusal::Settings(_) | Refusal::NoModelCard { .. } => Step::Policy,
        };
        Self::new(step, refusal)
    }
}
