//! What stands behind `?` in an order, and in its body.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Request, Uri};
use serde::de::DeserializeOwned;

use crate::admin::messages::REASON_BYTES_MAX;
use crate::admin::problem::Undone;
use crate::limits::ORDER_BYTES_MAX;
use crate::refused::Unread;
use crate::token::read_body;

/// Rows of a page, unless the order says otherwise.
const PAGE_ROWS: usize = 100;
/// Time for a body.
const BODY_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// Parameters of one order.
const PARAMETERS_MAX: usize = 16;

/// The parameters of an order, each known and there once.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads them; one that is not `known` is an error, not ignored: a filter that is misspelt
    /// would show more than was asked for.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Undone> {
        let mut found: Vec<(String, String)> = Vec::new();
        let text = uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).take(PARAMETERS_MAX) {
            if !known.contains(&name.as_ref()) {
                let known = known.join("`, `");
                let why = format!("no parameter `{name}` here; there are `{known}`");
                return Err(Undone::misused(why));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(Undone::misused(format!("parameter `{name}` stands more than once")));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Undone> {
        self.get(name).ok_or_else(|| Undone::misused(format!("parameter `{name}` is absent")))
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Undone> {
        let wrong = |_| Undone::misused(format!("parameter `{name}` is no number"));
        self.get(name).map(str::parse).transpose().map_err(wrong)
    }

    /// `true` or `false`; false when it is not there.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Undone> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(Undone::misused(format!("parameter `{name}` is not true or false"))),
        }
    }

    /// How many rows at most, within `max`.
    pub(crate) fn limit(&self, max: usize) -> Result<usize, Undone> {
        let asked = self.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(max));
        Ok(asked.unwrap_or(PAGE_ROWS).clamp(1, max))
    }
}

/// The segments of the path that the route names; what does not decode is told as everything else.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for At<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Undone;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Undone> {
        let Path(segments) = Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Undone::misused(rejection.body_text()))?;
        Ok(Self(segments))
    }
}

/// The text of a body, which must be JSON by its type.
pub(crate) async fn text(request: Request<Body>) -> Result<String, Undone> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(Undone::from(&Unread::ContentType { expected: "application/json" }));
    }
    let read = read_body(body, ORDER_BYTES_MAX, BODY_MAX).await;
    let bytes = read.map_err(|unread| Undone::from(&unread))?;
    String::from_utf8(bytes).map_err(|_| Undone::misused("the body is not UTF-8"))
}

/// A body as a document.
pub(crate) async fn document<T: DeserializeOwned>(request: Request<Body>) -> Result<T, Undone> {
    let text = text(request).await?;
    serde_json::from_str(&text)
        .map_err(|error| Undone::misused(format!("the body does not read: {error}")))
}

/// A reason in an operator's words.
pub(crate) fn reason(text: String) -> Result<String, Undone> {
    let fits = !text.trim().is_empty()
        && text.len() <= REASON_BYTES_MAX
        && !text.chars().any(char::is_control);
    if fits {
        return Ok(text);
    }
    let why = format!("`reason` must be 1 to {REASON_BYTES_MAX} bytes without control characters");
    Err(Undone::misused(why))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next().and_then(|one| one.to_str().ok()), types.next()) {
        (Some(one), None) => {
            let essence = one.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case("application/json")
        }
        _ => false,
    }
}
