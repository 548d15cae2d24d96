//! A domain where clients register.

use std::sync::Arc;

use env::World;
use register::endpoint::{self, Request};
use register::manage::{self, Act};
use register::orders::{self, Terms};
use register::{Answer, End, Refusal};
use registry::{ClientRecord, ClientState};
use serde_json::{Value, json};
use testkit::fixture::{Domain, files, files_but};
use testkit::{Sim, SimWorld};
use time::Span;

pub(crate) struct Desk {
    pub(crate) domain: Domain,
}

/// A client with users in browsers.
pub(crate) fn app() -> Value {
    json!({
        "client_name": "Books",
        "redirect_uris": ["https://books.example/back"],
        "token_endpoint_auth_method": "none",
    })
}

/// The same with another member.
pub(crate) fn app_with(name: &str, value: Value) -> Value {
    let mut app = app();
    app[name] = value;
    app
}

impl Desk {
    /// With this `[registration]`.
    pub(crate) async fn open(sim: &Sim, registration: &str) -> Self {
        let domain = files().get("domain.toml").unwrap().to_owned();
        let domain = format!("{domain}\n[registration]\n{registration}");
        Self { domain: Domain::start_with(sim, files_but(&[("domain.toml", &domain)])).await }
    }

    pub(crate) fn world(&self) -> Arc<SimWorld> {
        self.domain.server.world()
    }

    pub(crate) fn forth(&self, seconds: u64) {
        self.domain.server.clock().forth(Span::from_seconds(seconds));
    }

    pub(crate) async fn register(&self, metadata: &Value, token: Option<&str>) -> End<Answer> {
        let request = Request::new(metadata.to_string(), token, "192.0.2.1".to_owned());
        endpoint::register(&*self.world(), &endpoint::throttle(), &request).await.unwrap()
    }

    pub(crate) async fn invite(&self, uses: u32, seconds: u64) -> String {
        let (operator, life) = (self.domain.operator(), Span::from_seconds(seconds));
        let made = orders::invite(&*self.world(), &operator, uses, life).await.unwrap();
        made.into_value().unwrap().1.expose().to_owned()
    }

    pub(crate) async fn manage(&self, id: &str, token: &str, act: Act) -> End<Option<Answer>> {
        let request = manage::Request::new(id.to_owned(), Some(token), act);
        manage::manage(&*self.world(), &request).await.unwrap()
    }

    pub(crate) async fn order(&self, metadata: &Value) -> Result<(ClientRecord, Answer), Refusal> {
        let (operator, text) = (self.domain.operator(), metadata.to_string());
        let done = orders::register(&*self.world(), &operator, &text, &Terms::default()).await;
        done.unwrap().into_value()
    }

    pub(crate) async fn set(&self, id: &str, state: ClientState) {
        let operator = self.domain.operator();
        let done = orders::set_state(&*self.world(), &operator, id, state).await;
        done.unwrap().into_value().unwrap();
    }

    pub(crate) fn stored(&self, id: &str) -> Option<ClientRecord> {
        self.world().store().single::<ClientRecord>(id).map(|one| (*one).clone())
    }

    /// What the last record says.
    pub(crate) fn last(&self) -> (String, Option<String>) {
        let record = self.domain.server.journal().last().unwrap();
        (record.action, record.why.map(|why| why.check))
    }
}

pub(crate) fn done<T: std::fmt::Debug>(end: End<T>) -> T {
    match end {
        End::Decided(recorded) => recorded.into_value().unwrap(),
        End::Stranger(refusal) => panic!("a stranger: {refusal}"),
    }
}

pub(crate) fn refused<T: std::fmt::Debug>(end: End<T>) -> Refusal {
    match end {
        End::Decided(recorded) => recorded.into_value().unwrap_err(),
        End::Stranger(refusal) => panic!("a stranger: {refusal}"),
    }
}

pub(crate) fn stranger<T: std::fmt::Debug>(end: End<T>) -> Refusal {
    match end {
        End::Stranger(refusal) => refusal,
        End::Decided(recorded) => panic!("recorded: {:?}", recorded.into_value()),
    }
}
