//! A request of a browser: who sent it, and who is signed in there.

use std::net::IpAddr;

use axum::body::Body;
use axum::response::Response;
use env::{Unavailable, World};
use http::header::USER_AGENT;
use http::request::Parts;
use http::{Request, StatusCode};
use people::browser::Place;
use people::sessions::{self, Signed};

use crate::browser::Browser;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::{Shared, guard};

/// The path that signs out.
pub(crate) const SIGN_OUT: &str = "/sign-out";
/// The path that signs in.
pub(crate) const SIGN_IN: &str = "/sign-in";

/// Who asks for a page.
pub(crate) struct Visit {
    pub(crate) browser: Browser,
    pub(crate) signed: Option<Signed>,
    name: String,
    source: String,
    agent: String,
}

impl Visit {
    /// The visit of this request.
    pub(crate) async fn of<W: World>(
        shared: &Shared<W>,
        parts: &Parts,
    ) -> Result<Self, Unavailable> {
        let world = shared.world.as_ref();
        let mut browser = Browser::of(world, &parts.headers);
        let signed = match browser.session() {
            Some(cookie) => sessions::of_cookie(world, cookie).await?.ok(),
            None => None,
        };
        if let Some(signed) = &signed {
            sessions::seen(world, signed).await?;
            browser.is_of(&signed.session.user);
        }
        let source = parts.extensions.get::<IpAddr>().map(ToString::to_string).unwrap_or_default();
        let agent = parts.headers.get(USER_AGENT).and_then(|text| text.to_str().ok());
        let agent = agent.unwrap_or_default().to_owned();
        Ok(Self { name: browser.hash(), browser, signed, source, agent })
    }

    /// The visit, and the form that came with it.
    pub(crate) async fn with_form<W: World>(
        shared: &Shared<W>,
        request: Request<Body>,
    ) -> Result<(Self, Form), Response> {
        let (parts, body) = request.into_parts();
        let visit = Self::of(shared, &parts).await.map_err(|_| page::unavailable())?;
        let action = parts.uri.path().to_owned();
        let request = Request::from_parts(parts, body);
        match Form::read(&visit.browser, &action, request).await {
            Ok(form) => Ok((visit, form)),
            Err(unread) => {
                shared.count(&visit.source, "console::Form");
                let what = format!("Nothing was done: {unread}. Open the page again and send it.");
                Err(visit.refusal(StatusCode::FORBIDDEN, "This form is out of date", &what))
            }
        }
    }

    /// As flows know a browser.
    pub(crate) fn person(&self) -> people::browser::Browser<'_> {
        people::browser::Browser {
            name: &self.name,
            session: self.browser.session(),
            source: &self.source,
            agent: &self.agent,
        }
    }

    /// Where it comes from.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The frame of a page.
    pub(crate) fn frame(&self, title: &str, here: &'static str) -> Frame {
        let Some(signed) = &self.signed else { return Frame { here, ..Frame::bare(title) } };
        Frame {
            title: title.to_owned(),
            user: Some(signed.user.display_name.clone()),
            is_operator: signed.user.is_operator(),
            here,
            sign_out: self.browser.form_value(SIGN_OUT),
        }
    }

    /// An answer to this browser: its cookie goes along where it has none.
    pub(crate) fn answer(&self, answer: Response) -> Response {
        page::remembered(answer, &self.browser)
    }

    /// A page that says what was not done.
    pub(crate) fn refusal(&self, status: StatusCode, title: &str, what: &str) -> Response {
        self.answer(page::refusal_in(status, self.frame(title, ""), what))
    }

    /// To the sign-in page, and back to `then`.
    pub(crate) fn to_sign_in(&self, then: &str) -> Response {
        self.to_sign_in_for(then, "")
    }

    /// The same for somebody who has to sign in otherwise: `why` by its code.
    pub(crate) fn to_sign_in_for(&self, then: &str, why: &str) -> Response {
        let then = Place::parse(then).map(|place| place.as_str().to_owned());
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("then", then.as_deref().unwrap_or("/console"));
        if !why.is_empty() {
            query.append_pair("why", why);
        }
        let query = query.finish();
        self.answer(page::see_other(&format!("{SIGN_IN}?{query}")))
    }
}

/// Where an answer leads that a client gets, as the page says that may lead there.
pub(crate) fn also(mut answer: Response, to: &str) -> Response {
    if let Some(also) = guard::FormsAlsoLeadTo::of(to) {
        answer.extensions_mut().insert(also);
    }
    answer
}
