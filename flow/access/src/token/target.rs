//! What a token is asked for: one resource or agent by its identifier, or a trust domain.

use authorization::Audience;
use authorization::grants::Grant;
use identifier::Kind;
use oauth::token_request::TokenRequest;

use super::People;
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

/// The one identifier that the request names.
pub(super) fn wanted(request: &TokenRequest) -> Result<&str, TargetRefusal> {
    let none = &[][..];
    let (resources, audiences) = match request {
        TokenRequest::ClientCredentials(request) => (request.resources.as_slice(), none),
        TokenRequest::TokenExchange(request) => {
            (request.resources.as_slice(), request.audiences.as_slice())
        }
        other => (other.resources(), none),
    };
    match (resources, audiences) {
        ([], []) => Err(TargetRefusal::None),
        ([one], []) => Ok(one.as_str()),
        ([], [one]) => Ok(one.as_str()),
        ([one], [other]) if one.as_str() == other.as_str() => Ok(one.as_str()),
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
    gateway: &str,
) -> Option<Audience> {
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
    if let Some(audience) = set.audience(wanted, gateway) {
        return Some(audience);
    }
    let agent = people.agents.iter().find(|agent| agent.id.as_str() == wanted)?;
    // A service is called at its own risk of being named in policy; an agent says whether it is.
    let callable = agent.entry.client.callable || agent.entry.kind == Kind::Service;
    let name = agent.entry.name.to_string();
    callable.then(|| Audience::of_agent(wanted.to_owned(), name, set.scopes()))
}
