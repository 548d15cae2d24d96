//! `/authorize` and `/interaction/…`: a client sends a user here, and the user answers
//! (RFC 6749 §4.1.1, §4.1.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use authorization::asked::{AskedAction, AskedDetail, OFFLINE, SIGN_IN as OPENID};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use consent::{
    Answer, AskerKind, Asking, Begun, Brought, Choice, Ending, PageFault, Reply, Settled, Shown,
};
use env::World;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, StatusCode};
use oauth::authorization_response::Delivery;
use time::Span;

use crate::form::posted_query;
use crate::guard::RunsItsForm;
use crate::page::{self, Frame};
use crate::visit::{Visit, also};
use crate::{Shared, words};

/// The authorization endpoint.
pub(crate) const AUTHORIZE: &str = "/authorize";

/// `GET /authorize`.
pub(crate) async fn begin<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let world = shared.world.as_ref();
    match consent::begin(world, &shared.shares, &visit.person(), query).await {
        Ok(Begun::Interaction(name)) => {
            visit.answer(page::see_other(&format!("/interaction/{name}")))
        }
        Ok(Begun::Reply(reply)) => visit.answer(deliver(reply)),
        Ok(Begun::Refused { reply, counted }) => {
            if let Some(check) = counted {
                shared.count(visit.source(), check);
            }
            visit.answer(deliver(reply))
        }
        Ok(Begun::Page(fault)) => {
            shared.count(visit.source(), fault.check());
            visit.answer(faulty(&visit, &fault))
        }
        Err(_) => page::unavailable(),
    }
}

/// `POST /authorize`: OpenID Connect Core 1.0 §3.1.2.1: "Authorization Servers MUST support the use
/// of the HTTP GET and POST methods". A form of another site brings no cookie of ours along, the
/// query that it becomes does.
pub(crate) async fn post<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    match posted_query(request).await {
        Ok(query) => page::see_other(&format!("{AUTHORIZE}?{query}")),
        Err(what) => {
            shared.count("", "authorize::Form");
            page::refusal(StatusCode::BAD_REQUEST, "The request does not read", &what)
        }
    }
}

/// `GET /interaction/{name}`.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    show_to(&shared, &visit, &name, Note::None).await
}

/// What the page says beside the question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    None,
    Changed,
    Nothing,
}

async fn show_to<W: World>(shared: &Shared<W>, visit: &Visit, name: &str, note: Note) -> Response {
    match consent::show(shared.world.as_ref(), &visit.person(), name).await {
        Ok(Shown::Ask(asking, ending)) => {
            visit.answer(question(visit, name, &asking, &ending, note))
        }
        Ok(Shown::SignIn { hint, why }) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("then", &format!("/interaction/{name}"));
            if let Some(hint) = hint {
                query.append_pair("user", hint.as_str());
            }
            if let Some(why) = why {
                query.append_pair("why", crate::pages::sign_in::code_of(why));
            }
            visit.answer(page::see_other(&format!("/sign-in?{}", query.finish())))
        }
        Ok(Shown::Over(over)) => visit.answer(ended(visit, &over)),
        Ok(Shown::Reply(reply)) => visit.answer(deliver(reply)),
        Ok(Shown::Page(fault)) => visit.answer(faulty(visit, &fault)),
        Err(_) => page::unavailable(),
    }
}

/// `POST /interaction/{name}`.
pub(crate) async fn answer<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let taken: BTreeSet<String> = form.all("take").map(str::to_owned).collect();
    let life = form.one("life").and_then(|life| life.parse().ok()).map(Span::from_seconds);
    let allow = (form.one("answer") == Some("allow")).then_some(Choice { taken, life });
    let seen = form.one("seen").unwrap_or_default().to_owned();
    let said = Answer { allow, seen };
    match consent::answer(shared.world.as_ref(), &visit.person(), &name, &said).await {
        Ok(Settled::Reply(reply)) => visit.answer(deliver(reply)),
        Ok(Settled::Over(over)) => visit.answer(ended(&visit, &over)),
        Ok(Settled::Page(fault)) => visit.answer(faulty(&visit, &fault)),
        Ok(Settled::SignIn) => visit.to_sign_in(&format!("/interaction/{name}")),
        Ok(Settled::Changed) => show_to(&shared, &visit, &name, Note::Changed).await,
        Ok(Settled::Nothing) => show_to(&shared, &visit, &name, Note::Nothing).await,
        Err(_) => page::unavailable(),
    }
}

