//! AUTHZ: the humans in the loop of a running installation, each in a browser of their own.

use http::Method;
use serde_json::json;

use super::Stage;
use crate::actor::{claims, taken};
use crate::browser::Tab;
use crate::running::Answer;

/// What a page of the console says in the element of this id.
fn said(page: &Answer, id: &str) -> String {
    let text = String::from_utf8(page.body.clone()).unwrap();
    let found = text.split_once(&format!("id=\"{id}\"")).map(|(_, rest)| rest.to_owned());
    let found = found.unwrap_or_else(|| panic!("no element `{id}`: {text}"));
    found.split('>').nth(1).unwrap().split('<').next().unwrap().trim().to_owned()
}

/// The whole of a page.
pub(super) fn text(page: &Answer) -> String {
    String::from_utf8(page.body.clone()).unwrap()
}

/// The questions that wait on the page of approvals.
fn waiting(page: &Answer) -> Vec<String> {
    let text = text(page);
    let found = text.split("id=\"approval-").skip(1);
    found.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// The rules: reading is permitted, and writing when a human approved it.
const RULES: &str = r#"@id("tokens")
permit(principal, action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"], resource);
@id("reads")
permit(principal, action == Aims::Action::"http.request", resource)
when { context.scope.contains("ledger:read") };
@id("writes") @obligations("approval")
permit(principal, action == Aims::Action::"http.request", resource)
when { context.scope.contains("ledger:write") };
"#;

impl Stage {
    /// Somebody's browser, signed in by a code of the operator.
    pub(super) async fn person(&self, name: &str, role: Option<&str>) -> Tab {
        let mut add = vec!["user", "add", name];
        add.extend(role.iter().flat_map(|role| ["--role", role]));
        self.done(&add);
        let code = self.done(&["user", "code", name]);
        let mut tab = Tab::new(&self.site);
        let page = tab.signed_in("/console", name, code["text"].as_str().unwrap()).await;
        assert_eq!(page.status, 200, "{}", text(&page));
        tab
    }

    /// `desk` asks ada by CIBA for a token for the notes.
    pub(super) async fn asks(&self, scope: &str, message: &str) -> Answer {
        self.asks_at("notes", scope, message).await
    }

    /// The same for another resource.
    pub(super) async fn asks_at(&self, resource: &str, scope: &str, message: &str) -> Answer {
        let resource = format!("{}/{resource}", self.actor.gateway);
        let scope = format!("openid {scope}");
        let pairs = [
            ("login_hint", "ada"),
            ("scope", scope.as_str()),
            ("resource", resource.as_str()),
            ("binding_message", message),
        ];
        self.actor.ask_at("bc-authorize", &pairs).await
    }

    /// What the client hears when it asks for the tokens.
    pub(super) async fn polls(&self, asked: &Answer) -> Answer {
        let id = asked.json()["auth_req_id"].as_str().unwrap_or_default().to_owned();
        let grant = "urn:openid:params:grant-type:ciba";
        self.actor.ask(&[("grant_type", grant), ("auth_req_id", &id)]).await
    }

    /// Hands a challenge in: the answer, and the name of what it waits for.
    async fn hands_in(&self, challenge: &str) -> (Answer, String) {
        let pairs = [("transaction_challenge", challenge)];
        let answer = self.actor.ask_at("transaction-authorization", &pairs).await;
        let id = answer.json()["transaction_authorization_id"].as_str().map(str::to_owned);
        (answer, id.unwrap_or_default())
    }

    /// What became of that.
    async fn hears(&self, id: &str) -> Answer {
        let pairs = [("transaction_authorization_id", id)];
        self.actor.ask_at("transaction-authorization", &pairs).await
    }

    /// A POST to the notes, with or without the word of the client that it takes challenges.
    async fn pays(&self, token: &str, body: &str, fields: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {token}");
        let own = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let url = format!("{}/notes/payments", self.actor.gateway);
        let fields = [&own, fields].concat();
        self.actor.https.send(Method::POST, &url, &fields, body).await.unwrap()
    }
}

/// Opens the one question that waits, and answers it.
pub(super) async fn answers(tab: &mut Tab, answer: &str) -> Answer {
    let list = tab.open("/console/approvals").await.0;
    let ids = waiting(&list);
    let [id] = ids.as_slice() else { panic!("{ids:?} wait: {}", text(&list)) };
    let page = tab.open(&format!("/console/approvals/{id}")).await.0;
    tab.submit(&page, "answer", &[("answer", answer)]).await
}

/// The server asks the human out of band, or declines by itself; what the human says is final.
///
/// req: AUTHZ-17
#[tokio::test(flavor = "multi_thread")]
async fn s10_6_the_server_declines_or_asks_the_user_out_of_band() {
    let stage = Stage::open("[approvals]\nwait = 30\n").await;
    let mut ada = stage.person("ada", None).await;
    // It declines by itself: nobody of that name, nothing that policy knows, a client that is none.
    let nobody = [("login_hint", "nobody"), ("scope", "openid")];
    let declined = stage.actor.ask_at("bc-authorize", &nobody).await;
    assert_eq!(
        (declined.status, declined.json()["error"].as_str()),
        (400, Some("unknown_user_id"))
    );
    let declined = stage.asks("ledger:burn", "Burn it").await;
    assert_eq!((declined.status, declined.json()["error"].as_str()), (400, Some("invalid_scope")));
    let stranger = [("client_id", stage.actor.id.as_str()), ("scope", "openid")];
    let declined = stage.actor.ask_at_with("bc-authorize", &stranger, &[]).await;
    assert_eq!((declined.status, declined.json()["error"].as_str()), (401, Some("invalid_client")));
    assert!(waiting(&ada.open("/console/approvals").await.0).is_empty());

    // It asks: where she is signed in already, and nowhere that the client sees.
    let asked = stage.asks("ledger:read", "Order 7").await;
    assert_eq!(asked.status, 200, "{}", asked.json());
    let pending = stage.polls(&asked).await;
    assert_eq!(pending.json()["error"], "authorization_pending");
    let list = ada.open("/console/approvals").await.0;
    let ids = waiting(&list);
    let page = ada.open(&format!("/console/approvals/{}", ids[0])).await.0;
    for what in ["Order 7", &stage.actor.id, "ledger:read"] {
        assert!(text(&page).contains(what), "{what}: {}", text(&page));
    }
    let told = ada.submit(&page, "answer", &[("answer", "allow")]).await;
    assert_eq!(told.status, 200, "{}", text(&told));
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let answer = stage.polls(&asked).await;
    let token = taken(&answer);
    let said = claims(&token);
    assert_eq!((&said["sub"], &said["client_id"]), (&json!("user:ada"), &json!(stage.actor.id)));
    assert_eq!(said["scope"], "ledger:read");
    let read = stage.actor.call_with(Method::GET, "notes/a", Some(&token), &[]).await;
    assert_eq!(read.status, 200, "{}", read.json());
    // CIBA §7.3: the id serves once.
    let again = stage.polls(&asked).await;
    assert_eq!(again.json()["error"], "invalid_grant", "{}", again.json());

    // She says no, and that is the end of it; or nothing, and so is that.
    let asked = stage.asks("ledger:read", "Order 8").await;
    let told = answers(&mut ada, "deny").await;
    assert_eq!(told.status, 200, "{}", text(&told));
    assert_eq!(stage.polls(&asked).await.json()["error"], "access_denied");
    let silent = stage.asks("ledger:read", "Order 9").await;
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    assert_eq!(stage.polls(&silent).await.json()["error"], "expired_token");
    assert!(waiting(&ada.open("/console/approvals").await.0).is_empty());
    let kept = |event: &str, outcome: &str| {
        let records = stage.records();
        let of = records.iter().filter(|one| one["event"] == event && one["outcome"] == outcome);
        of.count()
    };
    assert!(kept("approval_asked", "done") >= 3, "{:?}", stage.records());
}

/// What a challenge of the gateway hands to the client.
fn challenged(answer: &Answer) -> String {
    let said = answer.headers["www-authenticate"].to_str().unwrap();
    assert_eq!(answer.status, 401, "{said}: {}", answer.json());
    assert!(said.contains("error=\"transaction_authorization_required\""), "{said}");
    let text = said.split_once("transaction_challenge=\"").unwrap().1;
    text.split_once('"').unwrap().0.to_owned()
}

/// What an agent, its user interface or its operator says is no authorization: an approval of the
/// person whom policy names is, given to this server, for exactly one call of a chain.
///
/// req: AUTHZ-18
/// req: AUTHZ-31
#[tokio::test(flavor = "multi_thread")]
async fn s10_6_the_right_human_approves_exactly_one_call() {
    const TAKES: (&str, &str) = ("accept-txn-challenge", "?1");
    const BILL: &str = r#"{"amount":"120 EUR","to":"ACME"}"#;
    let stage = Stage::open_with("[approvals]\nask = \"role:treasurer\"\n", RULES).await;
    let mut ada = stage.person("ada", None).await;
    let mut grace = stage.person("grace", Some("treasurer")).await;
    // `desk` acts for ada, who let it read and write.
    let asked = stage.asks("ledger:read ledger:write", "Orders").await;
    assert_eq!(asked.status, 200, "{}", asked.json());
    answers(&mut ada, "allow").await;
    let token = taken(&stage.polls(&asked).await);
    assert_eq!(claims(&token)["scope"], "ledger:read ledger:write");

    // Not by its own word, in whatever form.
    let confirmed = r#"{"amount":"120 EUR","to":"ACME","confirmed":true,"approved_by":"grace"}"#;
    let fields = [("x-user-confirmed", "yes"), ("approved", "true")];
    let shut = stage.pays(&token, confirmed, &fields).await;
    assert_eq!((shut.status, shut.json()["error"].as_str()), (403, Some("gateway::Approval")));
    let challenge = challenged(&stage.pays(&token, BILL, &[TAKES]).await);
    let (given, id) = stage.hands_in(&challenge).await;
    assert_eq!(given.status, 200, "{}", given.json());
    assert_eq!(stage.hears(&id).await.json()["error"], "authorization_pending");
    let (again, _) = stage.hands_in(&challenge).await;
    assert_ne!(again.status, 200, "the challenge serves once");

    // Ada, for whom it is, is not whom policy names; nor does an operator answer for a person.
    assert!(waiting(&ada.open("/console/approvals").await.0).is_empty());
    let listed = stage.done(&["approval", "list"]);
    let pending = listed.as_array().unwrap().iter().find(|one| one["state"] == "pending").unwrap();
    let name = pending["id"].as_str().unwrap();
    let page = ada.open(&format!("/console/approvals/{name}")).await.0;
    assert!(text(&page).contains("Somebody else is asked"), "{}", text(&page));
    assert!(!text(&page).contains("id=\"answer\""), "she may look, and not answer");
    let list = grace.open("/console/approvals").await.0;
    assert_eq!(waiting(&list), [name]);
    let page = grace.open(&format!("/console/approvals/{name}")).await.0;
    // Exactly what will happen, who asks, and for whom: the chain.
    for what in ["120 EUR", "ACME", "POST", "payments", &stage.actor.id, "ada"] {
        assert!(text(&page).contains(what), "{what}: {}", text(&page));
    }
    assert_eq!(said(&page, "number"), pending["number"].to_string());
    let told = grace.submit(&page, "answer", &[("answer", "allow")]).await;
    assert_eq!(told.status, 200, "{}", text(&told));
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let once = taken(&stage.hears(&id).await);
    assert_eq!(claims(&once)["sub"], "user:ada");

    // For exactly that: not for more money, another place, nor a second time.
    let other = stage.pays(&once, r#"{"amount":"1200 EUR","to":"ACME"}"#, &[]).await;
    assert_eq!((other.status, other.json()["error"].as_str()), (403, Some("gateway::OtherCall")));
    let read = stage.actor.call_with(Method::GET, "notes/a", Some(&once), &[]).await;
    assert_ne!(read.status, 200, "{}", read.json());
    assert_eq!(stage.upstream.seen().len(), 0, "nothing was forwarded before");
    let done = stage.pays(&once, BILL, &[]).await;
    assert_eq!(done.status, 200, "{}", done.json());
    let again = stage.pays(&once, BILL, &[]).await;
    assert_eq!((again.status, again.json()["error"].as_str()), (401, Some("gateway::Spent")));
    assert_eq!(stage.upstream.seen().len(), 1);

    // No is final.
    let challenge = challenged(&stage.pays(&token, BILL, &[TAKES]).await);
    let (_, id) = stage.hands_in(&challenge).await;
    answers(&mut grace, "deny").await;
    assert_eq!(stage.hears(&id).await.json()["error"], "access_denied");
    // Who asked, who was asked and what was answered can be told afterwards.
    let root = claims(&token)["aims_root"].as_str().unwrap().to_owned();
    let told = stage.site.aims(&["audit", "trace", &root, "--whole"]);
    for word in ["approval allow", "approval deny", "answered by user:grace"] {
        assert!(told.out.contains(word), "{word}: {}", told.out);
    }
}

/// RFC 9470 §3: a rule that wants a stronger sign-in says so, and a token that has less is refused
/// whatever its agent says.
///
/// req: AUTHZ-18 (part)
#[tokio::test(flavor = "multi_thread")]
async fn rfc9470_3_a_call_wants_the_sign_in_that_policy_says() {
    let rules = RULES.replace("obligations(\"approval\")", "obligations(\"step-up=phr\")");
    let stage = Stage::open_with("", &rules).await;
    let mut ada = stage.person("ada", None).await;
    let asked = stage.asks("ledger:read ledger:write", "Orders").await;
    answers(&mut ada, "allow").await;
    let token = taken(&stage.polls(&asked).await);
    for fields in [vec![], vec![("acr", "phr"), ("x-user-verified", "true")]] {
        let weak = stage.pays(&token, "{}", &fields).await;
        let said = weak.headers["www-authenticate"].to_str().unwrap();
        assert_eq!(weak.status, 401, "{said}");
        for word in ["insufficient_user_authentication", "acr_values=\"phr\""] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    assert_eq!(stage.upstream.seen().len(), 0);
}
