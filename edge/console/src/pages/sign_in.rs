//! Signing in and out (AUTHN-11): a passkey, a code or link of an operator, another provider.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use env::{Clock, Unavailable, World};
use http::header::SET_COOKIE;
use http::{Request, StatusCode};
use people::browser::Place;
use people::end::{Check, End};
use people::passkeys::FRESH;
use people::sign_in::{self, SignedIn, passkey};
use people::upstream::{self, Came, Offered};
use time::Span;

use crate::form::Form;
use crate::page::{self, Frame};
use crate::visit::{SIGN_IN, Visit, also};
use crate::{Shared, browser};

/// Where somebody goes who came from nowhere.
const START: &str = "/console";
/// Why somebody who is signed in has to do it again: the code in the address, and the words.
const WHY: &[(&str, &str)] = &[
    ("other", "The application asks for somebody else than who is signed in here."),
    ("again", "The application asks that you sign in again."),
    ("old", "You signed in too long ago for this application."),
    ("stronger", "This application needs you to sign in by a stronger means, such as a passkey."),
    (
        "answer",
        "Nothing was done: this answer needs a stronger sign-in, such as a passkey. Then you are asked \
         again.",
    ),
    ("fresh", "Sign in again to change how you sign in."),
    (
        "weak",
        "Sign in by what you have already, or by a link of an operator, to change how you sign in.",
    ),
];

/// The code of these words: what a page shows never comes out of its address.
pub(crate) fn code_of(words: &str) -> &'static str {
    WHY.iter().find(|(_, known)| *known == words).map_or("again", |(code, _)| code)
}

#[derive(Template)]
#[template(path = "sign-in.html")]
struct Page<'a> {
    frame: Frame,
    why: &'a str,
    failed: &'a str,
    then: String,
    user: String,
    codes: bool,
    form: String,
    passkey_form: String,
    passkey_options: String,
    passkey_ceremony: String,
    providers: Vec<(Offered, String, String)>,
}

/// `GET /sign-in`.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    show_to(&shared, &visit, &query, StatusCode::OK, "").await
}

async fn show_to<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    fields: &Form,
    status: StatusCode,
    failed: &str,
) -> Response {
    let world = shared.world.as_ref();
    let then = place(fields.one("then"));
    let why = WHY.iter().find(|(code, _)| Some(*code) == fields.one("why"));
    let asked = passkey::begin(world, &shared.ceremonies, &visit.person(), visit.signed.as_ref());
    let (options, ceremony) = match asked {
        Ok(asked) => (asked.options.to_string(), asked.ceremony),
        Err(_) => (String::new(), String::new()),
    };
    let Ok(providers) = upstream::offered(world).await else { return page::unavailable() };
    let Ok(codes) = codes_are_on(world).await else { return page::unavailable() };
    let shown = Page {
        frame: visit.frame("Sign in", ""),
        why: why.map_or("", |(_, words)| words),
        failed,
        user: fields.one("user").unwrap_or_default().chars().take(64).collect(),
        codes,
        form: visit.browser.form_value(SIGN_IN),
        passkey_form: visit.browser.form_value(PASSKEY),
        passkey_options: options,
        passkey_ceremony: ceremony,
        providers: providers
            .into_iter()
            .map(|one| {
                let action = format!("{}/{}/begin", upstream::PATH, one.name);
                let form = visit.browser.form_value(&action);
                (one, action, form)
            })
            .collect(),
        then: then.as_str().to_owned(),
    };
    let answer = visit.answer(page::show(status, &shown));
    // After it the browser may go on to a client at once: its form must be let.
    match then.as_str().strip_prefix("/interaction/") {
        Some(name) => match consent::leads_to(world, &visit.person(), name).await {
            Ok(Some(to)) => also(answer, &to),
            _ => answer,
        },
        None => answer,
    }
}

/// Whether policy lets people in by codes.
async fn codes_are_on<W: World>(world: &W) -> Result<bool, Unavailable> {
    Ok(basis::facts::basis(world, Vec::new()).await?.set().domain().sign_in.codes)
}

