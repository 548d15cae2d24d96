//! A workload of the demo: the batch job and the agents. It holds its own keys, which its record
//! allows, gets tokens, proves itself, and calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use jose::{Algorithm, PrivateKey, TokenHash};
use serde_json::{Value, json};
use spiffe::EndpointAddress;
use time::Span;
use tokio_stream::StreamExt as _;
use wimse::Proof;
use workload::client::CallError;
use workload::{WitSvid, X509Svid};

use super::part::{self, text};
use super::peer;
use crate::exit::Failure;
use crate::http1::Answer;
use crate::https::{self, Https};
use crate::identity::Identity;
use wiring::world::{SystemClock, SystemEntropy};

/// What an actor knows and holds.
pub(super) struct Actor {
    /// The Workload API.
    socket: EndpointAddress,
    /// Where the installation is.
    pub(super) places: Places,
    x509: Option<X509Svid>,
    wit: Option<WitSvid>,
    /// The token it got last.
    token: Option<String>,
    /// The token that a caller brought.
    inbox: Arc<Mutex<Option<String>>>,
    /// The fields of its last call, to be sent again.
    last: Option<Sent>,
    /// When and how its identity was withdrawn.
    withdrawn: Arc<Mutex<Option<(Instant, String)>>>,
}

/// Where the installation is.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) issuer: String,
    mtls: String,
    pub(super) gateway: String,
    pub(super) ca: PathBuf,
}

/// One call as it was sent.
#[derive(Clone)]
struct Sent {
    fields: Vec<(&'static str, HeaderValue)>,
    body: Value,
}

/// Runs an actor. Arguments: the Workload API's socket, issuer, mutual TLS origin, gateway, the
/// authority's file.
pub(super) async fn run(arguments: &[String]) -> Result<(), Failure> {
    let [socket, issuer, mtls, gateway, ca] = arguments else {
        return Err(Failure::misused("socket, issuer, mtls origin, gateway and ca are needed"));
    };
    let actor = Actor {
        socket: EndpointAddress::parse(socket).map_err(Failure::misused)?,
        places: Places {
            issuer: issuer.clone(),
            mtls: mtls.clone(),
            gateway: gateway.clone(),
            ca: PathBuf::from(ca),
        },
        x509: None,
        wit: None,
        token: None,
        inbox: Arc::default(),
        last: None,
        withdrawn: Arc::default(),
    };
    part::serve(actor, |mut actor, order| async move {
        let done = actor.act(&order).await;
        (actor, done)
    })
    .await
}

impl Actor {
    async fn act(&mut self, order: &Value) -> Result<Value, Failure> {
        match text(order, "do") {
            "identify" => self.identify().await,
            "token" => self.client_credentials(order).await,
            "listen" => peer::listen(self).await,
            "ask" => peer::ask(self, order).await,
            "take" => self.take(order),
            "exchange" => self.exchange(order).await,
            "call" => self.call(order).await,
            "again" => self.again().await,
            "hold" => Ok(json!({ "token": self.token })),
            "withdrawn" => self.told().await,
            other => Err(Failure::misused(format!("no order `{other}`"))),
        }
    }

    /// Gets its X.509-SVID and its WIT, and watches for their end.
    async fn identify(&mut self) -> Result<Value, Failure> {
        let identity = Identity::at(self.socket.clone()).await?;
        let x509 = identity.x509(None).await?;
        let wit = identity.wit(None).await?;
        let leaf = leaf(&x509)?;
        let answer = json!({
            "id": x509.spiffe_id.to_string(),
            "x509_until": leaf.not_after().to_string(),
            "serial": leaf.serial().to_string(),
        });
        self.watch(&identity).await?;
        (self.x509, self.wit) = (Some(x509), Some(wit));
        Ok(answer)
    }

    async fn watch(&self, identity: &Identity) -> Result<(), Failure> {
        let stream = identity.client().x509().await;
        let mut stream = stream.map_err(|error| identity.failure(&error))?;
        let withdrawn = Arc::clone(&self.withdrawn);
        *withdrawn.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tokio::spawn(async move {
            while let Some(item) = stream.next().await {
                if let Err(CallError::Denied { message }) = item {
                    let told = Some((Instant::now(), message));
                    *withdrawn.lock().unwrap_or_else(PoisonError::into_inner) = told;
                    return;
                }
            }
        });
        Ok(())
    }

