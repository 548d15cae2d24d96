//! A domain with a gateway of somebody else's that asks for decisions.

use std::sync::Arc;

use approval::{Approval, State};
use approve::answer::{self, Said};
use authzen::access_request::{Answer, Cancellation, Submission};
use authzen::{Evaluations, Response};
use decide::evaluate::{self, Told};
use decide::pep::{End, Shown};
use decide::request::{self, HandedIn};
use decide::{Refusal, task};
use env::World;
use oauth::TokenText;
use people::orders;
use people::standing::UserAct;
use registry::UserName;
use serde_json::{Value, json};
use testkit::fixture::{
    Domain, ISSUER, Party, by_wit, credentials, files, files_but, registration,
};
use testkit::{Sim, SimWorld};
use time::Span;

pub(crate) const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
pub(crate) const NOTICES: &str = "https://gateway.demo.example:8446/notices";
pub(crate) const ACCESS: &str = "https://aims.demo.example:8443/access/v1";
pub(crate) const CLERK: &str = "spiffe://demo.example/agent/clerk";
pub(crate) const PEP: &str = "spiffe://demo.example/agent/pep";
const OTHER: &str = "spiffe://demo.example/agent/other";
/// To pay wants an approval; to delete is forbidden.
pub(crate) const RULES: &str = r#"
    @id("all") permit(principal, action, resource);
    @id("ask") @obligations("approval")
    permit(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "pay_invoice" };
    @id("keep") @reason("invoices are kept")
    forbid(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "delete_invoice" };
"#;

pub(crate) struct House {
    pub(crate) domain: Domain,
    pub(crate) pep: Party,
    token: String,
}

impl House {
    /// Where the owner's role is asked.
    pub(crate) async fn open(sim: &Sim) -> Self {
        Self::with(sim, "[approvals]\nask = \"owner\"", RULES).await
    }

    pub(crate) async fn with(sim: &Sim, tables: &str, rules: &str) -> Self {
        let plain = files();
        let own = |name: &str| plain.get(name).unwrap().to_owned();
        let listed = format!("decide = [\"{PEP}\", \"{OTHER}\"]");
        let domain = format!("{}\n{tables}", own("domain.toml"));
        let tools = format!("{listed}\n{}", own("resources/invoices.toml"));
        let notices = format!("{listed}\n{}", own("resources/notices.toml"));
        let files = files_but(&[
            ("domain.toml", &domain),
            ("resources/invoices.toml", &tools),
            ("resources/notices.toml", &notices),
            ("access/main.cedar", rules),
        ]);
        let domain = Domain::start_with(sim, files).await;
        for name in ["clerk", "worker", "pep", "other", "stranger"] {
            domain.register(registration(name, &["invoices"])).await;
        }
        let pep = domain.party("/opt/pep").await;
        let token = domain.token(by_wit(&pep, credentials(ACCESS, ""), domain.now())).await;
        Self { domain, pep, token }
    }

    pub(crate) fn world(&self) -> Arc<SimWorld> {
        self.domain.server.world()
    }

    /// That person is disabled.
    pub(crate) async fn disable(&self, id: &str) {
        let (world, operator) = (self.world(), self.domain.operator());
        let (name, act) = (UserName::of_id(id).unwrap(), UserAct::Disable);
        let done = orders::act(&*world, &operator, &name, act, "a story").await;
        done.unwrap().into_value().unwrap();
    }

    pub(crate) fn forth(&self, seconds: u64) {
        self.domain.server.clock().forth(Span::from_seconds(seconds));
    }

    /// What the gateway shows, with this token.
    pub(crate) fn shown(token: &str) -> Shown {
        Shown {
            token: TokenText::parse(token).unwrap(),
            is_dpop: false,
            dpop: Vec::new(),
            wit: Vec::new(),
            wpt: Vec::new(),
            certificates: Vec::new(),
            method: "POST",
            path: "/access/v1/evaluation".to_owned(),
        }
    }

    /// A token of this agent to ask with.
    pub(crate) async fn token_of(&self, name: &str) -> String {
        let party = self.domain.party(&format!("/opt/{name}")).await;
        self.domain.token(by_wit(&party, credentials(ACCESS, ""), self.domain.now())).await
    }

    pub(crate) async fn ask_with(&self, shown: &Shown, body: &Value) -> End<Told> {
        let asks = Evaluations::parse(body.to_string().as_bytes()).unwrap();
        evaluate::answer(&*self.world(), shown, &asks).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, body: &Value) -> Result<Response, Refusal> {
        match self.ask_with(&Self::shown(&self.token), body).await.into_result()? {
            Told::One(response) => Ok(response),
            Told::Many(_) => panic!("several"),
        }
    }