/// A page of ours, or the start.
fn place(text: Option<&str>) -> Place {
    let start = || Place::parse(START).ok();
    let place = text.and_then(|text| Place::parse(text).ok()).or_else(start);
    // INVARIANT: the start is a place.
    #[expect(clippy::expect_used, reason = "a constant that a test reads")]
    place.expect("the start")
}

/// The path that takes a passkey.
pub(crate) const PASSKEY: &str = "/sign-in/passkey";
/// The path that takes a link.
pub(crate) const LINK: &str = people::orders::LINK_PATH;

/// `POST /sign-in`: a name and a code.
pub(crate) async fn by_code<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let (name, code) = (form.one("user").unwrap_or_default(), form.one("code").unwrap_or_default());
    let world = shared.world.as_ref();
    let ended = sign_in::by_code(world, &shared.throttle, &visit.person(), name, code).await;
    finish(&shared, &visit, &form, ended).await
}

/// `POST /sign-in/passkey`.
pub(crate) async fn by_passkey<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let ceremony = form.one("ceremony").unwrap_or_default();
    let answer = form.one("answer").unwrap_or_default().as_bytes();
    let (world, throttle) = (shared.world.as_ref(), &shared.throttle);
    let person = visit.person();
    let ended =
        passkey::finish(world, throttle, &shared.ceremonies, &person, (ceremony, answer)).await;
    finish(&shared, &visit, &form, ended).await
}

async fn finish<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    form: &Form,
    ended: sign_in::Ended,
) -> Response {
    let Ok(ended) = ended else { return page::unavailable() };
    if let End::Stranger(refusal) = &ended {
        shared.count(visit.source(), refusal.check());
    }
    match ended.into_result() {
        Ok(signed) => enter(visit, &signed, place(form.one("then")).as_str()),
        Err(refusal) => {
            let words = words(shared, &refusal);
            show_to(shared, visit, form, StatusCode::FORBIDDEN, &words).await
        }
    }
}

/// What somebody is told who was not let in: no more than they know.
fn words<W: World>(shared: &Shared<W>, refusal: &sign_in::Refusal) -> String {
    use sign_in::Refusal as Why;
    match refusal {
        Why::Code => "This name and this code do not let anybody in.".to_owned(),
        Why::TooMany(many) => {
            let wait = many.until.since(shared.world.clock().now()).millis().div_ceil(1_000);
            format!("Too many attempts failed. Try again in {wait} s.")
        }
        other => format!("You were not let in: {other}."),
    }
}

/// Signed in: a new cookie, and on.
fn enter(visit: &Visit, signed: &SignedIn, then: &str) -> Response {
    let mut answer = visit.answer(page::see_other(then));
    match browser::set_session(signed.cookie.expose()) {
        Some(cookie) => {
            answer.headers_mut().append(SET_COOKIE, cookie);
            answer
        }
        None => page::unavailable(),
    }
}

#[derive(Template)]
#[template(path = "link.html")]
struct Link {
    frame: Frame,
    name: String,
    form: String,
    secret: String,
}

/// `GET /sign-in/link`: asks before it uses the link up, since programs follow links too.
pub(crate) async fn link<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    let secret = query.one("secret").unwrap_or_default().to_owned();
    match sign_in::link_of(shared.world.as_ref(), &secret).await {
        Ok(Ok(user)) => {
            let frame = visit.frame("Welcome", "");
            let form = visit.browser.form_value(LINK);
            let shown = Link { frame, name: user.display_name, form, secret };
            visit.answer(page::show(StatusCode::OK, &shown))
        }
        Ok(Err(refusal)) => {
            shared.count(visit.source(), refusal.check());
            let what =
                format!("{} Ask whoever gave it to you for a new one.", words(&shared, &refusal));
            visit.refusal(StatusCode::FORBIDDEN, "This link lets nobody in", &what)
        }
        Err(_) => page::unavailable(),
    }
}