/// Sends the browser back to the client.
fn deliver(reply: Reply) -> Response {
    match reply.delivery {
        // RFC 9700 §4.12: 303, so that a form with a password or code is not sent on.
        Delivery::Redirect(location) => page::see_other(&location),
        Delivery::Page(text) => {
            let mut answer = Html(text).into_response();
            answer.extensions_mut().insert(RunsItsForm);
            also(answer, &reply.to)
        }
    }
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Question<'a> {
    frame: Frame,
    action: String,
    form: String,
    seen: String,
    asking: &'a Asking,
    changed: bool,
    nothing: bool,
}

fn question(visit: &Visit, name: &str, asking: &Asking, ending: &Ending, note: Note) -> Response {
    let action = format!("/interaction/{name}");
    let title = format!("{} asks for access", asking.asker.name);
    let shown = Question {
        frame: visit.frame(&title, ""),
        form: visit.browser.form_value(&action),
        action,
        seen: asking.seen(),
        asking,
        changed: note == Note::Changed,
        nothing: note == Note::Nothing,
    };
    let status = if note == Note::None { StatusCode::OK } else { StatusCode::CONFLICT };
    // Browsers hold the redirect that answers a form to the page's `form-action`.
    also(page::show(status, &shown), &ending.0)
}

impl Question<'_> {
    fn scope_box(&self, target: &usize, scope: &oauth::Scope) -> String {
        consent::scope_box(*target, scope)
    }

    fn detail_box(&self, target: &usize, detail: &usize) -> String {
        consent::detail_box(*target, *detail)
    }

    fn openid_box(&self, scope: &oauth::Scope) -> String {
        consent::openid_box(scope)
    }

    fn is_sign_in(&self, scope: &oauth::Scope) -> bool {
        scope.as_str() == OPENID
    }

    /// What it may know of the user.
    fn about(&self) -> Vec<&(oauth::Scope, String)> {
        self.asking.openid.iter().filter(|(scope, _)| scope.as_str() != OFFLINE).collect()
    }

    /// Whether it may go on without them.
    fn offline(&self) -> Option<&(oauth::Scope, String)> {
        self.asking.openid.iter().find(|(scope, _)| scope.as_str() == OFFLINE)
    }

    fn lives(&self) -> Vec<(u64, String, bool)> {
        let preset = self.asking.preset();
        let one = |life: &Span| (life.seconds(), words::life(*life), *life == preset);
        self.asking.lives.iter().map(one).collect()
    }

    fn who(&self) -> String {
        what_it_is(&self.asking.asker.kind)
    }

    fn action(&self, action: &AskedAction) -> String {
        words::action(&action.name, action.read_only)
    }

    fn owner(&self) -> Option<&str> {
        match &self.asking.asker.kind {
            AskerKind::Agent { owner, .. } => Some(owner),
            AskerKind::Registered { .. } => None,
        }
    }

    fn capabilities(&self) -> &[String] {
        match &self.asking.asker.kind {
            AskerKind::Agent { capabilities, .. } => capabilities,
            AskerKind::Registered { .. } => &[],
        }
    }

    fn measured(&self) -> Vec<Fact<'_>> {
        match &self.asking.asker.kind {
            AskerKind::Agent { measured, .. } => measured.iter().map(|one| fact(one)).collect(),
            AskerKind::Registered { .. } => Vec::new(),
        }
    }

    /// What came of each part of what is known about the agent: in words, and as it is recorded.
    fn checked(&self) -> Vec<(&str, &'static str, &str)> {
        let parts = self.asking.attested.iter();
        parts.map(|(part, told)| (part.as_str(), tier(told), told.as_str())).collect()
    }

    fn lines<'d>(&self, detail: &'d AskedDetail) -> &'d [(String, String)] {
        &detail.lines
    }
}

/// What a client is, and whether anybody here vouches for what it calls itself.
pub(crate) fn what_it_is(kind: &AskerKind) -> String {
    let (is_public, brought) = match kind {
        AskerKind::Agent { is_agent: true, .. } => {
            return "An agent of this organisation".to_owned();
        }
        AskerKind::Agent { .. } => return "A service of this organisation".to_owned(),
        AskerKind::Registered { is_public, brought } => (*is_public, brought),
    };
    match brought {
        Brought::Operator if is_public => {
            "A registered application that cannot prove who it is".to_owned()
        }
        Brought::Operator => "A registered application".to_owned(),
        Brought::Itself => "An application that registered itself and chose its own name: it \
             cannot prove who it is"
            .to_owned(),
        Brought::Document { host } if is_public => format!(
            "An application described by {host}, with a name of its own choice: it cannot prove \
             who it is"
        ),
        Brought::Document { host } => {
            format!("An application described by {host}, with a name of its own choice")
        }
    }
}

