//! `binding`: whom an agent acts for, as their identity provider or a key of theirs says (ATT-11).
//! A JWT of the kind `agent-binding+jwt`, about this agent and its key, once; and where policy says
//! so, behind it the rotations by which that key handed over to the next one.
//!
//! Policy: `[evidence.binding]`, docs/evidence.md.

use jose::{Malformed, Refused, Thumbprint, Unverified};
use oauth::agent_binding::{
    self, ActFor, AgentBinding, AgentBindingClaims, Chain, RotationRefused,
};
use oauth::confirmation::Confirmation;
use oauth::{NotAScope, ScopeSet};
use rats::{Claim, Vector};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::Span;

use crate::evidence::{AgentEvidence, AgentFacts, EvidenceRule, Failure, Finding};
use crate::mechanism::{Step, Use};
use crate::signer::{self, ALGORITHMS, Fault, Holders};

const NAME: &str = "binding";
/// The longest that a binding may hold, whatever policy says.
const LIFETIME_MAX: Span = Span::from_seconds(90 * 86_400);
/// How long it may hold where policy does not say.
const LIFETIME_DEFAULT: Span = Span::from_seconds(30 * 86_400);
/// Most scopes of one binding.
const SCOPES_MAX: usize = 48;
/// Most rotations of one binding, whatever policy says.
const ROTATIONS_MAX: usize = 16;
/// In policy: all of them.
const ALL: &str = "*";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    issuers: Vec<Issuer>,
    #[serde(default)]
    lifetime_max: Option<Span>,
    /// How often the key of a binding may hand over; without it never.
    #[serde(default)]
    rotations_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Issuer {
    issuer: String,
    keys: String,
    /// The users whom it may speak for.
    #[serde(default)]
    users: Vec<String>,
    /// The roles whom it may speak for, `organization/name`.
    #[serde(default)]
    roles: Vec<String>,
    /// The scopes that it may give, at the most.
    #[serde(default)]
    scope: String,
}

impl Settings {
    fn read(rule: &EvidenceRule) -> Result<(Self, Holders), Fault> {
        let settings: Self = rule.settings().map_err(|why| (String::new(), why))?;
        let fault = |key: &str, why: String| (key.to_owned(), why);
        if settings.lifetime_max.is_some_and(|span| span > LIFETIME_MAX || span == Span::ZERO) {
            return Err(fault("lifetime_max", "1 second to 90 days".to_owned()));
        }
        if settings.rotations_max > ROTATIONS_MAX {
            return Err(fault("rotations_max", format!("{ROTATIONS_MAX} at the most")));
        }
        let all = settings.issuers.iter().map(|one| (one.issuer.as_str(), one.keys.as_str()));
        let holders = Holders::read(all).map_err(|why| fault("issuers", why))?;
        for one in &settings.issuers {
            if one.users.is_empty() && one.roles.is_empty() {
                let why =
                    format!("`{}` speaks for nobody: neither `users` nor `roles`", one.issuer);
                return Err(fault("issuers", why));
            }
            one.scope().map_err(|why| fault("issuers", format!("`{}`: {why}", one.issuer)))?;
        }
        Ok((settings, holders))
    }
}

impl Issuer {
    fn scope(&self) -> Result<Option<ScopeSet>, NotAScope> {
        match self.scope.as_str() {
            "" => Ok(Some(ScopeSet::default())),
            ALL => Ok(None),
            text => ScopeSet::parse(text).map(Some),
        }
    }

    fn speaks_for(&self, whom: &ActFor) -> bool {
        let (known, name) = match whom {
            ActFor::User(user) => (&self.users, user.as_str().to_owned()),
            ActFor::Role(role) => {
                (&self.roles, format!("{}/{}", role.organization.as_str(), role.name.as_str()))
            }
        };
        known.iter().any(|one| one == ALL || *one == name)
    }
}

/// The kind `binding`.
#[derive(Debug)]
pub struct Kind;

