//! The client of a request: an agent of the registry or a registered client, as the authorization
//! endpoint and its user see it.

use std::collections::BTreeSet;

use access::token::client::ClientRefusal;
use authorization::client::Redirects;
use authorization::profile::{self, Demand, demands};
use env::{Key, Snapshot, Store, Unavailable, World};
use identifier::Kind;
use jose::Algorithm;
use oauth::metadata_document::ClientIdUrl;
use oauth::redirect_uri::RedirectUri;
use oauth::token_request::GrantType;
use oauth::{ClientId, ScopeSet};
use pdp::{Principal, PrincipalKind};
use provisioning::NotInForce;
use registry::client::Origin;
use registry::{AgentRecord, ClientRecord, Registration, Signed};
use serde::Serialize;

use crate::sign::ALGORITHM;

/// The rows that [`Client::find`] reads.
pub(crate) fn keys(id: &str) -> [Key; 2] {
    [Key::of::<AgentRecord>(id), Key::of::<ClientRecord>(id)]
}

/// A client that may send users here.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) redirects: Redirects,
    /// The widest scope that it may ever ask for.
    pub(crate) widest: Option<ScopeSet>,
    /// Whether it proves nothing but its name.
    pub(crate) is_public: bool,
    /// What its profiles want of its requests.
    pub(crate) demands: BTreeSet<Demand>,
    /// What a resource cannot demand of it: it registered otherwise.
    pub(crate) lacks: BTreeSet<Demand>,
    /// What signed answers to it are signed by.
    pub(crate) signed_by: Algorithm,
    /// As the PDP sees it.
    pub(crate) principal: Principal,
    /// As its user sees it.
    pub(crate) asker: Asker,
    /// Whether it registered the code grant.
    pub(crate) has_code_grant: bool,
    /// Whether somebody here let it in, and with it the places that browsers are sent to.
    pub(crate) is_known: bool,
}

/// Who asks, for the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asker {
    /// Its id.
    pub client_id: String,
    /// What it calls itself.
    pub name: String,
    /// What it is.
    pub kind: AskerKind,
}

/// What a client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AskerKind {
    /// An agent or service of the registry.
    Agent {
        /// Whether it is an agent; otherwise a service.
        is_agent: bool,
        /// Who answers for it.
        owner: String,
        /// What it is able to do.
        capabilities: Vec<String>,
        /// What nodes measure of its processes and must find so: it is attested by that.
        measured: Vec<String>,
    },
    /// A registered client.
    Registered {
        /// Whether it proves nothing but its name.
        is_public: bool,
        /// Who brought it here.
        brought: Brought,
    },
}

/// Who vouches for a registered client's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Brought {
    /// An operator, or whoever an operator invited.
    Operator,
    /// Nobody: it registered itself.
    Itself,
    /// Nobody: it is known by a document that it publishes on this host.
    Document {
        /// The host.
        host: String,
    },
}

impl AskerKind {
    fn of_agent(entry: &Registration) -> Self {
        Self::Agent {
            is_agent: entry.kind == Kind::Agent,
            owner: entry.owner.clone(),
            capabilities: entry.capabilities.iter().cloned().collect(),
            measured: entry.rule.selectors.iter().map(ToString::to_string).collect(),
        }
    }

    fn of_client(client: &ClientRecord) -> Self {
        let brought = match client.origin {
            Origin::Operator | Origin::Invited => Brought::Operator,
            Origin::Open => Brought::Itself,
            Origin::Document => {
                // draft-ietf-oauth-client-id-metadata-document §6.4: "The authorization server
                // SHOULD display the hostname of the client_id on the authorization interface".
                let url = ClientIdUrl::parse(&client.client_id).ok();
                let host = url.map_or_else(|| client.client_id.clone(), |url| url.host().into());
                Brought::Document { host }
            }
        };
        Self::Registered { is_public: client.public, brought }
    }
}

/// What the client of that id is, whatever it may do now; `None` where nobody knows it.
pub async fn kind_of<W: World>(world: &W, id: &str) -> Result<Option<AskerKind>, Unavailable> {
    let rows = world.store().snapshot(&keys(id)).await?;
    if let Some(agent) = rows.get::<AgentRecord>(id)? {
        return Ok(Some(AskerKind::of_agent(&agent.entry)));
    }
    let client = rows.get::<ClientRecord>(id)?;
    Ok(client.map(|client| AskerKind::of_client(&client)))
}

