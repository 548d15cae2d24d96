//! Clients that do what clients do to a running installation, and a ledger of what they were
//! answered.

use std::collections::HashMap;
use std::net::TcpListener as BlockingListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use env::Keys as _;
use http::{Method, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jose::{Algorithm, Audience, NumericDate, PrivateKey, SigningInput, TokenHash};
use oauth::client_assertion::{ClientAssertion, ClientAssertionClaims};
use oauth::client_attestation_pop::{ClientAttestationPop, ClientAttestationPopClaims};
use oauth::{ClientId, TokenId};
use serde_json::json;
use spiffe::EndpointAddress;
use time::{Span, UnixTime};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use wimse::Proof;
use wiring::world::SystemClock;
use workload::WitSvid;

use crate::running::{Answer, DOMAIN, Https, Site};

/// RFC 7517 Appendix A.2: the key of the client.
const KEY: &str = r#"{"kty":"EC","crv":"P-256",
 "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
 "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
 "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
const SCOPE: &str = "tools:use";
/// How long a proof may be used: longer than a test of replays takes.
const PROOF_SECONDS: u64 = 100;

/// The identifier of the service that this process is.
pub(crate) fn desk_id() -> String {
    format!("spiffe://{DOMAIN}/service/desk")
}

/// Writes the policy under which the clients here work.
pub(crate) fn lay_policy(site: &Site, tools: u16) {
    let (desk, audience) = (desk_id(), format!("{}/tools", site.url(3)));
    let files = format!("{}/files", site.url(3));
    site.policy(
        "resources/tools.toml",
        &format!(
            "name = \"tools\"\nupstream = \"http://127.0.0.1:{tools}/mcp\"\nprotocol = \"mcp\"\n\
             proof = \"wit\"\n[scopes]\n\"{SCOPE}\" = \"Use the tools\"\n\
             [[action]]\ntool = \"book\"\nscope = \"{SCOPE}\"\n"
        ),
    );
    site.policy(
        "resources/files.toml",
        &format!(
            "name = \"files\"\nupstream = \"http://127.0.0.1:{tools}\"\nprotocol = \"http\"\n\
             proof = \"bearer\"\n[scopes]\n\"{SCOPE}\" = \"Use the files\"\n\
             [[action]]\nmethod = \"GET\"\npath = \"/*\"\nscope = \"{SCOPE}\"\n"
        ),
    );
    site.policy(
        "access/main.cedar",
        &format!(
            r#"@id("clients-may-reach-the-files")
permit(principal is Aims::Client, action == Aims::Action::"token.issue",
       resource == Aims::Audience::"{files}");
@id("the-desk-may-be-called")
permit(principal == Aims::Service::"{desk}", action == Aims::Action::"token.issue",
       resource == Aims::Audience::"{desk}");
@id("the-desk-may-reach-the-tools")
permit(principal == Aims::Service::"{desk}", action == Aims::Action::"token.exchange",
       resource == Aims::Audience::"{audience}");
@id("the-desk-may-use-the-tools")
permit(principal == Aims::Service::"{desk}", action == Aims::Action::"tool.call",
       resource in Aims::Audience::"{audience}");
"#
        ),
    );
}

/// A tool behind the gateway that books under a number, and knows how often it did under each.
#[derive(Clone, Default)]
pub(crate) struct Tool(Arc<Mutex<HashMap<u64, u32>>>);

impl Tool {
    /// Serves MCP on a port of its own, for as long as the runtime lives.
    pub(crate) fn start() -> (Self, u16) {
        let listener = BlockingListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = TcpListener::from_std(listener).unwrap();
        let tool = Self::default();
        let serving = tool.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tool = serving.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request: http::Request<_>| {
                        let tool = tool.clone();
                        async move { tool.answer(request).await }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    // The gateway may be killed at any moment.
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        (tool, port)
    }

    /// How often it booked under each number.
    pub(crate) fn booked(&self) -> HashMap<u64, u32> {
        self.0.lock().unwrap().clone()
    }

    async fn answer(
        &self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let body = request.into_body().collect().await?.to_bytes();
        let call: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let number = call["params"]["arguments"]["number"].as_u64().unwrap();
        *self.0.lock().unwrap().entry(number).or_default() += 1;
        let result = json!({ "content": [{ "type": "text", "text": "booked" }] });
        let text = json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }).to_string();
        let mut response = Response::new(Full::new(Bytes::from(text)));
        let kind = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", kind);
        Ok(response)
    }
}

/// A request to the token endpoint, so that it can be sent again byte for byte.
#[derive(Clone)]
pub(crate) struct Form {
    body: String,
    /// A WIT and the proof of its key.
    proof: Option<(String, String)>,
}

/// A request to the gateway, so that it can be sent again byte for byte.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) number: u64,
    token: String,
    wit: String,
    wpt: String,
}

