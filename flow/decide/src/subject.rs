//! What a question is about, and whom it concerns: by our own records.

use access::call::standing;
use access::token::principal;
use approval::{Act, call_detail};
use authzen::Request;
use env::{Key, Snapshot, Unavailable};
use gateway::Target;
use pdp::{Asked, Principal, PrincipalKind, What};
use registry::{AgentRecord, ClientRecord, UserRecord};

use crate::Refusal;
use crate::facts::Basis;
use crate::pep::Pep;

/// What `request` asks about, if the client may ask about that.
pub(crate) fn read<'f>(
    facts: &'f Basis,
    pep: &Pep,
    (issuer, gateway): (&str, &str),
    request: &Request,
) -> Result<Asked<'f>, Refusal> {
    let client = || pep.client_id().to_owned();
    let resources = facts.set().resources();
    let find = |id: &str| {
        let found = resources.iter().find(|one| one.audience(gateway) == id);
        found.filter(|one| one.decide.contains(pep.client_id()))
    };
    let asked = Asked::read(request, issuer, find).map_err(|misfit| match misfit {
        // Who is not listed is not told what there is.
        pdp::Misfit::NoResource { .. } | pdp::Misfit::ResourceType { .. } => {
            Refusal::NotListed { client: client() }
        }
        misfit => Refusal::Misfit(misfit),
    })?;
    if let What::Request { path, query, .. } = &asked.what {
        // As at the gateway: a path is decided on that reads in one way.
        let target = format!("/{}{path}", asked.resource.name);
        if Target::parse(&target, query.as_deref())?.below() != path {
            return Err(gateway::PathError::NotAbsolute.into());
        }
    }
    Ok(asked)
}

/// The rows of everybody whom it concerns.
pub(crate) fn keys(asked: &Asked<'_>) -> Vec<Key> {
    standing::keys(&asked.concerned(), &[])
}

/// The principal, as its record has it.
pub(crate) struct Known {
    pub(crate) principal: Principal,
    pub(crate) name: String,
    pub(crate) owner: String,
}

impl Known {
    /// `None` where there is no record of it, or one of another kind than was said.
    pub(crate) fn of(rows: &Snapshot, asked: &Asked<'_>) -> Result<Option<Self>, Unavailable> {
        let id = asked.principal.as_str();
        let agent = rows.get::<AgentRecord>(id)?;
        let client = rows.get::<ClientRecord>(id)?;
        let user = rows.get::<UserRecord>(id)?;
        let (principal, name, owner) = match (agent, client, user) {
            (Some(agent), ..) => {
                let (name, owner) = (agent.entry.name.to_string(), agent.entry.owner.clone());
                (principal(id, Some(&agent.value), None), name, owner)
            }
            (None, Some(client), _) => {
                let name = client.metadata.client_name.clone().unwrap_or_default();
                (principal(id, None, Some(&client.value)), name, String::new())
            }
            (None, None, Some(user)) => {
                let roles = user.roles.iter().cloned();
                let (kind, name) = (PrincipalKind::User, user.name.as_str());
                let shown = user.display_name.clone();
                (Principal::new(kind, id, name, "", roles), shown, String::new())
            }
            (None, None, None) => return Ok(None),
        };
        let fits = match asked.kind {
            Some(said) => said == principal.kind,
            // A person acts for nobody else.
            None => principal.kind != PrincipalKind::User,
        };
        Ok(fits.then_some(Self { principal, name, owner }))
    }
}

/// In whose name it is; empty where no human stands behind it.
pub(crate) fn behalf<'a>(asked: &'a Asked<'_>) -> &'a str {
    let own = asked.kind == Some(PrincipalKind::User) && asked.subject.is_empty();
    if own { &asked.principal } else { &asked.subject }
}

/// The one action, as a human is shown it; `None` where its arguments have no one text.
pub(crate) fn act(asked: &Asked<'_>) -> Option<Act> {
    let arguments_hash = call_detail::hash_of(&asked.arguments).ok()?;
    let (action, what) = (asked.action().to_owned(), asked.below());
    Some(Act { action, what, arguments: asked.arguments.clone(), arguments_hash })
}