impl AgentEvidence for Kind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/agent-binding+jwt"]
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
    let binding = text.split(agent_binding::BEHIND).next().unwrap_or_default();
    let token = Unverified::<AgentBinding>::parse(binding).map_err(Refusal::Malformed)?;
    let token = token.verify(&holders, ALGORITHMS, facts.now, facts.skew);
    let token = token.map_err(Refusal::Token)?;
    let claims = token.claims();
    let Confirmation::Key(first) = &claims.cnf else { return Err(Refusal::NoThumbprint) };
    let agent = facts.agent.as_str();
    let chain = Chain { agent, algorithms: ALGORITHMS, now: facts.now, skew: facts.skew };
    let (bound, rotations) = chain.bound(text, *first, settings.rotations_max)?;
    check_bound(claims, &bound, facts)?;
    let issuer = settings.issuers.iter().find(|one| one.issuer == claims.iss);
    let issuer = issuer.ok_or(Refusal::NotAllowed { whom: claims.iss.clone() })?;
    if !issuer.speaks_for(&claims.act_for) {
        return Err(Refusal::NotAllowed { whom: shown(&claims.act_for) });
    }
    let scope = claims.scope.clone().unwrap_or_default();
    let allowed = issuer.scope().map_err(|error| Refusal::Scope { found: error.to_string() })?;
    if allowed.is_some_and(|allowed| !scope.is_within(&allowed)) || scope.len() > SCOPES_MAX {
        return Err(Refusal::Scope { found: scope.to_string() });
    }
    let until = claims.exp.time();
    let lifetime = until.since(claims.iat.time());
    let max = settings.lifetime_max.unwrap_or(LIFETIME_DEFAULT);
    if lifetime > max {
        return Err(Refusal::TooLong { seconds: lifetime.seconds(), max: max.seconds() });
    }
    finding(claims, &scope, rotations, facts)
}

/// Whether it is about this agent and its key, and for this server.
fn check_bound(
    claims: &AgentBindingClaims,
    bound: &Thumbprint,
    facts: &AgentFacts<'_>,
) -> Result<(), Refusal> {
    if claims.sub != facts.agent.as_str() {
        return Err(Refusal::Agent { found: claims.sub.clone() });
    }
    // RFC 9449 §6.1: "the value of the `jkt` member [...] MUST be the base64url encoding [...] of
    // the JWK SHA-256 Thumbprint of the [...] public key".
    let found = bound.to_base64url();
    match facts.key {
        None => return Err(Refusal::KeyUnknown),
        Some(key) if key != found => {
            return Err(Refusal::Key { found, expected: key.to_owned() });
        }
        Some(_) => {}
    }
    // RFC 7519 §4.1.3: "If the principal processing the claim does not identify itself with a value
    // in the "aud" claim when this claim is present, then the JWT MUST be rejected."
    let ours = signer::audience(facts);
    match &claims.aud {
        Some(audience) if !audience.contains(&ours) => Err(Refusal::Audience { expected: ours }),
        _ => Ok(()),
    }
}

