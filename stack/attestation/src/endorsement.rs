//! `endorsement`: the provider of an agent says that it is theirs (ATT-10). A statement in DSSE or
//! in a Sigstore bundle about the package, or an A2A agent card with signatures that names the
//! package's digest.
//!
//! Policy: `[evidence.endorsement]`, docs/evidence.md. A signer's name is that of the provider.

use ::provenance::Statement;
use jose::jws::{Jws, JwsError};
use json::{Bounds, NotCanonical, Unreadable};
use rats::{Claim, Vector};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::evidence::{
    AgentEvidence, AgentFacts, DOCUMENT_BYTES_MAX, EvidenceRule, Failure, Finding,
};
use crate::mechanism::Step;
use crate::signer::{self, Fault, Signer, Signers};

const NAME: &str = "endorsement";
/// The predicate type of an endorsement.
pub const PREDICATE: &str = "urn:aims:endorsement:v1";
/// The extension of an agent card that names the package: `params.sha256`.
pub const PACKAGE_EXTENSION: &str = "urn:aims:package:v1";
/// The longest that an endorsement may count, whatever it says.
const LIFETIME_MAX: Span = Span::from_seconds(398 * 86_400);
/// Most capabilities of one agent.
const CAPABILITIES_MAX: usize = 48;
/// Most signatures of one agent card.
const SIGNATURES_MAX: usize = 8;
/// Levels of JSON of an agent card.
const CARD_DEPTH_MAX: usize = 24;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    signers: Vec<Signer>,
    #[serde(default)]
    trusted_root: Option<String>,
    /// The types of agents that may be endorsed; all, if it is empty.
    #[serde(default)]
    agent_types: Vec<String>,
    /// Whether agent cards are taken besides statements.
    #[serde(default)]
    agent_cards: bool,
    /// How long an agent card counts, which has no end of its own, from when it is shown.
    #[serde(default)]
    card_lifetime: Option<Span>,
}

impl Settings {
    fn read(rule: &EvidenceRule) -> Result<(Self, Signers), Fault> {
        let settings: Self = rule.settings().map_err(|why| (String::new(), why))?;
        let signers = Signers::read(&settings.signers, settings.trusted_root.as_deref())?;
        if settings.card_lifetime.is_some_and(|span| span > LIFETIME_MAX) {
            return Err(("card_lifetime".to_owned(), "at most 398 days".to_owned()));
        }
        if settings.card_lifetime.is_some() && !settings.agent_cards {
            let why = "without `agent_cards = true` no card is taken";
            return Err(("card_lifetime".to_owned(), why.to_owned()));
        }
        Ok((settings, signers))
    }
}

/// What a provider says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    provider: String,
    agent_type: String,
    version: String,
    #[serde(default)]
    capabilities: Vec<String>,
    validity: Validity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Validity {
    not_before: String,
    not_after: String,
}

/// The kind `endorsement`.
#[derive(Debug)]
pub struct Kind;

impl AgentEvidence for Kind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.aims.endorsement+dsse", "application/vnd.aims.agent-card+json"]
    }

    fn faults(&self, rule: &EvidenceRule) -> Vec<(String, String)> {
        Settings::read(rule).err().into_iter().collect()
    }

    fn appraise(&self, document: &[u8], facts: &AgentFacts<'_>) -> Result<Finding, Failure> {
        let (settings, signers) = Settings::read(facts.rule).map_err(Refusal::Settings)?;
        if Card::is_one(document) {
            return card(document, &settings, &signers, facts);
        }
        let signed = signers.open(document)?;
        let statement = Statement::read(&signed.opened).map_err(signer::Refusal::from)?;
        let digest = signer::measured(&statement, facts)?;
        if statement.predicate_type() != PREDICATE {
            let found = statement.predicate_type().to_owned();
            return Err(Refusal::Predicate { found }.into());
        }
        let said: Said = serde_json::from_str(statement.predicate().get())
            .map_err(|error| Refusal::Content { why: error.to_string() })?;
        if said.provider != signed.signer {
            let (told, signer) = (said.provider, signed.signer.to_owned());
            return Err(Refusal::Provider { told, signer }.into());
        }
        let until = said.validity.check(facts)?;
        settings.check_type(&said.agent_type)?;
        let Said { provider, agent_type, version, capabilities, .. } = said;
        let about = About { provider, agent_type: Some(agent_type), version, capabilities };
        about.finding(digest, Some(until))
    }
}

