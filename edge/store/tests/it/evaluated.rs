//! An approved question of somebody else's gateway, over the real stores: asked a hundred times at
//! once, it is permitted once; and what is handed in a hundred times is one task.

use std::collections::BTreeSet;
use std::sync::Arc;

use approval::{Approval, State};
use authzen::access_request::{Answer, Submission};
use authzen::{Evaluations, Response};
use decide::evaluate::{self, Told};
use decide::pep::Shown;
use decide::request::{self, HandedIn};
use decide::task;
use env::{Clock, Entity, Expect, Index, Store, World, Write};
use oauth::TokenText;
use oauth::token_request::GrantType;
use serde_json::{Value, json};
use store::{Memory, Sqlite};
use testkit::fixture::{ADA, GATEWAY, ISSUER, client_row, credentials, files, files_but};
use testkit::{Seed, SimEntropy};

use crate::people::Server;
use crate::redeemed::{MANY, ask, memory, put, race, say, sign_in, sqlite};

const PEP: &str = "client-keyed";
const RULES: &str = r#"
    @id("all") permit(principal, action, resource);
    @id("ask") @obligations("approval")
    permit(principal, action == Aims::Action::"tool.call", resource);
"#;

/// A server, the token of somebody's gateway, and Ada who is signed in.
struct House<S> {
    server: Arc<Server<S>>,
    token: String,
    cookie: String,
}

impl<S: Store> House<S> {
    async fn open(store: S, seed: Seed) -> Self {
        let tools = files().get("resources/invoices.toml").unwrap().to_owned();
        let tools = format!("decide = [\"{PEP}\"]\n{tools}");
        let files = files_but(&[("resources/invoices.toml", &tools), ("access/main.cedar", RULES)]);
        let server = Arc::new(Server::new(store, seed));
        let ready = flow::boot::ready(&*server, files, &["localhost".to_owned()]).await;
        ready.unwrap().unwrap();
        let entropy: &SimEntropy = server.entropy();
        let grants = [GrantType::ClientCredentials];
        let (mut client, mut row) = client_row(&grants, false, entropy, server.clock().now());
        (client.id, row.client_id) = (PEP.to_owned(), PEP.to_owned());
        put(&server, vec![Write::put(&row, Expect::Any)]).await;
        let asked = credentials(&format!("{ISSUER}/access/v1"), "");
        let token = ask(&server, &client, asked).await.unwrap().access_token;
        let cookie = sign_in(&server).await;
        Self { server, token, cookie }
    }

    async fn asks(&self, body: &Value) -> Response {
        decided(&self.server, &self.token, body).await
    }

    /// A question that Ada allowed.
    async fn allowed(&self) -> Value {
        let question = pay();
        let denied = self.asks(&question).await;
        let task = self.submits(&denied).await.task.id;
        let (table, all) = (Approval::TABLE, Index::All);
        let page = self.server.store().scan(table, all, "", None, MANY).await.unwrap();
        let found = page.rows.iter().map(|row| row.value::<Approval>().unwrap().unwrap());
        let waits: Vec<_> = found.filter(|one| one.state == State::Pending).collect();
        let [one] = waits.as_slice() else { panic!("{waits:?}") };
        let said = say(&self.server, &self.cookie, one, true, None).await;
        assert_eq!(said, Ok(State::Allowed));
        let told = task::status(&*self.server, &shown(&self.token), &task).await.unwrap();
        let told = serde_json::to_value(told.into_result().unwrap()).unwrap();
        let mut question = question;
        question["context"]["approval"] = told["result"]["approval"].clone();
        question
    }

    async fn submits(&self, denied: &Response) -> Answer {
        handed_in(&self.server, &self.token, denied).await
    }
}

fn pay() -> Value {
    json!({
        "subject": {"type": "user", "id": ADA, "properties": {"act": {"sub": PEP}}},
        "action": {"name": "tool.call"},
        "resource": {"type": "tool", "id": format!("{GATEWAY}/invoices#pay_invoice")},
        "context": {"arguments": {"to": "Bob", "sum": 5}},
    })
}

fn shown(token: &str) -> Shown {
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

async fn decided<S: Store>(server: &Server<S>, token: &str, body: &Value) -> Response {
    let asks = Evaluations::parse(body.to_string().as_bytes()).unwrap();
    let end = evaluate::answer(server, &shown(token), &asks).await.unwrap();
    match end.into_result().unwrap() {
        Told::One(response) => response,
        Told::Many(_) => panic!("several"),
    }
}

async fn handed_in<S: Store>(server: &Server<S>, token: &str, denied: &Response) -> Answer {
    let mut body = pay();
    body["denial"] = json!({
        "evaluation_id": denied.context["evaluation_id"],
        "expires_at": denied.context["access_request"]["expires_at"],
    });
    let handed = HandedIn {
        submission: Submission::parse(body.to_string().as_bytes()).unwrap(),
        key: Some("key-1".to_owned()),
        body: approval::bound::hash_of(&body).unwrap(),
    };
    let end = request::submit(server, &shown(token), &handed).await.unwrap();
    end.into_result().unwrap()
}

/// req: AUTHZ-31 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn arap_of_many_questions_with_one_approval_one_is_permitted_by_every_store() {
    of_one_approval(House::<Memory>::open(memory(), Seed(7)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_approval(House::<Sqlite>::open(sqlite(dir.path()), Seed(7)).await).await;
}

async fn of_one_approval<S: Store>(house: House<S>) {
    let question = house.allowed().await;
    let ends = race(|_| {
        let (server, token) = (Arc::clone(&house.server), house.token.clone());
        let question = question.clone();
        async move { decided(&server, &token, &question).await }
    });
    let (permitted, denied): (Vec<_>, Vec<_>) =
        ends.await.into_iter().partition(|one| one.decision);
    assert_eq!((permitted.len(), denied.len()), (1, MANY - 1));
    assert!(denied.iter().all(|one| one.context["reason"] == "approval_expired"));
}

/// req: AUTHZ-32 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn arap_the_same_request_is_one_task_by_every_store() {
    of_one_key(House::<Memory>::open(memory(), Seed(8)).await).await;
    let dir = tempfile::tempdir().unwrap();
    of_one_key(House::<Sqlite>::open(sqlite(dir.path()), Seed(8)).await).await;
}

async fn of_one_key<S: Store>(house: House<S>) {
    let denied = house.asks(&pay()).await;
    let ends = race(|_| {
        let (server, token) = (Arc::clone(&house.server), house.token.clone());
        let denied = denied.clone();
        async move { handed_in(&server, &token, &denied).await.task.id }
    });
    let ids: BTreeSet<_> = ends.await.into_iter().collect();
    let (table, all) = (Approval::TABLE, Index::All);
    let page = house.server.store().scan(table, all, "", None, MANY).await.unwrap();
    assert_eq!((ids.len(), page.rows.len()), (1, 1));
}