fn finding(
    claims: &AgentBindingClaims,
    scope: &ScopeSet,
    rotations: usize,
    facts: &AgentFacts<'_>,
) -> Result<Finding, Refusal> {
    let mut told = vec![("binding:issuer", claims.iss.clone())];
    let mut shown_claims = Map::new();
    match &claims.act_for {
        ActFor::User(user) => told.push(("binding:user", user.as_str().to_owned())),
        ActFor::Role(role) => {
            let name = format!("{}/{}", role.organization.as_str(), role.name.as_str());
            told.push(("binding:role", name));
            let granted_by = Value::from(role.granted_by.as_str());
            shown_claims.insert("granted_by".to_owned(), granted_by);
        }
    }
    told.extend(scope.iter().map(|one| ("binding:scope", one.as_str().to_owned())));
    shown_claims.insert("act_for".to_owned(), Value::from(shown(&claims.act_for)));
    shown_claims.insert("scope".to_owned(), Value::from(scope.to_string()));
    let until = claims.exp.time();
    // A binding serves once, and each of its rotations: a key cannot hand over to two others.
    let value = match rotations {
        0 => format!("{}\0{}", claims.iss, claims.jti.as_str()),
        number => format!("{}\0{}\0{number}", claims.iss, claims.jti.as_str()),
    };
    Ok(Finding {
        // AR4SI, instance-identity 2: "The Attesting Environment is recognized, and the associated
        // instance of the Attester is not known to be compromised."
        vector: Vector::NONE.with(Claim::InstanceIdentity, 2),
        selectors: signer::selectors(told)?,
        until: Some(until),
        uses: vec![Use { value, until: until.plus(facts.skew) }],
        claims: shown_claims,
    })
}

fn shown(whom: &ActFor) -> String {
    match whom {
        ActFor::User(user) => format!("user {}", user.as_str()),
        ActFor::Role(role) => format!("role {}/{}", role.organization.as_str(), role.name.as_str()),
    }
}

/// Why a binding proves nothing: one variant a check.
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
    /// It does not name the key by its thumbprint.
    #[error("`cnf` has no `jkt`")]
    NoThumbprint,
    /// The agent's key is not known where it is appraised.
    #[error("the key of the agent is not known, so that nothing can be bound to it")]
    KeyUnknown,
    /// It is about another key.
    #[error("bound to the key `{found}`, the agent has `{expected}`")]
    Key {
        /// The key in it.
        found: String,
        /// The agent's.
        expected: String,
    },
    /// Its key did not hand over as it says.
    #[error(transparent)]
    Rotation(#[from] RotationRefused),
    /// It is for somebody else.
    #[error("for another audience than `{expected}`")]
    Audience {
        /// Ours.
        expected: String,
    },
    /// The issuer may not speak for them.
    #[error("its issuer may not speak for `{whom}`")]
    NotAllowed {
        /// For whom it speaks.
        whom: String,
    },
    /// More than the issuer may give.
    #[error("the scope `{found}` is wider than its issuer may give")]
    Scope {
        /// What it gives.
        found: String,
    },
    /// It would hold for too long.
    #[error("holds for {seconds} s, at most {max} s are taken")]
    TooLong {
        /// How long.
        seconds: u64,
        /// The bound.
        max: u64,
    },
    /// What it says gives no facts.
    #[error("{why}")]
    Facts {
        /// Why.
        why: String,
    },
}

impl From<signer::Refusal> for Refusal {
    fn from(refusal: signer::Refusal) -> Self {
        Self::Facts { why: refusal.to_string() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let step = match &refusal {
            Refusal::NoText
            | Refusal::Malformed(_)
            | Refusal::Rotation(RotationRefused::Malformed(_)) => Step::Form,
            Refusal::Rotation(RotationRefused::TooMany { .. }) => Step::Policy,
            Refusal::Token(Refused::Expired { .. } | Refused::NotYetValid { .. })
            | Refusal::Rotation(RotationRefused::Token(
                Refused::Expired { .. } | Refused::NotYetValid { .. },
            ))
            // A key that nobody knows is no other one: it counts for nothing.
            | Refusal::KeyUnknown
            | Refusal::Facts { .. } => Step::Content,
            Refusal::Token(_) | Refusal::Rotation(RotationRefused::Token(_)) => Step::Signature,
            Refusal::Agent { .. }
            | Refusal::Rotation(_)
            | Refusal::NoThumbprint
            | Refusal::Key { .. }
            | Refusal::Audience { .. } => Step::Binding,
            Refusal::Settings(_)
            | Refusal::NotAllowed { .. }
            | Refusal::Scope { .. }
            | Refusal::TooLong { .. } => Step::Policy,
        };
        Self::new(step, refusal)
    }
}
