//! A domain with a user, a client that brings them, and their browser.

use std::collections::BTreeSet;
use std::sync::Arc;

use authorization::granted::{Code, GrantRecord};
use basis::shares::Shares;
use consent::{Answer, Asking, Begun, Choice, Reply, Settled, Shown};
use env::World;
use oauth::authorization_response::Delivery;
use people::browser::Browser;
use people::orders::{self, NewUser};
use people::sign_in;
use people::throttle::Throttle;
use policy::Files;
use registry::{ClientRecord, Metadata, UserName};
use testkit::fixture::{Domain, GATEWAY, files};
use testkit::{Sim, SimWorld};
use time::Span;

pub(crate) const CLIENT: &str = "client-books";
pub(crate) const BACK: &str = "https://books.example/back";
/// RFC 7636 appendix B.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) struct House {
    pub(crate) domain: Domain,
    pub(crate) shares: Box<Shares>,
}

/// A browser of that name.
pub(crate) fn browser<'a>(name: &'a str, session: Option<&'a str>) -> Browser<'a> {
    Browser { name, session, source: "192.0.2.1", agent: "Browser/1.0" }
}

/// A request of [`CLIENT`], with `more` behind it.
pub(crate) fn query(more: &str) -> String {
    format!(
        "response_type=code&client_id={CLIENT}&redirect_uri={BACK}&state=s1\
         &code_challenge={CHALLENGE}&code_challenge_method=S256{more}"
    )
}

/// The same for invoices.
pub(crate) fn invoices(scope: &str) -> String {
    query(&format!("&resource={GATEWAY}/invoices&scope={scope}"))
}

impl House {
    pub(crate) async fn open(sim: &Sim) -> Self {
        Self::with(sim, files()).await
    }

    pub(crate) async fn with(sim: &Sim, files: Files) -> Self {
        let domain = Domain::start_with(sim, files).await;
        let house = Self { domain, shares: Box::default() };
        house.client(|_| {});
        house.add("ada").await;
        house
    }

    pub(crate) fn world(&self) -> Arc<SimWorld> {
        self.domain.server.world()
    }

    pub(crate) fn forth(&self, seconds: u64) {
        self.domain.server.clock().forth(Span::from_seconds(seconds));
    }

    /// The client, but for this.
    pub(crate) fn client(&self, edit: impl Fn(&mut ClientRecord)) {
        let metadata = r#"{"client_name":"Books","token_endpoint_auth_method":"spiffe_wit",
            "grant_types":["authorization_code"],"redirect_uris":["https://books.example/back"],
            "spiffe_id":"spiffe://demo.example/books"}"#;
        let members: serde_json::Map<_, _> = serde_json::from_str(metadata).unwrap();
        let metadata = Metadata::new(&members).unwrap();
        let now = self.domain.now();
        let mut client = ClientRecord::new(CLIENT.to_owned(), metadata, now);
        edit(&mut client);
        self.world().store().put(&client);
    }

    pub(crate) async fn add(&self, name: &str) {
        let name = UserName::parse(name).unwrap();
        let new = NewUser { name, display_name: None, email: None, roles: BTreeSet::new() };
        orders::add(&*self.world(), &self.domain.operator(), &new)
            .await
            .unwrap()
            .into_value()
            .unwrap();
    }

    /// The cookie of a session of that user in that browser.
    pub(crate) async fn sign_in(&self, browser: &Browser<'_>, user: &str) -> String {
        let (world, operator) = (self.world(), self.domain.operator());
        let (name, life) = (UserName::parse(user).unwrap(), Span::from_seconds(600));
        let code = orders::code(&*world, &operator, &name, 1, life).await.unwrap();
        let code = code.into_value().unwrap().text.expose().to_owned();
        let throttle = Throttle::default();
        let done = sign_in::by_code(&*world, &throttle, browser, user, &code).await.unwrap();
        done.into_result().unwrap().cookie.expose().to_owned()
    }

    pub(crate) async fn begin(&self, browser: &Browser<'_>, query: &str) -> Begun {
        consent::begin(&*self.world(), &self.shares, browser, query.as_bytes()).await.unwrap()
    }

    /// The name of the interaction that the request began.
    pub(crate) async fn begun(&self, browser: &Browser<'_>, query: &str) -> String {
        match self.begin(browser, query).await {
            Begun::Interaction(name) => name,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn show(&self, browser: &Browser<'_>, name: &str) -> Shown {
        consent::show(&*self.world(), browser, name).await.unwrap()
    }

    pub(crate) async fn asking(&self, browser: &Browser<'_>, name: &str) -> Asking {
        match self.show(browser, name).await {
            Shown::Ask(asking, _) => *asking,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn answer(
        &self,
        browser: &Browser<'_>,
        name: &str,
        allow: Option<Choice>,
        seen: String,
    ) -> Settled {
        let answer = Answer { allow, seen };
        consent::answer(&*self.world(), browser, name, &answer).await.unwrap()
    }

    /// Asked, and all of it allowed: where the browser is sent.
    pub(crate) async fn allow(&self, browser: &Browser<'_>, query: &str) -> String {
        let name = self.begun(browser, query).await;
        let asking = self.asking(browser, &name).await;
        let settled = self.answer(browser, &name, Some(asking.whole()), asking.seen()).await;
        location(settled)
    }

    pub(crate) fn grants(&self) -> Vec<Arc<GrantRecord>> {
        self.world().store().every::<GrantRecord>()
    }

    pub(crate) fn codes(&self) -> Vec<Arc<Code>> {
        self.world().store().every::<Code>()
    }
}

/// Where a reply sends the browser.
pub(crate) fn to(reply: Reply) -> String {
    match reply.delivery {
        Delivery::Redirect(location) => location,
        Delivery::Page(page) => page,
    }
}

pub(crate) fn location(settled: Settled) -> String {
    match settled {
        Settled::Reply(reply) => to(reply),
        other => panic!("{other:?}"),
    }
}

/// What the client is told at once.
pub(crate) fn told(begun: Begun) -> (String, Option<&'static str>) {
    match begun {
        Begun::Refused { reply, counted } => (to(reply), counted),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn part<'a>(location: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = location.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
