//! What operators see: grants, approvals, sessions, agents, clients and people, a page at a time,
//! and the story of a task; of an agent, a client or a person all that its record says.

mod detail;
mod facts;
mod find;
mod rows;
mod trace;

use std::sync::Arc;

use access::ends::{self, Ending};
use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use basis::turns::Operator;
use env::World;
use http::{Request, StatusCode};
use people::sessions::{self, By};

use crate::Shared;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::visit::Visit;
pub(crate) use detail::{act, show};
use rows::Row;

/// The first page.
pub(crate) const OPERATE: &str = "/console/operate";
/// Rows of a page.
const ROWS_MAX: usize = 50;
/// Characters of an id in an address.
const ID_CHARS_MAX: usize = 512;
/// The lists.
const LISTS: &[(&str, &str)] = &[
    ("grants", "Grants"),
    ("approvals", "Approvals"),
    ("sessions", "Sessions"),
    ("agents", "Agents"),
    ("clients", "Clients"),
    ("users", "People"),
    ("trace", "Audit trace"),
];

#[derive(Template)]
#[template(path = "operate.html")]
struct Page<'a> {
    frame: Frame,
    here: &'a str,
    told: &'a str,
    /// What was looked for; empty where all is shown.
    wanted: String,
    looked_at: usize,
    next: Option<String>,
    heads: &'static [&'static str],
    rows: Vec<Row>,
}

impl Page<'_> {
    fn lists(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        lists(self.here)
    }
}

/// Name, title, and whether it is this one.
fn lists(here: &str) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    LISTS.iter().map(move |(name, title)| (*name, *title, *name == here))
}

/// `GET /console/operate`.
pub(crate) async fn home<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    list(State(shared), Path("grants".to_owned()), request).await
}

/// `GET /console/operate/{what}`: `?find=` is what rows show, `?after=` where the page before
/// ended.
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
    if *here == "trace" {
        return trace::show(&shared, &visit, query.one("id").unwrap_or_default()).await;
    }
    let short = |name: &str| -> String {
        query.one(name).unwrap_or_default().trim().chars().take(ID_CHARS_MAX).collect()
    };
    let (wanted, after) = (short("find"), short("after"));
    let from = Some(after.as_str()).filter(|after| !after.is_empty());
    let Ok((rows, next)) = find::find(&shared, &visit, here, &wanted, from).await else {
        return page::unavailable();
    };
    let next = next.map(|next| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !wanted.is_empty() {
            query.append_pair("find", &wanted);
        }
        format!("{OPERATE}/{here}?{}", query.append_pair("after", &next).finish())
    });
    let told = match query.one("done") {
        Some("grant") => "The grant is ended.",
        Some("session") => "The session is ended. Its clients are told.",
        _ => "",
    };
    let frame = visit.frame(title, "operate");
    let heads = rows::heads(here);
    let looked_at = find::LOOKED_AT_MAX;
    let shown = Page { frame, here, told, wanted, looked_at, next, heads, rows };
    visit.answer(page::show(StatusCode::OK, &shown))
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

/// `POST /console/operate/grants/{id}/end`.
pub(crate) async fn end_grant<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, _, by) = match ordered(&shared, request).await {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    let ending = Ending::by_operator(&by.0, "ended by an operator");
    match ends::end_grant(shared.world.as_ref(), &id, ending).await {
        Ok(Some(_)) => visit.answer(page::see_other(&format!("{OPERATE}/grants?done=grant"))),
        Ok(None) => {
            let what = "Nothing was done.";
            visit.refusal(StatusCode::NOT_FOUND, "There is no such grant", what)
        }
        Err(_) => page::unavailable(),
    }
}

/// `POST /console/operate/sessions/{id}/end`.
pub(crate) async fn end_session<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, _, by) = match ordered(&shared, request).await {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    let (world, by) = (shared.world.as_ref(), By::Operator(&by));
    let ended = sessions::end(world, by, &id, "ended by an operator").await;
    match ended.map(env::Recorded::into_value) {
        Ok(Ok(_)) => visit.answer(page::see_other(&format!("{OPERATE}/sessions?done=session"))),
        Ok(Err(refusal)) => {
            let what = format!("Nothing was done: {refusal}.");
            visit.refusal(StatusCode::NOT_FOUND, "There is no such session", &what)
        }
        Err(_) => page::unavailable(),
    }
}

/// The form of an operator, and who it is.
async fn ordered<W: World>(
    shared: &Shared<W>,
    request: Request<Body>,
) -> Result<(Visit, Form, Operator), Response> {
    let (visit, form) = Visit::with_form(shared, request).await?;
    if let Some(answer) = for_others(shared, &visit) {
        return Err(answer);
    }
    let by = visit.signed.as_ref().map(|signed| signed.session.user.clone()).unwrap_or_default();
    Ok((visit, form, Operator(by)))
}
