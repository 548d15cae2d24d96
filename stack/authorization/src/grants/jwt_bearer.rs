//! JWT authorization grant (RFC 7523 §2.1, §3): an issuer that policy trusts says for whom a client
//! may act (S4 §10.3.2; AUTHZ-07).
//!
//! In scope: whether policy takes what an assertion says, and what that gives. Not here: its
//! signature.

use std::collections::BTreeMap;

use oauth::act::Act;
use oauth::confirmation::Confirmation;
use oauth::{ScopeSet, SubjectText};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use super::{Context, Refusal, binding};
use crate::policy::{AssertionAudience, TrustedIssuer};
use crate::proposal::{Lineage, Proposal, TokenKind};

/// What this grant reads; anything else is dropped before it runs.
pub const PARAMETERS: &[&str] = &["assertion", "scope", "resource", "authorization_details"];

/// What an accepted assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// The rule of policy that takes it, by name.
    pub rule: String,
    /// For whom: as the rule maps its `sub`.
    pub subject: String,
    /// The widest scope that it gives: of the rule, and of its own `scope` where it has one.
    pub scope: ScopeSet,
    /// When it ends.
    pub expires: UnixTime,
    /// The key or certificate that its issuer says the client has.
    pub cnf: Option<Confirmation>,
}

/// What an assertion with a good signature says, before anybody takes it.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// `aud`.
    pub audiences: Vec<&'a str>,
    /// `exp`.
    pub expires: UnixTime,
    /// `iat`, where it has one.
    pub issued: Option<UnixTime>,
    /// All other claims.
    pub more: &'a Map<String, Value>,
}

/// What is accepted in `aud`.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Our issuer identifier.
    pub issuer: &'a str,
    /// The URL of the token endpoint.
    pub token_endpoint: &'a str,
}

/// The rule that takes what an assertion says.
pub fn accept(
    said: &Said<'_>,
    rule: &TrustedIssuer,
    client: &str,
    ours: Ours<'_>,
    now: UnixTime,
) -> Result<Asserted, NotAccepted> {
    if said.issuer != rule.issuer {
        return Err(NotAccepted::Issuer(said.issuer.to_owned()));
    }
    // RFC 7523 §3: "The JWT MUST contain an "aud" (audience) claim containing a value that
    // identifies the authorization server as an intended audience." A second audience could use it
    // here (draft-ietf-oauth-rfc7523bis §4), so it is the only one.
    let wanted = match rule.audience {
        AssertionAudience::Issuer => ours.issuer,
        AssertionAudience::TokenEndpoint => ours.token_endpoint,
    };
    if said.audiences != [wanted] {
        return Err(NotAccepted::Audience { expected: wanted.to_owned() });
    }
    if !rule.clients.is_empty() && !rule.clients.contains(client) {
        return Err(NotAccepted::Client(client.to_owned()));
    }
    // RFC 7523 §3: "Note that the authorization server may reject JWTs with an "exp" claim value
    // that is unreasonably far in the future."
    let longest = Span::from_seconds(rule.life_seconds_max);
    if said.expires.since(now) > longest {
        return Err(NotAccepted::TooLong { allowed: longest.seconds() });
    }
    for (name, wanted) in &rule.claims {
        if said.more.get(name).and_then(Value::as_str) != Some(wanted.as_str()) {
            return Err(NotAccepted::Claim { name: name.clone(), wanted: wanted.clone() });
        }
    }
    let subject = rule.subject(said.subject).ok_or(NotAccepted::Subject)?;
    let scope = match said.more.get("scope").map(|scope| scope.as_str().map(ScopeSet::parse)) {
        None => rule.scope.clone(),
        Some(Some(Ok(scope))) => scope.intersection(&rule.scope),
        Some(_) => return Err(NotAccepted::Scope),
    };
    // draft-ietf-oauth-identity-chaining appendix B.3: "The authorization server in trust domain B
    // then includes a "cnf" claim that matches the value of the requested_cnf claim".
    let cnf = said.more.get("requested_cnf").cloned().map(serde_json::from_value).transpose();
    let cnf = cnf.map_err(|_| NotAccepted::Confirmation)?;
    if matches!(cnf, Some(Confirmation::Jwk(_))) {
        return Err(NotAccepted::Confirmation);
    }
    Ok(Asserted { rule: rule.name.clone(), subject, scope, expires: said.expires, cnf })
}

/// The same facts give the same answer.
pub(super) fn decide(context: &Context<'_>) -> Result<Proposal, Refusal> {
    let target = context.target.ok_or(Refusal::UnknownTarget)?;
    let asserted = context.assertion.ok_or(Refusal::Assertion(NotAccepted::Absent))?;
    let held = asserted.scope.intersection(&target.scopes);
    let scope = context.scope.cloned().unwrap_or(match &context.facet.scope_max {
        Some(bound) => held.intersection(bound),
        None => held,
    });
    let client_id = context.caller.client_id().to_owned();
    let act = match client_id == asserted.subject {
        true => None,
        false => Some(Act::new(SubjectText::parse(&client_id).map_err(|_| Refusal::NoActor)?)),
    };
    Ok(Proposal {
        kind: TokenKind::Access,
        action: context.grant.action(),
        client_id,
        subject: asserted.subject.clone(),
        act,
        audience: target.id.clone(),
        audience_name: target.name.clone(),
        proof: target.proof,
        format: target.format,
        scope,
        expires: context.now.plus(context.lifetimes.access_token),
        lineage: Lineage::Root,
        binding: binding(context),
        authorization_details: None,
        authenticated: None,
        impersonation: None,
        details: BTreeMap::new(),
        context: BTreeMap::new(),
    })
}

/// Why an assertion gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// There is none, or it could not be read.
    #[error("it does not read: {0}")]
    Malformed(jose::Malformed),
    /// Its signature, or its life.
    #[error(transparent)]
    Refused(#[from] jose::Refused),
    /// There is none.
    #[error("it is missing")]
    Absent,
    /// Nobody trusts its issuer.
    #[error("the issuer `{0}` is not trusted by policy")]
    Issuer(String),
    /// Not for us, or not for us alone.
    #[error("its `aud` is not `{expected}` alone")]
    Audience {
        /// What it must be.
        expected: String,
    },
    /// Another client.
    #[error("policy does not take it from the client `{0}`")]
    Client(String),
    /// It lives too long.
    #[error("it lives longer than the {allowed} seconds that policy allows")]
    TooLong {
        /// Seconds.
        allowed: u64,
    },
    /// A claim is not what policy asks for.
    #[error("its claim `{name}` is not `{wanted}`")]
    Claim {
        /// Which.
        name: String,
        /// What it must be.
        wanted: String,
    },
    /// Its subject is nobody that policy maps.
    #[error("its `sub` is nobody that policy knows")]
    Subject,
    /// It has no id, so that it could be used again.
    #[error("it has no `jti`")]
    NoId,
    /// The key that it asks the token to be bound to does not read, or cannot be bound to.
    #[error("its `requested_cnf` is no thumbprint of a key or certificate")]
    Confirmation,
    /// Its scope does not read.
    #[error("its `scope` does not read")]
    Scope,
}