    /// The same, with another token.
    pub(crate) async fn ask_as(&self, token: &str, body: &Value) -> Value {
        match self.ask_with(&Self::shown(token), body).await.into_result().unwrap() {
            Told::One(response) => serde_json::to_value(response).unwrap(),
            Told::Many(_) => panic!("several"),
        }
    }

    pub(crate) async fn ask(&self, body: &Value) -> Value {
        serde_json::to_value(self.try_ask(body).await.unwrap()).unwrap()
    }

    pub(crate) async fn ask_all(&self, body: &Value) -> Vec<Value> {
        let told = self.ask_with(&Self::shown(&self.token), body).await.into_result().unwrap();
        let Told::Many(responses) = told else { panic!("one") };
        responses.evaluations.iter().map(|one| serde_json::to_value(one).unwrap()).collect()
    }

    pub(crate) async fn submit_with(
        &self,
        token: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let handed = HandedIn {
            submission: Submission::parse(body.to_string().as_bytes()).unwrap(),
            key: key.map(str::to_owned),
            body: approval::bound::hash_of(body).unwrap(),
        };
        let done = request::submit(&*self.world(), &Self::shown(token), &handed).await.unwrap();
        done.into_result()
    }

    pub(crate) async fn submit(&self, body: &Value) -> Result<Answer, Refusal> {
        self.submit_with(&self.token, body, None).await
    }

    pub(crate) async fn status(&self, handle: &str) -> Result<Answer, Refusal> {
        self.status_with(&self.token, handle).await
    }

    pub(crate) async fn status_with(&self, token: &str, handle: &str) -> Result<Answer, Refusal> {
        let done = task::status(&*self.world(), &Self::shown(token), handle).await.unwrap();
        done.into_result()
    }

    pub(crate) async fn cancel(&self, handle: &str) -> Result<Answer, Refusal> {
        let why = Cancellation { reason: Some("ended".to_owned()), comment: None };
        let done = task::cancel(&*self.world(), &Self::shown(&self.token), handle, &why).await;
        done.unwrap().into_result()
    }

    pub(crate) fn approvals(&self) -> Vec<Arc<Approval>> {
        self.world().store().every::<Approval>()
    }

    pub(crate) fn pending(&self) -> Arc<Approval> {
        let all = self.approvals();
        all.iter().find(|one| one.state == State::Pending).cloned().unwrap()
    }

    /// The operator answers for the role.
    pub(crate) async fn say(&self, allow: bool) -> Arc<Approval> {
        let found = self.pending();
        let said = Said { id: &found.id, allow, shown: &found.hash, user_code: None };
        let operator = self.domain.operator();
        let done = answer::by_operator(&*self.world(), &operator, said).await.unwrap();
        done.into_value().unwrap();
        found
    }

    /// A question that was denied for want of an approval, asked for and allowed: as it is asked
    /// again.
    pub(crate) async fn approved(&self, body: &Value) -> Value {
        let denied = self.ask(body).await;
        let answer = self.submit(&submission(body, &denied)).await.unwrap();
        self.say(true).await;
        let answer = self.status(&answer.task.id).await.unwrap();
        again(body, &answer)
    }
}

/// May the clerk pay?
pub(crate) fn pay() -> Value {
    json!({
        "subject": {"type": "agent", "id": CLERK},
        "action": {"name": "tool.call"},
        "resource": {"type": "tool", "id": "pay_invoice", "properties": {"audience": TOOLS}},
        "context": {"arguments": {"to": "Bob", "sum": 5}, "proof": "wit", "time": "noon"}
    })
}

/// May the clerk use this tool?
pub(crate) fn tool(name: &str) -> Value {
    let mut question = pay();
    question["resource"]["id"] = json!(name);
    question
}

/// What is handed in for a denial.
pub(crate) fn submission(body: &Value, denied: &Value) -> Value {
    let mut handed = body.clone();
    handed["context"]["business_justification"] = json!("rent is due");
    let context = &denied["context"];
    handed["denial"] = json!({
        "evaluation_id": context["evaluation_id"], "reason": context["reason"],
        "expires_at": context["access_request"]["expires_at"],
    });
    handed
}

/// The question with the approval that came of it, unchanged.
pub(crate) fn again(body: &Value, answer: &Answer) -> Value {
    let told = serde_json::to_value(answer).unwrap();
    let mut question = body.clone();
    question["context"]["approval"] = told["result"]["approval"].clone();
    question["context"]["time"] = json!("evening");
    question
}

pub(crate) fn issuer() -> &'static str {
    ISSUER
}
