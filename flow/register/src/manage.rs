//! `GET`, `PUT`, `DELETE` of `registration_client_uri` (RFC 7592): a client manages itself, with
//! the registration access token that it got with its registration.

use env::{Clock, Expect, Key, Stored, Unavailable, World, Write};
use monitoring::Event;
use oauth::ClientId;
use oauth::client_metadata::ClientMetadataError;
use oauth::registration::Registration;
use registry::ClientRecord;
use registry::admission::OnChange;
use registry::client::{Origin, matches_hash};
use serde_json::{Map, Value};

use crate::endpoint::UNUSED_LIFE;
use crate::ends::{self, Ending};
use crate::facts::{Basis, basis};
use crate::record::begin;
use crate::refusal::{End, Refusal, settle};
use crate::secrets::{self, MANAGER, Secret};
use crate::taking::{Answer, answer, read, signable, under_its_profiles, with_secret};
use crate::turns::{TRIES_MAX, overtaken, pause};

/// What it wants.
#[derive(Clone, Debug)]
pub enum Act {
    /// To see what is registered.
    Read,
    /// Other metadata, in place of all that was (RFC 7592 §2.2).
    Replace(String),
    /// To be gone.
    Delete,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client that the URL names.
    pub client_id: String,
    /// The registration access token.
    pub token: Option<Secret>,
    /// What it wants.
    pub act: Act,
}

impl Request {
    /// A request about this client, with this bearer token.
    pub fn new(client_id: String, token: Option<&str>, act: Act) -> Self {
        Self { client_id, token: token.map(Secret::shown), act }
    }
}

/// Answers it; `None` where nothing is left to be told.
pub async fn manage<W: World>(
    world: &W,
    request: &Request,
) -> Result<End<Option<Answer>>, Unavailable> {
    for turn in 0..TRIES_MAX {
        match attempt(world, request).await? {
            Some(end) => return Ok(end),
            None => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// One try; `None` when another commit came first.
async fn attempt<W: World>(
    world: &W,
    request: &Request,
) -> Result<Option<End<Option<Answer>>>, Unavailable> {
    let facts = basis(world, vec![Key::of::<ClientRecord>(&request.client_id)]).await?;
    let client = facts.rows.get::<ClientRecord>(&request.client_id)?;
    // RFC 7592 §2.1: "If the client does not exist on this server, the server MUST respond with
    // HTTP 401 Unauthorized": told apart from a wrong token by nothing.
    let token = request.token.as_ref().filter(|token| secrets::is_of(MANAGER, token.expose()));
    let managed = client.zip(token).filter(|(one, token)| one.is_managed_by(token.expose()));
    let Some((client, token)) = managed else {
        return Ok(Some(End::Stranger(Refusal::UnknownToken)));
    };
    let mut record = begin(world, Event::ClientRegistered);
    record.agent = Some(client.client_id.clone());
    record.subject = Some(client.client_id.clone());
    record.policy = Some(facts.version());
    record.action = match request.act {
        Act::Read => "client.read",
        Act::Replace(_) => "client.update",
        Act::Delete => "client.delete",
    }
    .to_owned();
    let decided = match client.is_enabled() {
        Err(disabled) => Err(disabled.into()),
        Ok(()) => act(world, &facts, &client, token, &request.act).await?,
    };
    Ok(settle(world, record, decided).await?.map(End::Decided))
}

type Decided = Result<(Option<Answer>, Vec<Write>), Refusal>;

async fn act<W: World>(
    world: &W,
    facts: &Basis,
    client: &Stored<ClientRecord>,
    token: &Secret,
    act: &Act,
) -> Result<Decided, Unavailable> {
    let id = client.client_id.as_str();
    Ok(match act {
        Act::Read => answer(world, client, Some(token), None).map(|told| (Some(told), Vec::new())),
        Act::Delete => {
            // Before the record goes: what a stop leaves is a client without grants.
            let ending = Ending::by(id, "its client deleted itself");
            ends::end_client(world, id, ending).await?;
            let gone = Write::delete::<ClientRecord>(id, Expect::Version(client.version));
            Ok((None, vec![gone]))
        }
        Act::Replace(text) => {
            let made = replaced(world, facts, client, token, text);
            let (new, told) = match signable(world, made).await? {
                Ok(done) => done,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let changed = client.metadata.changed_identity(&new.metadata);
            let policy = &facts.set().domain().registration;
            if !changed.is_empty() && policy.on_change == OnChange::EndGrants {
                let why = format!("its client changed: {}", changed.join(", "));
                ends::end_client(world, id, Ending::by(id, &why)).await?;
            }
            Ok((Some(told), vec![Write::put(&new, Expect::Version(client.version))]))
        }
    })
}

/// The client as it wants to be. State, profiles and terms that an operator set stay as they are
/// (docs/past-defects.md 8).
fn replaced<W: World>(
    world: &W,
    facts: &Basis,
    client: &ClientRecord,
    token: &Secret,
    text: &str,
) -> Result<(ClientRecord, Answer), Refusal> {
    let now = world.clock().now();
    let id = ClientId::parse(&client.client_id)
        .map_err(|_| Refusal::Unknown(client.client_id.clone()))?;
    Registration::parse_update(text, &id)?;
    let mut members: Map<String, Value> =
        jose::json::parse(text).map_err(ClientMetadataError::Json)?;
    // RFC 7592 §2.2: "If the client includes the "client_secret" field in the request, the value of
    // this field MUST match the currently issued client secret for that client."
    if let Some(shown) = members.remove("client_secret").filter(|shown| !shown.is_null()) {
        let is_its = |text| client.secret.is_some() && matches_hash(client.secret.as_deref(), text);
        if !shown.as_str().is_some_and(is_its) {
            return Err(ClientMetadataError::OtherSecret.into());
        }
    }
    let metadata = read(facts, members, client.origin, now)?;
    let life = facts.set().domain().registration.stranger_life;
    // One that was never used does not keep itself by being written.
    let unused = client.registered.plus(UNUSED_LIFE);
    let until = client.until.map(|until| if until > unused { now.plus(life) } else { until });
    let until = until.filter(|_| client.origin == Origin::Open);
    let new = ClientRecord { until, ..client.with_metadata(metadata) };
    under_its_profiles(&new)?;
    let (new, secret) = with_secret(world, new);
    let told = answer(world, &new, Some(token), secret)?;
    Ok((new, told))
}