impl Validity {
    fn check(&self, facts: &AgentFacts<'_>) -> Result<UnixTime, Refusal> {
        let instant = |text: &str| {
            UnixTime::parse(text).ok_or_else(|| Refusal::Time { found: text.to_owned() })
        };
        let (from, until) = (instant(&self.not_before)?, instant(&self.not_after)?);
        let (now, skew) = (facts.now, facts.skew);
        if from > now.plus(skew) {
            return Err(Refusal::NotYet { from, now });
        }
        if until <= now.minus(skew) {
            return Err(Refusal::Ended { until, now });
        }
        if until.since(from) > LIFETIME_MAX {
            return Err(Refusal::TooLong { days: until.since(from).seconds() / 86_400 });
        }
        Ok(until)
    }
}

impl Settings {
    fn check_type(&self, found: &str) -> Result<(), Refusal> {
        if self.agent_types.is_empty() || self.agent_types.iter().any(|known| known == found) {
            return Ok(());
        }
        Err(Refusal::AgentType { found: found.to_owned() })
    }
}

/// What is known of the agent, from either form.
struct About {
    provider: String,
    agent_type: Option<String>,
    version: String,
    capabilities: Vec<String>,
}

impl About {
    fn finding(self, digest: &str, until: Option<UnixTime>) -> Result<Finding, Failure> {
        let Self { provider, agent_type, version, capabilities } = self;
        if capabilities.len() > CAPABILITIES_MAX {
            return Err(Refusal::Capabilities { count: capabilities.len() }.into());
        }
        let mut claims = Map::new();
        claims.insert("provider".to_owned(), Value::from(provider.as_str()));
        claims.insert("version".to_owned(), Value::from(version.as_str()));
        claims.insert("sha256".to_owned(), Value::from(digest));
        let mut told = vec![("endorsement:provider", provider), ("endorsement:version", version)];
        told.extend(agent_type.map(|agent_type| ("endorsement:type", agent_type)));
        told.extend(capabilities.into_iter().map(|one| ("endorsement:capability", one)));
        Ok(Finding {
            // AR4SI, executables 2: what runs is what its provider approved.
            vector: Vector::NONE.with(Claim::Executables, 2),
            selectors: signer::selectors(told)?,
            until,
            uses: Vec::new(),
            claims,
        })
    }
}

/// What of an agent card counts.
#[derive(Deserialize)]
struct Card {
    version: String,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    skills: Vec<Skill>,
    signatures: Vec<CardSignature>,
}

#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    extensions: Vec<Extension>,
}

#[derive(Deserialize)]
struct Extension {
    uri: String,
    #[serde(default)]
    params: Value,
}

#[derive(Deserialize)]
struct Skill {
    id: String,
}

#[derive(Deserialize)]
struct CardSignature {
    protected: String,
    signature: String,
}

impl Card {
    /// Whether a document says that it is a card: good for choosing a reader alone.
    fn is_one(document: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            signatures: Vec<Map<String, Value>>,
        }
        serde_json::from_slice::<Head>(document)
            .is_ok_and(|head| head.signatures.iter().any(|one| one.contains_key("protected")))
    }

    fn package(&self) -> Option<&str> {
        let mut found =
            self.capabilities.extensions.iter().filter(|it| it.uri == PACKAGE_EXTENSION);
        match (found.next(), found.next()) {
            (Some(one), None) => one.params.get("sha256").and_then(Value::as_str),
            _ => None,
        }
    }
}

