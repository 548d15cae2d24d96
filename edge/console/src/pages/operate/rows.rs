//! The rows of each list.

use approval::{Approval, State, Whom};
use authentication::session::Session;
use authentication::user_agent::browser_name;
use consent::acting;
use env::{Clock, Unavailable, World};
use people::orders;

use super::{OPERATE, ROWS_MAX};
use crate::Shared;
use crate::pages::acting::{by, rights};
use crate::pages::approvals::what;
use crate::visit::Visit;
use crate::words::moment;

/// A row of a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) cells: Vec<String>,
    /// What tells it from others of one name, below the first cell.
    pub(super) apart: Option<String>,
    /// Where its story is told.
    pub(super) story: Option<String>,
    /// Action and form of the button that ends it.
    pub(super) end: Option<(String, String)>,
}

/// What stands over the columns, the rows, and where the next page begins.
pub(super) type Rows = (&'static [&'static str], Vec<Row>, Option<String>);

pub(super) async fn of<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    here: &str,
    after: Option<&str>,
) -> Result<Rows, Unavailable> {
    let world = shared.world.as_ref();
    match here {
        "agents" => agents(world, after).await,
        "clients" => clients(world, after).await,
        "users" => users(world, after).await,
        "sessions" => sessions(world, visit, after).await,
        "approvals" => approvals(world, after).await,
        _ => grants(world, visit, after).await,
    }
}

fn plain(id: String, cells: Vec<String>) -> Row {
    Row { id, cells, apart: None, story: None, end: None }
}

async fn agents<W: World>(world: &W, after: Option<&str>) -> Result<Rows, Unavailable> {
    let (found, next) = flow::agents::list(world, after, ROWS_MAX).await?;
    let row = |one: registry::AgentRecord| {
        let state = one.lifecycle.state.name().to_owned();
        let (name, owner) = (one.entry.name.to_string(), one.entry.owner.clone());
        plain(one.id.to_string(), vec![name, owner, one.id.to_string(), state])
    };
    let heads = &["Name", "Run by", "Identifier", "State"];
    Ok((heads, found.into_iter().map(row).collect(), next))
}

async fn clients<W: World>(world: &W, after: Option<&str>) -> Result<Rows, Unavailable> {
    let (found, next) = flow::clients::list(world, after, ROWS_MAX).await?;
    let row = |one: registry::ClientRecord| {
        let name = one.metadata.client_name.clone().unwrap_or_default();
        let state = if one.is_enabled().is_ok() { "enabled" } else { "disabled" };
        let id = one.client_id.clone();
        plain(one.client_id, vec![name, id, moment(one.registered), state.to_owned()])
    };
    let heads = &["Name", "Identifier", "Registered", "State"];
    Ok((heads, found.into_iter().map(row).collect(), next))
}

async fn users<W: World>(world: &W, after: Option<&str>) -> Result<Rows, Unavailable> {
    let (found, next) = orders::list(world, after, ROWS_MAX).await?;
    let row = |one: registry::UserRecord| {
        let roles: Vec<_> = one.roles.iter().cloned().collect();
        let state = people::standing::state_name(one.lifecycle.state);
        let passkeys = one.passkeys.len().to_string();
        let (name, state) = (one.display_name.clone(), state.to_owned());
        plain(one.id(), vec![name, one.id(), roles.join(", "), passkeys, state])
    };
    let heads = &["Name", "Identifier", "Roles", "Passkeys", "State"];
    Ok((heads, found.into_iter().map(row).collect(), next))
}

async fn grants<W: World>(
    world: &W,
    visit: &Visit,
    after: Option<&str>,
) -> Result<Rows, Unavailable> {
    let (found, next) = acting::page(world, after, ROWS_MAX).await?;
    let now = world.clock().now();
    let facts = basis::facts::basis(world, Vec::new()).await?;
    let row = |one: acting::Acting| {
        let grant = &one.grant;
        let live = grant.is_live(now);
        let action = format!("{OPERATE}/grants/{}/end", grant.id);
        let all = rights(world, &facts, &grant.targets, &grant.openid).into_iter();
        let all: Vec<_> = all.map(|right| format!("{}: {}", right.place, right.words)).collect();
        Row {
            id: grant.id.clone(),
            story: Some(story(&grant.id)),
            apart: Some(grant.client_id.clone()),
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
    };
    let heads = &["Client", "For", "May", "Last used", "State"];
    Ok((heads, found.into_iter().map(row).collect(), next))
}

async fn sessions<W: World>(
    world: &W,
    visit: &Visit,
    after: Option<&str>,
) -> Result<Rows, Unavailable> {
    let (found, next) = people::sessions::page(world, after, ROWS_MAX).await?;
    let row = |one: Session| {
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
            id: one.id,
            apart: None,
            story: None,
            end: Some((action, form)),
        }
    };
    let heads = &["Of", "Signed in by", "Browser", "Since", "Last seen"];
    Ok((heads, found.into_iter().map(row).collect(), next))
}

async fn approvals<W: World>(world: &W, after: Option<&str>) -> Result<Rows, Unavailable> {
    let (found, next) = approve::list::page(world, None, after, ROWS_MAX).await?;
    let facts = basis::facts::basis(world, Vec::new()).await?;
    let row = |one: Approval| {
        let whom = match &one.whom {
            Whom::User(user) => user.clone(),
            Whom::Role(role) => format!("anybody with the role {role}"),
            Whom::Typed => "whoever types the code".to_owned(),
        };
        let state = match (&one.answered, one.state) {
            (Some(answered), State::Used) => format!("allowed by {}, done", answered.by),
            (Some(answered), state) => format!("{} by {}", state.name(), answered.by),
            (None, state) => state.name().to_owned(),
        };
        Row {
            cells: vec![
                one.asks.name.clone(),
                one.asks.subject.clone(),
                what(world, &facts, &one),
                whom,
                moment(one.created),
                state,
            ],
            apart: Some(one.asks.client_id.clone()),
            story: Some(story(&one.root)),
            id: one.id,
            end: None,
        }
    };
    let heads = &["Asked by", "For", "What", "Who is asked", "When", "State"];
    Ok((heads, found.into_iter().map(row).collect(), next))
}

/// The page with the story of what this began.
fn story(root: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("id", root).finish();
    format!("{OPERATE}/trace?{query}")
}
