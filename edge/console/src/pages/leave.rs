//! Leaving: by our own button, or sent by a client (OpenID Connect RP-Initiated Logout 1.0).

use std::fmt::Display;
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use env::World;
use http::header::SET_COOKIE;
use http::{Request, StatusCode};
use openid::logout::LogoutRequest;
use people::leave::{self, Leaving};
use people::sessions::{self, By, Signed};

use crate::form::posted_query;
use crate::page::{self, Frame};
use crate::visit::{Visit, also};
use crate::{Shared, browser};

/// Where clients send people who leave: `end_session_endpoint`.
pub(crate) const END_SESSION: &str = "/end-session";
/// Where the answer to our question goes.
pub(crate) const CONFIRM: &str = "/end-session/answer";

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage<'a> {
    frame: Frame,
    form: String,
    query: &'a str,
    user: &'a str,
}

/// `POST /sign-out`: our own button.
pub(crate) async fn sign_out<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    match Visit::with_form(&shared, request).await {
        Ok((visit, _)) => out(&shared, &visit, None, "signed out").await,
        Err(answer) => answer,
    }
}

/// Where our own button leads that ends every session of somebody.
pub(crate) const EVERYWHERE: &str = "/sign-out/everywhere";

/// `POST /sign-out/everywhere`: of this browser and of all others.
pub(crate) async fn everywhere<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, _) = match Visit::with_form(&shared, request).await {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    if let Some(signed) = &visit.signed {
        let (world, user) = (shared.world.as_ref(), &signed.session.user);
        let ended =
            sessions::end_all(world, By::Owner(user), user, None, "signed out everywhere").await;
        if ended.is_err() {
            return page::unavailable();
        }
    }
    gone(
        &visit,
        page::done(
            "Signed out everywhere",
            "You are signed out in every browser. What may go on without you goes on: see it at \
             your next sign-in.",
        ),
    )
}

/// `GET /end-session`: sent by a client.
pub(crate) async fn asked<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    let query = parts.uri.query().unwrap_or_default();
    let leaving = match wanted(&shared, &visit, query).await {
        Ok(leaving) => leaving,
        Err(answer) => return answer,
    };
    match &leaving.signed {
        Some(signed) if leaving.confirm => confirm(&visit, signed, query, leaving.to.as_deref()),
        _ => out(&shared, &visit, leaving.to, BY_A_CLIENT).await,
    }
}

/// `POST /end-session`. RP-Initiated Logout 1.0 §2: "OpenID Providers MUST support the use of the
/// HTTP GET and POST methods". It becomes a GET, as at `/authorize`: a form of another site brings
/// no cookie of ours along.
pub(crate) async fn post<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    match posted_query(request).await {
        Ok(query) => page::see_other(&format!("{END_SESSION}?{query}")),
        Err(what) => {
            shared.count("", "leave::Form");
            page::refusal(StatusCode::BAD_REQUEST, NOT_SIGNED_OUT, &what)
        }
    }
}

/// `POST /end-session/answer`: whether to leave.
pub(crate) async fn answered<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Response {
    let (visit, form) = match Visit::with_form(&shared, request).await {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    if form.one("leave") != Some("yes") {
        return visit.answer(page::see_other("/console"));
    }
    // What the client asked for is read and checked again: what a page kept says nothing.
    let query = form.one("query").unwrap_or_default();
    match wanted(&shared, &visit, query).await {
        Ok(leaving) => out(&shared, &visit, leaving.to, BY_A_CLIENT).await,
        Err(answer) => answer,
    }
}

const BY_A_CLIENT: &str = "signed out by way of a client";
const NOT_SIGNED_OUT: &str = "You were not signed out";

async fn wanted<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    query: &str,
) -> Result<Leaving, Response> {
    let bad = |why: &dyn Display| {
        shared.count(visit.source(), "leave::Refused");
        let what = format!(
            "The application that sent you here asked wrongly: {why}. You can sign out by the \
             button of every page of ours."
        );
        visit.refusal(StatusCode::BAD_REQUEST, NOT_SIGNED_OUT, &what)
    };
    let form = oauth::form::Form::parse(query.as_bytes()).map_err(|error| bad(&error))?;
    let request = LogoutRequest::parse(&form).map_err(|error| bad(&error))?;
    let asked = leave::asked(shared.world.as_ref(), &visit.person(), &request).await;
    asked.map_err(|_| page::unavailable())?.map_err(|refusal| bad(&refusal))
}

/// The question of §2, whether to sign out here, too.
fn confirm(visit: &Visit, signed: &Signed, query: &str, to: Option<&str>) -> Response {
    let shown = LeavePage {
        frame: visit.frame("Sign out?", ""),
        form: visit.browser.form_value(CONFIRM),
        query,
        user: &signed.user.display_name,
    };
    let answer = visit.answer(page::show(StatusCode::OK, &shown));
    match to {
        Some(to) => also(answer, to),
        None => answer,
    }
}

/// Out, and on.
async fn out<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    to: Option<String>,
    why: &str,
) -> Response {
    if let Some(signed) = &visit.signed {
        let by = By::Owner(&signed.session.user);
        let ended = sessions::end(shared.world.as_ref(), by, &signed.session.id, why).await;
        if ended.is_err() {
            return page::unavailable();
        }
    }
    let answer = match to {
        Some(to) => page::see_other(&to),
        None => page::done(
            "Signed out",
            "You are signed out here. What may go on without you goes on: see it at your next \
             sign-in.",
        ),
    };
    gone(visit, answer)
}

/// The answer to somebody who is signed in no longer.
fn gone(visit: &Visit, answer: Response) -> Response {
    let mut answer = visit.answer(answer);
    if let Some(cookie) = browser::forget_session() {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}
