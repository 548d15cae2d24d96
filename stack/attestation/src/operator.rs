//! `operator`: a person who runs the system says that what runs is this agent (ATT-06). A JWT of
//! the kind `operator-assertion+jwt`, for minutes and once. It vouches for who the agent is, and
//! for nothing of what it is made of.
//!
//! Policy: `[evidence.operator]`, docs/evidence.md.

use jose::{Malformed, Refused, Unverified};
use oauth::operator_assertion::OperatorAssertion;
use rats::{Claim, Vector};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::Span;
use wimse::Pattern;

use crate::evidence::{AgentEvidence, AgentFacts, EvidenceRule, Failure, Finding};
use crate::mechanism::{Step, Use};
use crate::signer::{self, ALGORITHMS, Fault, Holders};

const NAME: &str = "operator";
/// The longest that an assertion may hold: it is made for one issuance.
pub const LIFETIME_MAX: Span = Span::from_seconds(15 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    operators: Vec<Operator>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operator {
    name: String,
    keys: String,
    /// The agents that they may speak about.
    agents: Vec<Pattern>,
}

impl Settings {
    fn read(rule: &EvidenceRule) -> Result<(Self, Holders), Fault> {
        let settings: Self = rule.settings().map_err(|why| (String::new(), why))?;
        let fault = |why: String| ("operators".to_owned(), why);
        let all = settings.operators.iter().map(|one| (one.name.as_str(), one.keys.as_str()));
        let holders = Holders::read(all).map_err(fault)?;
        for one in &settings.operators {
            if one.agents.is_empty() {
                return Err(fault(format!("`{}` speaks about no agent: no `agents`", one.name)));
            }
        }
        Ok((settings, holders))
    }
}

impl Operator {
    fn speaks_about(&self, facts: &AgentFacts<'_>) -> bool {
        self.agents.iter().any(|pattern| pattern.matches(facts.agent))
    }
}

/// The kind `operator`.
#[derive(Debug)]
pub struct Kind;

impl AgentEvidence for Kind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/operator-assertion+jwt"]
    }

    fn faults(&self, rule: &EvidenceRule) -> Vec<(String, String)> {
        Settings::read(rule).err().into_iter().collect()
    }

    fn appraise(&self, document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Failure> {
        Ok(appraise(document, facts)?)
    }
}

fn appraise(document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Refusal> {
    let (settings, holders) = Settings::read(facts.rule).map_err(Refusal::Settings)?;
    let text = std::str::from_utf8(document).map_err(|_| Refusal::NoText)?.trim();
    let token = Unverified::<OperatorAssertion>::parse(text).map_err(Refusal::Malformed)?;
    let token = token.verify(&holders, ALGORITHMS, facts.now, facts.skew);
    let token = token.map_err(Refusal::Token)?;
    let claims = token.claims();
    if claims.sub != facts.agent.as_str() {
        return Err(Refusal::Agent { found: claims.sub.clone() });
    }
    if facts.measured.is_empty() {
        return Err(Refusal::NothingMeasured);
    }
    if !facts.measured.contains(&claims.sha256) {
        let told = std::slice::from_ref(&claims.sha256);
        return Err(Refusal::Measured(signer::Refusal::not_measured(told, facts).to_string()));
    }
    let ours = signer::audience(facts);
    if claims.aud.as_ref().is_some_and(|audience| !audience.contains(&ours)) {
        return Err(Refusal::Audience { expected: ours });
    }
    let until = claims.exp.time();
    let lifetime = until.since(claims.iat.time());
    if lifetime > LIFETIME_MAX {
        return Err(Refusal::TooLong { seconds: lifetime.seconds() });
    }
    let operator = settings.operators.iter().find(|one| one.name == claims.iss);
    if !operator.is_some_and(|operator| operator.speaks_about(facts)) {
        return Err(Refusal::NotAllowed { operator: claims.iss.clone() });
    }
    let mut shown = Map::new();
    shown.insert("operator".to_owned(), Value::from(claims.iss.as_str()));
    shown.insert("sha256".to_owned(), Value::from(claims.sha256.as_str()));
    let told = [("operator:name", claims.iss.clone())];
    let selectors = signer::selectors(told).map_err(|error| Refusal::Facts(error.to_string()))?;
    let value = format!("{}\0{}", claims.iss, claims.jti.as_str());
    Ok(Finding {
        // AR4SI, instance-identity 2: "The Attesting Environment is recognized, and the associated
        // instance of the Attester is not known to be compromised."
        vector: Vector::NONE.with(Claim::InstanceIdentity, 2),
        selectors,
        until: Some(until),
        uses: vec![Use { value, until: until.plus(facts.skew) }],
        claims: shown,
    })
}

/// Why the word of an operator proves nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy does not compile with such settings.
    #[error("policy does not read: `{}`: {}", .0.0, .0.1)]
    Settings(Fault),
    /// It is no text.
    #[error("the token is no text")]
    NoText,
    /// It does not read.
    #[error("the token does not read: {0}")]
    Malformed(Malformed),
    /// Key, signature or time.
    #[error("the token is refused: {0}")]
    Token(Refused),
    /// It is about another agent.
    #[error("about `{found}`")]
    Agent {
        /// Whom it is about.
        found: String,
    },
    /// Nothing was measured where it is appraised.
    #[error("nothing was measured, so that it can be about nothing")]
    NothingMeasured,
    /// It is about something else than what runs.
    #[error("{0}")]
    Measured(String),
    /// It is for somebody else.
    #[error("for another audience than `{expected}`")]
    Audience {
        /// Ours.
        expected: String,
    },
    /// It would hold for too long.
    #[error("holds for {seconds} s, at most {} s are taken", LIFETIME_MAX.seconds())]
    TooLong {
        /// How long.
        seconds: u64,
    },
    /// The operator may not speak about this agent.
    #[error("`{operator}` may not speak about this agent")]
    NotAllowed {
        /// Who.
        operator: String,
    },
    /// What it says gives no facts.
    #[error("{0}")]
    Facts(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::NoText | Refusal::Malformed(_) => Step::Form,
            Refusal::Token(Refused::Expired { .. } | Refused::NotYetValid { .. })
            // Where nothing was measured it is about nothing else either.
            | Refusal::NothingMeasured
            | Refusal::Facts(_) => Step::Content,
            Refusal::Token(_) => Step::Signature,
            Refusal::Agent { .. } | Refusal::Measured(_) | Refusal::Audience { .. } => {
                Step::Binding
            }
            Refusal::Settings(_) | Refusal::TooLong { .. } | Refusal::NotAllowed { .. } => {
                Step::Policy
            }
        };
        Self::new(step, refusal)
    }
}