/// `POST /sign-in/link`: on to the page that adds a passkey.
pub(crate) async fn by_link<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let secret = form.one("secret").unwrap_or_default();
    let world = shared.world.as_ref();
    let Ok(ended) = sign_in::by_link(world, &shared.throttle, &visit.person(), secret).await else {
        return page::unavailable();
    };
    match ended.into_result() {
        Ok(signed) => enter(&visit, &signed, super::methods::METHODS),
        Err(refusal) => {
            shared.count(visit.source(), refusal.check());
            let what = words(&shared, &refusal);
            visit.refusal(StatusCode::FORBIDDEN, "This link lets nobody in", &what)
        }
    }
}

#[derive(Template)]
#[template(path = "onward.html")]
struct Onward {
    frame: Frame,
    to: String,
    title: String,
}

/// `POST /sign-in/upstream/{name}/begin`: to another provider. By a page, for a form may lead to
/// pages of ours alone.
pub(crate) async fn to_provider<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let link = form.one("link").is_some();
    let signed = visit.signed.as_ref().filter(|_| link);
    let to = if link { place(Some(super::methods::METHODS)) } else { place(form.one("then")) };
    let (world, ceremonies) = (shared.world.as_ref(), &shared.ceremonies);
    let age = if link { Ok(None) } else { age_asked(world, &visit, &to).await };
    let Ok(age) = age else { return page::unavailable() };
    let (person, to) = (visit.person(), (&to, age));
    let begun = upstream::begin(world, ceremonies, &person, &name, to, signed).await;
    match begun {
        Ok(Ok(to)) => {
            let Ok(offered) = upstream::offered(world).await else { return page::unavailable() };
            let title = offered.into_iter().find(|one| one.name == name);
            let title = title.map_or(name, |one| one.title);
            let frame = visit.frame("On to your provider", "");
            visit.answer(page::show(StatusCode::OK, &Onward { frame, to, title }))
        }
        Ok(Err(why @ (upstream::Refusal::NotFresh | upstream::Refusal::TooWeak(_)))) => {
            let code = if why == upstream::Refusal::NotFresh { "fresh" } else { "weak" };
            let to = format!("{SIGN_IN}?then={}&why={code}", super::methods::METHODS);
            visit.answer(page::see_other(&to))
        }
        Ok(Err(refusal)) => {
            shared.count(visit.source(), refusal.check());
            let what = format!("{refusal}.");
            visit.refusal(StatusCode::BAD_REQUEST, "That provider cannot be used", &what)
        }
        Err(_) => page::unavailable(),
    }
}

/// How old a sign-in may be for the page that somebody goes on to, if it asks.
async fn age_asked<W: World>(
    world: &W,
    visit: &Visit,
    to: &Place,
) -> Result<Option<Span>, Unavailable> {
    match to.as_str().strip_prefix("/interaction/") {
        Some(name) => consent::age_asked(world, &visit.person(), name).await,
        None => Ok((to.as_str() == super::methods::METHODS).then_some(FRESH)),
    }
}

/// `GET /sign-in/upstream/{name}`: back from another provider.
pub(crate) async fn by_provider<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let Ok(form) = oauth::form::Form::parse(query) else {
        shared.count(visit.source(), "upstream::Form");
        let what = "The answer of the provider does not read.";
        return visit.refusal(StatusCode::BAD_REQUEST, "You were not let in", what);
    };
    let (world, ceremonies) = (shared.world.as_ref(), &shared.ceremonies);
    let (throttle, person) = (&shared.throttle, visit.person());
    let ended = upstream::finish(world, throttle, ceremonies, &person, &name, &form).await;
    let Ok(ended) = ended else { return page::unavailable() };
    if let End::Stranger(refusal) = &ended {
        shared.count(visit.source(), refusal.check());
    }
    match ended.into_result() {
        Ok((Came::In(signed), to)) => enter(&visit, &signed, to.as_str()),
        Ok((Came::Linked(_), to)) => visit.answer(page::see_other(to.as_str())),
        Err(refusal) => {
            let what = format!("{refusal}.");
            visit.refusal(StatusCode::FORBIDDEN, "You were not let in", &what)
        }
    }
}
