//! What a question is about, and whom it concerns: by our own records.

use access::call::standing;
use access::token::principal;
use approval::{Act, Sought, call_detail};
use authorization::granted::Granted;
use authzen::Request;
use env::{Key, Snapshot, Store, Unavailable, World};
use gateway::Target;
use pdp::{Asked, Principal, PrincipalKind, What};
use registry::{AgentRecord, ClientRecord, UserRecord};
use serde_json::Value;

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

/// Name and owner of a client or agent, by its record.
pub(crate) async fn named<W: World>(world: &W, id: &str) -> Result<(String, String), Unavailable> {
    let keys = [Key::of::<AgentRecord>(id), Key::of::<ClientRecord>(id)];
    let rows = world.store().snapshot(&keys).await?;
    if let Some(agent) = rows.get::<AgentRecord>(id)? {
        return Ok((agent.entry.name.to_string(), agent.entry.owner.clone()));
    }
    let client = rows.get::<ClientRecord>(id)?;
    let name = client.and_then(|client| client.metadata.client_name.clone());
    Ok((name.unwrap_or_default(), String::new()))
}

/// In whose name it is; empty where no human stands behind it.
pub(crate) fn behalf<'a>(asked: &'a Asked<'_>) -> &'a str {
    let own = asked.kind == Some(PrincipalKind::User) && asked.subject.is_empty();
    if own { &asked.principal } else { &asked.subject }
}

/// As what the record of `id` has it; `None` where there is none.
fn kind_of(rows: &Snapshot, id: &str) -> Result<Option<PrincipalKind>, Unavailable> {
    if let Some(agent) = rows.get::<AgentRecord>(id)? {
        return Ok(Some(principal(id, Some(&agent.value), None).kind));
    }
    if let Some(client) = rows.get::<ClientRecord>(id)? {
        return Ok(Some(principal(id, None, Some(&client.value)).kind));
    }
    Ok(rows.get::<UserRecord>(id)?.map(|_| PrincipalKind::User))
}

/// The first of those whom it concerns of whom there is no record, or one of another kind than was
/// said. Who acts for nobody whom we know cannot be told from who acts for somebody disabled.
pub(crate) fn unknown(rows: &Snapshot, asked: &Asked<'_>) -> Result<Option<String>, Unavailable> {
    for id in asked.concerned() {
        let kind = kind_of(rows, &id)?;
        let said = asked.subject_kind.filter(|_| id == asked.subject);
        if kind.is_none() || said.is_some_and(|said| Some(said) != kind) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What a human is shown of `request`: all that an approval of it is bound to. `None` where its
/// arguments have no one text.
pub(crate) fn sought(
    asked: &Asked<'_>,
    request: &Request,
    message: Option<String>,
) -> Option<Sought> {
    let arguments = asked.arguments();
    let arguments_hash = call_detail::hash_of(&arguments).ok()?;
    let (action, what) = (asked.action().to_owned(), asked.below());
    let act = Act { action, what, arguments, arguments_hash };
    let scope = asked.listed.and_then(|action| action.scope.clone()).into_iter().collect();
    let details = vec![call_detail::to_value(&act, &asked.audience, false)];
    let bound = asked.bound(request);
    let mut question = bound.as_object().cloned().unwrap_or_default();
    // Who acts is said as it is of every question; the arguments stand beside the action.
    question.remove(pdp::ACTS);
    if let Some(Value::Object(context)) = question.get_mut("context") {
        context.remove(pdp::ARGUMENTS);
    }
    Some(Sought {
        targets: [(asked.audience.clone(), Granted { scope, details })].into(),
        act: Some(act),
        question,
        message,
        ..Sought::default()
    })
}
