//! Decisions that somebody else's gateway asks a running installation for, and access asked for
//! that was denied.

use http::Method;
use serde_json::{Value, json};

use crate::actor::{Actor, taken};
use crate::running::{Answer, DOMAIN, Site};

/// A ledger that the service `desk` enforces the decisions about; to write wants somebody of
/// finance.
fn lay_policy(site: &Site, domain: &str) {
    let resource = format!(
        "name = \"ledger\"\nupstream = \"http://127.0.0.1:9\"\nprotocol = \"http\"\n\
         decide = [\"spiffe://{DOMAIN}/service/desk\"]\n\
         [[action]]\nmethod = \"GET\"\npath = \"/*\"\n[[action]]\nmethod = \"POST\"\npath = \"/*\"\n"
    );
    site.policy("resources/ledger.toml", &resource);
    let approvals = "[approvals]\nask = \"role:finance\"\n";
    site.policy("domain.toml", &format!("trust_domain = \"{DOMAIN}\"\n{approvals}{domain}"));
    site.policy(
        "access/main.cedar",
        r#"@id("all") permit(principal, action, resource);
@id("write") @obligations("approval")
permit(principal, action == Aims::Action::"http.request", resource)
when { context has method && context.method == "POST" };
"#,
    );
}

/// One that asks with a token.
struct Pep<'a> {
    actor: &'a Actor,
    token: String,
}

impl Pep<'_> {
    async fn send(&self, method: Method, url: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.actor.https.send(method, url, &fields, &body).await.unwrap()
    }

    async fn ask(&self, body: &Value) -> Value {
        let url = format!("{}/access/v1/evaluation", self.actor.issuer);
        let answer = self.send(Method::POST, &url, body).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}

async fn token(actor: &Actor) -> String {
    let resource = format!("{}/access/v1", actor.issuer);
    taken(&actor.ask(&[("grant_type", "client_credentials"), ("resource", &resource)]).await)
}

fn question(actor: &Actor, method: &str) -> Value {
    json!({
        "subject": {"type": "service", "id": actor.id},
        "action": {"name": "http.request", "properties": {"method": method}},
        "resource": {"type": "path", "id": format!("{}/ledger#/entries", actor.gateway)},
        "context": {"arguments": {"sum": 5}},
    })
}

fn told(site: &Site, arguments: &[&str]) -> Value {
    let ended = site.aims(&[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// req: AUTHZ-24 (part), AUTHZ-31 (part), AUTHZ-32 (part)
#[tokio::test(flavor = "multi_thread")]
async fn authzen_from_a_token_over_a_denial_to_one_permit() {
    let site = Site::new();
    lay_policy(&site, "");
    let up = site.up();
    let actor = Actor::enrol(&site).await;
    let at = format!("{}/.well-known/authzen-configuration", actor.issuer);
    let document = actor.https.send(Method::GET, &at, &[], "").await.unwrap().json();
    assert_eq!(document["policy_decision_point"], actor.issuer);
    let pep = Pep { actor: &actor, token: token(&actor).await };
    let bare = document["access_evaluation_endpoint"].as_str().unwrap();
    let kind = [("content-type", "application/json")];
    let bare = actor.https.send(Method::POST, bare, &kind, "{}").await.unwrap();
    assert_eq!(bare.status, 401);
    assert_eq!(pep.ask(&question(&actor, "GET")).await["decision"], true);
    let write = question(&actor, "POST");
    let denied = pep.ask(&write).await;
    assert_eq!(denied["context"]["reason"], "approval_required");
    let mut handed = write.clone();
    let hint = &denied["context"]["access_request"];
    handed["denial"] = json!({
        "evaluation_id": denied["context"]["evaluation_id"], "expires_at": hint["expires_at"],
    });
    let task = pep.send(Method::POST, hint["endpoint"].as_str().unwrap(), &handed).await;
    assert_eq!(task.status, 202);
    let at = task.json()["task"]["status_endpoint"].as_str().unwrap().to_owned();
    let status = pep.send(Method::GET, &at, &Value::Null).await;
    assert_eq!(status.headers["retry-after"], "5");
    assert_eq!(status.json()["task"]["status"], "pending");
    let waiting = told(&site, &["approval", "list"]);
    let [one] = waiting.as_array().unwrap().as_slice() else { panic!("{waiting}") };
    let (id, number) = (one["id"].as_str().unwrap(), one["number"].to_string());
    let allowed = site.aims(&["approval", "approve", id, "--number", &number]);
    assert_eq!(allowed.code, 0, "{}", allowed.err);
    let status = pep.send(Method::GET, &at, &Value::Null).await.json();
    assert_eq!(status["task"]["status"], "approved");
    let mut again = write.clone();
    again["context"]["approval"] = status["result"]["approval"].clone();
    assert_eq!(pep.ask(&again).await["decision"], true);
    assert_eq!(pep.ask(&again).await["context"]["reason"], "approval_expired");
    // What was used stays used, whatever happens to the process.
    up.kill_9();
    let _up = site.up();
    let refused = pep.ask(&again).await;
    assert_eq!(
        (&refused["decision"], &refused["context"]["next_action"]),
        (&json!(false), &json!("request"))
    );
    // One story: who was denied, who was asked, who allowed it, and the permit.
    let root = denied["context"]["evaluation_id"].as_str().unwrap().split('.').next().unwrap();
    let story = site.aims(&["audit", "trace", root]);
    assert_eq!(story.code, 0, "{}", story.err);
}

/// RFC 8705 §3: at the mutual TLS origin, with a token that is bound to the certificate.
/// req: AUTHZ-05 (part), AUTHZ-24 (part)
#[tokio::test(flavor = "multi_thread")]
async fn rfc8705_3_a_token_of_a_certificate_asks_with_it_alone() {
    let site = Site::new();
    lay_policy(&site, "[decisions]\nproof = \"mtls\"\n");
    let _up = site.up();
    let actor = Actor::enrol(&site).await;
    let https = actor.https.presenting(&actor.x509().await);
    let resource = format!("{}/access/v1", actor.issuer);
    let pairs = [
        ("client_id", actor.id.as_str()),
        ("grant_type", "client_credentials"),
        ("resource", &resource),
    ];
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let url = format!("{}/token", site.url(1));
    let asked = https.send(Method::POST, &url, &[kind], &crate::load::form(&pairs)).await.unwrap();
    let bearer = format!("Bearer {}", taken(&asked));
    let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = question(&actor, "GET").to_string();
    let path = "/access/v1/evaluation";
    let twin = format!("{}{path}", site.url(1));
    let answer = https.send(Method::POST, &twin, &fields, &body).await.unwrap();
    assert_eq!((answer.status, &answer.json()["decision"]), (200, &json!(true)));
    let here = format!("{}{path}", site.url(0));
    assert_eq!(actor.https.send(Method::POST, &here, &fields, &body).await.unwrap().status, 401);
}
