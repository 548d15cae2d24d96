//! The rows of each list.

use approval::{Approval, State, Whom};
use authentication::session::Session;
use authentication::user_agent::browser_name;
use basis::facts::{Basis, basis, one};
use consent::acting::{self, Acting};
use env::{Clock, Index, Unavailable, World};
use people::orders;
use registry::{AgentRecord, ClientRecord, UserRecord};
use time::UnixTime;

use super::{OPERATE, detail};
use crate::Shared;
use crate::pages::acting::{by, rights};
use crate::pages::approvals::what;
use crate::visit::Visit;
use crate::words::moment;

/// A row of a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) cells: Vec<String>,
    /// What tells it from others of one name, below the first cell: what it is, and the text.
    pub(super) apart: Vec<(&'static str, String)>,
    /// Where all is told that its record says.
    pub(super) open: Option<String>,
    /// Where its story is told.
    pub(super) story: Option<String>,
    /// Action and form of the button that ends it.
    pub(super) end: Option<(String, String)>,
}

impl Row {
    /// Of a record that has a page of its own.
    fn record(here: &str, id: String, cells: Vec<String>) -> Self {
        let open = Some(detail::place(here, &id));
        Self { id, cells, apart: Vec::new(), open, story: None, end: None }
    }

    /// Whether what it shows has `wanted` in it, which is in small letters.
    pub(super) fn shows(&self, wanted: &str) -> bool {
        let apart = self.apart.iter().map(|(_, text)| text);
        self.cells.iter().chain(apart).any(|text| text.to_lowercase().contains(wanted))
    }
}

/// What stands over the columns of a list.
pub(super) fn heads(here: &str) -> &'static [&'static str] {
    match here {
        "agents" => &["Name", "Run by", "Identifier", "State"],
        "clients" => &["Name", "Identifier", "Registered", "State"],
        "users" => &["Name", "Identifier", "Roles", "Passkeys", "State"],
        "sessions" => &["Of", "Signed in by", "Browser", "Since", "Last seen"],
        "approvals" => &["Asked by", "For", "What", "Who is asked", "When", "State"],
        _ => &["Client", "For", "May", "Last used", "State"],
    }
}

/// Rows, and where the next page begins.
pub(super) type Rows = (Vec<Row>, Option<String>);

/// Where rows are looked for: the rows of one user or client, or all of a list.
pub(super) type Within<'a> = (Index, &'a str);

/// A page of a list.
pub(super) async fn page<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    here: &str,
    within: Within<'_>,
    after: Option<&str>,
    most: usize,
) -> Result<Rows, Unavailable> {
    let world = shared.world.as_ref();
    Ok(match here {
        "agents" => {
            let (found, next) = flow::agents::list(world, after, most).await?;
            (found.iter().map(agent).collect(), next)
        }
        "clients" => {
            let (found, next) = flow::clients::list(world, after, most).await?;
            (found.iter().map(client).collect(), next)
        }
        "users" => {
            let (found, next) = orders::list(world, after, most).await?;
            (found.iter().map(user).collect(), next)
        }
        "sessions" => {
            let (found, next) = people::sessions::page_of(world, within, after, most).await?;
            (found.into_iter().map(|one| session(visit, one)).collect(), next)
        }
        "approvals" => {
            let (found, next) = approve::list::page_of(world, within, after, most).await?;
            let facts = basis(world, Vec::new()).await?;
            (found.into_iter().map(|one| approval(world, &facts, one)).collect(), next)
        }
        _ => {
            let (found, next) = acting::page(world, within, after, most).await?;
            let (facts, now) = (basis(world, Vec::new()).await?, world.clock().now());
            (found.iter().map(|one| grant(world, &facts, visit, one, now)).collect(), next)
        }
    })
}

/// The row of just that identifier.
pub(super) async fn of_id<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    here: &str,
    id: &str,
) -> Result<Option<Row>, Unavailable> {
    let world = shared.world.as_ref();
    Ok(match here {
        "agents" => one::<W, AgentRecord>(world, id).await?.map(|found| agent(&found)),
        "clients" => one::<W, ClientRecord>(world, id).await?.map(|found| client(&found)),
        "users" => one::<W, UserRecord>(world, id).await?.map(|found| user(&found)),
        "approvals" => match approve::list::one(world, id).await? {
            Some(found) => Some(approval(world, &basis(world, Vec::new()).await?, found)),
            None => None,
        },
        "grants" => match acting::one(world, id).await? {
            Some(found) => {
                let (facts, now) = (basis(world, Vec::new()).await?, world.clock().now());
                Some(grant(world, &facts, visit, &found, now))
            }
            None => None,
        },
        _ => None,
    })
}

