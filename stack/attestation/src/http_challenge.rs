//! `http_challenge`: a host shows that it answers for its name, by serving our nonce there (as
//! SPIRE's plugin of that name: payload `{hostname, agentname, port}`, challenge `{nonce}`,
//! response `{}`, and then the server fetches; ATT-02).
//!
//! It proves as much as the network and the name service do. Only names that policy lists are
//! fetched from (SPIRE 1.14.2 fetched for strangers), and by default the first to join is believed.
//!
//! Policy: `[node.http_challenge]` with `hosts` (names, or `*.DOMAIN`), perhaps `ports` (80),
//! `addresses` (ranges that are not public and that these names may lead to) and `reattest = true`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::issuer_keys;
use crate::mechanism::{self, Appraisal, EVIDENCE_BYTES_MAX, Facts, Question, Step};
use crate::policy::NodeRule;
use crate::selector::{Selector, Selectors};

const NAME: &str = "http_challenge";
/// The longest nonce that is fetched, in bytes.
const FETCHED_BYTES_MAX: usize = 64;
/// The longest name of an agent, in bytes.
const AGENT_BYTES_MAX: usize = 32;

/// What the host sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Its DNS name.
    pub hostname: String,
    /// Which of several agents of the host: a part of the path.
    pub agentname: String,
    /// Where it serves the nonce.
    pub port: u16,
}

/// What the server sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// The text to serve.
    pub nonce: String,
}

/// The path at which the nonce is served.
pub fn path(agent: &str) -> String {
    format!("/.well-known/spiffe/nodeattestor/http_challenge/{agent}/challenge")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    hosts: Vec<String>,
    #[serde(default = "ports")]
    ports: Vec<u16>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    reattest: bool,
}

fn ports() -> Vec<u16> {
    vec![80]
}

impl Settings {
    fn allows(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.strip_suffix('.').is_some_and(|label| !label.is_empty())),
            None => pattern == host,
        })
    }
}

/// Two labels or more, the last of letters: no address, and no name of this machine alone.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.contains('.')
        && host.split('.').all(is_label)
        && last.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// The mechanism `http_challenge`.
#[derive(Debug)]
pub struct Mechanism;

/// The evidence, of a host that policy lists.
fn read(evidence: &[u8], facts: &Facts<'_>) -> Result<(Evidence, Settings), mechanism::Refusal> {
    mechanism::bounded(evidence, EVIDENCE_BYTES_MAX)?;
    let settings: Settings = facts.rule.settings_of(NAME)?;
    let malformed =
        |error: serde_json::Error| mechanism::Refusal::Malformed { why: error.to_string() };
    let evidence: Evidence = serde_json::from_slice(evidence).map_err(malformed)?;
    if !is_name(&evidence.hostname) {
        return Err(Refusal::NoName.into());
    }
    let agent = evidence.agentname.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    if agent.is_empty() || agent.len() > AGENT_BYTES_MAX || !agent.iter().all(is_plain) {
        return Err(Refusal::AgentName.into());
    }
    if !settings.allows(&evidence.hostname) || !settings.ports.contains(&evidence.port) {
        let (host, port) = (evidence.hostname, evidence.port);
        return Err(Refusal::NotAllowed { host, port }.into());
    }
    Ok((evidence, settings))
}

fn text(nonce: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(nonce)
}

impl mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        NAME
    }

    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        let settings = match rule.settings::<Settings>() {
            Ok(settings) => settings,
            Err(why) => return vec![(String::new(), why)],
        };
        let is_pattern = |host: &String| is_name(host.strip_prefix("*.").unwrap_or(host));
        let mut faults = Vec::new();
        if settings.hosts.is_empty() || !settings.hosts.iter().all(is_pattern) {
            let why = "name hosts in lower case, as `host.example` or `*.hosts.example`";
            faults.push(("hosts".to_owned(), why.to_owned()));
        }
        if settings.ports.is_empty() || settings.ports.contains(&0) {
            faults.push(("ports".to_owned(), "name ports from 1 to 65535".to_owned()));
        }
        if let Some(why) = issuer_keys::addresses_fault(&settings.addresses) {
            faults.push(("addresses".to_owned(), why));
        }
        faults
    }

    fn challenge(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Vec<u8>>, mechanism::Refusal> {
        read(evidence, facts)?;
        let malformed =
            |error: serde_json::Error| mechanism::Refusal::Malformed { why: error.to_string() };
        serde_json::to_vec(&Challenge { nonce: text(facts.nonce) }).map(Some).map_err(malformed)
    }

    fn question(
        &self,
        evidence: &[u8],
        facts: &Facts<'_>,
    ) -> Result<Option<Question>, mechanism::Refusal> {
        let (Evidence { hostname: host, agentname, port }, settings) = read(evidence, facts)?;
        let (path, bytes_max) = (path(&agentname), FETCHED_BYTES_MAX);
        let addresses = settings.addresses;
        Ok(Some(Question::Document { host, port, path, bytes_max, addresses }))
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, mechanism::Refusal> {
        let (evidence, settings) = read(evidence, facts)?;
        if response.is_none() {
            return Err(mechanism::Refusal::NoResponse);
        }
        let told = facts.told.ok_or(Refusal::NotFetched)?;
        if told.trim_ascii() != text(facts.nonce).as_bytes() {
            return Err(Refusal::Nonce.into());
        }
        let selector = format!("{NAME}:hostname:{}", evidence.hostname);
        let selectors = Selectors::new([Selector::parse(&selector)?])?;
        let found = Appraisal::new(NAME, evidence.hostname, selectors);
        Ok(Appraisal { once: !settings.reattest, ..found })
    }
}

/// Why a host does not answer for its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An address, a name of one label, or no name.
    #[error("the host has no full DNS name in lower case")]
    NoName,
    /// It would not fit a path.
    #[error("an agent's name is 1 to {AGENT_BYTES_MAX} letters, digits, `-` and `_`")]
    AgentName,
    /// Policy lists others.
    #[error("policy does not let `{host}` join from its port {port}")]
    NotAllowed {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Nobody fetched.
    #[error("the host was not asked")]
    NotFetched,
    /// It serves something else.
    #[error("the host serves another nonce")]
    Nonce,
}

impl From<Refusal> for mechanism::Refusal {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::NoName | Refusal::AgentName => Step::Form,
            // Nothing is proved before the nonce was fetched, and it is fetched of whom policy
            // lists.
            Refusal::NotAllowed { .. } => Step::Chain,
            Refusal::NotFetched | Refusal::Nonce => Step::Binding,
        };
        Self::Failed { mechanism: NAME, step, why: refusal.to_string() }
    }
}
