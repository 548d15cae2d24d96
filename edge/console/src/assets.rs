//! The style sheet and the one script, served from here: no page loads anything from elsewhere.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// Where the style sheet is. Pages name it with the version, so that a browser may keep it.
pub(crate) const STYLE_PATH: &str = "/console/style.css";
/// Where the script is.
pub(crate) const SCRIPT_PATH: &str = "/console/passkey.js";

/// What browsers ask for by themselves.
pub(crate) const ICON_PATH: &str = "/favicon.ico";

const STYLE: &str = include_str!("../templates/style.css");
const SCRIPT: &str = include_str!("../templates/passkey.js");
const ICON: &str = include_str!("../templates/icon.svg");
/// How long a browser may keep them: they change with the version alone.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=86400");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");

pub(crate) async fn icon() -> Response {
    ([(CONTENT_TYPE, SVG), (CACHE_CONTROL, KEPT)], ICON).into_response()
}

pub(crate) async fn style() -> Response {
    ([(CONTENT_TYPE, CSS), (CACHE_CONTROL, KEPT)], STYLE).into_response()
}

pub(crate) async fn script() -> Response {
    ([(CONTENT_TYPE, JAVASCRIPT), (CACHE_CONTROL, KEPT)], SCRIPT).into_response()
}
