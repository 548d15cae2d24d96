//! How an answer becomes a page: the frame around all of them, and the plain ones.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderValue, StatusCode};

use crate::browser::Browser;

/// What the frame around every page shows.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// What the window and the heading say.
    pub title: String,
    /// Who is signed in, as pages call them.
    pub user: Option<String>,
    /// Whether they see the operators' pages.
    pub is_operator: bool,
    /// Which entry of the navigation this page is.
    pub here: &'static str,
    /// The form value of the button that signs out; empty where nobody is signed in.
    pub sign_out: String,
}

impl Frame {
    /// The frame of a page that nobody need be signed in for.
    pub fn bare(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }
}

/// A page of this template.
pub fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        // Templates are checked when they are compiled; what is left is a formatter that failed.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The browser's own cookie with an answer, where it has none yet.
#[must_use]
pub fn remembered(mut answer: Response, browser: &Browser) -> Response {
    if let Some(cookie) = browser.set_cookie().filter(|_| browser.is_new()) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// A redirect that is a GET whatever came before. RFC 9700 §4.12: 303, never 307.
pub fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

/// A page that says what was not done, and what to do.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    frame: Frame,
    kind: &'a str,
    what: &'a str,
}

/// Says that nothing was done, and why.
pub fn refusal(status: StatusCode, title: &str, what: &str) -> Response {
    show(status, &Notice { frame: Frame::bare(title), kind: "error", what })
}

/// The same in the frame of somebody who is signed in.
pub fn refusal_in(status: StatusCode, frame: Frame, what: &str) -> Response {
    show(status, &Notice { frame, kind: "error", what })
}

/// Says how things stand, where nothing is wrong and nothing was done.
pub fn told_in(status: StatusCode, frame: Frame, what: &str) -> Response {
    show(status, &Notice { frame, kind: "", what })
}

/// Says that something was done, and what comes next.
pub fn done(title: &str, what: &str) -> Response {
    done_in(Frame::bare(title), what)
}

/// The same in the frame of somebody who is signed in.
pub fn done_in(frame: Frame, what: &str) -> Response {
    show(StatusCode::OK, &Notice { frame, kind: "done", what })
}

/// The store or a key does not answer.
pub fn unavailable() -> Response {
    refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "Not available just now",
        "Nothing was done. Try again in a moment.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_shows_is_escaped() {
        let page = Notice { frame: Frame::bare("<b>"), kind: "error", what: "<script>&\"'" };
        let text = page.render().unwrap();
        assert!(!text.contains("<script>&"), "{text}");
        assert!(text.contains("&#60;script&#62;"), "{text}");
        assert!(text.contains("<title>&#60;b&#62;"), "{text}");
    }
}
