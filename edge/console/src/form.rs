//! Forms that a browser sends: bounded, read once, each field at most as often as it may be.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Limited};

use crate::browser::{Browser, FORM_FIELD};

/// Bytes of a form.
pub const BYTES_MAX: usize = 64 * 1024;
/// Fields of a form.
pub const FIELDS_MAX: usize = 512;
/// Bytes of a client's request that comes as a form: it goes on as a query.
const POSTED_BYTES_MAX: usize = 8 * 1_024;
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Codes are typed into forms.
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Why a form counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is no form, or longer than any of ours.
    #[error("this is no form of ours")]
    NotAForm,
    /// It was not shown to this browser, or is of another life of it.
    #[error(
        "this form was not shown in this browser to whoever is signed in now, or is out of date"
    )]
    NotShown,
}

impl Form {
    /// Reads the fields of a query.
    pub fn of_query(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().take(FIELDS_MAX).collect())
    }

    /// Reads a form that `browser` sent to `action`, and that we had shown to it.
    pub async fn read(
        browser: &Browser,
        action: &str,
        request: Request<Body>,
    ) -> Result<Self, Unread> {
        let (parts, body) = request.into_parts();
        if !is_form(&parts.headers) {
            return Err(Unread::NotAForm);
        }
        let body = Limited::new(body, BYTES_MAX).collect().await;
        let bytes = body.map_err(|_| Unread::NotAForm)?.to_bytes();
        let fields: Vec<_> =
            form_urlencoded::parse(&bytes).into_owned().take(FIELDS_MAX + 1).collect();
        if fields.len() > FIELDS_MAX {
            return Err(Unread::NotAForm);
        }
        let form = Self(fields);
        let shown = form.one(FORM_FIELD).is_some_and(|value| browser.was_shown(action, value));
        if shown { Ok(form) } else { Err(Unread::NotShown) }
    }

    /// The one value of a field. A field that comes twice has none.
    pub fn one(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        let mut values = named.map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    /// All values of a field that may come several times, as boxes to tick do.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All fields, in order.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }
}

/// What a client posted, as the query of a GET.
pub(crate) async fn posted_query(request: Request<Body>) -> Result<String, String> {
    let (parts, body) = request.into_parts();
    let read = Limited::new(body, POSTED_BYTES_MAX).collect().await.ok();
    let bytes = read.filter(|_| is_form(&parts.headers)).map(|body| body.to_bytes());
    let query = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let plain = query.filter(|query| query.bytes().all(|byte| byte.is_ascii_graphic()));
    let wrong = || format!("It must be a form of at most {POSTED_BYTES_MAX} bytes.");
    plain.map(str::to_owned).ok_or_else(wrong)
}

fn is_form(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    text.is_some_and(|text| {
        let essence = text.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(FORM)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_comes_twice_has_no_value() {
        let form = Form::of_query("a=1&b=2&b=3&c=%20x");
        assert_eq!(form.one("a"), Some("1"));
        assert_eq!(form.one("b"), None);
        assert_eq!(form.all("b").collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(form.one("c"), Some(" x"));
        assert_eq!(form.one("d"), None);
        assert_eq!(format!("{form:?}"), r#"["a", "b", "b", "c"]"#);
    }
}
