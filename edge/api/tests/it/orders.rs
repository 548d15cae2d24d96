//! The operators' socket, through its client.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use api::admin::messages::{Ending, NewJoinToken, PolicyChange, PolicyFiles, PolicyOrder, Problem};
use api::admin::{self, Desk, Parts, own_uid};
use api::client::{Client, Fault};
use api::{Source, Unread};
use attestation::mechanism::Role;
use identifier::AgentName;
use monitoring::{Event, Outcome};
use provisioning::{Act, State};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::browser::{Refused, soon};
use crate::handshakes::registration;
use crate::world::{DOMAIN, Doors, TestWorld, files};

pub(crate) struct Office {
    pub(crate) world: Arc<TestWorld>,
    pub(crate) client: Client,
    pub(crate) refused: Refused,
    pub(crate) socket: PathBuf,
    _folder: TempDir,
    stop: Arc<Notify>,
    serving: JoinHandle<()>,
}

impl Office {
    pub(crate) async fn open() -> Self {
        Self::of(TestWorld::start().await, own_uid())
    }

    pub(crate) fn of(world: Arc<TestWorld>, owner: u32) -> Self {
        let doors = Doors::of(&world);
        let refused = Refused::default();
        let seen: Refused = Arc::clone(&refused);
        let on_refused = move |source: &Source, unread: &Unread| {
            seen.lock().unwrap().push((source.clone(), unread.check()));
        };
        let desk = Desk::new(Parts {
            world: Arc::clone(&world),
            audit: Arc::clone(&doors) as _,
            health: doors,
            on_refused: Arc::new(on_refused),
            owner,
        });
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let bound = admin::bind(&socket).unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let serving = tokio::spawn(async move {
            desk.serve(bound, async move { stopped.notified().await }).await;
        });
        let client = Client::new(&socket);
        Self { world, client, refused, socket, _folder: folder, stop, serving }
    }

    pub(crate) async fn close(self) {
        self.stop.notify_waiters();
        soon(self.serving).await.unwrap();
        assert!(!self.socket.exists());
    }

    /// Whether the last record says this.
    pub(crate) fn recorded(&self, event: Event, outcome: Outcome) -> String {
        let record = self.world.records().into_iter().next_back().unwrap();
        assert_eq!((record.event, record.outcome), (event, outcome));
        assert_eq!(record.operator, Some(format!("uid:{}", own_uid())));
        record.id.to_string()
    }
}

fn name(text: &str) -> AgentName {
    AgentName::parse(text).unwrap()
}

/// The problem of an order that was not done, without its audit id, which is compared apart.
pub(crate) fn problem(fault: Fault) -> Problem {
    match fault {
        Fault::Problem(problem) => Problem { audit_id: None, ..*problem },
        other => panic!("{other}"),
    }
}

/// Records are named by an id that the answer tells.
pub(crate) fn audit_id(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Problem(problem) => problem.audit_id.clone(),
        _ => None,
    }
}

