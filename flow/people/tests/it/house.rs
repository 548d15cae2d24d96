//! A domain with people in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use people::browser::Browser;
use people::ceremony::Ceremonies;
use people::end::End;
use people::orders::{self, Given, NewUser};
use people::sign_in::{self, Ended, Refusal, SignedIn};
use people::standing::UserAct;
use people::throttle::Throttle;
use policy::Files;
use registry::{UserName, UserRecord};
use testkit::fixture::{Domain, files, files_but};
use testkit::{Sim, SimWorld};
use time::Span;

pub(crate) struct House {
    pub(crate) domain: Domain,
    pub(crate) throttle: Throttle,
    pub(crate) ceremonies: Ceremonies,
}

pub(crate) fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

pub(crate) fn browser<'a>(name: &'a str, session: Option<&'a str>) -> Browser<'a> {
    Browser { name, session, source: "192.0.2.1", agent: "Browser/1.0" }
}

impl House {
    pub(crate) async fn open(sim: &Sim) -> Self {
        Self::with(sim, files()).await
    }

    /// With these tables in `domain.toml` besides.
    pub(crate) async fn with_policy(sim: &Sim, tables: &str) -> Self {
        let domain = files().get("domain.toml").unwrap().to_owned();
        let domain = format!("{domain}\n{tables}");
        Self::with(sim, files_but(&[("domain.toml", &domain)])).await
    }

    async fn with(sim: &Sim, files: Files) -> Self {
        let domain = Domain::start_with(sim, files).await;
        let ceremonies = Ceremonies::new(&[5; 32]);
        Self { domain, throttle: Throttle::default(), ceremonies }
    }

    pub(crate) fn world(&self) -> Arc<SimWorld> {
        self.domain.server.world()
    }

    pub(crate) async fn add(&self, text: &str) -> (UserRecord, Given) {
        let new =
            NewUser { name: name(text), display_name: None, email: None, roles: BTreeSet::new() };
        let done = orders::add(&*self.world(), &self.domain.operator(), &new).await;
        done.unwrap().into_value().unwrap()
    }

    pub(crate) async fn code(&self, text: &str, uses: u32) -> String {
        let life = Span::from_seconds(600);
        let operator = self.domain.operator();
        let done = orders::code(&*self.world(), &operator, &name(text), uses, life).await;
        done.unwrap().into_value().unwrap().text.expose().to_owned()
    }

    pub(crate) async fn act(&self, text: &str, act: UserAct) {
        let operator = self.domain.operator();
        let done = orders::act(&*self.world(), &operator, &name(text), act, "a story").await;
        done.unwrap().into_value().unwrap();
    }

    pub(crate) async fn enter(&self, browser: &Browser<'_>, name: &str, code: &str) -> Ended {
        sign_in::by_code(&*self.world(), &self.throttle, browser, name, code).await
    }

    /// Signed in, whoever it is.
    pub(crate) async fn signed(&self, browser: &Browser<'_>, text: &str) -> SignedIn {
        let code = self.code(text, 1).await;
        self.enter(browser, text, &code).await.unwrap().into_result().unwrap()
    }

    /// By a link as it was given.
    pub(crate) async fn follow(&self, browser: &Browser<'_>, given: &Given) -> Ended {
        let (_, secret) = given.text.expose().split_once("secret=").unwrap();
        sign_in::by_link(&*self.world(), &self.throttle, browser, secret).await
    }
}

/// A refusal that is recorded.
pub(crate) fn refused(ended: Ended) -> Refusal {
    match ended.unwrap() {
        End::Decided(recorded) => recorded.into_value().unwrap_err(),
        End::Stranger(refusal) => panic!("a stranger: {refusal}"),
    }
}

/// A refusal that is counted.
pub(crate) fn counted(ended: Ended) -> Refusal {
    match ended.unwrap() {
        End::Stranger(refusal) => refusal,
        End::Decided(recorded) => panic!("recorded: {:?}", recorded.into_value()),
    }
}
