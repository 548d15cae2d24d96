//! What a run knows from outside: who was suspended when, what was issued when, what was accepted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use testkit::fixture::Party;

/// The most things of a kind that are kept to be used again.
const KEPT_MAX: usize = 40;
/// The oldest that what was heard may be, and the clock skew: both of policy, in milliseconds.
const SEEMS_YOUNGER_MAX: u64 = 15_000;

/// The claims of a token that rights travel by.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) jti: String,
    pub(crate) sub: String,
    #[serde(alias = "req_wl")]
    pub(crate) client_id: String,
    pub(crate) aud: String,
    #[serde(default)]
    pub(crate) scope: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) aims_root: String,
    pub(crate) aims_parent: Option<String>,
    pub(crate) aims_epoch: u64,
    pub(crate) txn: Option<String>,
    act: Option<serde_json::Value>,
}

impl Claims {
    /// Reads them without a look at the signature: for checks from outside alone.
    pub(crate) fn parse_insecure(token: &str) -> Self {
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    /// Every identifier whose suspension ends it.
    pub(crate) fn concerned(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::from([self.client_id.clone(), self.sub.clone(), self.aud.clone()]);
        let mut next = self.act.as_ref();
        while let Some(actor) = next {
            all.extend(actor["sub"].as_str().map(str::to_owned));
            next = actor.get("act");
        }
        all.retain(|id| id.starts_with("spiffe://"));
        all
    }

    pub(crate) fn scopes(&self) -> BTreeSet<&str> {
        self.scope.split(' ').filter(|one| !one.is_empty()).collect()
    }
}

/// A token, and when it was asked for, in milliseconds of the run.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) claims: Claims,
    pub(crate) asked: u64,
}

/// Credentials of a process, and when they were asked for.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) party: Party,
    pub(crate) asked: u64,
}

/// A call that was let through once.
#[derive(Clone)]
pub(crate) struct Used {
    pub(crate) call: gateway::Call,
    pub(crate) token: Token,
    pub(crate) held: Held,
}

/// What a component heard of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// When the last message that was applied was asked for.
    pub(crate) asked: u64,
    /// When it was applied.
    pub(crate) applied: u64,
    /// Since when it was heard again and again.
    pub(crate) steady_since: u64,
    /// How far the component's clock was set back since.
    pub(crate) set_back: u64,
}

impl Heard {
    /// The clock was set back: that makes what was heard seem younger, but never by more than it
    /// was old and what clocks may differ.
    pub(crate) fn is_set_back(&mut self, millis: u64) {
        self.set_back += millis.min(SEEMS_YOUNGER_MAX);
    }
}

/// All of it.
#[derive(Default)]
pub(crate) struct Model {
    /// Names and the identifiers that they ever had.
    pub(crate) names: BTreeMap<String, String>,
    /// The names whose registration was acknowledged.
    pub(crate) registered: BTreeSet<String>,
    /// When each WIT was given first.
    pub(crate) given: HashMap<String, u64>,
    /// When each agent was suspended or ended for sure.
    pub(crate) kills: Vec<(String, u64)>,
    /// Agents that are not in force for sure, since when.
    pub(crate) dead: BTreeMap<String, u64>,
    /// How many orders to bring each agent back were begun, and how many ended.
    pub(crate) resumes: BTreeMap<String, (u64, u64)>,
    pub(crate) held: Vec<Held>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) used: Vec<Used>,
    /// How often each proof was accepted, by who accepted it.
    pub(crate) accepted: HashMap<String, u64>,
    /// The claims of every token, by id.
    pub(crate) issued: HashMap<String, Claims>,
    /// Since when payments are frozen by policy for sure.
    pub(crate) frozen: Option<u64>,
    pub(crate) node: Heard,
    pub(crate) gateway: Heard,
    /// How many records of each log were looked at.
    pub(crate) looked_at: BTreeMap<&'static str, usize>,
    /// The ids of the records that were looked at, by log.
    pub(crate) seen: BTreeMap<&'static str, BTreeSet<monitoring::RecordId>>,
    pub(crate) epoch: u64,
    pub(crate) killed_under: u64,
}

/// Keeps the newest, and some of the old.
pub(crate) fn keep<T>(all: &mut Vec<T>, one: T, at: usize) {
    if all.len() >= KEPT_MAX {
        let len = all.len();
        all.swap_remove(at % len);
    }
    all.push(one);
}

impl Model {
    /// Whether `who` was killed after `after` and before `before`.
    pub(crate) fn was_killed(&self, who: &str, after: u64, before: u64) -> bool {
        self.kills.iter().any(|(id, at)| id == who && after < *at && *at < before)
    }

    /// A kill of `who` was acknowledged; `before`: how its returns stood when that was begun. If
    /// one was under way meanwhile, nobody knows which came first.
    pub(crate) fn killed(&mut self, who: &str, at: u64, before: (u64, u64)) {
        self.kills.push((who.to_owned(), at));
        if before.0 == before.1 && self.resumes_of(who) == before {
            self.dead.insert(who.to_owned(), at);
        }
    }

    pub(crate) fn resumes_of(&self, who: &str) -> (u64, u64) {
        self.resumes.get(who).copied().unwrap_or_default()
    }

    pub(crate) fn resume_begins(&mut self, who: &str) {
        self.resumes.entry(who.to_owned()).or_default().0 += 1;
        self.dead.remove(who);
    }

    pub(crate) fn resume_ends(&mut self, who: &str) {
        self.resumes.entry(who.to_owned()).or_default().1 += 1;
    }
}