/// req: ID-03 (part)
#[tokio::test]
async fn s5_an_agent_is_registered_once_and_found_again() {
    let office = Office::open().await;
    let told = office.client.register_agent(&registration("invoice")).await.unwrap();
    let id = office.recorded(Event::AgentRegistered, Outcome::Done);
    assert_eq!(told.audit_id, Some(id));
    assert_eq!(told.value.id.to_string(), format!("spiffe://{DOMAIN}/agent/invoice"));
    let again = office.client.register_agent(&registration("invoice")).await.unwrap_err();
    let id = office.recorded(Event::AgentRegistered, Outcome::Refused);
    assert_eq!((audit_id(&again), again.exit_code()), (Some(id), 1));
    let problem = problem(again);
    assert!(problem.message.contains("it is never given out again"), "{}", problem.message);
    insta::assert_json_snapshot!(Problem { message: String::new(), ..problem }, @r#"
    {
      "outcome": "refused",
      "error": "identifier::Assign",
      "message": "",
      "hint": "choose another name; a name stays with its agent, even a retired one"
    }
    "#);
    assert_eq!(office.client.agent(&name("invoice")).await.unwrap(), told.value);
    let page = office.client.agents(None, None).await.unwrap();
    assert_eq!((page.items, page.next), (vec![told.value], None));
    office.close().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_told_with_what_to_do() {
    let office = Office::open().await;
    let mut weak = registration("weak");
    weak.rule.selectors = serde_json::from_value(json!(["unix:path:/bin/a"])).unwrap();
    let mut class = registration("class");
    class.rule.class = "top".to_owned();
    let mut empty = registration("empty");
    empty.rule.selectors = serde_json::from_value(json!([])).unwrap();
    let mut told = Vec::new();
    for entry in [weak, class, empty] {
        let fault = office.client.register_agent(&entry).await.unwrap_err();
        let id = office.recorded(Event::AgentRegistered, Outcome::Refused);
        assert_eq!(audit_id(&fault), Some(id));
        told.push(problem(fault));
    }
    insta::assert_json_snapshot!(told, @r#"
    [
      {
        "outcome": "refused",
        "error": "attestation::Weak",
        "message": "the risk class `standard` demands a `unix:uid` selector, and the rule has none",
        "hint": "add such a selector to the rule, or choose a lower risk class"
      },
      {
        "outcome": "refused",
        "error": "attestation::Class",
        "message": "policy has no risk class `top`; it has standard",
        "hint": "name one of them, or add the class to policy/attestation.toml"
      },
      {
        "outcome": "refused",
        "error": "registry::Registration",
        "message": "a rule needs at least one selector, such as `unix:uid:1000`"
      }
    ]
    "#);
}

/// req: PROV-06 (part)
#[tokio::test]
async fn s8_an_agent_is_moved_through_its_life() {
    let office = Office::open().await;
    office.client.register_agent(&registration("invoice")).await.unwrap();
    let agent = name("invoice");
    for (act, state) in [
        (Act::Suspend, State::Suspended),
        (Act::Resume, State::Active),
        (Act::Revoke, State::Revoked),
    ] {
        let told = office.client.move_agent(&agent, act, "a drill").await.unwrap();
        assert_eq!(told.value.lifecycle.state, state);
        assert_eq!(told.audit_id, Some(office.recorded(Event::AgentLifecycle, Outcome::Done)));
    }
    assert_eq!(office.client.status().await.unwrap().epoch, Some(3));
    let refused = office.client.move_agent(&agent, Act::Resume, "a drill").await.unwrap_err();
    assert_eq!(problem(refused).error, "provisioning::Transition");
    let unknown = office.client.move_agent(&name("nobody"), Act::Suspend, "a drill").await;
    let unknown = unknown.unwrap_err();
    let id = office.recorded(Event::AgentLifecycle, Outcome::Refused);
    assert_eq!(audit_id(&unknown), Some(id));
    insta::assert_json_snapshot!(problem(unknown), @r#"
    {
      "outcome": "refused",
      "error": "registry::Unknown",
      "message": "no agent `nobody`",
      "hint": "`aims agent list` shows those there are"
    }
    "#);
    let before = office.world.records().len();
    for reason in ["", " ", "a\nb", &"a".repeat(1_025)] {
        let fault = office.client.move_agent(&agent, Act::Retire, reason).await.unwrap_err();
        assert_eq!((fault.exit_code(), problem(fault).outcome), (2, Ending::Misused), "{reason}");
    }
    assert_eq!(office.world.records().len(), before);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let office = Office::open().await;
    for at in 0..5 {
        office.client.register_agent(&registration(&format!("agent-{at}"))).await.unwrap();
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = office.client.agents(after.as_deref(), Some(2)).await.unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items.into_iter().map(|agent| agent.entry.name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["agent-0", "agent-1", "agent-2", "agent-3", "agent-4"]);
    assert_eq!(office.client.nodes(None, None).await.unwrap().items, []);
}

/// RFC 7591 §3.2.1 in the answer, and never a secret.
/// req: AUTHZ-22 (part)
#[tokio::test]
async fn rfc7591_3_2_a_client_is_registered_shown_and_disabled() {
    let office = Office::open().await;
    let metadata = json!({
        "token_endpoint_auth_method": "spiffe_jwt",
        "grant_types": ["client_credentials"],
        "spiffe_id": "spiffe://demo.example/batch/*",
        "client_name": "Batch",
        "scope": "read",
        "unknown_member": "ignored",
    });
    let told = office.client.register_client(&metadata).await.unwrap();
    assert_eq!(told.audit_id, Some(office.recorded(Event::ClientRegistered, Outcome::Done)));
    let mut shown = serde_json::to_value(&told.value).unwrap();
    shown["client_id"] = "[id]".into();
    shown["since"] = "[time]".into();
    insta::assert_json_snapshot!(shown, @r#"
    {
      "client_id": "[id]",
      "client_id_issued_at": 1800000000,
      "spiffe_id": "spiffe://demo.example/batch/*",
      "client_name": "Batch",
      "scope": "read",
      "token_endpoint_auth_method": "spiffe_jwt",
      "grant_types": [
        "client_credentials"
      ],
      "origin": "operator",
      "state": "enabled",
      "since": "[time]"
    }
    "#);
    let id = told.value.client_id.clone();
    assert_eq!(office.client.client(&id).await.unwrap(), told.value);
    assert_eq!(office.client.clients(None, None).await.unwrap().items, [told.value]);
    let disabled = office.client.disable_client(&id).await.unwrap();
    assert_eq!(serde_json::to_value(disabled.value.state).unwrap(), "disabled");
    for fault in [
        office.client.client("no/body").await.unwrap_err(),
        office.client.disable_client("nobody").await.unwrap_err(),
    ] {
        assert_eq!((fault.exit_code(), problem(fault).error), (1, "not_found".to_owned()));
    }
}

/// req: AUTHZ-22 (part)
#[tokio::test]
async fn rfc7591_3_2_2_metadata_that_cannot_be_is_refused() {
    let office = Office::open().await;
    let metadata = json!({
        "token_endpoint_auth_method": "spiffe_jwt",
        "grant_types": ["client_credentials"],
        "spiffe_id": "spiffe://demo.example/batch/*",
    });
    assert!(office.client.register_client(&metadata).await.is_ok());
    let mut told = Vec::new();
    for (member, value) in [
        ("client_secret", json!("a")),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("redirect_uris", json!(["javascript:alert(1)"])),
    ] {
        let mut wrong = metadata.clone();
        wrong[member] = value;
        told.push(problem(office.client.register_client(&wrong).await.unwrap_err()));
    }
    insta::assert_json_snapshot!(told, @r#"
    [
      {
        "outcome": "misused",
        "error": "invalid_client_metadata",
        "message": "`client_secret`: no client has a secret here"
      },
      {
        "outcome": "misused",
        "error": "invalid_client_metadata",
        "message": "`token_endpoint_auth_method`: no client has a secret here; bring a key in `jwks`",
        "hint": "bring a public key in `jwks`, and `private_key_jwt`"
      },
      {
        "outcome": "misused",
        "error": "invalid_client_metadata",
        "message": "entry 1 of `redirect_uris`: redirect URI with the scheme `javascript`, which has no dot (RFC 8252 §7.1)"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_join_token_is_shown_once_and_kept_as_a_hash() {
    let office = Office::open().await;
    let order = NewJoinToken { role: Role::Node, name: Some(name("host-1")), life_seconds: None };
    let told = office.client.create_join_token(&order).await.unwrap();
    assert_eq!(told.audit_id, Some(office.recorded(Event::JoinTokenCreated, Outcome::Done)));
    let token = told.value.token.clone();
    assert_eq!(token.len(), 43);
    assert!(!format!("{told:?}").contains(&token));
    let logged: String = office.world.records().iter().map(|one| format!("{one:?}")).collect();
    assert!(!logged.contains(&token));
    for life in [0, 86_401] {
        let order = NewJoinToken { life_seconds: Some(life), ..order.clone() };
        let fault = office.client.create_join_token(&order).await.unwrap_err();
        assert_eq!(problem(fault).outcome, Ending::Misused);
    }
}

/// req: POL-01 (part)
#[tokio::test]
async fn s12_policy_is_planned_then_applied_by_whom_and_why() {
    let office = Office::open().await;
    let client = &office.client;
    let began = client.current_policy().await.unwrap();
    assert_eq!((began.by.as_str(), &began.files), ("first start", &files(&[])));
    let rule = "@id(\"batch\") permit(principal is Aims::Service, action, resource);\n";
    let next = files(&[("access/batch.cedar", rule)]);
    let before = office.world.records().len();
    let plan = client.plan_policy(&PolicyFiles { files: next.clone() }).await.unwrap();
    assert_eq!(plan.from.as_ref(), Some(&began.version));
    assert_eq!(plan.changes, [PolicyChange::Added { what: "rule batch".to_owned() }]);
    assert_eq!(office.world.records().len(), before);
    let order = PolicyOrder {
        files: next,
        reason: "batches".to_owned(),
        expected: Some(began.version.clone()),
    };
    let told = client.apply_policy(&order).await.unwrap();
    assert_eq!(told.value, plan);
    assert_eq!(told.audit_id, Some(office.recorded(Event::PolicyApplied, Outcome::Done)));
    let history = client.policy_history().await.unwrap();
    let history: Vec<_> = history.iter().map(|one| (one.reason.as_str(), one.in_force)).collect();
    assert_eq!(history, [("batches", true), ("first start", false)]);
    let moved = client.apply_policy(&order).await.unwrap_err();
    let id = office.recorded(Event::PolicyApplied, Outcome::Refused);
    assert_eq!(audit_id(&moved), Some(id));
    assert_eq!(problem(moved).error, "policy::Moved");
}

#[tokio::test]
async fn s12_faults_of_policy_are_told_with_file_line_and_fix() {
    let office = Office::open().await;
    let wrong = files(&[
        ("access/main.cedar", "permit(principal, action, resource);\n"),
        ("resource/a.toml", "name = \"a\"\n"),
    ]);
    let fault = office.client.plan_policy(&PolicyFiles { files: wrong }).await.unwrap_err();
    insta::assert_json_snapshot!(problem(fault), @r#"
    {
      "outcome": "refused",
      "error": "policy::Faults",
      "message": "the policy set has 2 faults",
      "faults": [
        {
          "file": "access/main.cedar",
          "line": 1,
          "column": 1,
          "message": "rule has no `@id`",
          "fix": "put `@id(\"a-short-name\")` above the rule"
        },
        {
          "file": "resource/a.toml",
          "line": 0,
          "column": 0,
          "message": "no part of the system reads this file",
          "fix": "policy is domain.toml, attestation.toml, resources/*.toml, agents/*.toml, federation/*.toml and access/*.cedar; move or rename the file, or end its name in .md"
        }
      ]
    }
    "#);
    let other = files(&[("domain.toml", "trust_domain = \"other.example\"\n")]);
    let order = PolicyOrder { files: other, reason: "a try".to_owned(), expected: None };
    let fault = office.client.apply_policy(&order).await.unwrap_err();
    assert_eq!(problem(fault).error, "policy::OtherDomain");
}

#[tokio::test]
async fn keys_are_shown_by_their_public_side() {
    let office = Office::open().await;
    let rings = office.client.keys().await.unwrap();
    let purposes: Vec<_> = rings.iter().map(|ring| ring.purpose.as_str()).collect();
    let all = [
        "x509-authority",
        "jwt-svid",
        "wit",
        "access-token",
        "txn-token",
        "id-token",
        "client-assertion",
        "attestation-result",
        "web-authority",
    ];
    assert_eq!(purposes, all);
    let text = serde_json::to_string(&rings).unwrap();
    assert!(!text.contains("\"d\""));
    assert!(rings.iter().all(|ring| ring.keys.len() == 1));
}

#[tokio::test]
async fn status_answers_also_when_the_state_cannot_be_read() {
    let office = Office::open().await;
    let status = office.client.status().await.unwrap();
    let mut shown = serde_json::to_value(&status).unwrap();
    for member in ["policy", "now", "version"] {
        assert!(!shown[member].is_null());
        shown[member] = "[changes]".into();
    }
    insta::assert_json_snapshot!(shown, @r#"
    {
      "version": "[changes]",
      "issuer": "https://localhost:8443",
      "not_ready": null,
      "origin": "spiffe://demo.example",
      "trust_domain": "demo.example",
      "policy": "[changes]",
      "epoch": 1,
      "keys_sealed": false,
      "logs": [
        {
          "name": "server",
          "first": 0,
          "entries": 7,
          "promised": 6
        }
      ],
      "feeds": [
        {
          "component": "gateway:main",
          "heard": 1800000000000,
          "seq": 3
        }
      ],
      "now": "[changes]"
    }
    "#);
    office.world.set_down(true);
    let status = office.client.status().await.unwrap();
    assert_eq!(status.policy, None);
    assert!(status.not_ready.unwrap().contains("store is unavailable"));
    // An operator reads what the door said.
    let fault = office.client.agents(None, None).await.unwrap_err();
    assert_eq!(fault.exit_code(), 3);
    insta::assert_json_snapshot!(problem(fault), @r#"
    {
      "outcome": "unavailable",
      "error": "unavailable",
      "message": "store is unavailable: an inner detail of the store",
      "hint": "`aims doctor` says what is wrong"
    }
    "#);
}

/// A misspelt filter would show more than was asked for.
#[tokio::test]
async fn what_an_order_does_not_know_is_an_error() {
    let office = Office::open().await;
    let mut told = String::new();
    for (method, path, content_type, body) in [
        ("GET", "/v1/agents?afer=a", "", ""),
        ("GET", "/v1/agents?limit=x", "", ""),
        ("GET", "/v1/agents?limit=1&limit=2", "", ""),
        ("GET", "/v1/audit/tail?follow=maybe", "", ""),
        ("GET", "/v1/agents/UPPER", "", ""),
        ("GET", "/v1/agents/%ff", "", ""),
        ("GET", "/v1/nothing", "", ""),
        ("DELETE", "/v1/agents", "", ""),
        ("POST", "/v1/agents/a/promote", "application/json", "{\"reason\":\"a\"}"),
        ("POST", "/v1/agents", "text/plain", "{}"),
        ("POST", "/v1/agents", "application/json", "{\"name\":\"a\",\"boss\":1}"),
        ("POST", "/v1/join-tokens", "application/json", "{\"role\":\"node\",\"x\":1}"),
        ("POST", "/v1/policy/plan", "application/json", "{\"files\":{\"../a\":\"\"}}"),
    ] {
        let (status, body) = raw(&office.socket, method, path, content_type, body).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let (outcome, message) = (&body["outcome"], &body["message"]);
        told.push_str(&format!("{method} {path}: {status} {outcome} {message}\n"));
    }
    insta::assert_snapshot!(told, @r#"
    GET /v1/agents?afer=a: 400 "misused" "no parameter `afer` here; there are `after`, `limit`"
    GET /v1/agents?limit=x: 400 "misused" "parameter `limit` is no number"
    GET /v1/agents?limit=1&limit=2: 400 "misused" "parameter `limit` stands more than once"
    GET /v1/audit/tail?follow=maybe: 400 "misused" "parameter `follow` is not true or false"
    GET /v1/agents/UPPER: 400 "misused" "`U` in a name: only a to z, 0 to 9 and `-` are allowed"
    GET /v1/agents/%ff: 400 "misused" "Invalid URL: Invalid UTF-8 in `name`"
    GET /v1/nothing: 404 "refused" "nothing is at this path"
    DELETE /v1/agents: 405 "misused" "the path does not have this method"
    POST /v1/agents/a/promote: 404 "refused" "agents are not moved by `promote`"
    POST /v1/agents: 400 "misused" "the content type must be `application/json`, once"
    POST /v1/agents: 400 "misused" "the body does not read: unknown field `boss`, expected one of `name`, `kind`, `owner`, `capabilities`, `locator`, `dns_names`, `rule`, `keys`, `client`, `downstream` at line 1 column 18"
    POST /v1/join-tokens: 400 "misused" "the body does not read: unknown field `x`, expected one of `role`, `name`, `life_seconds` at line 1 column 18"
    POST /v1/policy/plan: 400 "misused" "the body does not read: the file name `../a` has other characters than letters, digits, `.`, `_` and `-` at line 1 column 21"
    "#);
}

/// A request without our client's manners: status and body.
async fn raw(
    socket: &PathBuf,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn a_client_says_that_no_server_listens() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder.path().join("admin.sock"));
    let fault = client.status().await.unwrap_err();
    assert!(matches!(fault, Fault::Unreachable { .. }));
    assert_eq!(fault.exit_code(), 3);
    assert!(fault.hint().unwrap().contains("running"));
}

/// Set for the child process of the test below: the socket that it is to knock at.
const KNOCK: &str = "AIMS_TEST_KNOCK";

/// Orders are taken from root and from the server's own user; others are told so, and counted.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_may_give_no_orders() {
    const NOBODY: u32 = 65_534;
    if let Some(socket) = std::env::var_os(KNOCK) {
        let (status, body) = raw(&PathBuf::from(socket), "GET", "/v1/status", "", "").await;
        return println!("{status} {body}");
    }
    let is_root = own_uid() == 0;
    // Root plays another user; everybody else meets a server of another user.
    let owner = if is_root { 0 } else { own_uid() + 1 };
    let office = Office::of(TestWorld::start().await, owner);
    let peer = if is_root { NOBODY } else { own_uid() };
    // The folder and the socket would keep others out before the server sees them.
    for (path, mode) in [(office.socket.parent().unwrap(), 0o755), (&office.socket, 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let (status, body) = if is_root {
        // Where it was built, the other user may not reach it.
        let program = office.socket.with_file_name("knock");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut child = Command::new(program);
        child.args(["--exact", "orders::another_user_may_give_no_orders", "--nocapture"]);
        child.env(KNOCK, &office.socket).uid(NOBODY).gid(NOBODY);
        let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let line = printed.lines().find(|line| line.starts_with("403 ")).unwrap_or(&printed);
        (line.get(..3).unwrap().parse().unwrap(), line.get(4..).unwrap().to_owned())
    } else {
        raw(&office.socket, "GET", "/v1/status", "", "").await
    };
    assert_eq!(status, 403, "{body}");
    let problem: Problem = serde_json::from_str(&body).unwrap();
    let message = problem.message.replace(&peer.to_string(), "[uid]");
    insta::assert_json_snapshot!(Problem { message, ..problem }, @r#"
    {
      "outcome": "refused",
      "error": "not_an_operator",
      "message": "uid [uid] may give no orders here",
      "hint": "orders are taken from root and from the user that the server runs as"
    }
    "#);
    let seen = office.refused.lock().unwrap().clone();
    assert_eq!(seen, [(Source::Uid(peer), "not_an_operator")]);
}
