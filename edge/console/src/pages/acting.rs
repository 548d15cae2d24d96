//! "Acting for me": what acts in somebody's name, and where they are signed in, each with a button
//! that ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::ends::{self, Ending};
use approval::call_detail;
use askama::Template;
use authentication::user_agent::browser_name;
use authorization::asked::{OFFLINE, OPENID, agent_title, lines};
use authorization::granted::{GrantRecord, Granted};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use basis::facts::{Basis, basis};
use consent::acting::{self, Acting};
use env::{Clock, World};
use http::{Request, StatusCode};
use oauth::ScopeSet;
use people::sessions::{self, By};
use time::UnixTime;

use crate::Shared;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::pages::leave::EVERYWHERE;
use crate::visit::Visit;
use crate::words::moment;

/// The page that people come to first.
pub(crate) const START: &str = "/console";
/// Where all that one client was given is ended.
pub(crate) const END_ALL: &str = "/console/clients/end";
/// What ended lately that is shown.
const OVER_MAX: usize = 20;
/// What the page says after something was done: the code in the address, and the words.
const TOLD: &[(&str, &str)] = &[
    ("grant", "It is ended. Nothing acts for you by it any more."),
    ("client", "All of it is ended. It does not act for you any more."),
    ("session", "The session is ended."),
];

#[derive(Template)]
#[template(path = "acting.html")]
struct Page<'a> {
    frame: Frame,
    told: &'a str,
    live: Vec<Group>,
    over: Vec<Over>,
    sessions: Vec<Row>,
    everywhere: String,
}

/// What one client may do, by all that it was given.
struct Group {
    client: String,
    client_id: String,
    /// The page that ends all of it.
    end_all: String,
    ones: Vec<Live>,
}

struct Live {
    id: String,
    client: String,
    client_id: String,
    is_agent: bool,
    way: &'static str,
    rights: Vec<Right>,
    created: String,
    used: String,
    until: String,
    action: String,
    form: String,
}

struct Over {
    client: String,
    client_id: String,
    ended: String,
}

struct Row {
    id: String,
    browser: String,
    at: String,
    by: &'static str,
    seen: String,
    here: bool,
    action: String,
    form: String,
}

/// `GET /console`.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(START) };
    let world = shared.world.as_ref();
    let user = signed.session.user.clone();
    let (all, open) = (acting::of_user(world, &user).await, sessions::list(world, &user).await);
    let (Ok(all), Ok(open)) = (all, open) else { return page::unavailable() };
    let Ok(facts) = basis(world, Vec::new()).await else { return page::unavailable() };
    let now = world.clock().now();
    let (live, over): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.grant.is_live(now).is_ok());
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    let told = TOLD.iter().find(|(code, _)| Some(*code) == query.one("done"));
    let shown = Page {
        frame: visit.frame("Acting for me", "acting"),
        told: told.map_or("", |(_, words)| words),
        live: grouped(live.iter().map(|one| row(world, &facts, &visit, one))),
        over: over.iter().take(OVER_MAX).map(past).collect(),
        sessions: open
            .iter()
            .map(|one| {
                let action = format!("{START}/sessions/{}/end", one.id);
                Row {
                    id: one.id.clone(),
                    browser: browser_name(&one.browser),
                    at: moment(one.authenticated.at),
                    by: by(one.authenticated.acr),
                    seen: moment(one.seen),
                    here: one.id == signed.session.id,
                    form: visit.browser.form_value(&action),
                    action,
                }
            })
            .collect(),
        everywhere: visit.browser.form_value(EVERYWHERE),
    };
    visit.answer(page::show(StatusCode::OK, &shown))
}

/// What each client was given, the client that was given something last first.
fn grouped(all: impl Iterator<Item = Live>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for one in all {
        match groups.iter_mut().find(|group| group.client_id == one.client_id) {
            Some(group) => group.ones.push(one),
            None => groups.push(Group {
                client: one.client.clone(),
                client_id: one.client_id.clone(),
                end_all: all_of_place(&one.client_id),
                ones: vec![one],
            }),
        }
    }
    groups
}

fn all_of_place(client: &str) -> String {
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("client", client).finish();
    format!("{END_ALL}?{query}")
}

/// How somebody signed in, as people say it.
pub(crate) const fn by(acr: authentication::session::Acr) -> &'static str {
    use authentication::session::Acr;
    match acr {
        Acr::Code => "code",
        Acr::Federated => "provider",
        Acr::Passkey | Acr::HardwarePasskey => "passkey",
    }
}

