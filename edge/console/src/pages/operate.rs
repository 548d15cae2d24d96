//! What operators see: people, agents, clients and grants, a page at a time.

use std::sync::Arc;

use access::ends::{self, Ending};
use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use consent::acting;
use env::{Clock, Unavailable, World};
use http::{Request, StatusCode};
use people::orders;

use super::acting::rights;
use crate::Shared;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::visit::Visit;
use crate::words::moment;

/// The first page.
pub(crate) const OPERATE: &str = "/console/operate";
/// Rows of a page.
const ROWS_MAX: usize = 50;
/// Characters of an id in an address.
const ID_CHARS_MAX: usize = 512;
/// The lists.
const LISTS: &[(&str, &str)] =
    &[("grants", "Grants"), ("agents", "Agents"), ("clients", "Clients"), ("users", "People")];

#[derive(Template)]
#[template(path = "operate.html")]
struct Page<'a> {
    frame: Frame,
    here: &'a str,
    told: &'a str,
    after: String,
    next: Option<String>,
    heads: &'static [&'static str],
    rows: Vec<Row>,
}

impl Page<'_> {
    /// Name, title, and whether it is this one.
    fn lists(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        LISTS.iter().map(|(name, title)| (*name, *title, *name == self.here))
    }
}

struct Row {
    id: String,
    cells: Vec<String>,
    /// Action and form of the button that ends it.
    end: Option<(String, String)>,
}

/// `GET /console/operate`.
pub(crate) async fn home<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    list(State(shared), Path("grants".to_owned()), request).await
}

/// `GET /console/operate/{what}`: `?after=` is the id that the page before ended at.
pub(crate) async fn list<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(what): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    if let Some(answer) = for_others(&shared, &visit) {
        return answer;
    }
    let Some((here, title)) = LISTS.iter().find(|(name, _)| *name == what) else {
        let text = "Choose a list from the start of the operators' pages.";
        return visit.refusal(StatusCode::NOT_FOUND, "There is no such list", text);
    };
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    let after: String = query.one("after").unwrap_or_default().chars().take(ID_CHARS_MAX).collect();
    let from = Some(after.as_str()).filter(|after| !after.is_empty());
    let Ok((heads, rows, next)) = rows(&shared, &visit, here, from).await else {
        return page::unavailable();
    };
    let next = next.map(|next| {
        let after =
            form_urlencoded::Serializer::new(String::new()).append_pair("after", &next).finish();
        format!("{OPERATE}/{here}?{after}")
    });
    let told = if query.one("done") == Some("grant") { "The grant is ended." } else { "" };
    let frame = visit.frame(title, "operate");
    visit.answer(page::show(StatusCode::OK, &Page { frame, here, told, after, next, heads, rows }))
}

/// Operators alone: what anybody else gets.
fn for_others<W>(shared: &Shared<W>, visit: &Visit) -> Option<Response> {
    match &visit.signed {
        None => Some(visit.to_sign_in(OPERATE)),
        Some(signed) if signed.user.is_operator() => None,
        Some(_) => {
            shared.count(visit.source(), "console::NotAnOperator");
            let what = "These pages are for operators. Whoever runs AIMS here can make you one.";
            Some(visit.refusal(StatusCode::FORBIDDEN, "Not for you", what))
        }
    }
}

type Rows = (&'static [&'static str], Vec<Row>, Option<String>);

async fn rows<W: World>(
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
        _ => grants(world, visit, after).await,
    }
}

fn plain(id: String, cells: Vec<String>) -> Row {
    Row { id, cells, end: None }
}

async fn agents<W: World>(world: &W, after: Option<&str>) -> Result<Rows, Unavailable> {
    let (found, next) = flow::agents::list(world, after, ROWS_MAX).await?;
    let row = |one: registry::AgentRecord| {
        let state = format!("{:?}", one.lifecycle.state).to_lowercase();
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
        let state = people::standing::active(&one).map_or("disabled", |()| "active");
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
        let all = rights(world, &facts, grant).into_iter();
        let all: Vec<_> = all.map(|right| format!("{}: {}", right.place, right.words)).collect();
        Row {
            id: grant.id.clone(),
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

/// `POST /console/operate/grants/{id}/end`.
pub(crate) async fn end_grant<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, _) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    if let Some(answer) = for_others(&shared, &visit) {
        return answer;
    }
    let by = visit.signed.as_ref().map(|signed| signed.session.user.clone()).unwrap_or_default();
    let ending = Ending::by_operator(&by, "ended by an operator");
    match ends::end_grant(shared.world.as_ref(), &id, ending).await {
        Ok(Some(_)) => visit.answer(page::see_other(&format!("{OPERATE}/grants?done=grant"))),
        Ok(None) => {
            let what = "Nothing was done.";
            visit.refusal(StatusCode::NOT_FOUND, "There is no such grant", what)
        }
        Err(_) => page::unavailable(),
    }
}
