//! A browser's tab: it keeps cookies, says whence it comes, and sends the forms that it was shown.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use console::Parts;
use env::World;
use http::header::{CONTENT_SECURITY_POLICY, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use monitoring::trace::Trace;
use people::orders::{self, NewUser};
use registry::{ClientRecord, Metadata, UserName};
use testkit::fixture::{Domain, GATEWAY, ISSUER, files};
use testkit::{Sim, SimWorld};
use time::Span;
use tower::ServiceExt;

use crate::html::Page;

pub(crate) const CLIENT: &str = "client-books";
pub(crate) const BACK: &str = "https://books.example/back";

/// A server with a client and two people: ada, and root who runs it.
pub(crate) struct House {
    pub(crate) domain: Domain,
    pub(crate) router: Router,
    pub(crate) counted: Arc<Mutex<Vec<&'static str>>>,
}

impl House {
    pub(crate) async fn open(sim: &Sim) -> Self {
        let domain = Domain::start_with(sim, files()).await;
        let counted: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let counts = Arc::clone(&counted);
        let world = domain.server.world();
        let on_refused: console::OnRefused =
            Arc::new(move |_, check| counts.lock().unwrap().push(check));
        let journal = domain.server.clone();
        let stories: console::Stories = Arc::new(move |asked| {
            let records = journal.journal().records();
            Box::pin(async move {
                let known = records.iter().any(|one| one.root.as_deref() == Some(&*asked));
                Ok(known.then(|| Trace::of(&asked, &records)))
            })
        });
        let router = console::router(Parts { world, on_refused, stories });
        let house = Self { domain, router, counted };
        house.client();
        house.add("ada", &[]).await;
        house.add("root", &["operator"]).await;
        house
    }

    pub(crate) fn world(&self) -> Arc<SimWorld> {
        self.domain.server.world()
    }

    fn client(&self) {
        let metadata = r#"{"client_name":"Books & Co <b>","token_endpoint_auth_method":"spiffe_wit",
            "grant_types":["authorization_code"],"spiffe_id":"spiffe://demo.example/books"}"#;
        let mut members: serde_json::Map<_, _> = serde_json::from_str(metadata).unwrap();
        members.insert("redirect_uris".to_owned(), vec![BACK].into());
        let (metadata, now) = (Metadata::new(&members).unwrap(), self.domain.now());
        self.world().store().put(&ClientRecord::new(CLIENT.to_owned(), metadata, now));
    }

    async fn add(&self, name: &str, roles: &[&str]) {
        let name = UserName::parse(name).unwrap();
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let new = NewUser { name, display_name: None, email: None, roles };
        let done = orders::add(&*self.world(), &self.domain.operator(), &new).await;
        done.unwrap().into_value().unwrap();
    }

    pub(crate) async fn code(&self, user: &str) -> String {
        let (world, life) = (self.world(), Span::from_seconds(600));
        let (operator, name) = (self.domain.operator(), UserName::parse(user).unwrap());
        let done = orders::code(&*world, &operator, &name, 1, life).await;
        done.unwrap().into_value().unwrap().text.expose().to_owned()
    }

    pub(crate) fn tab(&self) -> Tab {
        Tab { router: self.router.clone(), cookies: BTreeMap::new() }
    }

    /// A tab in which that user is signed in.
    pub(crate) async fn signed(&self, user: &str) -> Tab {
        let mut tab = self.tab();
        let page = tab.get("/sign-in").await;
        let code = self.code(user).await;
        let answer = tab.send(&page, "by-code", &[("user", user), ("code", &code)]).await;
        assert_eq!(answer.location(), "/console");
        tab
    }
}

/// A request of the client for invoices.
pub(crate) fn ask(scope: &str, more: &str) -> String {
    format!(
        "/authorize?response_type=code&client_id={CLIENT}&redirect_uri={BACK}&state=s1\
         &resource={GATEWAY}/invoices&scope={scope}&code_challenge_method=S256\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM{more}"
    )
}

#[derive(Clone)]
pub(crate) struct Tab {
    router: Router,
    pub(crate) cookies: BTreeMap<String, String>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        self.headers[LOCATION].to_str().unwrap()
    }

    pub(crate) fn policy(&self) -> &str {
        self.headers[CONTENT_SECURITY_POLICY].to_str().unwrap()
    }

    /// The page, which is as every page must be.
    pub(crate) fn page(&self) -> Page {
        let page = Page::read(&self.body);
        page.check();
        page
    }
}

impl Tab {
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.request(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Follows redirects on our own origin.
    pub(crate) async fn open(&mut self, path: &str) -> Answer {
        let mut answer = self.get(path).await;
        for _ in 0..5 {
            match answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()) {
                Some(to) if to.starts_with('/') => answer = self.get(to).await,
                _ => break,
            }
        }
        answer
    }

    /// Sends a form of a page, as it stands but for these fields.
    pub(crate) async fn send(
        &mut self,
        shown: &Answer,
        form: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let page = shown.page();
        let found = page.id(form).unwrap_or_else(|| {
            panic!("no `{form}`: {} {:?} {}", shown.status, shown.headers, shown.body)
        });
        let action = found.attributes["action"].clone();
        let mut all = page.fields(form);
        all.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
        all.extend(
            fields
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        self.post(&action, &all, Some(origin())).await
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        fields: &[(String, String)],
        origin: Option<&str>,
    ) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request =
            Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        self.request(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) async fn request(&mut self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.join("; ").parse().unwrap());
        }
        request.extensions_mut().insert(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            match text.contains("Max-Age=0") {
                true => drop(self.cookies.remove(name)),
                false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        protected(&answer);
        answer
    }
}

/// Our own origin.
pub(crate) fn origin() -> &'static str {
    ISSUER
}

/// What every answer of the console says to browsers.
fn protected(answer: &Answer) {
    let headers = &answer.headers;
    assert!(answer.policy().contains("default-src 'none'"), "{}", answer.policy());
    assert!(answer.policy().contains("frame-ancestors 'none'"));
    assert!(answer.policy().contains("base-uri 'none'"));
    assert!(!answer.policy().contains("unsafe-inline"));
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert!(headers.contains_key("cache-control"));
    assert!(!headers.contains_key("access-control-allow-origin"));
}
