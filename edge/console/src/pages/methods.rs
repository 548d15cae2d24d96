//! How somebody signs in: their passkeys and their accounts at other providers (AUTHN-11).

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use env::World;
use http::{Request, StatusCode};
use people::passkeys::{self, Refusal, Warned};
use people::upstream::{self, Offered};
use registry::user::Account;

use crate::Shared;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::visit::Visit;
use crate::words::moment;

/// The page.
pub(crate) const METHODS: &str = "/console/sign-in-methods";
/// Where a new passkey is sent to.
pub(crate) const ADD: &str = "/console/sign-in-methods/add";
/// What the page says after something was done.
const TOLD: &[(&str, &str)] = &[
    ("added", "The passkey is added."),
    ("removed", "The passkey is removed."),
    ("account", "The account is removed. It signs you in no more."),
];

#[derive(Template)]
#[template(path = "methods.html")]
struct Page<'a> {
    frame: Frame,
    told: &'a str,
    failed: &'a str,
    passkeys: Vec<Row>,
    accounts: Vec<Linked>,
    add_form: String,
    options: String,
    ceremony: String,
    not_now: String,
    providers: Vec<(Offered, String, String)>,
}

struct Row {
    id: String,
    name: String,
    added: String,
    used: String,
    synced: bool,
    action: String,
    form: String,
}

struct Linked {
    id: String,
    title: String,
    issuer: String,
    since: String,
    action: String,
    form: String,
}

/// Asked before the last way in goes that is somebody's own.
#[derive(Template)]
#[template(path = "last.html")]
struct Last {
    frame: Frame,
    action: String,
    form: String,
}

/// `GET /console/sign-in-methods`.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    let told = TOLD.iter().find(|(code, _)| Some(*code) == query.one("done"));
    show_to(&shared, &visit, told.map_or("", |(_, words)| words), "").await
}

async fn show_to<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    told: &str,
    failed: &str,
) -> Response {
    let Some(signed) = &visit.signed else { return visit.to_sign_in(METHODS) };
    let world = shared.world.as_ref();
    let Ok(providers) = upstream::offered(world).await else { return page::unavailable() };
    let person = visit.person();
    let asked = passkeys::begin(world, &shared.ceremonies, &person, signed).await;
    let Ok(asked) = asked else { return page::unavailable() };
    let (options, ceremony, not_now) = match asked {
        Ok(asked) => (asked.options.to_string(), asked.ceremony, String::new()),
        Err(refusal) => (String::new(), String::new(), format!("{refusal}.")),
    };
    let user = &signed.user;
    let shown = Page {
        frame: visit.frame("Sign-in methods", "methods"),
        told,
        failed,
        passkeys: user.passkeys.iter().map(|one| row(visit, one)).collect(),
        accounts: user.accounts.iter().map(|one| linked(visit, &providers, one)).collect(),
        add_form: visit.browser.form_value(ADD),
        options,
        ceremony,
        not_now,
        providers: providers
            .into_iter()
            .map(|one| {
                let action = format!("{}/{}/begin", upstream::PATH, one.name);
                let form = visit.browser.form_value(&action);
                (one, action, form)
            })
            .collect(),
    };
    let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::FORBIDDEN };
    visit.answer(page::show(status, &shown))
}

fn row(visit: &Visit, one: &registry::user::Passkey) -> Row {
    let action = format!("{METHODS}/{}/remove", one.id);
    Row {
        id: one.id.clone(),
        name: one.name.clone(),
        added: moment(one.added),
        used: one.used.map_or_else(|| "never".to_owned(), moment),
        synced: one.backup_eligible,
        form: visit.browser.form_value(&action),
        action,
    }
}

fn linked(visit: &Visit, providers: &[Offered], one: &Account) -> Linked {
    let id = passkeys::account_id(one);
    let action = format!("{METHODS}/accounts/{id}/remove");
    let known = providers.iter().find(|provider| provider.issuer == one.issuer);
    Linked {
        id,
        title: known.map_or("A provider that is not used any more", |one| &one.title).to_owned(),
        issuer: one.issuer.clone(),
        since: moment(one.since),
        form: visit.browser.form_value(&action),
        action,
    }
}

/// `POST /console/sign-in-methods/add`.
pub(crate) async fn add<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(METHODS) };
    let said = (
        form.one("ceremony").unwrap_or_default(),
        form.one("answer").unwrap_or_default().as_bytes(),
    );
    let name = form.one("name").unwrap_or_default();
    let (world, ceremonies) = (shared.world.as_ref(), &shared.ceremonies);
    let done = passkeys::add(world, ceremonies, &visit.person(), signed, said, name).await;
    finish(&shared, &visit, done, "added").await
}

/// `POST /console/sign-in-methods/{id}/remove`.
pub(crate) async fn remove<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(METHODS) };
    let (world, warned) = (shared.world.as_ref(), warned(&form));
    let done = passkeys::remove(world, &visit.person(), signed, &id, warned).await;
    gone(&shared, &visit, done, &format!("{METHODS}/{id}/remove"), "removed").await
}

/// `POST /console/sign-in-methods/accounts/{id}/remove`.
pub(crate) async fn remove_account<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let Some(signed) = &visit.signed else { return visit.to_sign_in(METHODS) };
    let (world, warned) = (shared.world.as_ref(), warned(&form));
    let done = passkeys::remove_account(world, &visit.person(), signed, &id, warned).await;
    gone(&shared, &visit, done, &format!("{METHODS}/accounts/{id}/remove"), "account").await
}

/// Whether the form is the one of the page that warns.
fn warned(form: &Form) -> Warned {
    if form.one("warned").is_some() { Warned::OfTheLast } else { Warned::Not }
}

/// A way in that goes: where it is the last of their own, they are asked once more.
async fn gone<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    done: passkeys::Done,
    action: &str,
    code: &str,
) -> Response {
    match done {
        Ok(recorded) if matches!(recorded.value(), Err(Refusal::LastOwn)) => {
            let frame = visit.frame("Remove your last way in?", "methods");
            let form = visit.browser.form_value(action);
            let shown = Last { frame, action: action.to_owned(), form };
            visit.answer(page::show(StatusCode::CONFLICT, &shown))
        }
        done => finish(shared, visit, done, code).await,
    }
}

async fn finish<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    done: passkeys::Done,
    code: &str,
) -> Response {
    match done.map(env::Recorded::into_value) {
        Ok(Ok(_)) => visit.answer(page::see_other(&format!("{METHODS}?done={code}"))),
        Ok(Err(refusal)) => {
            let words = format!("Nothing was changed: {refusal}.");
            show_to(shared, visit, "", &words).await
        }
        Err(_) => page::unavailable(),
    }
}
