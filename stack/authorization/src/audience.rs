//! What a token can be for: a resource that policy describes, or an agent that may be called.

use oauth::ScopeSet;
use oauth::authorization_details::Schema;

use jose::Algorithm;

use crate::policy::{Format, Proof, ResourcePolicy, SubjectKind};
use crate::profile::{Demand, STRONG, demands};

/// A target that a token may have as its one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The value of `aud`.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// What a token for it must come with.
    pub proof: Proof,
    /// Whether the proofs of its callers are signed by [`STRONG`] algorithms alone.
    pub is_strong: bool,
    /// The scopes that a token for it may have.
    pub scopes: ScopeSet,
    /// What a token for it looks like.
    pub format: Format,
    /// Whom its tokens name.
    pub subject: SubjectKind,
    /// Whether its tokens say what the attestation of the agent came to.
    pub attestation: bool,
    /// Whether its tokens have a place in a status list.
    pub status: bool,
    /// The types of `authorization_details` that it knows.
    pub schemas: Vec<Schema>,
    /// Whether it is our own UserInfo endpoint.
    pub is_userinfo: bool,
}

/// Where decisions are asked for (AuthZEN), below the issuer.
pub const ACCESS_PATH: &str = "/access/v1";
/// Where our UserInfo endpoint is, below the issuer.
pub const USERINFO_PATH: &str = "/userinfo";
/// What OpenID Connect has scopes for (Core 1.0 §5.4, §11).
const OPENID: &str = "openid profile email offline_access";

impl Audience {
    /// A resource of policy.
    pub fn of_resource(resource: &ResourcePolicy, gateway: &str) -> Self {
        Self {
            id: resource.audience(gateway),
            name: resource.name.clone(),
            proof: resource.proof,
            is_strong: demands(&resource.profiles).contains(&Demand::StrongAlgorithms),
            scopes: resource.scope_set(),
            format: resource.token,
            subject: resource.subject,
            attestation: resource.attestation,
            status: resource.status,
            schemas: resource.schemas(),
            is_userinfo: false,
        }
    }

    /// What of `all` the DPoP proofs of its callers may be signed with.
    pub fn proof_algorithms<'a>(&self, all: &'a [Algorithm]) -> &'a [Algorithm] {
        // FAPI 2.0 SP §5.4.1: "shall use `PS256`, `ES256`, or `EdDSA`"; a proof is a JWT, too.
        if self.is_strong { STRONG } else { all }
    }

    /// An agent as protected resource (S4 §10.3.3). It may be handed any scope that some resource
    /// declares: it uses them by exchange, each for the resource that knows it.
    pub fn of_agent(id: String, name: String, known: ScopeSet) -> Self {
        let plain = Self { is_userinfo: false, ..Self::userinfo("") };
        Self { id, name, proof: Proof::Wit, scopes: known, ..plain }
    }

    /// Where decisions are asked for (AuthZEN), as a resource of its own: what its clients may ask
    /// about, the resources say.
    pub fn access(issuer: &str, proof: Proof) -> Self {
        let plain = Self { is_userinfo: false, ..Self::userinfo("") };
        let (id, name) = (format!("{issuer}{ACCESS_PATH}"), "access".to_owned());
        Self { id, name, proof, scopes: ScopeSet::default(), ..plain }
    }

    /// Our own UserInfo endpoint (OpenID Connect Core 1.0 §5.3): what it tells is by its scopes.
    pub fn userinfo(issuer: &str) -> Self {
        Self {
            id: format!("{issuer}{USERINFO_PATH}"),
            name: "userinfo".to_owned(),
            // §5.3.1: "The UserInfo Endpoint MUST accept Access Tokens as OAuth 2.0 Bearer Token
            // Usage".
            proof: Proof::Bearer,
            is_strong: false,
            scopes: ScopeSet::parse(OPENID).unwrap_or_default(),
            format: Format::Jwt,
            subject: SubjectKind::Public,
            attestation: false,
            status: false,
            schemas: Vec::new(),
            is_userinfo: true,
        }
    }
}