fn agent(one: &AgentRecord) -> Row {
    let state = one.lifecycle.state.name().to_owned();
    let (name, owner) = (one.entry.name.to_string(), one.entry.owner.clone());
    Row::record("agents", one.id.to_string(), vec![name, owner, one.id.to_string(), state])
}

fn client(one: &ClientRecord) -> Row {
    let name = one.metadata.client_name.clone().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "(no name)".to_owned());
    let state = if one.is_enabled().is_ok() { "enabled" } else { "disabled" };
    let id = one.client_id.clone();
    Row::record("clients", id.clone(), vec![name, id, moment(one.registered), state.to_owned()])
}

fn user(one: &UserRecord) -> Row {
    let roles: Vec<_> = one.roles.iter().cloned().collect();
    let state = people::standing::state_name(one.lifecycle.state);
    let passkeys = one.passkeys.len().to_string();
    let (name, state) = (one.display_name.clone(), state.to_owned());
    Row::record("users", one.id(), vec![name, one.id(), roles.join(", "), passkeys, state])
}

fn grant<W: World>(world: &W, facts: &Basis, visit: &Visit, one: &Acting, now: UnixTime) -> Row {
    let grant = &one.grant;
    let live = grant.is_live(now);
    let action = format!("{OPERATE}/grants/{}/end", grant.id);
    let all = rights(world, facts, &grant.targets, &grant.openid).into_iter();
    let all: Vec<_> = all.map(|right| format!("{}: {}", right.place, right.words)).collect();
    Row {
        id: grant.id.clone(),
        open: None,
        story: Some(story(&grant.id)),
        apart: apart(&one.client, &grant.client_id, &grant.id),
        cells: vec![
            one.client.clone(),
            grant.subject.clone(),
            all.join("; "),
            grant.used.as_ref().map_or("never".to_owned(), |used| moment(used.at)),
            live.as_ref().map_or_else(ToString::to_string, |()| "live".to_owned()),
        ],
        end: live.is_ok().then(|| {
            let form = visit.browser.form_value(&action);
            (action, form)
        }),
    }
}

fn session(visit: &Visit, one: Session) -> Row {
    let action = format!("{OPERATE}/sessions/{}/end", one.id);
    let form = visit.browser.form_value(&action);
    Row {
        cells: vec![
            one.user.clone(),
            by(one.authenticated.acr).to_owned(),
            browser_name(&one.browser),
            moment(one.began),
            moment(one.seen),
        ],
        apart: vec![("session", one.id.clone())],
        id: one.id,
        open: None,
        story: None,
        end: Some((action, form)),
    }
}

fn approval<W: World>(world: &W, facts: &Basis, one: Approval) -> Row {
    let whom = match &one.whom {
        Whom::User(user) => user.clone(),
        Whom::Role(role) => format!("anybody with the role {role}"),
        Whom::Typed => "whoever types the code".to_owned(),
    };
    let state = one.state_at(world.clock().now());
    let state = match (&one.answered, state) {
        (Some(answered), State::Used) => format!("allowed by {}, done", answered.by),
        (Some(answered), state) => format!("{} by {}", state.name(), answered.by),
        (None, state) => state.name().to_owned(),
    };
    let asks = &one.asks;
    let name = if asks.name.is_empty() { &asks.client_id } else { &asks.name };
    Row {
        cells: vec![
            name.clone(),
            one.asks.subject.clone(),
            what(world, facts, &one),
            whom,
            moment(one.created),
            state,
        ],
        apart: apart(name, &one.asks.client_id, &one.id),
        open: None,
        story: Some(story(&one.root)),
        id: one.id,
        end: None,
    }
}

/// What tells rows of one name apart: the client, unless that is its name, and the row itself.
fn apart(name: &str, client: &str, id: &str) -> Vec<(&'static str, String)> {
    let client = (client != name).then(|| ("client", client.to_owned()));
    client.into_iter().chain([("identifier", id.to_owned())]).collect()
}

/// The page with the story of what this began.
fn story(root: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("id", root).finish();
    format!("{OPERATE}/trace?{query}")
}
