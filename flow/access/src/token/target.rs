//! What a token is asked for: one resource or agent by its identifier, or a trust domain.

use authorization::Audience;
use authorization::grants::Grant;
use env::Site;
use identifier::Kind;
use oauth::token_request::TokenRequest;

use super::brought::{self, Brought};
use super::people::People;
use crate::facts::Basis;

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefusal {
    /// None was named.
    #[error("no `resource` or `audience`: name the one that the token is for")]
    None,
    /// Several were. RFC 9700 §2.3: a token is restricted to one resource server.
    #[error("several of `resource` and `audience`: a token is for one")]
    Several,
}

/// The one identifier that the request names, or that what it brings leads to.
pub(super) fn wanted(
    request: &TokenRequest,
    brought: &Brought,
    userinfo: &str,
) -> Result<String, TargetRefusal> {
    let resources = brought::resources(request.resources());
    let audiences = match request {
        TokenRequest::TokenExchange(request) => request.audiences.as_slice(),
        _ => &[],
    };
    match (resources.as_slice(), audiences) {
        ([], []) => brought::default_target(brought, userinfo).ok_or(TargetRefusal::None),
        ([one], []) => Ok((*one).to_owned()),
        ([], [one]) => Ok(one.as_str().to_owned()),
        ([one], [other]) if *one == other.as_str() => Ok((*one).to_owned()),
        _ => Err(TargetRefusal::Several),
    }
}

/// What the identifier stands for, if we know it: a resource of policy, or an agent that may be
/// called; for a transaction token our trust domain, and nothing else.
pub(super) fn resolve(
    grant: Grant,
    wanted: &str,
    facts: &Basis,
    people: &People,
    site: &Site,
) -> Option<Audience> {
    let userinfo = Audience::userinfo(&site.issuer);
    if wanted == userinfo.id {
        // What it tells is about a user who allowed it.
        let of_a_user = matches!(grant, Grant::AuthorizationCode | Grant::RefreshToken);
        return of_a_user.then_some(userinfo);
    }
    let access = Audience::access(&site.issuer, facts.set().domain().decisions.proof);
    if wanted == access.id {
        // Who asks for decisions asks in its own name.
        return (grant == Grant::ClientCredentials).then_some(access);
    }
    let set = facts.set();
    let domain = set.domain().trust_domain.as_str();
    // draft-ietf-oauth-transaction-tokens §11.1: "audience REQUIRED. The value MUST be set to the
    // Trust Domain name."
    if (wanted == domain) != (grant == Grant::Transaction) {
        return None;
    }
    if wanted == domain {
        let (id, name) = (domain.to_owned(), domain.to_owned());
        return Some(Audience::of_agent(id, name, set.scopes()));
    }
    if let Some(audience) = set.audience(wanted, &site.gateway) {
        return Some(audience);
    }
    let agent = people.agents.iter().find(|agent| agent.id.as_str() == wanted)?;
    // A service is called at its own risk of being named in policy; an agent says whether it is.
    let callable = agent.entry.client.callable || agent.entry.kind == Kind::Service;
    let name = agent.entry.name.to_string();
    callable.then(|| Audience::of_agent(wanted.to_owned(), name, set.scopes()))
}
