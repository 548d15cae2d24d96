//! OBS-10: what ends takes along all that came of it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Stage;
use super::people::{answers, text};
use crate::actor::{Actor, SCOPE, claims, taken};
use crate::browser::Tab;
use crate::running::Answer;

/// How long an end may take to be everywhere (docs/design.md §9).
const SECOND: Duration = Duration::from_secs(1);
/// A test that waits longer than this has failed.
const LONG: Duration = Duration::from_secs(20);

/// What came of one answer of ada's: a token for the notes, a refresh token, and what that was
/// exchanged for at the ledger.
struct Chain {
    first: String,
    refresh: String,
    last: String,
}

impl Stage {
    /// Ada lets `desk` act for her at these resources: the tokens for the first.
    pub(super) async fn given(&self, ada: &mut Tab, resources: &[&str]) -> Answer {
        let scope = format!("openid offline_access {SCOPE}");
        let at: Vec<_> =
            resources.iter().map(|name| format!("{}/{name}", self.actor.gateway)).collect();
        let mut pairs =
            vec![("login_hint", "ada"), ("scope", scope.as_str()), ("binding_message", "Orders")];
        pairs.extend(at.iter().map(|resource| ("resource", resource.as_str())));
        let asked = self.actor.ask_at("bc-authorize", &pairs).await;
        assert_eq!(asked.status, 200, "{}", asked.json());
        let told = answers(ada, "allow").await;
        assert_eq!(told.status, 200, "{}", text(&told));
        let id = asked.json()["auth_req_id"].as_str().unwrap().to_owned();
        let grant = ("grant_type", "urn:openid:params:grant-type:ciba");
        self.actor.ask(&[grant, ("auth_req_id", &id), ("resource", &at[0])]).await
    }

    /// Ada lets `desk` act for her, and it goes on by exchange.
    async fn chain(&self, ada: &mut Tab) -> Chain {
        let given = self.given(ada, &["notes", "ledger"]).await;
        let first = taken(&given);
        let refresh = given.json()["refresh_token"].as_str().unwrap().to_owned();
        let last = taken(&self.exchanged(&refresh).await);
        assert_eq!(claims(&last)["sub"], json!("user:ada"));
        assert_eq!(claims(&last)["act"]["sub"], json!(self.actor.id));
        assert_eq!(claims(&last)["aims_root"], claims(&first)["aims_root"]);
        assert_eq!(self.actor.call(&last).await.status, 200);
        assert_eq!(self.reads("notes", ("Bearer", &first), &[]).await, 200);
        Chain { first, refresh, last }
    }

    /// The next token of a refresh token, for the ledger (RFC 8693).
    async fn exchanged(&self, refresh: &str) -> Answer {
        let resource = format!("{}/ledger", self.actor.gateway);
        self.actor
            .ask(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", refresh),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
                ("resource", &resource),
                ("scope", SCOPE),
            ])
            .await
    }

    /// Ends something by `end`: how long until the last of the chain is refused at the gateway. Then
    /// the first is, too, and nothing more comes of them.
    async fn ends(&self, chain: &Chain, end: impl AsyncFnOnce()) -> Duration {
        let (first, last) = (&chain.first, &chain.last);
        end().await;
        let begun = Instant::now();
        while self.actor.try_call(last).await.is_none_or(|answer| answer.status == 200) {
            assert!(begun.elapsed() < LONG, "the tool is called on");
        }
        let shut = begun.elapsed();
        assert_eq!(self.reads("notes", ("Bearer", first), &[]).await, 401);
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", &chain.refresh)];
        for answer in [self.actor.ask(&pairs).await, self.exchanged(&chain.refresh).await] {
            assert!(answer.json()["access_token"].is_null(), "{}", answer.json());
        }
        shut
    }
}

/// The grant by its person, the person, the agent, and the host that attested it: each ends every
/// token and credential below, at the server and at the gateway, within a second.
///
/// req: OBS-10
#[tokio::test(flavor = "multi_thread")]
async fn s11_an_end_reaches_everything_below_within_a_second() {
    let stage = Stage::open("[delegation]\nsubject_tokens = [\"refresh_token\"]\n").await;
    let mut ada = stage.person("ada", None).await;
    let mut told = Vec::new();

    let chain = stage.chain(&mut ada).await;
    let page = ada.open("/console").await.0;
    let page_text = text(&page);
    let form = page_text.split("action=\"/console/grants/").nth(1).unwrap();
    let id = form.split('/').next().unwrap().to_owned();
    let value = form.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let body = crate::load::form(&[("form", value)]);
    let path = format!("/console/grants/{id}/end");
    let by_her = async || {
        let answer = ada.send(http::Method::POST, &path, &body).await;
        assert!(answer.status < 400, "{}", text(&answer));
    };
    told.push(("grant", stage.ends(&chain, by_her).await));

    let chain = stage.chain(&mut ada).await;
    let by_operator = async || drop(stage.done(&["user", "disable", "ada", "--reason", "gone"]));
    told.push(("user", stage.ends(&chain, by_operator).await));
    stage.done(&["user", "enable", "ada", "--reason", "back"]);
    assert_ne!(stage.actor.call(&chain.last).await.status, 200, "what ended stays so");
    let code = stage.done(&["user", "code", "ada"]);
    let mut ada = Tab::new(&stage.site);
    ada.signed_in("/console", "ada", code["text"].as_str().unwrap()).await;

    let chain = stage.chain(&mut ada).await;
    let suspended = async || drop(stage.done(&["agent", "suspend", "desk", "--reason", "odd"]));
    told.push(("agent", stage.ends(&chain, suspended).await));
    stage.done(&["agent", "resume", "desk", "--reason", "fine"]);
    assert_ne!(stage.actor.call(&chain.last).await.status, 200, "what ended stays so");

    let stage = Stage { actor: Actor::of(&stage.site).await, ..stage };
    let chain = stage.chain(&mut ada).await;
    let node = "node/join_token/local";
    let cut = async || drop(stage.done(&["node", "revoke", node, "--reason", "stolen"]));
    told.push(("attestation", stage.ends(&chain, cut).await));
    assert!(stage.actor.workloads().jwt(&["https://a.example"], None).await.is_err());
    for (what, took) in &told {
        assert!(*took < SECOND, "{what}: {took:?}");
    }
    eprintln!("refused at the tool after: {told:?}");
}