    /// Waits until the Workload API says that the identity is withdrawn.
    async fn told(&self) -> Result<Value, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            let told = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, message)) = told {
                return Ok(json!({ "message": message }));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(Failure::unavailable("the stream was not told within five seconds"))
    }

    /// Client credentials, authenticated with its X.509-SVID (S4 §10.3.2).
    async fn client_credentials(&mut self, order: &Value) -> Result<Value, Failure> {
        let x509 = self.own_x509()?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", x509.spiffe_id.as_str()),
            ("resource", text(order, "resource")),
            ("scope", text(order, "scope")),
        ];
        let https = Https::trusting(&self.places.ca)?.with_identity(own(x509)?);
        let url = format!("{}/token", self.places.mtls);
        let answer = https.post_form(&url, &form, Vec::new()).await?;
        self.keep(&answer)
    }

    /// Takes a token that somebody handed over.
    fn take(&mut self, order: &Value) -> Result<Value, Failure> {
        self.token = Some(text(order, "token").to_owned());
        Ok(json!({}))
    }

    /// RFC 8693: the token that it received, for one of its own (S4 §10.3.3).
    pub(super) async fn exchange(&mut self, order: &Value) -> Result<Value, Failure> {
        let x509 = self.own_x509()?;
        let received = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let subject = received.or_else(|| self.token.clone()).unwrap_or_default();
        let access = oauth::TokenType::AccessToken.as_str();
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", x509.spiffe_id.as_str()),
            ("subject_token", &subject),
            ("subject_token_type", access),
            ("resource", text(order, "resource")),
            ("scope", text(order, "scope")),
        ];
        let https = Https::trusting(&self.places.ca)?.with_identity(own(x509)?);
        let url = format!("{}/token", self.places.mtls);
        let answer = https.post_form(&url, &form, Vec::new()).await?;
        self.keep(&answer)
    }

    fn keep(&mut self, answer: &Answer) -> Result<Value, Failure> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let audit = audit_id(answer);
        if answer.status != http::StatusCode::OK {
            return Ok(json!({ "status": answer.status.as_u16(), "body": body, "audit": audit }));
        }
        let token = text(&body, "access_token").to_owned();
        let claims = claims(&token);
        self.token = Some(token);
        Ok(json!({ "status": 200, "claims": claims, "audit": audit }))
    }

    /// Calls a tool through the gateway with its token, its WIT and a fresh proof.
    pub(super) async fn call(&mut self, order: &Value) -> Result<Value, Failure> {
        let target = format!("{}/invoices", self.places.gateway);
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": text(order, "tool"), "arguments": { "id": "2026-117" } },
        });
        let token = self.token.clone().unwrap_or_default();
        let fields = self.prove(&target, &token)?;
        let sent = Sent { fields, body };
        self.last = Some(sent.clone());
        self.send(&target, sent).await
    }

    /// Sends the last call once more, byte for byte.
    async fn again(&mut self) -> Result<Value, Failure> {
        let target = format!("{}/invoices", self.places.gateway);
        let sent = self.last.clone().ok_or_else(|| Failure::misused("nothing was sent yet"))?;
        self.send(&target, sent).await
    }

    async fn send(&self, url: &str, sent: Sent) -> Result<Value, Failure> {
        let https = Https::trusting(&self.places.ca)?;
        let mut fields = sent.fields;
        fields.push(("content-type", HeaderValue::from_static("application/json")));
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        fields.push(("accept", accept));
        let body = sent.body.to_string();
        let begun = Instant::now();
        let answer = https.send(http::Method::POST, url, fields, body.into()).await?;
        let took = begun.elapsed().as_millis();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let challenge = field(&answer, "www-authenticate");
        Ok(json!({
            "status": answer.status.as_u16(),
            "body": body,
            "audit": audit_id(&answer),
            "challenge": challenge,
            "millis": u64::try_from(took).unwrap_or(u64::MAX),
        }))
    }

    /// Authorization, WIT and WPT for a request to `target` (wimse-wpt §2).
    pub(super) fn prove(
        &self,
        target: &str,
        token: &str,
    ) -> Result<Vec<(&'static str, HeaderValue)>, Failure> {
        let wit = self.wit.as_ref().ok_or_else(|| Failure::misused("no identity yet"))?;
        let key = PrivateKey::from_jwk_private_text(wit.key.expose());
        let key = key.map_err(Failure::unavailable)?;
        let jti = TokenHash::from_bytes(env::Entropy::secret(&SystemEntropy::default()));
        let jti = jti.to_base64url();
        let proof = Proof {
            audience: target,
            expires: SystemClock::read().plus(Span::from_seconds(30)),
            jti: &jti,
            wit: TokenHash::of(wit.token.expose()),
            access_token: Some(token),
            txn_token: None,
            other: &[],
        };
        let input = proof.signing_input(Algorithm::Es256).map_err(Failure::unavailable)?;
        let signature = key.sign(input.bytes());
        let wpt = input.attach(signature).into_string();
        let value = |text: &str| HeaderValue::try_from(text).map_err(Failure::misused);
        Ok(vec![
            ("authorization", value(&format!("Bearer {token}"))?),
            (wimse::WORKLOAD_IDENTITY_TOKEN, value(wit.token.expose())?),
            (wimse::WORKLOAD_PROOF_TOKEN, value(&wpt)?),
        ])
    }

    pub(super) fn own_x509(&self) -> Result<&X509Svid, Failure> {
        self.x509.as_ref().ok_or_else(|| Failure::misused("no identity yet"))
    }

    /// Where a token goes that a caller brought.
    pub(super) fn inbox(&self) -> Arc<Mutex<Option<String>>> {
        Arc::clone(&self.inbox)
    }

    pub(super) fn token(&self) -> String {
        self.token.clone().unwrap_or_default()
    }
}

/// The identity to show in mutual TLS.
pub(super) fn own(x509: &X509Svid) -> Result<https::Identity, Failure> {
    let chain = workload::pem::split(&x509.chain).map_err(Failure::unavailable)?;
    let chain = chain.into_iter().map(<[u8]>::to_vec).collect();
    Ok(https::Identity { chain, key: x509.key.clone() })
}

fn leaf(x509: &X509Svid) -> Result<x509::Certificate, Failure> {
    let chain = workload::pem::split(&x509.chain).map_err(Failure::unavailable)?;
    let leaf = chain.first().ok_or_else(|| Failure::unavailable("no certificate"))?;
    x509::Certificate::parse(leaf).map_err(Failure::unavailable)
}

fn audit_id(answer: &Answer) -> Option<String> {
    field(answer, api::AUDIT_ID.as_str())
}

fn field(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The claims of a token, to be shown: who verifies is the one who is called.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = crate::base64::decode_url(payload).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
