//! What waits for somebody's answer, and what became of what they were asked; and the page where
//! the code of a device is typed (S4 §10.6; AUTHZ-18, AUTHZ-19, AUTHZ-31).
//!
//! The list asks for itself anew every few seconds, without a script.

use std::sync::Arc;

use approval::{Approval, Front, NotAllowed, State as Stands, Whom};
use approve::answer::{self, Said};
use approve::{Refusal, device, list};
use askama::Template;
use authorization::granted::GrantRecord;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use basis::facts::{Basis, basis};
use env::{Clock, World};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use oauth::device::UserCode;
use people::end::{Check, End};
use time::UnixTime;

use crate::Shared;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::pages::acting::{Right, place, rights};
use crate::pages::authorize::what_it_is;
use crate::visit::Visit;
use crate::words::moment;

/// The list.
pub(crate) const LIST: &str = "/console/approvals";
/// Where codes of devices are typed.
pub(crate) const DEVICE: &str = device::PAGE;
/// Seconds until the list asks for itself anew: soon while nothing is there to be read, so that a
/// question appears at once; later while somebody reads, for it takes them back to the start.
const REFRESH: HeaderName = HeaderName::from_static("refresh");
const SOON: HeaderValue = HeaderValue::from_static("5");
const LATER: HeaderValue = HeaderValue::from_static("15");
/// What a client is that has no record any more.
const UNKNOWN: &str = "Nobody here knows it any more";
/// What is over that is shown.
const OVER_MAX: usize = 20;

#[derive(Template)]
#[template(path = "approvals.html")]
struct Listed {
    frame: Frame,
    waiting: Vec<Row>,
    over: Vec<(Row, String)>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct Asked {
    frame: Frame,
    one: Row,
    owner: String,
    client_id: String,
    /// What it is, and who vouches for its name.
    kind: String,
    /// In whose name, through whom, and what the client says of it.
    behind: Vec<(&'static str, String)>,
    wants: Vec<Right>,
    is_call: bool,
    /// Of a call: its arguments.
    with: Vec<(String, String)>,
    lasts: String,
    lines: Vec<(String, String)>,
    may: bool,
    is_device: bool,
    action: String,
    form: String,
    user_code: String,
}

#[derive(Template)]
#[template(path = "device.html")]
struct Typed {
    frame: Frame,
    told: String,
    code: String,
    action: &'static str,
    form: String,
}

struct Row {
    id: String,
    who: String,
    what: String,
    /// What it may do there, in the words of policy; empty for a call, which says so itself.
    rights: String,
    way: &'static str,
    number: u8,
    hash: String,
    state: &'static str,
    tag: &'static str,
    asked: String,
    until: String,
}

impl Row {
    fn of<W: World>(world: &W, facts: &Basis, one: &Approval) -> Self {
        let asks = &one.asks;
        let state = one.state_at(world.clock().now());
        Self {
            id: one.id.clone(),
            who: if asks.name.is_empty() { asks.client_id.clone() } else { asks.name.clone() },
            what: what(world, facts, one),
            rights: match &one.sought.act {
                Some(_) => String::new(),
                None => rights(world, facts, &one.sought.targets, &one.sought.openid)
                    .into_iter()
                    .map(|right| right.words)
                    .collect::<Vec<_>>()
                    .join(", "),
            },
            way: way(one.front),
            number: one.number,
            hash: one.hash.clone(),
            state: state_words(state),
            tag: tag(state),
            asked: moment(one.created),
            until: moment(one.until),
        }
    }
}

/// What came of a question, for whom reads it: who answered and when, and what became of what was
/// allowed.
fn came(one: &Approval, grant: Option<&GrantRecord>, reader: &str, now: UnixTime) -> String {
    let answered = one.answered.as_ref().map(|answered| {
        let by = if answered.by == reader { "you" } else { &answered.by };
        format!("by {by}, {}", moment(answered.at))
    });
    let answered = answered.unwrap_or_default();
    let ended = grant.and_then(|grant| grant.ended.as_ref());
    let until = one.grant_until.filter(|_| one.grant.is_some());
    match (one.state_at(now), until) {
        (Stands::Pending, _) => format!("to be answered before {}", moment(one.until)),
        (Stands::Expired, _) => format!("nobody answered before {}", moment(one.until)),
        (Stands::Cancelled, _) => "whoever asked took it back".to_owned(),
        (Stands::Denied, _) => answered,
        (Stands::Allowed | Stands::Used, Some(until)) => match ended {
            Some(end) => format!("{answered}; ended {}: {}", moment(end.at), end.why),
            None if now >= until => format!("{answered}; over since {}", moment(until)),
            None => format!("{answered}; lasts until {}", moment(until)),
        },
        (Stands::Used, None) => {
            let done = one.used.map(|at| format!("; done {}", moment(at)));
            format!("{answered}{}", done.unwrap_or_default())
        }
        (Stands::Allowed, None) if now >= one.until => format!("{answered}; never used"),
        (Stands::Allowed, None) => format!("{answered}; not used yet"),
    }
}

/// What is asked for: a tool or a request and where, else where.
pub(crate) fn what<W: World>(world: &W, facts: &Basis, one: &Approval) -> String {
    let places = one.sought.targets.keys().map(|audience| place(world, facts, audience));
    let places = places.collect::<Vec<_>>().join(", ");
    match &one.sought.act {
        Some(act) if places.is_empty() => act.what.clone(),
        Some(act) => format!("{} at {places}", act.what),
        None if places.is_empty() => "a sign-in".to_owned(),
        None => places,
    }
}

/// A state as people say it.
const fn state_words(state: Stands) -> &'static str {
    match state {
        Stands::Used => "allowed, done",
        state => state.name(),
    }
}

/// The colour of a state.
const fn tag(state: Stands) -> &'static str {
    match state {
        Stands::Pending => "",
        Stands::Allowed | Stands::Used => "good",
        Stands::Denied => "bad",
        Stands::Expired | Stands::Cancelled => "warn",
    }
}