fn row<W: World>(world: &W, facts: &Basis, visit: &Visit, one: &Acting) -> Live {
    let grant = &one.grant;
    let action = format!("{START}/grants/{}/end", grant.id);
    Live {
        id: grant.id.clone(),
        client: one.client.clone(),
        client_id: grant.client_id.clone(),
        is_agent: one.is_agent,
        way: way(grant),
        rights: rights(world, facts, &grant.targets, &grant.openid),
        created: moment(grant.created),
        used: grant.used.as_ref().map_or_else(
            || "never".to_owned(),
            |used| format!("{}, for {}", moment(used.at), place(world, facts, &used.audience)),
        ),
        until: moment(grant.until),
        form: visit.browser.form_value(&action),
        action,
    }
}

const fn way(grant: &GrantRecord) -> &'static str {
    use authorization::granted::Way;
    match grant.way {
        Way::Code => "allowed in a browser",
        Way::Device => "allowed for a device",
        Way::Ciba => "allowed on request",
        Way::Approval => "one action",
    }
}

/// A resource as policy calls it; one that it does not know any more by its audience.
pub(crate) fn place<W: World>(world: &W, facts: &Basis, audience: &str) -> String {
    let policy = facts.set().resource(audience, &world.site().gateway);
    let title = policy.map(|one| one.title.clone().unwrap_or_else(|| one.name.clone()));
    title.unwrap_or_else(|| audience.to_owned())
}

/// What may be done, and where, in the words of policy.
pub(crate) struct Right {
    pub(crate) place: String,
    pub(crate) words: String,
    pub(crate) audience: String,
}

/// The rights of a grant, or of what is asked for. What policy has no words for any more is told as
/// it stands.
pub(crate) fn rights<W: World>(
    world: &W,
    facts: &Basis,
    targets: &BTreeMap<String, Granted>,
    openid: &ScopeSet,
) -> Vec<Right> {
    let gateway = &world.site().gateway;
    let mut rights: Vec<_> = targets
        .iter()
        .map(|(audience, granted)| {
            let policy = facts.set().resource(audience, gateway);
            let agent = agent_title(audience, facts.set().origin());
            // An agent is handed what it uses elsewhere, and each resource has words for its own.
            let all = facts.set().resources().iter().filter(|_| agent.is_some());
            let knowing: Vec<_> = policy.into_iter().chain(all).collect();
            let words = |scope: &oauth::Scope| {
                let known = knowing.iter().filter_map(|one| one.scopes.get(scope));
                known.into_iter().find(|words| !words.is_empty()).cloned()
            };
            let details = granted.details.iter().map(|one| {
                let told: Vec<_> =
                    lines(one).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
                let text = |name: &str| one.get(name).and_then(serde_json::Value::as_str);
                let type_ = text("type").unwrap_or_default();
                // One call is named by what it does; what it was given is shown line by line.
                match text("identifier").filter(|_| type_ == call_detail::TYPE) {
                    Some(call) => format!("exactly: {call}"),
                    None => format!("exactly: {type_} ({})", told.join(", ")),
                }
            });
            let scopes =
                granted.scope.iter().map(|one| words(one).unwrap_or_else(|| one.to_string()));
            let all: Vec<_> = scopes.chain(details).collect();
            let title = policy.map(|one| one.title.clone().unwrap_or_else(|| one.name.clone()));
            let title = title.or_else(|| agent.map(|agent| format!("Through {agent}")));
            Right {
                place: title.unwrap_or_else(|| "Elsewhere".to_owned()),
                words: if all.is_empty() { "call it".to_owned() } else { all.join(", ") },
                audience: audience.clone(),
            }
        })
        .collect();
    let asked = OPENID
        .iter()
        .filter(|(name, _)| openid.iter().any(|scope| scope.as_str() == *name))
        .partition::<Vec<_>, _>(|(name, _)| *name != OFFLINE);
    for (place, asked) in [("About you", asked.0), ("Without you", asked.1)] {
        let words: Vec<_> = asked.iter().map(|(_, words)| *words).collect();
        if !words.is_empty() {
            let (place, words) = (place.to_owned(), words.join(", "));
            rights.push(Right { place, words, audience: String::new() });
        }
    }
    rights
}

