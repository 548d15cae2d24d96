//! Whom a request concerns, and how they stand.

use std::collections::BTreeSet;

use authorization::client::Facet;
use authorization::grants::Standing;
use env::{Key, Store, Stored, Unavailable, World};
use identifier::Kind;
use pdp::{Principal, PrincipalKind};
use registry::{AgentRecord, ClientRecord, Signed, UserRecord};

/// How identifiers of ours begin: what has one of these forms and is not in the registry is
/// unknown, not foreign.
const OURS: &[&str] = &["spiffe://", "wimse://", "client-", registry::user::PREFIX];

/// The records of everybody whom a request concerns.
pub(crate) struct People {
    pub(crate) agents: Vec<Stored<AgentRecord>>,
    pub(crate) clients: Vec<Stored<ClientRecord>>,
    pub(crate) users: Vec<Stored<UserRecord>>,
}

impl People {
    /// Those of these ids that there are.
    pub(crate) async fn load<W: World>(
        world: &W,
        ids: &BTreeSet<String>,
    ) -> Result<Self, Unavailable> {
        let mut keys = Vec::with_capacity(ids.len() * 2);
        for id in ids {
            if id.starts_with(registry::user::PREFIX) {
                keys.push(Key::of::<UserRecord>(id));
            } else {
                keys.extend([Key::of::<AgentRecord>(id), Key::of::<ClientRecord>(id)]);
            }
        }
        let rows = world.store().snapshot(&keys).await?;
        let mut found = Self { agents: Vec::new(), clients: Vec::new(), users: Vec::new() };
        for id in ids {
            found.agents.extend(rows.get::<AgentRecord>(id)?);
            found.clients.extend(rows.get::<ClientRecord>(id)?);
            found.users.extend(rows.get::<UserRecord>(id)?);
        }
        Ok(found)
    }

    pub(crate) fn agent(&self, id: &str) -> Option<&Stored<AgentRecord>> {
        self.agents.iter().find(|agent| agent.id.as_str() == id)
    }

    pub(crate) fn client(&self, id: &str) -> Option<&Stored<ClientRecord>> {
        self.clients.iter().find(|client| client.client_id == id)
    }

    pub(crate) fn user(&self, id: &str) -> Option<&Stored<UserRecord>> {
        self.users.iter().find(|user| user.id() == id)
    }

    /// What a decision is told of a client.
    pub(crate) fn principal(&self, id: &str) -> Principal {
        let agent = self.agent(id).map(|one| &*one.value);
        let client = self.client(id).map(|one| &*one.value);
        principal(id, agent, client)
    }

    /// How an identifier stands.
    pub(crate) fn standing(&self, id: &str) -> Standing<'_> {
        if let Some(agent) = self.agent(id) {
            return Standing::Agent(&agent.lifecycle);
        }
        if let Some(client) = self.client(id) {
            let enabled = client.is_enabled().map(|()| client.dead_before);
            return Standing::Client(enabled.map_err(|refusal| refusal.to_string()));
        }
        if let Some(user) = self.user(id) {
            return Standing::User(&user.lifecycle);
        }
        let ours = OURS.iter().any(|prefix| id.starts_with(prefix));
        if ours { Standing::Unknown } else { Standing::Foreign }
    }

    /// What the caller may do as a client: an agent's facet, or the scope that a client
    /// registered.
    pub(crate) fn facet(&self, id: &str) -> Facet {
        match (self.agent(id), self.client(id)) {
            (Some(agent), _) => agent.entry.client.clone(),
            (None, Some(client)) => {
                let scope = Some(client.metadata.scope.clone()).filter(|scope| !scope.is_empty());
                let signed = Some(client.signed_by(Signed::IdToken));
                Facet { scope_max: scope, id_token_signed_response_alg: signed, ..Facet::default() }
            }
            (None, None) => Facet::default(),
        }
    }
}

/// What a decision is told of the one who asks.
pub fn principal(
    id: &str,
    agent: Option<&AgentRecord>,
    client: Option<&ClientRecord>,
) -> Principal {
    match (agent, client) {
        (Some(agent), _) => {
            let kind = match agent.entry.kind {
                Kind::Agent => PrincipalKind::Agent,
                Kind::Service => PrincipalKind::Service,
            };
            let (name, owner) = (agent.entry.name.to_string(), agent.entry.owner.clone());
            Principal::new(kind, id, name, owner, agent.entry.capabilities.iter().cloned())
        }
        (None, Some(client)) => {
            let name = client.metadata.client_name.clone().unwrap_or_default();
            Principal::new(PrincipalKind::Client, id, name, String::new(), Vec::new())
        }
        (None, None) => Principal::new(PrincipalKind::Client, id, "", "", Vec::new()),
    }
}