/// How somebody asks, as people say it.
const fn way(front: Front) -> &'static str {
    match front {
        Front::Device => "asks by the code that a device shows",
        Front::Ciba => "asks you to allow this",
        Front::Deferred => "waits for your answer to go on",
        Front::Challenge => "wants to do this in your name, and was stopped until you answer",
        Front::AccessRequest => "asks for access",
    }
}

/// `GET /console/approvals`.
pub(crate) async fn all<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(LIST) };
    let world = shared.world.as_ref();
    let Ok(theirs) = list::of_person(world, signed).await else { return page::unavailable() };
    let Ok(facts) = basis(world, Vec::new()).await else { return page::unavailable() };
    let over: Vec<_> = theirs.others.iter().take(OVER_MAX).collect();
    let Ok(grants) = list::grants_of(world, &over).await else { return page::unavailable() };
    let (now, reader) = (world.clock().now(), signed.user.id());
    let past = over.into_iter().map(|one| {
        let grant = one.grant.as_ref().and_then(|id| grants.get(id));
        (Row::of(world, &facts, one), came(one, grant, &reader, now))
    });
    let shown = Listed {
        frame: visit.frame("Approvals", "approvals"),
        waiting: theirs.waiting.iter().map(|one| Row::of(world, &facts, one)).collect(),
        over: past.collect(),
    };
    let refresh = if shown.waiting.is_empty() { SOON } else { LATER };
    let mut answer = page::show(StatusCode::OK, &shown);
    answer.headers_mut().insert(REFRESH, refresh);
    visit.answer(answer)
}

/// `GET /console/approvals/{id}`.
pub(crate) async fn one<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(parts.uri.path()) };
    match list::one_of(shared.world.as_ref(), signed, &id).await {
        Err(_) => page::unavailable(),
        Ok(None) => visit.refusal(
            StatusCode::NOT_FOUND,
            "No such question",
            "There is no such question for you. It may be somebody else's.",
        ),
        Ok(Some(found)) => ask(&shared, &visit, &found, "").await,
    }
}