fn past(one: &Acting) -> Over {
    let ended = match &one.grant.ended {
        Some(end) => format!("ended {}: {}", moment(end.at), end.why),
        None => format!("over since {}", moment(one.grant.until)),
    };
    Over { client: one.client.clone(), client_id: one.grant.client_id.clone(), ended }
}

/// `POST /console/grants/{id}/end`.
pub(crate) async fn end_grant<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, _) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(START) };
    let (world, user) = (shared.world.as_ref(), &signed.session.user);
    let Ok(all) = acting::of_user(world, user).await else { return page::unavailable() };
    let now: UnixTime = world.clock().now();
    let live = |one: &&Acting| one.grant.id == id && one.grant.is_live(now).is_ok();
    let Some(one) = all.iter().find(live) else { return nothing_acts(&shared, &visit) };
    let ending = Ending::by(user, "ended by its user");
    match ends::end_application(world, &one.grant, ending).await {
        Ok(_) => visit.answer(page::see_other(&format!("{START}?done=grant"))),
        Err(_) => page::unavailable(),
    }
}

#[derive(Template)]
#[template(path = "end-all.html")]
struct EndAll {
    frame: Frame,
    client: String,
    client_id: String,
    all: Vec<(String, String)>,
    action: &'static str,
    form: String,
}

/// `GET /console/clients/end?client=…`: what one client was given, before all of it is ended.
pub(crate) async fn all_of<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(START) };
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    let client_id = query.one("client").unwrap_or_default();
    let world = shared.world.as_ref();
    let Ok(facts) = basis(world, Vec::new()).await else { return page::unavailable() };
    let theirs = match live_of(&shared, &signed.session.user, client_id).await {
        Ok(theirs) => theirs,
        Err(answer) => return answer,
    };
    let Some(first) = theirs.first() else { return nothing_acts(&shared, &visit) };
    let told = |one: &Acting| {
        let rights = rights(world, &facts, &one.grant.targets, &one.grant.openid).into_iter();
        let rights: Vec<_> = rights.map(|one| format!("{}: {}", one.place, one.words)).collect();
        (rights.join("; "), moment(one.grant.created))
    };
    let shown = EndAll {
        frame: visit.frame(&format!("End all of {}?", first.client), "acting"),
        client: first.client.clone(),
        client_id: first.grant.client_id.clone(),
        all: theirs.iter().map(told).collect(),
        action: END_ALL,
        form: visit.browser.form_value(END_ALL),
    };
    visit.answer(page::show(StatusCode::OK, &shown))
}

/// `POST /console/clients/end`.
pub(crate) async fn end_all<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(START) };
    let (world, user) = (shared.world.as_ref(), &signed.session.user);
    let client = form.one("client").unwrap_or_default();
    let ending = Ending::by(user, "ended by its user");
    match ends::end_of_user(world, user, Some(client), ending).await {
        Ok(0) => nothing_acts(&shared, &visit),
        Ok(_) => visit.answer(page::see_other(&format!("{START}?done=client"))),
        Err(_) => page::unavailable(),
    }
}

/// What a client may do for a user now.
async fn live_of<W: World>(
    shared: &Shared<W>,
    user: &str,
    client: &str,
) -> Result<Vec<Acting>, Response> {
    let world = shared.world.as_ref();
    let all = acting::of_user(world, user).await.map_err(|_| page::unavailable())?;
    let now = world.clock().now();
    let its = |one: &Acting| one.grant.client_id == client && one.grant.is_live(now).is_ok();
    Ok(all.into_iter().filter(its).collect())
}

/// Nobody ends what acts for somebody else, and nothing ends twice.
fn nothing_acts<W>(shared: &Shared<W>, visit: &Visit) -> Response {
    shared.count(visit.source(), "console::NoGrant");
    let what = "Perhaps it ended meanwhile. Nothing was done.";
    visit.refusal(StatusCode::NOT_FOUND, "Nothing of that name acts for you", what)
}

/// `POST /console/sessions/{id}/end`.
pub(crate) async fn end_session<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, _) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(START) };
    let by = By::Owner(&signed.session.user);
    let ended = sessions::end(shared.world.as_ref(), by, &id, "ended by its user").await;
    match ended.map(env::Recorded::into_value) {
        Ok(Ok(_)) => visit.answer(page::see_other(&format!("{START}?done=session"))),
        Ok(Err(refusal)) => {
            let what = format!("There is {refusal} of yours that goes on. Nothing was done.");
            visit.refusal(StatusCode::NOT_FOUND, "No such session", &what)
        }
        Err(_) => page::unavailable(),
    }
}
