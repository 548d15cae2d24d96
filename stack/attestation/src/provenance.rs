//! `provenance`: who built what runs, of what (ATT-05). A statement in DSSE or in a Sigstore
//! bundle: SLSA provenance, or a verifier's summary of one.
//!
//! Policy: `[evidence.provenance]`, docs/evidence.md.

use ::provenance::{PROVENANCE, PredicateError, Provenance, SUMMARY, Statement, Summary};
use rats::{Claim, Vector};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::evidence::{AgentEvidence, AgentFacts, EvidenceRule, Failure, Finding};
use crate::mechanism::Step;
use crate::signer::{self, Fault, Signed, Signer, Signers};

const NAME: &str = "provenance";
/// Most builders, sources or verifiers in policy.
const LIST_MAX: usize = 256;
/// The highest level on the build track of SLSA 1.1.
const LEVEL_MAX: u8 = 3;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    signers: Vec<Signer>,
    #[serde(default)]
    trusted_root: Option<String>,
    /// Who may have built, and the level that this is trusted to reach.
    #[serde(default)]
    builders: Vec<Builder>,
    /// Where the source may be from.
    #[serde(default)]
    sources: Vec<String>,
    /// Who may say that they verified.
    #[serde(default)]
    verifiers: Vec<String>,
    #[serde(default)]
    level_min: u8,
    #[serde(default)]
    age_max: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Builder {
    id: String,
    level: u8,
}

impl Settings {
    fn read(rule: &EvidenceRule) -> Result<(Self, Signers), Fault> {
        let settings: Self = rule.settings().map_err(|why| (String::new(), why))?;
        let signers = Signers::read(&settings.signers, settings.trusted_root.as_deref())?;
        let fault = |key: &str, why: &str| Err((key.to_owned(), why.to_owned()));
        let Self { builders, sources, verifiers, level_min, .. } = &settings;
        if builders.is_empty() && verifiers.is_empty() {
            return fault("builders", "neither `builders` nor `verifiers`: nothing would be taken");
        }
        if !builders.is_empty() && sources.is_empty() {
            return fault("sources", "`builders` without `sources`: anybody's code would be taken");
        }
        if [builders.len(), sources.len(), verifiers.len()].iter().any(|count| *count > LIST_MAX) {
            return fault("builders", "more than 256 in one list");
        }
        let levels = builders.iter().map(|builder| builder.level).chain([*level_min]);
        if levels.max().is_some_and(|level| level > LEVEL_MAX) {
            return fault("level_min", "levels are 0 to 3");
        }
        Ok((settings, signers))
    }
}

/// The kind `provenance`.
#[derive(Debug)]
pub struct Kind;

impl AgentEvidence for Kind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn media_types(&self) -> &'static [&'static str] {
        &[
            "application/vnd.in-toto.provenance+dsse",
            "application/vnd.in-toto.vsa+dsse",
            "application/vnd.dev.sigstore.bundle.v0.3+json",
        ]
    }

    fn faults(&self, rule: &EvidenceRule) -> Vec<(String, String)> {
        Settings::read(rule).err().into_iter().collect()
    }

    fn appraise(&self, document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Failure> {
        let (settings, signers) = Settings::read(facts.rule).map_err(Refusal::Settings)?;
        let signed = signers.open(document)?;
        let statement = Statement::read(&signed.opened).map_err(signer::Refusal::from)?;
        let digest = signer::measured(&statement, facts)?;
        let said = match statement.predicate_type() {
            PROVENANCE => settings.built(&statement, &signed)?,
            SUMMARY => settings.verified(&statement)?,
            other => return Err(Refusal::Predicate { found: other.to_owned() }.into()),
        };
        let until = settings.fresh_until(said.at, facts)?;
        if said.level < settings.level_min {
            let (level, min) = (said.level, settings.level_min);
            return Err(Refusal::Level { level, min }.into());
        }
        let mut told = vec![("provenance:signer", signed.signer.to_owned())];
        told.extend(said.who);
        // A demand of a level is met by every higher one.
        told.extend((1..=said.level).map(|level| ("provenance:level", level.to_string())));
        let mut claims = Map::new();
        claims.insert("signer".to_owned(), Value::from(signed.signer));
        claims.insert("sha256".to_owned(), Value::from(digest));
        claims.insert("level".to_owned(), Value::from(said.level));
        Ok(Finding {
            // AR4SI, executables 2: "Only a recognized genuine set of approved executables,
            // scripts, files, and/or objects have been loaded during and after the boot process":
            // the digest was measured of what runs.
            vector: Vector::NONE.with(Claim::Executables, 2),
            selectors: signer::selectors(told)?,
            until,
            uses: Vec::new(),
            claims,
        })
    }
}