/// Why a client may send nobody here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It says who it is by a document or keys that are not to be had.
    #[error(transparent)]
    Published(#[from] access::documents::Unread),
    /// There is none of that id.
    #[error("no client `{0}` is known here (RFC 6749 §4.1.2.1)")]
    Unknown(String),
    /// It is disabled.
    #[error("{0}")]
    Disabled(String),
    /// It is an agent that is not in force.
    #[error("the agent is not in force: {0}")]
    NotInForce(NotInForce),
    /// It registered no redirect URI.
    #[error("the client registered no `redirect_uri` (RFC 6749 §3.1.2.2)")]
    NoRedirects,
    /// It did not prove who it is.
    #[error(transparent)]
    Unproved(#[from] ClientRefusal),
}

impl Client {
    /// Whether it is an agent or service of ours, which can prove itself to another.
    pub(crate) const fn is_workload(&self) -> bool {
        matches!(self.asker.kind, AskerKind::Agent { .. })
    }

    /// The client of that id, if it may send users here.
    pub(crate) fn find(id: &ClientId, rows: &Snapshot) -> Result<Result<Self, Unfit>, Unavailable> {
        if let Some(agent) = rows.get::<AgentRecord>(id.as_str())? {
            return Ok(Self::of_agent(id, &agent));
        }
        if let Some(client) = rows.get::<ClientRecord>(id.as_str())? {
            return Ok(Self::of_client(id, &client));
        }
        Ok(Err(Unfit::Unknown(oauth::parameter::evidence(id.as_str()))))
    }

    fn of_agent(id: &ClientId, agent: &AgentRecord) -> Result<Self, Unfit> {
        // docs/past-defects.md 8: who is disabled gets nothing, and is shown to nobody as a client.
        agent.lifecycle.is_active().map_err(Unfit::NotInForce)?;
        let entry = &agent.entry;
        let redirects = entry.client.redirects.clone().ok_or(Unfit::NoRedirects)?;
        let is_agent = entry.kind == Kind::Agent;
        let kind = if is_agent { PrincipalKind::Agent } else { PrincipalKind::Service };
        let (name, owner) = (entry.name.to_string(), entry.owner.clone());
        let capabilities = entry.capabilities.iter().cloned();
        let principal = Principal::new(kind, id.as_str(), &name, &owner, capabilities);
        let kind = AskerKind::of_agent(entry);
        Ok(Self {
            id: id.clone(),
            redirects,
            widest: entry.client.scope_max.clone(),
            is_public: false,
            demands: BTreeSet::new(),
            lacks: profile::unmet_by_agent(&entry.client),
            signed_by: ALGORITHM,
            principal,
            asker: Asker { client_id: id.to_string(), name, kind },
            has_code_grant: true,
            is_known: true,
        })
    }

    fn of_client(id: &ClientId, client: &ClientRecord) -> Result<Self, Unfit> {
        client.is_enabled().map_err(|why| Unfit::Disabled(why.to_string()))?;
        let redirects = client.redirects.clone().ok_or(Unfit::NoRedirects)?;
        let metadata = &client.metadata;
        let name = metadata.client_name.clone().unwrap_or_else(|| id.to_string());
        let principal =
            Principal::new(PrincipalKind::Client, id.as_str(), &name, String::new(), Vec::new());
        let is_public = client.public;
        Ok(Self {
            id: id.clone(),
            redirects,
            widest: Some(metadata.scope.clone()).filter(|scope| !scope.is_empty()),
            is_public,
            demands: demands(&client.profiles),
            lacks: profile::unmet_by(metadata),
            signed_by: client.signed_by(Signed::AuthorizationResponse),
            principal,
            asker: Asker { client_id: id.to_string(), name, kind: AskerKind::of_client(client) },
            is_known: matches!(client.origin, Origin::Operator | Origin::Invited),
            has_code_grant: metadata.grant_types.contains(&GrantType::AuthorizationCode),
        })
    }

    /// Whether what a user allowed before may stand for an answer now.
    ///
    /// RFC 8252 §8.6: "authorization servers SHOULD NOT process authorization requests
    /// automatically without user consent or interaction, except when the identity of the client
    /// can be assured."
    pub(crate) fn is_assured(&self, uri: &RedirectUri) -> bool {
        !self.is_public && !self.redirects.may_be_another(uri)
    }
}