/// Appraises an agent card.
fn card(
    document: &[u8],
    settings: &Settings,
    signers: &Signers,
    facts: &AgentFacts<'_>,
) -> Result<Finding, Failure> {
    if !settings.agent_cards {
        return Err(Refusal::NoCards.into());
    }
    let bounds = Bounds { bytes_max: DOCUMENT_BYTES_MAX, depth_max: CARD_DEPTH_MAX };
    let text = json::text(document, bounds).map_err(Refusal::Json)?;
    // A2A §8.4.1: "the Agent Card content MUST be canonicalized using the JSON Canonicalization
    // Scheme (JCS)", and "The `signatures` field itself MUST be excluded from the content being
    // signed".
    let payload = json::canonical(text, &["signatures"]).map_err(Refusal::Canonical)?;
    let card: Card =
        serde_json::from_str(text).map_err(|error| Refusal::Content { why: error.to_string() })?;
    if card.signatures.len() > SIGNATURES_MAX {
        return Err(Refusal::Signatures { count: card.signatures.len() }.into());
    }
    // A2A §8.4.3: "Clients SHOULD verify at least one signature before trusting an Agent Card".
    // `jku` is not read: whoever made the card chose it.
    let mut signed_by = Err(signer::Refusal::NoSigner);
    for one in &card.signatures {
        let jws = Jws::parse(&one.protected, &one.signature).map_err(Refusal::Jws)?;
        signed_by = signed_by.or_else(|_| signers.of_jws(&jws, payload.as_bytes()));
    }
    let provider = signed_by?.to_owned();
    let package = card.package().ok_or(Refusal::NoPackage)?;
    let Some(digest) = facts.measured.get(package) else {
        return Err(signer::Refusal::not_measured(&[package.to_owned()], facts).into());
    };
    let until = settings.card_lifetime.map(|span| facts.now.plus(span));
    let capabilities = card.skills.into_iter().map(|skill| skill.id).collect();
    if !settings.agent_types.is_empty() {
        return Err(Refusal::AgentType { found: String::new() }.into());
    }
    About { provider, agent_type: None, version: card.version, capabilities }.finding(digest, until)
}

/// Why an endorsement proves nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy does not compile with such settings.
    #[error("policy does not read: `{}`: {}", .0.0, .0.1)]
    Settings(Fault),
    /// A card that is not JSON.
    #[error(transparent)]
    Json(Unreadable),
    /// A card without a canonical form.
    #[error(transparent)]
    Canonical(NotCanonical),
    /// A signature of a card that does not read.
    #[error(transparent)]
    Jws(JwsError),
    /// A card with too many signatures.
    #[error("{count} signatures, at most {SIGNATURES_MAX} are read")]
    Signatures {
        /// How many.
        count: usize,
    },
    /// Policy takes statements alone.
    #[error("an agent card, and policy does not say `agent_cards = true`")]
    NoCards,
    /// A card that does not say which package it is about.
    #[error("an agent card without exactly one extension `{PACKAGE_EXTENSION}` with `sha256`")]
    NoPackage,
    /// A statement about something else.
    #[error("a statement of type `{found}`, not `{PREDICATE}`")]
    Predicate {
        /// What it says it is.
        found: String,
    },
    /// It does not say what it must.
    #[error("the endorsement does not read: {why}")]
    Content {
        /// Why.
        why: String,
    },
    /// One provider speaks for another.
    #[error("signed by `{signer}` in the name of `{told}`")]
    Provider {
        /// Whom it names.
        told: String,
        /// Who signed.
        signer: String,
    },
    /// A time that is none.
    #[error("`{found}` is no instant")]
    Time {
        /// What stands there.
        found: String,
    },
    /// It does not count yet.
    #[error("counts from {from}, now is {now}")]
    NotYet {
        /// Its beginning.
        from: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It does not count any more.
    #[error("ended at {until}, now is {now}")]
    Ended {
        /// Its end.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It would count for too long.
    #[error("counts for {days} days, at most 398 are taken")]
    TooLong {
        /// How long.
        days: u64,
    },
    /// Policy does not name the type of agent.
    #[error("an agent of type `{found}`, which policy does not name")]
    AgentType {
        /// Its type; nothing, in a card.
        found: String,
    },
    /// Too many to be facts.
    #[error("{count} capabilities, at most {CAPABILITIES_MAX} are read")]
    Capabilities {
        /// How many.
        count: usize,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::Json(_)
            | Refusal::Canonical(_)
            | Refusal::Jws(_)
            | Refusal::Signatures { .. } => Step::Form,
            Refusal::Provider { .. } => Step::Chain,
            Refusal::NoPackage => Step::Binding,
            Refusal::Predicate { .. }
            | Refusal::Content { .. }
            | Refusal::Time { .. }
            | Refusal::NotYet { .. }
            | Refusal::Ended { .. }
            | Refusal::Capabilities { .. } => Step::Content,
            Refusal::Settings(_)
            | Refusal::NoCards
            | Refusal::TooLong { .. }
            | Refusal::AgentType { .. } => Step::Policy,
        };
        Self::new(step, refusal)
    }
}