/// A selector as people say it.
struct Fact<'a> {
    what: &'static str,
    value: &'a str,
    is_hash: bool,
}

/// What a selector is of, and its value. One that we have no words for is told as it stands.
fn fact(selector: &str) -> Fact<'_> {
    const WORDS: &[(&str, &str)] = &[
        ("unix:path:", "program"),
        ("unix:sha256:", "sha-256 of the program"),
        ("unix:user:", "user"),
        ("unix:uid:", "user id"),
        ("unix:group:", "group"),
        ("unix:gid:", "group id"),
        ("systemd:id:", "systemd unit"),
        ("docker:image_id:", "container image"),
        ("k8s:ns:", "namespace"),
        ("k8s:sa:", "service account"),
    ];
    let known = WORDS
        .iter()
        .find_map(|(prefix, words)| selector.strip_prefix(prefix).map(|value| (*words, value)));
    let (what, value) = known.unwrap_or(("", selector));
    Fact { what, value, is_hash: selector.contains("sha256:") }
}

/// The tier that a part begins with (AR4SI §3.2), as people say it.
fn tier(told: &str) -> &'static str {
    const WORDS: &[(&str, &str)] = &[
        ("affirming", "as expected"),
        ("warning", "something is not as expected"),
        ("contraindicated", "not as it must be"),
    ];
    let known = WORDS.iter().find(|(tier, _)| told.starts_with(tier));
    known.map_or("nothing is known", |(_, words)| words)
}

#[derive(Template)]
#[template(path = "fault.html")]
struct Faulty<'a> {
    frame: Frame,
    what: &'a str,
    error: &'a str,
}

/// RFC 6749 §4.1.2.1: the user is told, and the browser is sent nowhere.
fn faulty(visit: &Visit, fault: &PageFault) -> Response {
    if let PageFault::TooMany { wait } = fault {
        return too_many(visit, *wait);
    }
    let frame = visit.frame("This request cannot be served", "");
    let what = fault.to_string();
    let error = fault.code();
    let shown = Faulty { frame, what: &what, error: error.as_str() };
    page::show(StatusCode::BAD_REQUEST, &shown)
}

fn too_many(visit: &Visit, wait: u64) -> Response {
    let what = format!(
        "Too many requests began in this browser or in this network. Nothing was allowed. Try \
         again in {wait} s."
    );
    let frame = visit.frame("Too many requests", "");
    let mut answer = page::refusal_in(StatusCode::TOO_MANY_REQUESTS, frame, &what);
    // RFC 6585 §4: "MAY include a Retry-After header indicating how long to wait".
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    answer
}

/// A question that cannot be answered any more: the back button, a second tab, a page left open.
fn ended(visit: &Visit, over: &authorization::interaction::Over) -> Response {
    use authorization::interaction::Over;
    let (status, title, what) = match over {
        Over::Answered { allowed: true, .. } => (
            StatusCode::CONFLICT,
            "This was answered already",
            "You can see what the application may do, and end it, under “Acting for me”.",
        ),
        Over::Answered { allowed: false, .. } => (
            StatusCode::CONFLICT,
            "This was answered already",
            "Nothing was allowed. To begin again, go back to the application.",
        ),
        Over::Expired { .. } => (
            StatusCode::GONE,
            "This question is out of date",
            "Nothing was allowed. To begin again, go back to the application.",
        ),
        Over::OtherBrowser => (
            StatusCode::FORBIDDEN,
            "This question was asked in another browser",
            "It can be answered there alone. If somebody sent you this link, do not go on.",
        ),
        Over::Unknown => (
            StatusCode::NOT_FOUND,
            "There is no such question",
            "It may be of long ago. To begin again, go back to the application.",
        ),
    };
    let frame = visit.frame(title, "");
    match over {
        // What they wanted is so: nothing is wrong.
        Over::Answered { .. } => page::told_in(status, frame, what),
        _ => page::refusal_in(status, frame, what),
    }
}