/// What a statement says, as far as policy lets it count.
struct Said {
    level: u8,
    at: Option<UnixTime>,
    who: Vec<(&'static str, String)>,
}

impl Settings {
    fn built(&self, statement: &Statement, signed: &Signed<'_>) -> Result<Said, Refusal> {
        let said = Provenance::read(statement)?;
        // SLSA, Verifying artifacts: the level is what policy trusts this builder with, never what
        // the builder says of itself.
        let builder = self.builders.iter().find(|builder| builder.id == said.builder);
        let builder = builder.ok_or_else(|| Refusal::Builder { found: said.builder.clone() })?;
        // And the provenance must meet expectations: above all, of which source it was built.
        let source = said.source.as_ref().map(|source| source.repository().to_owned());
        let source = source.ok_or(Refusal::NoSource)?;
        if !self.sources.contains(&source) {
            return Err(Refusal::Source { found: source });
        }
        let who = vec![("provenance:builder", said.builder), ("provenance:source", source)];
        // What the signer says of the time counts less than what a witness of the signature says.
        Ok(Said { level: builder.level, at: signed.at.or(said.finished), who })
    }

    fn verified(&self, statement: &Statement) -> Result<Said, Refusal> {
        let said = Summary::read(statement)?;
        if !self.verifiers.contains(&said.verifier) {
            return Err(Refusal::Verifier { found: said.verifier });
        }
        // SLSA, VSA: "Verify that the value of `verificationResult` is `PASSED`."
        if !said.passed {
            return Err(Refusal::NotPassed { verifier: said.verifier });
        }
        let who = vec![("provenance:verifier", said.verifier)];
        Ok(Said { level: said.build_level, at: Some(said.verified_at), who })
    }

    /// Until when it is young enough.
    fn fresh_until(
        &self,
        at: Option<UnixTime>,
        facts: &AgentFacts<'_>,
    ) -> Result<Option<UnixTime>, Refusal> {
        let now = facts.now;
        if let Some(at) = at.filter(|at| *at > now.plus(facts.skew)) {
            return Err(Refusal::Future { at, now });
        }
        let Some(age_max) = self.age_max else { return Ok(None) };
        let until = at.ok_or(Refusal::NoTime)?.plus(age_max);
        if until <= now {
            return Err(Refusal::TooOld { until, now });
        }
        Ok(Some(until))
    }
}

/// Why provenance proves nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy does not compile with such settings.
    #[error("policy does not read: `{}`: {}", .0.0, .0.1)]
    Settings(Fault),
    /// The predicate does not read.
    #[error(transparent)]
    Content(#[from] PredicateError),
    /// A statement about something else.
    #[error("a statement of type `{found}`, neither provenance nor a summary of its verification")]
    Predicate {
        /// What it says it is.
        found: String,
    },
    /// Policy does not name who built.
    #[error("built by `{found}`, whom policy does not name")]
    Builder {
        /// Who built.
        found: String,
    },
    /// The statement does not say from where the source is.
    #[error("no source")]
    NoSource,
    /// Policy does not name the source.
    #[error("built of `{found}`, which policy does not name")]
    Source {
        /// The repository.
        found: String,
    },
    /// Policy does not name who verified.
    #[error("verified by `{found}`, whom policy does not name")]
    Verifier {
        /// Who verified.
        found: String,
    },
    /// The verifier says no.
    #[error("`{verifier}` verified it, and it did not pass")]
    NotPassed {
        /// Who verified.
        verifier: String,
    },
    /// The build is not trusted as much as policy wants.
    #[error("SLSA build level {level}, policy wants {min}")]
    Level {
        /// Its level.
        level: u8,
        /// The least.
        min: u8,
    },
    /// It is of a time that has not come.
    #[error("of {at}, now is {now}")]
    Future {
        /// Its time.
        at: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// Policy bounds the age, and it has none.
    #[error("it does not say when, and policy bounds its age")]
    NoTime,
    /// It is too old.
    #[error("too old since {until}, now is {now}")]
    TooOld {
        /// The end.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Content(_)
            | Refusal::Predicate { .. }
            | Refusal::NoSource
            | Refusal::NotPassed { .. }
            | Refusal::Future { .. } => Step::Content,
            Refusal::Settings(_)
            | Refusal::Builder { .. }
            | Refusal::Source { .. }
            | Refusal::Verifier { .. }
            | Refusal::Level { .. }
            | Refusal::NoTime
            | Refusal::TooOld { .. } => Step::Policy,
        };
        Self::new(step, refusal)
    }
}
