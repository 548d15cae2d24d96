//! This process as a workload of a running installation: it gets its credentials from the Workload
//! API, and uses them as any client would.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Response};
use hyper::body::{Bytes, Frame};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jose::{Audience, NumericDate, PrivateKey, SigningInput, TokenHash};
use oauth::TokenId;
use oauth::client_attestation_pop::{ClientAttestationPop, ClientAttestationPopClaims};
use serde_json::Value;
use spiffe::EndpointAddress;
use time::Span;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use wimse::Proof;
use wiring::world::SystemClock;
use workload::client::Client;
use workload::{WitSvid, X509Svid};

use crate::load::{form, number};
use crate::running::{Answer, DOMAIN, Https, Site};

/// The scope of every resource here.
pub(crate) const SCOPE: &str = "ledger:read";
/// What of the ledger is called.
pub(crate) const ENTRIES: &str = "ledger/entries";
/// What of the ledger has no end.
const STREAM: &str = "ledger/stream";
/// How long to wait for what is on its way to a node.
const TURNS: u32 = 400;

/// The policy of these tests: a ledger that demands WIT and proof, notes that anybody with a token
/// may read, and the service `desk`, which this process is.
pub(crate) fn lay_policy(site: &Site, upstream: u16, domain: &str) {
    let resource = |name: &str, proof: &str| {
        format!(
            "name = \"{name}\"\nupstream = \"http://127.0.0.1:{upstream}\"\nprotocol = \"http\"\n\
             proof = \"{proof}\"\n[scopes]\n\"{SCOPE}\" = \"Read\"\n\"ledger:write\" = \"Write\"\n\
             [[action]]\nmethod = \"GET\"\npath = \"/*\"\nscope = \"{SCOPE}\"\n\
             [[action]]\nmethod = \"POST\"\npath = \"/*\"\nscope = \"ledger:write\"\n"
        )
    };
    site.policy("resources/ledger.toml", &resource("ledger", "wit"));
    site.policy("resources/notes.toml", &resource("notes", "bearer"));
    site.policy("domain.toml", &format!("trust_domain = \"{DOMAIN}\"\n{domain}"));
    site.policy(
        "access/main.cedar",
        r#"@id("tokens")
permit(principal, action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"], resource);
@id("requests")
permit(principal, action == Aims::Action::"http.request", resource)
when { context.scope.contains("ledger:read") };
"#,
    );
}

/// What a resource behind the gateway saw of each request.
#[derive(Clone, Default)]
pub(crate) struct Upstream(Arc<Mutex<Vec<http::HeaderMap>>>);

impl Upstream {
    /// Serves HTTP on a port of its own: `/stream` without an end, all else at once.
    pub(crate) async fn start() -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = Self::default();
        let seen = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request: http::Request<_>| {
                        let seen = seen.clone();
                        async move { Ok::<_, Infallible>(seen.answer(&request)) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        (upstream, port)
    }

    /// The header fields of every request so far.
    pub(crate) fn seen(&self) -> Vec<http::HeaderMap> {
        self.0.lock().unwrap().clone()
    }

    fn answer(&self, request: &http::Request<hyper::body::Incoming>) -> Response<Body> {
        self.0.lock().unwrap().push(request.headers().clone());
        let endless = request.uri().path().ends_with("/stream");
        Response::new(Body { left: VecDeque::from([Bytes::from_static(b"{}")]), endless })
    }
}

/// A body of some parts, after which it ends or waits for ever.
struct Body {
    left: VecDeque<Bytes>,
    endless: bool,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.left.pop_front() {
            Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// This process.
pub(crate) struct Actor {
    pub(crate) id: String,
    pub(crate) https: Https,
    pub(crate) issuer: String,
    pub(crate) gateway: String,
    pub(crate) wit: WitSvid,
    workloads: Client,
}

impl Actor {
    /// Registers this process as the service `desk`, and gets its WIT.
    pub(crate) async fn enrol(site: &Site) -> Self {
        let path = format!("unix:path:{}", std::env::current_exe().unwrap().display());
        let uid = format!("unix:uid:{}", nix::unistd::getuid());
        let selectors = ["--class", "path", "--selector", &uid, "--selector", &path];
        let named = ["--name", "desk", "--kind", "service", "--owner", "tests", "--callable"];
        let told = site.aims(&[&["agent", "register"], &named[..], &selectors].concat());
        assert_eq!(told.code, 0, "{}", told.err);
        Self::of(site).await
    }

    /// The same where it is registered already.
    pub(crate) async fn of(site: &Site) -> Self {
        let socket = format!("unix://{}", site.data.join("workload.sock").display());
        let workloads = Client::connect(&EndpointAddress::parse(&socket).unwrap()).await.unwrap();
        let wit = soon(async || first(workloads.wit(None).await.ok()?).await).await.svids.remove(0);
        let (https, issuer, gateway) = (site.https(), site.url(0), site.url(3));
        Self { id: wit.spiffe_id.to_string(), https, issuer, gateway, wit, workloads }
    }

    /// The Workload API.
    pub(crate) fn workloads(&self) -> &Client {
        &self.workloads
    }

    /// Its X.509-SVID as it is now.
    pub(crate) async fn x509(&self) -> X509Svid {
        soon(async || first(self.workloads.x509().await.ok()?).await).await.svids.remove(0)
    }

    /// Its WIT as it is now.
    pub(crate) async fn fresh_wit(&self) -> WitSvid {
        soon(async || first(self.workloads.wit(None).await.ok()?).await).await.svids.remove(0)
    }

    /// A JWT-SVID for one audience.
    pub(crate) async fn jwt(&self, audience: &str) -> String {
        let given = self.workloads.jwt(&[audience], None).await.unwrap();
        given.into_iter().next().unwrap().token.expose().to_owned()
    }

    /// Asks the token endpoint, authenticated by WIT and proof of possession.
    pub(crate) async fn ask(&self, pairs: &[(&str, &str)]) -> Answer {
        self.ask_at("token", pairs).await
    }

    /// The same at another endpoint of the issuer.
    pub(crate) async fn ask_at(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let key = PrivateKey::from_jwk_private_text(self.wit.key.expose()).unwrap();
        let claims = ClientAttestationPopClaims {
            aud: Audience::one(&self.issuer),
            jti: TokenId::parse(&format!("possession-{}", number())).unwrap(),
            iat: NumericDate::from_time(SystemClock::read()),
            challenge: None,
            exp: None,
            nbf: None,
        };
        let input = SigningInput::<ClientAttestationPop>::new(key.algorithm(), None, &claims);
        let input = input.unwrap();
        let signature = key.sign(input.bytes());
        let proof = input.attach(signature).into_string();
        let fields = [
            ("OAuth-Client-Attestation", self.wit.token.expose()),
            ("OAuth-Client-Attestation-PoP", proof.as_str()),
        ];
        let pairs = [&[("client_id", self.id.as_str())], pairs].concat();
        self.ask_at_with(path, &pairs, &fields).await
    }

    /// Asks the token endpoint with these fields alone.
    pub(crate) async fn ask_with(&self, pairs: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        self.ask_at_with("token", pairs, fields).await
    }

    /// The same at another endpoint of the issuer.
    pub(crate) async fn ask_at_with(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let (url, fields) = (format!("{}/{path}", self.issuer), [&[kind], fields].concat());
        self.https.send(Method::POST, &url, &fields, &form(pairs)).await.unwrap()
    }

    /// A token that it is called with: for itself, on its own behalf.
    pub(crate) async fn own_token(&self) -> String {
        let own = [("grant_type", "client_credentials"), ("resource", self.id.as_str())];
        taken(&self.ask(&[&own[..], &[("scope", SCOPE)]].concat()).await)
    }

    /// That token exchanged for one of a resource (RFC 8693).
    pub(crate) async fn exchange(&self, subject: &str, resource: &str) -> Answer {
        let resource = format!("{}/{resource}", self.gateway);
        self.ask(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", &resource),
            ("scope", SCOPE),
        ])
        .await
    }

    /// A token for a resource, on its own behalf.
    pub(crate) async fn token(&self, resource: &str) -> String {
        taken(&self.exchange(&self.own_token().await, resource).await)
    }

    /// A proof for one call of the ledger's entries with `token`.
    pub(crate) fn proof(&self, token: &str) -> String {
        let key = PrivateKey::from_jwk_private_text(self.wit.key.expose()).unwrap();
        self.proof_by(&key, token, ENTRIES)
    }

    /// The same by any key, for any path.
    pub(crate) fn proof_by(&self, key: &PrivateKey, token: &str, path: &str) -> String {
        let proof = Proof {
            audience: &format!("{}/{path}", self.gateway),
            expires: SystemClock::read().plus(Span::from_seconds(60)),
            jti: &format!("call-{}-of-a-test-of-aims", number()),
            wit: TokenHash::of(self.wit.token.expose()),
            access_token: Some(token),
            txn_token: None,
            other: &[],
        };
        let input = proof.signing_input(key.algorithm()).unwrap();
        let signature = key.sign(input.bytes());
        input.attach(signature).into_string()
    }

    /// Calls the ledger with everything that it demands.
    pub(crate) async fn call(&self, token: &str) -> Answer {
        let proof = self.proof(token);
        self.call_with(Method::GET, ENTRIES, Some(token), &self.shows(&proof)).await
    }

    /// The same; `None` where the answer is cut.
    pub(crate) async fn try_call(&self, token: &str) -> Option<Answer> {
        let proof = self.proof(token);
        let bearer = format!("Bearer {token}");
        let [wit, proof] = self.shows(&proof);
        let url = format!("{}/{ENTRIES}", self.gateway);
        let fields = [("authorization", bearer.as_str()), wit, proof];
        self.https.send(Method::GET, &url, &fields, "").await.ok()
    }

    /// Begins to read what never ends: the body as it comes.
    pub(crate) async fn stream(&self, token: &str) -> hyper::body::Incoming {
        let key = PrivateKey::from_jwk_private_text(self.wit.key.expose()).unwrap();
        let proof = self.proof_by(&key, token, STREAM);
        let bearer = format!("Bearer {token}");
        let [wit, proof] = self.shows(&proof);
        let fields = [("authorization", bearer.as_str()), wit, proof];
        let url = format!("{}/{STREAM}", self.gateway);
        let answer = self.https.begin(Method::GET, &url, &fields, "").await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body()
    }

    /// What goes with a call beside the token.
    pub(crate) fn shows<'a>(&'a self, proof: &'a str) -> [(&'static str, &'a str); 2] {
        let wit = (wimse::WORKLOAD_IDENTITY_TOKEN, self.wit.token.expose());
        [wit, (wimse::WORKLOAD_PROOF_TOKEN, proof)]
    }

    /// Calls a resource with this token and these fields alone.
    pub(crate) async fn call_with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        fields: &[(&str, &str)],
    ) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let bearer = bearer.as_deref().map(|bearer| ("authorization", bearer));
        let fields: Vec<_> = bearer.into_iter().chain(fields.iter().copied()).collect();
        let url = format!("{}/{path}", self.gateway);
        self.https.send(method, &url, &fields, "").await.unwrap()
    }
}

/// The token of an answer that must have one.
pub(crate) fn taken(answer: &Answer) -> String {
    let body = answer.json();
    let token = body["access_token"].as_str();
    token.unwrap_or_else(|| panic!("{}: {body}", answer.status)).to_owned()
}

/// What a token says, not verified: these tests ask what is written there.
pub(crate) fn claims(token: &str) -> Value {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The first item of a stream, if it is good.
pub(crate) async fn first<T, E>(
    stream: impl tokio_stream::Stream<Item = Result<T, E>>,
) -> Option<T> {
    let mut stream = pin!(stream);
    stream.next().await?.ok()
}

/// What must come soon, asked for again and again.
pub(crate) async fn soon<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..TURNS {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not come");
}
