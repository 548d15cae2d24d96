//! The demo's tool server: MCP over streamable HTTP behind the gateway. It checks the transaction
//! token, and can say what it saw of the caller's rights.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agentic::{Message, Method as RpcMethod};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jose::{Algorithm, KeySet, Unverified};
use oauth::txn_token::{self, TxnToken};
use serde_json::{Value, json};
use time::Span;
use tokio::net::TcpListener;

use super::part;
use crate::exit::Failure;
use crate::https::Https;
use wiring::world::SystemClock;

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

struct Tools {
    issuer: String,
    ca: PathBuf,
    trust_domain: String,
    seen: Mutex<Value>,
}

/// Runs the tool server. Arguments: port, issuer, the authority's file, trust domain.
pub(super) async fn run(arguments: &[String]) -> Result<(), Failure> {
    let [port, issuer, ca, trust_domain] = arguments else {
        return Err(Failure::misused("port, issuer, ca and trust domain are needed"));
    };
    let port: u16 = port.parse().map_err(Failure::misused)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(Failure::unavailable)?;
    let tools = Arc::new(Tools {
        issuer: issuer.clone(),
        ca: PathBuf::from(ca),
        trust_domain: trust_domain.clone(),
        seen: Mutex::new(Value::Null),
    });
    let serving = Arc::clone(&tools);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tools = Arc::clone(&serving);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&tools), request));
                // A client that goes away ends its connection, and nothing else.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    part::serve(tools, |tools, _| async move {
        let seen = tools.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (tools, Ok(seen))
    })
    .await
}

async fn answer(
    tools: Arc<Tools>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(reply(StatusCode::METHOD_NOT_ALLOWED, &Value::Null));
    }
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, &Value::Null)),
    };
    let txn = head.headers.get(txn_token::FIELD).and_then(|value| value.to_str().ok());
    let checked = tools.check(txn.unwrap_or_default()).await;
    let rights: Vec<_> = head
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| {
            name.starts_with("authorization")
                || name.starts_with("workload-")
                || name.starts_with("oauth-")
        })
        .collect();
    let seen = json!({
        "authorization": head.headers.contains_key(http::header::AUTHORIZATION),
        "proofs_of_the_caller": rights,
        "txn_token": match &checked {
            Ok(claims) => claims.clone(),
            Err(failure) => json!({ "refused": failure.to_string() }),
        },
    });
    *tools.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    if let Err(failure) = checked {
        return Ok(reply(StatusCode::UNAUTHORIZED, &json!({ "error": failure.to_string() })));
    }
    Ok(message(&body))
}

impl Tools {
    /// A resource takes a transaction token of its own trust domain, and nothing else.
    async fn check(&self, token: &str) -> Result<Value, Failure> {
        let keys =
            Https::trusting(&self.ca)?.get(&format!("{}/txn-token/jwks", self.issuer)).await?;
        let keys = String::from_utf8_lossy(&keys);
        let keys = KeySet::parse(&keys).map_err(Failure::unavailable)?;
        let refused = |error: &dyn std::fmt::Display| Failure::refused("txn", error.to_string());
        let token = Unverified::<TxnToken>::parse(token).map_err(|error| refused(&error))?;
        let (now, skew) = (SystemClock::read(), Span::from_seconds(5));
        let verified = token.verify(&keys, &[Algorithm::Es256], now, skew);
        let verified = verified.map_err(|error| refused(&error))?;
        let checked = txn_token::in_domain(verified, &self.trust_domain);
        let checked = checked.map_err(|error| refused(&error))?;
        let claims = checked.claims();
        Ok(json!({
            "txn": claims.txn.as_str(),
            "sub": claims.sub.as_str(),
            "by": claims.req_wl.as_str(),
            "scope": claims.scope.to_string(),
        }))
    }
}

/// MCP, as far as the demo needs it: `initialize`, `tools/list`, `tools/call`.
fn message(body: &[u8]) -> Response<Full<Bytes>> {
    let request = match Message::parse(body) {
        Ok(Message::Request(request)) => request,
        Ok(_) => return reply(StatusCode::ACCEPTED, &Value::Null),
        Err(error) => {
            return reply(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }));
        }
    };
    let result = match RpcMethod::of_request(&request) {
        Ok(RpcMethod::Initialize { protocol_version }) => json!({
            "protocolVersion": protocol_version,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "demo-invoices", "version": "1" },
        }),
        Ok(RpcMethod::ToolsList) => json!({ "tools": [
            { "name": "read_invoice", "inputSchema": { "type": "object" } },
            { "name": "pay_invoice", "inputSchema": { "type": "object" } },
        ] }),
        Ok(RpcMethod::ToolsCall { name, .. }) if name == "read_invoice" => json!({
            "content": [{ "type": "text", "text": "invoice 2026-117: 4 hours, 480.00 EUR" }],
        }),
        Ok(_) => json!({ "content": [{ "type": "text", "text": "done" }] }),
        Err(error) => {
            return reply(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }));
        }
    };
    let id = match request.id {
        agentic::Id::Integer(number) => Value::from(number),
        agentic::Id::Text(text) => Value::from(text),
    };
    reply(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}
