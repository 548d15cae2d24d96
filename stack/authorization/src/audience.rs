//! What a token can be for: a resource that policy describes, or an agent that may be called.

use oauth::ScopeSet;

use crate::policy::{Proof, ResourcePolicy};

/// A target that a token may have as its one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The value of `aud`.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// What a token for it must come with.
    pub proof: Proof,
    /// The scopes that a token for it may have.
    pub scopes: ScopeSet,
}

impl Audience {
    /// A resource of policy.
    pub fn of_resource(resource: &ResourcePolicy, gateway: &str) -> Self {
        Self {
            id: resource.audience(gateway),
            name: resource.name.clone(),
            proof: resource.proof,
            scopes: resource.scope_set(),
        }
    }

    /// An agent as protected resource (S4 §10.3.3). It may be handed any scope that some resource
    /// declares: it uses them by exchange, each for the resource that knows it.
    pub fn of_agent(id: String, name: String, known: ScopeSet) -> Self {
        Self { id, name, proof: Proof::Wit, scopes: known }
    }
}