/// The question: what is wanted in the words of policy, then every line that the answer is bound
/// to, and what can be answered.
async fn ask<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    found: &Approval,
    code: &str,
) -> Response {
    let is_device = found.whom == Whom::Typed;
    let action = if is_device { DEVICE.to_owned() } else { format!("{LIST}/{}", found.id) };
    let world = shared.world.as_ref();
    let Ok(facts) = basis(world, Vec::new()).await else { return page::unavailable() };
    let Ok(kind) = consent::kind_of(world, &found.asks.client_id).await else {
        return page::unavailable();
    };
    let reader = visit.signed.as_ref().map_or("", |signed| signed.session.user.as_str());
    let pending = found.state_at(world.clock().now()) == Stands::Pending;
    // Whoever it concerns may look; who is asked answers.
    let may = pending && visit.signed.as_ref().is_some_and(|signed| list::asks(found, signed));
    let title = match (may, pending) {
        (true, _) => "Do you approve this?",
        (false, true) => "Somebody else is asked",
        (false, false) => "What was asked",
    };
    let lines = found.lines();
    // What a call is, is its tool and its arguments; else it is what policy says of the scopes.
    let wants = match &found.sought.act {
        Some(_) => Vec::new(),
        None => rights(world, &facts, &found.sought.targets, &found.sought.openid),
    };
    let with = lines.iter().filter_map(|(name, value)| {
        // What the question of somebody else's gateway says of what is done (AuthZEN).
        if BESIDE.iter().any(|beside| name.starts_with(beside)) {
            return Some((name.clone(), value.clone()));
        }
        let name = name.strip_prefix("with")?;
        let name = if name.is_empty() { "arguments" } else { name };
        Some((name.strip_prefix('.').unwrap_or(name).to_owned(), value.clone()))
    });
    let shown = Asked {
        frame: visit.frame(title, "approvals"),
        one: Row::of(world, &facts, found),
        owner: found.asks.owner.clone(),
        client_id: found.asks.client_id.clone(),
        kind: kind.as_ref().map_or_else(|| UNKNOWN.to_owned(), what_it_is),
        behind: behind(found, &lines, reader),
        wants,
        is_call: found.sought.act.is_some(),
        with: with.collect(),
        lasts: found
            .grant_until
            .map_or_else(|| "once".to_owned(), |at| format!("until {}", moment(at))),
        lines,
        may,
        is_device,
        form: visit.browser.form_value(&action),
        action,
        user_code: code.to_owned(),
    };
    visit.answer(page::show(StatusCode::OK, &shown))
}

/// How lines begin that stand beside the arguments of a call.
const BESIDE: &[&str] = &["action.properties", "resource.properties", "subject.properties"];

/// Of the lines, those that say who is behind it, and what they say themselves.
fn behind(
    found: &Approval,
    lines: &[(String, String)],
    reader: &str,
) -> Vec<(&'static str, String)> {
    const SHOWN: &[(&str, &str)] =
        &[("acting for", "In whose name"), ("through", "Through"), ("message", "It says")];
    // Of a call the message is what the gateway says of any.
    let says = |name: &str| name != "message" || found.sought.act.is_none();
    let worded = lines.iter().filter_map(|(name, value)| {
        let (_, words) = SHOWN.iter().find(|(known, _)| known == name)?;
        let told = *value != found.asks.client_id && says(name);
        let is_own = name == "acting for" && value == reader;
        told.then(|| (*words, if is_own { "your name".to_owned() } else { value.clone() }))
    });
    worded.collect()
}

/// `POST /console/approvals/{id}`.
pub(crate) async fn answer<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    said(&shared, &visit, &form, &id, None).await
}

/// `GET /device`: to type a code, or to confirm the one that came with the link.
pub(crate) async fn typed<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let place = parts.uri.path_and_query().map_or(DEVICE, |place| place.as_str());
    if visit.signed.is_none() {
        return visit.to_sign_in(place);
    }
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    // RFC 8628 §3.3.1: "the server SHOULD display the "user_code" to the user and ask them to
    // verify that it matches": what came with the link is shown, and nothing is done by it.
    to_type(&visit, query.one("user_code").unwrap_or_default(), "")
}

