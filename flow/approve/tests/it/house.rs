//! A domain with people, and clients that get them asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use approval::Approval;
use approve::answer::{self, Said};
use approve::caller::Call;
use approve::shares::Shares;
use approve::{Refusal, ciba, device};
use env::World;
use oauth::TokenText;
use oauth::device::DeviceResponse;
use oauth::form::Form;
use oauth::token_request::{Ciba, DeviceCode, GrantType, TokenRequest};
use openid::ciba::BackchannelResponse;
use people::browser::Browser;
use people::end::End;
use people::orders::{self, NewUser};
use people::sign_in;
use people::standing::UserAct;
use people::throttle::Throttle;
use policy::Files;
use registry::{ClientRecord, Metadata, UserName};
use testkit::fixture::{Client, Domain, GATEWAY, files, files_but};
use testkit::{Sim, SimWorld};
use time::Span;

pub(crate) struct House {
    pub(crate) domain: Domain,
    pub(crate) client: Client,
    pub(crate) throttle: Throttle,
    pub(crate) shares: Box<Shares>,
}

pub(crate) fn browser<'a>(name: &'a str, session: Option<&'a str>) -> Browser<'a> {
    Browser { name, session, source: "192.0.2.1", agent: "Browser/1.0" }
}

pub(crate) fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
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

    /// With these files in place of those of their names.
    pub(crate) async fn with_files(sim: &Sim, others: &[(&str, &str)]) -> Self {
        Self::with(sim, files_but(others)).await
    }

    pub(crate) async fn with(sim: &Sim, files: Files) -> Self {
        let domain = Domain::start_with(sim, files).await;
        let client = domain.client(&[GrantType::DeviceCode, GrantType::Ciba], false);
        let house = Self { domain, client, throttle: Throttle::default(), shares: Box::default() };
        for text in ["ada", "bob"] {
            let new = NewUser {
                name: name(text),
                display_name: None,
                email: Some(format!("{text}@example.org")),
                roles: BTreeSet::new(),
            };
            let added = orders::add(&*house.world(), &house.domain.operator(), &new).await;
            added.unwrap().into_value().unwrap();
        }
        house
    }

    pub(crate) fn world(&self) -> Arc<SimWorld> {
        self.domain.server.world()
    }

    pub(crate) fn forth(&self, seconds: u64) {
        self.domain.server.clock().forth(Span::from_seconds(seconds));
    }

    pub(crate) async fn act(&self, text: &str, act: UserAct) {
        let operator = self.domain.operator();
        let done = orders::act(&*self.world(), &operator, &name(text), act, "a story").await;
        done.unwrap().into_value().unwrap();
    }

    /// The cookie of a session of that user.
    pub(crate) async fn sign_in(&self, user: &str) -> String {
        let (world, operator) = (self.world(), self.domain.operator());
        let life = Span::from_seconds(600);
        let code = orders::code(&*world, &operator, &name(user), 1, life).await.unwrap();
        let code = code.into_value().unwrap().text.expose().to_owned();
        let here = browser("b", None);
        let done = sign_in::by_code(&*world, &self.throttle, &here, user, &code).await.unwrap();
        done.into_result().unwrap().cookie.expose().to_owned()
    }

    /// A request of `client` with these parameters.
    pub(crate) fn call_of(&self, client: &Client, body: &str) -> Call {
        let request = TokenRequest::DeviceCode(DeviceCode {
            device_code: TokenText::parse("none").unwrap(),
            resources: Vec::new(),
        });
        let proved = client.asks(request, self.domain.now());
        Call {
            form: Form::parse(body.as_bytes()).unwrap(),
            client: proved.client,
            attestation: None,
            dpop: Vec::new(),
            path: "/device_authorization".to_owned(),
            certificates: Vec::new(),
            source: "192.0.2.7".to_owned(),
        }
    }

    pub(crate) async fn device(&self, more: &str) -> Result<DeviceResponse, Refusal> {
        let body = format!("scope=notices.read&resource={GATEWAY}/notices{more}");
        let call = self.call_of(&self.client, &body);
        device::authorize(&*self.world(), &self.shares, &call).await.unwrap().into_result()
    }

    pub(crate) async fn ciba(&self, more: &str) -> Result<BackchannelResponse, Refusal> {
        let body = format!("scope=openid+notices.read&resource={GATEWAY}/notices{more}");
        let call = self.call_of(&self.client, &body);
        ciba::authorize(&*self.world(), &self.throttle, &call).await.unwrap().into_result()
    }

    /// Policy becomes that of these files.
    pub(crate) async fn applies(&self, others: &[(&str, &str)]) {
        let (world, operator) = (self.world(), self.domain.operator());
        let (files, reason) = (files_but(others), "a story".to_owned());
        let applied = flow::apply_policy::apply(&*world, &operator, files, reason, None);
        applied.await.unwrap().into_value().unwrap();
    }

    /// A backchannel request for these resources.
    pub(crate) async fn ciba_of(&self, names: &[&str]) -> Result<BackchannelResponse, Refusal> {
        let mut body = "login_hint=ada&scope=openid".to_owned();
        names.iter().for_each(|name| body.push_str(&format!("+{name}.read")));
        names.iter().for_each(|name| body.push_str(&format!("&resource={GATEWAY}/{name}")));
        let call = self.call_of(&self.client, &body);
        ciba::authorize(&*self.world(), &self.throttle, &call).await.unwrap().into_result()
    }

    pub(crate) async fn find(&self, typed: &str) -> Result<Approval, Refusal> {
        let here = browser("b", None);
        device::find(&*self.world(), &self.throttle, &here, typed).await.unwrap()
    }

    pub(crate) async fn say(&self, cookie: &str, said: Said<'_>) -> Result<Approval, Refusal> {
        let here = browser("b", Some(cookie));
        answer::answer(&*self.world(), &here, said).await.unwrap().into_result()
    }

    /// The client registers these members besides; null takes one away.
    pub(crate) fn registers(&self, members: &serde_json::Value) {
        let all = self.world().store().every::<ClientRecord>();
        let found = all.iter().find(|one| one.client_id == self.client.id).unwrap();
        let mut metadata = found.metadata.members().clone();
        for (name, value) in members.as_object().unwrap() {
            metadata.insert(name.clone(), value.clone());
        }
        metadata.retain(|_, value| !value.is_null());
        let metadata = Metadata::new(&metadata).unwrap();
        self.world().store().put(&found.with_metadata(metadata));
    }

    /// Asks for the tokens of a device.
    pub(crate) async fn poll_device(&self, code: &str) -> Result<String, flow::token::Refusal> {
        self.poll_as(&self.client, device_request(code)).await
    }

    /// Asks for the tokens of a backchannel request.
    pub(crate) async fn poll_ciba(&self, id: &str) -> Result<String, flow::token::Refusal> {
        self.poll_as(&self.client, ciba_request(id)).await
    }

    pub(crate) async fn poll_as(
        &self,
        client: &Client,
        request: TokenRequest,
    ) -> Result<String, flow::token::Refusal> {
        let call = client.asks(request, self.domain.now());
        self.domain.ask(call).await.map(|response| response.access_token.to_string())
    }

    pub(crate) fn approvals(&self) -> Vec<Arc<Approval>> {
        self.world().store().every::<Approval>()
    }
}

pub(crate) fn device_request(code: &str) -> TokenRequest {
    let device_code = TokenText::parse(code).unwrap();
    TokenRequest::DeviceCode(DeviceCode { device_code, resources: Vec::new() })
}

pub(crate) fn ciba_request(id: &str) -> TokenRequest {
    let auth_req_id = TokenText::parse(id).unwrap();
    TokenRequest::Ciba(Ciba { auth_req_id, resources: Vec::new() })
}

/// Yes to what this approval shows.
pub(crate) fn yes<'a>(approval: &'a Approval, user_code: Option<&'a str>) -> Said<'a> {
    Said { id: &approval.id, allow: true, shown: &approval.hash, user_code }
}

/// No to it.
pub(crate) fn no<'a>(approval: &'a Approval, user_code: Option<&'a str>) -> Said<'a> {
    Said { allow: false, ..yes(approval, user_code) }
}

/// A refusal that is counted.
pub(crate) fn counted<T: std::fmt::Debug>(ended: End<T, Refusal>) -> Refusal {
    match ended {
        End::Stranger(refusal) => refusal,
        End::Decided(recorded) => panic!("recorded: {:?}", recorded.into_value()),
    }
}