/// A number that nothing in this process had before.
pub(crate) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What clients were answered, and what they never were.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Names of agents whose registration was answered, and whether their suspension was.
    pub(crate) agents: Vec<(String, bool)>,
    /// Join tokens that were shown and never tried.
    pub(crate) join_tokens: Vec<String>,
    /// Join tokens that let a host in.
    pub(crate) joined: Vec<String>,
    /// Forms that brought a token.
    pub(crate) forms: Vec<Form>,
    /// Calls that were answered by the tool.
    pub(crate) calls: Vec<Call>,
    /// Calls that were sent and not answered.
    pub(crate) lost: Vec<Call>,
    /// Audit ids of all that was answered.
    pub(crate) records: Vec<String>,
    /// Answers that were neither what was asked for nor "unavailable".
    pub(crate) strange: Vec<String>,
}

/// The clients.
#[derive(Clone)]
pub(crate) struct Clients {
    https: Https,
    desk: api::client::Client,
    issuer: String,
    gateway: String,
    node_api: u16,
    bundle: String,
    client_id: String,
    key: Arc<PrivateKey>,
    wit: Arc<WitSvid>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Clients {
    /// Registers the client and the service that this process is, and gets its identity.
    pub(crate) async fn enrol(site: &Site) -> Self {
        let desk = site.desk();
        let own = std::env::current_exe().unwrap().display().to_string();
        let registered = site.aims(&[
            "agent",
            "register",
            "--name",
            "desk",
            "--kind",
            "service",
            "--owner",
            "tests",
            "--exec",
            &own,
            "--scope",
            SCOPE,
            "--callable",
        ]);
        assert_eq!(registered.code, 0, "{}", registered.err);
        let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
        let mut public = key.public().to_jwk().to_value();
        public["kid"] = "1".into();
        let metadata = json!({
            "client_name": "Tests", "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["client_credentials"], "scope": SCOPE, "jwks": { "keys": [public] },
        });
        let client = desk.register_client(&metadata).await.unwrap().value;
        let https = site.https();
        let bundle = https.send(Method::GET, &format!("{}/bundle", site.url(0)), &[], "").await;
        Self {
            https,
            desk,
            issuer: site.url(0),
            gateway: site.url(3),
            node_api: site.port + 2,
            bundle: String::from_utf8(bundle.unwrap().body).unwrap(),
            client_id: client.client_id,
            key: Arc::new(key),
            wit: Arc::new(own_wit(&site.data.join("workload.sock")).await),
            ledger: Arc::default(),
        }
    }

    /// What they were answered.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// A token for the files, by the client's assertion.
    pub(crate) async fn token(&self) -> Option<String> {
        let resource = format!("{}/files", self.gateway);
        let body = own_behalf(&resource);
        self.obtain(Form { body: format!("{body}&{}", self.assertion()), proof: None }).await
    }

    /// The same, and what was answered.
    pub(crate) async fn ask_token(&self) -> Answer {
        let body = own_behalf(&format!("{}/files", self.gateway));
        let form = Form { body: format!("{body}&{}", self.assertion()), proof: None };
        self.send_form(&form).await.unwrap()
    }

    /// Whether the server says that it is ready.
    pub(crate) async fn ready(&self) -> Answer {
        let url = format!("{}/ready", self.issuer);
        self.https.send(Method::GET, &url, &[], "").await.unwrap()
    }

    /// Client authentication by an assertion that was never used (RFC 7523 §2.2).
    fn assertion(&self) -> String {
        let now = SystemClock::read();
        let id = ClientId::parse(&self.client_id).unwrap();
        let claims = ClientAssertionClaims {
            iss: id.clone(),
            sub: id,
            aud: Audience::one(&self.issuer),
            exp: NumericDate::from_time(now.plus(Span::from_seconds(PROOF_SECONDS))),
            jti: TokenId::parse(&format!("assertion-{}", number())).unwrap(),
            iat: Some(NumericDate::from_time(now)),
            nbf: None,
        };
        let kid = jose::KeyId::parse("1").unwrap();
        let input = SigningInput::<ClientAssertion>::new(Algorithm::Es256, Some(&kid), &claims);
        let input = input.unwrap();
        let signature = self.key.sign(input.bytes());
        let assertion = input.attach(signature).into_string();
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        form(&[("client_assertion_type", kind), ("client_assertion", &assertion)])
    }

    /// The desk gets a token that it is called with.
    pub(crate) async fn task_token(&self) -> Option<String> {
        let (desk, body) = (desk_id(), own_behalf(&desk_id()));
        let body = format!("{body}&{}", form(&[("client_id", &desk)]));
        self.obtain(Form { body, proof: Some(self.proof()) }).await
    }

    /// The desk exchanges what it was called with for a token of the tools (RFC 8693).
    pub(crate) async fn exchange(&self, subject: &str) -> Option<String> {
        let body = form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", &desk_id()),
            ("subject_token", subject),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", &format!("{}/tools", self.gateway)),
            ("scope", SCOPE),
        ]);
        self.obtain(Form { body, proof: Some(self.proof()) }).await
    }

    /// The desk's WIT and a proof of its key that was never used.
    fn proof(&self) -> (String, String) {
        let key = PrivateKey::from_jwk_private_text(self.wit.key.expose()).unwrap();
        let claims = ClientAttestationPopClaims {
            aud: Audience::one(&self.issuer),
            jti: TokenId::parse(&format!("proof-{}", number())).unwrap(),
            iat: NumericDate::from_time(SystemClock::read()),
            challenge: None,
            exp: None,
            nbf: None,
        };
        let input = SigningInput::<ClientAttestationPop>::new(key.algorithm(), None, &claims);
        let input = input.unwrap();
        let signature = key.sign(input.bytes());
        (self.wit.token.expose().to_owned(), input.attach(signature).into_string())
    }

    async fn obtain(&self, form: Form) -> Option<String> {
        let answer = self.send_form(&form).await.ok()?;
        self.note(&answer, 200)?;
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        self.ledger().forms.push(form);
        token
    }

    /// Sends a form, for the first time or again.
    pub(crate) async fn send_form(&self, form: &Form) -> std::io::Result<Answer> {
        let mut fields = vec![("content-type", "application/x-www-form-urlencoded")];
        if let Some((wit, proof)) = &form.proof {
            fields.push(("OAuth-Client-Attestation", wit));
            fields.push(("OAuth-Client-Attestation-PoP", proof));
        }
        let url = format!("{}/token", self.issuer);
        self.https.send(Method::POST, &url, &fields, &form.body).await
    }

    /// A call of the tool with a fresh proof, to be sent.
    pub(crate) fn call(&self, token: &str) -> Call {
        let key = PrivateKey::from_jwk_private_text(self.wit.key.expose()).unwrap();
        let (number, expires) = (number(), now().plus(Span::from_seconds(PROOF_SECONDS)));
        let proof = Proof {
            audience: &format!("{}/tools", self.gateway),
            expires,
            jti: &format!("call-{number}-of-a-test-of-aims"),
            wit: TokenHash::of(self.wit.token.expose()),
            access_token: Some(token),
            txn_token: None,
            other: &[],
        };
        let input = proof.signing_input(Algorithm::Es256).unwrap();
        let signature = key.sign(input.bytes());
        let wpt = input.attach(signature).into_string();
        Call { number, token: token.to_owned(), wit: self.wit.token.expose().to_owned(), wpt }
    }

    /// Sends a call, for the first time or again.
    pub(crate) async fn send_call(&self, call: &Call) -> std::io::Result<Answer> {
        let bearer = format!("Bearer {}", call.token);
        let fields = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("authorization", bearer.as_str()),
            (wimse::WORKLOAD_IDENTITY_TOKEN, &call.wit),
            (wimse::WORKLOAD_PROOF_TOKEN, &call.wpt),
        ];
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "book", "arguments": { "number": call.number } },
        });
        let url = format!("{}/tools", self.gateway);
        self.https.send(Method::POST, &url, &fields, &body.to_string()).await
    }

    /// The whole way: a token, its exchange, a call.
    pub(crate) async fn task(&self) -> Option<()> {
        let token = self.task_token().await?;
        let token = self.exchange(&token).await?;
        let call = self.call(&token);
        let answer = match self.send_call(&call).await {
            Ok(answer) => answer,
            Err(_) => {
                self.ledger().lost.push(call);
                return None;
            }
        };
        self.note(&answer, 200)?;
        self.ledger().calls.push(call);
        Some(())
    }

    /// An operator registers an agent, and suspends every other one.
    pub(crate) async fn operate(&self) -> Option<()> {
        let number = number();
        let name = identifier::AgentName::parse(&format!("agent-{number}")).unwrap();
        let entry = json!({
            "name": name, "kind": "agent", "owner": "tests",
            "rule": {
                "selectors": [
                    format!("unix:uid:{}", 100_000 + number),
                    format!("unix:path:/opt/{name}"),
                ],
                "class": "path",
            },
        });
        let entry: registry::Registration = serde_json::from_value(entry).unwrap();
        let told = self.desk.register_agent(&entry).await;
        let told = self.told(told)?;
        self.ledger().agents.push((name.to_string(), false));
        self.ledger().records.extend(told.audit_id);
        if number.is_multiple_of(2) {
            let told = self.desk.move_agent(&name, provisioning::Act::Suspend, "a test").await;
            let told = self.told(told)?;
            let mut ledger = self.ledger();
            ledger.records.extend(told.audit_id);
            let kept = ledger.agents.iter_mut().find(|one| one.0 == name.as_str());
            kept.unwrap().1 = true;
        }
        Some(())
    }

    /// An operator makes two join tokens; a host joins by one of them.
    pub(crate) async fn admit(&self) -> Option<()> {
        for _ in 0..2 {
            let order = api::admin::messages::NewJoinToken {
                role: attestation::mechanism::Role::Node,
                name: None,
                life_seconds: Some(3_600),
            };
            let told = self.desk.create_join_token(&order).await;
            let told = self.told(told)?;
            let mut ledger = self.ledger();
            ledger.records.extend(told.audit_id);
            ledger.join_tokens.push(told.value.token);
        }
        let token = self.ledger().join_tokens.pop()?;
        match self.join(&token).await {
            Ok(()) => self.ledger().joined.push(token),
            // Whether it was used nobody was told.
            Err(env::PeerFault::Unavailable(_)) => return None,
            Err(refused) => self.ledger().strange.push(format!("join: {refused}")),
        }
        Some(())
    }

    /// A host joins by a token, over the node API.
    pub(crate) async fn join(&self, token: &str) -> Result<(), env::PeerFault> {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let keys = keys::Disk::open(folder.path(), None).unwrap();
        let made = keys.generate(env::Purpose::Workload, Algorithm::Es256).await;
        let (handle, public) = made.unwrap();
        let request = flow::workload::request_with(&keys, &handle, &public).await.unwrap();
        let order = link::JoinOrder {
            mechanism: "join_token".to_owned(),
            role: attestation::mechanism::Role::Node,
            evidence: token.as_bytes().to_vec(),
            request,
        };
        let mut trust = wimse::Bundles::new();
        let bundle = spiffe::Bundle::parse(&self.bundle).unwrap();
        trust.insert(spiffe::TrustDomain::parse(DOMAIN).unwrap(), bundle);
        let server = format!("spiffe://{DOMAIN}/aims/server");
        let server = wimse::WorkloadId::parse(&server).unwrap();
        let address = link::Address::parse(&format!("localhost:{}", self.node_api)).unwrap();
        let no_challenge =
            |_| async { Err(env::Unavailable::of("test", "a challenge to a join token")) };
        link::join(&address, &server, trust, now(), order, no_challenge).await.map(drop)
    }

    /// Whether an agent is there, and in this state.
    pub(crate) async fn state_of(&self, name: &str) -> Option<provisioning::State> {
        let name = identifier::AgentName::parse(name).unwrap();
        let found = self.desk.agent(&name).await.ok()?;
        Some(found.lifecycle.state)
    }

    /// The record of an audit id, from whichever log has it.
    pub(crate) async fn record(&self, id: &str) -> Result<(), String> {
        self.desk.record(id).await.map(drop).map_err(|fault| format!("{id}: {fault}"))
    }

    /// An answer: its record is kept; what is neither done nor unavailable is strange.
    fn note(&self, answer: &Answer, expected: u16) -> Option<()> {
        let mut ledger = self.ledger();
        ledger.records.extend(answer.audit_id());
        if answer.status == expected {
            return Some(());
        }
        if !matches!(answer.status, 502 | 503) {
            let body = String::from_utf8_lossy(&answer.body);
            ledger.strange.push(format!("{}: {body}", answer.status));
        }
        None
    }

    fn told<T>(
        &self,
        told: Result<api::client::Told<T>, api::client::Fault>,
    ) -> Option<api::client::Told<T>> {
        match told {
            Ok(told) => Some(told),
            Err(fault) if fault.exit_code() == 3 => None,
            Err(fault) => {
                self.ledger().strange.push(fault.to_string());
                None
            }
        }
    }
}

/// Client credentials for a resource (RFC 6749 §4.4).
fn own_behalf(resource: &str) -> String {
    form(&[("grant_type", "client_credentials"), ("resource", resource), ("scope", SCOPE)])
}

pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn now() -> UnixTime {
    SystemClock::read()
}

/// This process's WIT, as soon as the node knows its record.
async fn own_wit(socket: &Path) -> WitSvid {
    let address = EndpointAddress::parse(&format!("unix://{}", socket.display())).unwrap();
    let client = workload::client::Client::connect(&address).await.unwrap();
    for _ in 0..200 {
        if let Ok(stream) = client.wit(None).await {
            let mut stream = std::pin::pin!(stream);
            if let Some(Ok(answer)) = stream.next().await
                && let Some(svid) = answer.svids.into_iter().next()
            {
                return svid;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no identity");
}

/// The status of an answer and the words of its refusal.
pub(crate) fn refusal(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    let places = ["/error_description", "/error/message", "/message"];
    let found = places.iter().find_map(|place| body.pointer(place)?.as_str());
    (answer.status, found.unwrap_or_default().to_owned())
}