fn to_type(visit: &Visit, code: &str, told: &str) -> Response {
    let shown = Typed {
        frame: visit.frame("Connect a device", "device"),
        told: told.to_owned(),
        code: code.chars().take(16).collect(),
        action: DEVICE,
        form: visit.browser.form_value(DEVICE),
    };
    visit.answer(page::show(StatusCode::OK, &shown))
}

/// `POST /device`: a code that was typed, or the answer to what its device asks for.
pub(crate) async fn connect<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    if visit.signed.is_none() {
        return visit.to_sign_in(DEVICE);
    }
    let code = form.one("user_code").unwrap_or_default().to_owned();
    if let Some(id) = form.one("id") {
        return said(&shared, &visit, &form, id, Some(&code)).await;
    }
    let world = shared.world.as_ref();
    match device::find(world, &shared.throttle, &visit.person(), &code).await {
        Err(_) => page::unavailable(),
        // RFC 8628 §3.3.1 lets users compare: as the device shows it, however it was typed.
        Ok(Ok(found)) => {
            let shown = UserCode::parse(&code).map_or(code, |code| code.expose());
            ask(&shared, &visit, &found, &shown).await
        }
        Ok(Err(refusal)) => {
            shared.count(visit.source(), refusal.check());
            to_type(&visit, "", &format!("Nothing was done: {refusal}."))
        }
    }
}

/// The answer of a form, and what came of it.
async fn said<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    form: &Form,
    id: &str,
    user_code: Option<&str>,
) -> Response {
    let allow = match form.one("answer") {
        Some("allow") => true,
        Some("deny") => false,
        _ => {
            let what = "Nothing was done: the form says neither yes nor no.";
            return visit.refusal(StatusCode::BAD_REQUEST, "No answer", what);
        }
    };
    let shown = form.one("shown").unwrap_or_default();
    let said = Said { id, allow, shown, user_code };
    match answer::answer(shared.world.as_ref(), &visit.person(), said).await {
        Err(_) => page::unavailable(),
        Ok(End::Stranger(refusal)) => {
            shared.count(visit.source(), refusal.check());
            visit.to_sign_in(LIST)
        }
        Ok(End::Decided(recorded)) => match recorded.into_value() {
            Ok(answered) if allow => {
                let what = may_now(&answered);
                visit.answer(page::done_in(visit.frame("Allowed", "approvals"), &what))
            }
            Ok(_) => {
                let frame = visit.frame("Denied", "approvals");
                visit.answer(page::done_in(frame, "It will not be done."))
            }
            Err(Refusal::NotAllowed(NotAllowed::TooWeak { .. })) => {
                visit.to_sign_in_for(&back_to(id, user_code), "answer")
            }
            Err(refusal) => not_done(visit, &refusal),
        },
    }
}

/// Where the question is that was answered: of a device by its code, if that came with it.
fn back_to(id: &str, user_code: Option<&str>) -> String {
    match user_code.map(UserCode::parse) {
        Some(Ok(code)) => format!("{DEVICE}?user_code={}", code.expose()),
        Some(Err(_)) => DEVICE.to_owned(),
        None => format!("{LIST}/{id}"),
    }
}

/// What an allowed approval allows: one act, or what a grant says until it ends.
fn may_now(answered: &Approval) -> String {
    match answered.grant_until {
        None => "It may be done once, exactly as you saw it.".to_owned(),
        Some(until) => format!(
            "It may be done, exactly as you saw it, until {}. You can end it at any time under \
             “Acting for me”.",
            moment(until)
        ),
    }
}

fn not_done(visit: &Visit, refusal: &Refusal) -> Response {
    if let Refusal::NotAllowed(NotAllowed::Unmoved(unmoved)) = refusal {
        let title = match unmoved.state {
            Stands::Expired | Stands::Cancelled => "This question is out of date",
            _ => "This was answered already",
        };
        let what =
            format!("It is {}. Nothing was done by this answer.", state_words(unmoved.state));
        let frame = visit.frame(title, "approvals");
        return visit.answer(page::told_in(StatusCode::CONFLICT, frame, &what));
    }
    let frame = visit.frame("Your answer does not count", "approvals");
    let what = format!("Nothing was done: {refusal}.");
    visit.answer(page::refusal_in(StatusCode::CONFLICT, frame, &what))
}
