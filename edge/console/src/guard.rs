//! What holds for every page: where its forms may come from, and what a browser may do with it.
//!
//! A POST is taken from our own pages alone. Nothing may frame a page, no page runs a script that
//! it did not load from here, and none sends its address to others.

use aws_lc_rs::digest;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use oauth::authorization_response::FORM_POST_SCRIPT;
use url::Url;

use crate::page;
use crate::pages::authorize::AUTHORIZE;
use crate::pages::leave::END_SESSION;

/// Fetch Metadata: whence the browser says that a request comes.
const FETCH_SITE: &str = "sec-fetch-site";

/// Where else the form of a page may lead.
///
/// Browsers hold each redirect that follows upon a form to the page's `form-action` (CSP Level 3
/// §6.4.1.1), not only the first: one that lets a form go to the client alone stops at the client's
/// next redirect, and the client has the code by then. Where a client sends its users is the
/// client's. So a page that ends at a website says nothing of forms; one that ends at an app on the
/// device, whose scheme goes nowhere else, names the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormsAlsoLeadTo {
    /// A website, and wherever it sends its users on.
    Website,
    /// An app, by its scheme.
    App(String),
}

impl FormsAlsoLeadTo {
    /// What a redirect URI leads to that was checked.
    pub fn of(redirect_uri: &str) -> Option<Self> {
        let url = Url::parse(redirect_uri).ok()?;
        if url.origin().is_tuple() {
            return Some(Self::Website);
        }
        let source = format!("{}:", url.scheme());
        // What would end the directive cannot come out of the URL type; it is looked at anyhow.
        let plain = source.bytes().all(|byte| byte.is_ascii_graphic() && !b";,'".contains(&byte));
        plain.then_some(Self::App(source))
    }

    fn directive(also: Option<&Self>) -> String {
        match also {
            None => "form-action 'self'; ".to_owned(),
            Some(Self::App(scheme)) => format!("form-action 'self' {scheme}; "),
            Some(Self::Website) => String::new(),
        }
    }
}

/// A page that runs the one script which sends its form (OAuth 2.0 Form Post Response Mode §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsItsForm;

/// What a content security policy knows that script by (CSP Level 3 §2.3.1, `hash-source`).
fn form_script() -> String {
    let hash = digest::digest(&digest::SHA256, FORM_POST_SCRIPT.as_bytes());
    format!(" 'sha256-{}'", STANDARD.encode(hash))
}

/// The origin of an URL, as browsers write it.
pub(crate) fn origin_of(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Refuses what another site sends, and says to the browser what it may do with the answer.
pub(crate) async fn watch(own: String, request: Request, next: Next) -> Response {
    // A client may send its request as a form (OpenID Connect Core 1.0 §3.1.2.1, RP-Initiated
    // Logout 1.0 §2): it becomes a GET and does nothing by itself.
    let looks = *request.method() == Method::HEAD && acts(request.uri().path());
    let for_clients = [AUTHORIZE, END_SESSION].contains(&request.uri().path());
    let foreign = is_unsafe(request.method()) && !for_clients && !is_ours(request.headers(), &own);
    let mut answer = if looks {
        (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, POST")]).into_response()
    } else if foreign {
        page::refusal(
            StatusCode::FORBIDDEN,
            "This form came from another site",
            "Nothing was done. Open the page again and send the form from there.",
        )
    } else {
        next.run(request).await
    };
    let also = answer.extensions_mut().remove::<FormsAlsoLeadTo>();
    let runs = answer.extensions_mut().remove::<RunsItsForm>();
    protect(answer.headers_mut(), also.as_ref(), runs);
    answer.into_response()
}

/// Whether a GET there begins, answers or ends something: a look at it does none of it.
/// RFC 9110 §9.2.1: "the client does not request, and does not expect, any state change".
fn acts(path: &str) -> bool {
    let below = ["/interaction/", "/sign-in/upstream/"];
    [AUTHORIZE, END_SESSION].contains(&path) || below.iter().any(|one| path.starts_with(one))
}

/// The same said of what has no forms.
pub(crate) async fn safe(mut answer: Response) -> Response {
    protect(answer.headers_mut(), None, None);
    answer
}

fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a browser says that one of our own pages sent it. A client that says nothing of the kind
/// is no browser of today, and is refused.
fn is_ours(headers: &HeaderMap, own: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(ORIGIN.as_str()), text(FETCH_SITE)) {
        (Some(origin), _) => origin == own,
        (None, Some(site)) => site == "same-origin",
        (None, None) => false,
    }
}

fn protect(headers: &mut HeaderMap, also: Option<&FormsAlsoLeadTo>, runs: Option<RunsItsForm>) {
    let forms = FormsAlsoLeadTo::directive(also);
    let script = runs.map(|_| form_script()).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'{script}; connect-src 'self'; \
         img-src 'self' data:; {forms}frame-ancestors 'none'; base-uri 'none'"
    );
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    ));
    let permissions = HeaderName::from_static("permissions-policy");
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    let fixed = [
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (opener, HeaderValue::from_static("same-origin")),
        (resource, HeaderValue::from_static("same-origin")),
        (
            permissions,
            HeaderValue::from_static(
                "camera=(), geolocation=(), microphone=(), payment=(), \
                 publickey-credentials-create=(self), publickey-credentials-get=(self)",
            ),
        ),
    ];
    headers.extend(fixed);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://localhost:8443";

    fn with(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        for (fields, ours) in [
            (vec![("origin", OWN)], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("origin", OWN), ("sec-fetch-site", "same-origin")], true),
            (vec![], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "https://localhost:8444")], false),
            (vec![("origin", "https://localhost:8443.evil.example")], false),
            (vec![("origin", "http://localhost:8443")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![("origin", "null"), ("sec-fetch-site", "same-origin")], false),
        ] {
            assert_eq!(is_ours(&with(&fields), OWN), ours, "{fields:?}");
        }
    }

    #[test]
    fn rfc9110_9_2_1_a_look_at_what_acts_does_nothing() {
        for (path, does) in [
            ("/authorize", true),
            ("/end-session", true),
            ("/interaction/x", true),
            ("/sign-in/upstream/x", true),
            ("/sign-in", false),
            ("/console", false),
        ] {
            assert_eq!(acts(path), does, "{path}");
        }
    }

    #[test]
    fn forms_lead_to_ourselves_and_the_one_client() {
        let app = || FormsAlsoLeadTo::App("com.example.app:".to_owned());
        for (uri, also, directive) in [
            // The client's next redirect may lead to any other site.
            ("https://app.example/cb?x=1", Some(FormsAlsoLeadTo::Website), ""),
            ("http://127.0.0.1:4711/cb", Some(FormsAlsoLeadTo::Website), ""),
            ("http://[::1]:4711/cb", Some(FormsAlsoLeadTo::Website), ""),
            ("com.example.app:/cb", Some(app()), "form-action 'self' com.example.app:; "),
            ("no url", None, "form-action 'self'; "),
        ] {
            assert_eq!(FormsAlsoLeadTo::of(uri), also, "{uri}");
            let mut headers = HeaderMap::new();
            protect(&mut headers, also.as_ref(), None);
            let policy = headers.get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
            assert!(policy.contains(&format!("data:; {directive}frame-ancestors")), "{policy}");
            assert!(!policy.contains("unsafe-inline"), "{policy}");
        }
    }
}
