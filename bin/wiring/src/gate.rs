//! The gateway's listener asks here; flows answer. What a refusal is on the wire stands here, in
//! one table.

use std::sync::{Arc, Mutex};

use agentic::{Code, Fault};
use env::World;
use flow::call::{self, Delegate, End, Live, Refused, Verdicts};
use gateway::{Call, Refusal, Status, Target};
use oauth::challenge::Challenge;
use oauth::dpop::{FIELD, NONCE_FIELD};
use oauth::error::ErrorCode;
use proxy::{Answer, Cut, Forward, Gate, Incoming, Onward, Outgoing, UpstreamFault};

use super::prepare::Strangers;

/// Decides by flows.
pub struct FlowGate<W> {
    /// The gateway's world.
    pub world: Arc<W>,
    /// Its leave to sign transaction tokens.
    pub delegate: Arc<Delegate>,
    /// What it verified already.
    pub verdicts: Verdicts,
    /// Refusals of callers that proved nothing.
    pub strangers: Arc<Strangers>,
    /// The resources' metadata, by path: kept by the task that follows the policy.
    pub documents: Mutex<std::collections::BTreeMap<String, Vec<u8>>>,
}

struct Head(Answer);

impl call::Answer for Head {
    fn status(&self) -> u16 {
        self.0.status
    }
}

impl<W: World> Gate for FlowGate<W> {
    type Live = Live;

    async fn call(&self, request: Incoming, onward: Onward) -> Outgoing<Live> {
        let (source, base) = (request.peer.ip(), self.world.site().gateway.as_str());
        let target = match Target::parse(&request.path, request.query.as_deref()) {
            Ok(target) => target,
            Err(error) => {
                self.strangers.count(&source, "gateway::Path");
                return refusal(base, &refused(Refusal::Path(error)), None);
            }
        };
        let call = Call {
            method: request.method,
            target,
            headers: request.headers,
            body: request.body.to_vec(),
            certificates: request.certificates,
            source: source.to_string(),
        };
        let shows_dpop = call.values(FIELD).next().is_some();
        let send = |forward: call::Forward| async move {
            let forward = Forward {
                url: forward.url,
                method: forward.method,
                headers: forward.headers,
                body: forward.body.into(),
            };
            let sent = onward.send(forward).await;
            sent.map(Head).map_err(|fault| call::UpstreamFault(fault.to_string()))
        };
        let world = self.world.as_ref();
        let end = call::call(world, &self.delegate, &self.verdicts, call, send).await;
        let answer = match end {
            Ok(End::Forwarded(answer, live)) => {
                let id = answer.audit_id();
                match answer.into_value() {
                    Ok(Head(answer)) => Outgoing::Relay(with_id(answer, id), live),
                    Err(fault) => UpstreamFault::Unreachable(fault.0).reply(),
                }
            }
            Ok(End::Refused(refused)) => {
                let id = refused.audit_id();
                refusal(base, refused.value(), id)
            }
            Ok(End::Stranger(refused)) => {
                self.strangers.count(&source, refused.refusal.check());
                refusal(base, &refused, None)
            }
            Err(why) => {
                tracing::warn!(%why, "gateway");
                unavailable()
            }
        };
        if shows_dpop { self.with_nonce(answer).await } else { answer }
    }

    fn metadata(&self, path: &str) -> Option<Vec<u8>> {
        let documents = self.documents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        documents.get(path).cloned()
    }

    async fn cut(&self, live: &Live) -> Cut {
        match call::cut(self.world.as_ref(), live).await {
            Ok(Refusal::Token { .. }) => Cut::Expired,
            Ok(_) => Cut::Revoked,
            Err(_) => Cut::Stale,
        }
    }
}

fn with_id(mut answer: Answer, id: Option<monitoring::RecordId>) -> Answer {
    answer.headers.extend(audit_id(id));
    answer
}

fn audit_id(id: Option<monitoring::RecordId>) -> Option<(String, Vec<u8>)> {
    id.map(|id| ("aims-audit-id".to_owned(), id.to_string().into_bytes()))
}

fn refused(refusal: Refusal) -> Refused {
    Refused::bare(refusal)
}

fn unavailable<L>() -> Outgoing<L> {
    let body = serde_json::json!({
        "error": "temporarily_unavailable",
        "message": "the gateway cannot decide just now; try again",
    });
    Outgoing::Reply {
        status: 503,
        headers: vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("retry-after".to_owned(), b"1".to_vec()),
        ],
        body: body.to_string().into_bytes(),
    }
}

impl<W: World> FlowGate<W> {
    /// The answer with a nonce for the next proof, where policy asks for nonces. RFC 9449 §9:
    /// "Resource servers can also choose to provide a nonce value to be included in DPoP proofs
    /// sent to them. They provide the nonce using the DPoP-Nonce header".
    async fn with_nonce(&self, mut answer: Outgoing<Live>) -> Outgoing<Live> {
        let Ok(Some(nonce)) = flow::token::nonce(&*self.world).await else { return answer };
        let headers = match &mut answer {
            Outgoing::Relay(answer, _) => &mut answer.headers,
            Outgoing::Reply { headers, .. } => headers,
        };
        // One that the upstream gave would be for proofs that it never sees.
        headers.retain(|(name, _)| name != NONCE_FIELD);
        headers.push((NONCE_FIELD.to_owned(), nonce.into_bytes()));
        answer
    }
}

/// The one table from refusals to HTTP, with the challenge of RFC 6750 §3 and RFC 9728 §5.1
/// and, for a JSON-RPC request, an error that answers it.
pub(crate) fn refusal<L>(
    gateway: &str,
    refused: &Refused,
    id: Option<monitoring::RecordId>,
) -> Outgoing<L> {
    let status = refused.refusal.status();
    let (code, challenge) = challenge(gateway, &status, refused);
    let mut headers = vec![
        ("content-type".to_owned(), b"application/json".to_vec()),
        ("cache-control".to_owned(), b"no-store".to_vec()),
    ];
    headers.extend(audit_id(id));
    let value = challenge.map(|one| ("www-authenticate".to_owned(), one.into_bytes()));
    headers.extend(value);
    if status == Status::Unavailable {
        headers.push(("retry-after".to_owned(), b"1".to_vec()));
    }
    if status == Status::MethodNotAllowed {
        headers.push(("allow".to_owned(), b"GET, POST, DELETE".to_vec()));
    }
    Outgoing::Reply { status: code, headers, body: body(refused, id) }
}

fn challenge(gateway: &str, status: &Status, refused: &Refused) -> (u16, Option<String>) {
    let challenge = || {
        let one = match refused.dpop {
            // RFC 9449 §7.1: "the authentication scheme name "DPoP"", and "algs" what proofs
            // are taken.
            true => Challenge::dpop(),
            false => Challenge::bearer(),
        };
        match &refused.resource {
            Some(name) => one.resource_metadata(&format!(
                "{gateway}/.well-known/oauth-protected-resource/{name}"
            )),
            None => one,
        }
    };
    let with_scopes = |one: Challenge| {
        if refused.scopes.is_empty() { one } else { one.scope(&refused.scopes) }
    };
    match status {
        // RFC 6750 §3.1: without any authentication information no error code is given.
        Status::Authenticate => (401, Some(with_scopes(challenge()).to_string())),
        Status::InvalidToken => {
            let told = refused.refusal.to_string();
            let one = challenge().error(ErrorCode::InvalidToken).description(&told);
            (401, Some(one.to_string()))
        }
        Status::InsufficientScope(scope) => {
            let needed = [scope.clone()].into_iter().collect();
            let one = challenge().error(ErrorCode::InsufficientScope).scope(&needed);
            (403, Some(one.to_string()))
        }
        // RFC 6750 §3: "If the protected resource request does not include authentication
        // credentials or does not contain an access token that enables access to the protected
        // resource, the resource server MUST include the HTTP "WWW-Authenticate" response
        // header field".
        Status::InvalidRequest => {
            let told = refused.refusal.to_string();
            let one = challenge().error(ErrorCode::InvalidRequest).description(&told);
            (400, Some(one.to_string()))
        }
        Status::InvalidDpopProof | Status::UseDpopNonce => {
            let code = match status {
                Status::UseDpopNonce => ErrorCode::UseDpopNonce,
                _ => ErrorCode::InvalidDpopProof,
            };
            let told = refused.refusal.to_string();
            (401, Some(challenge().error(code).description(&told).to_string()))
        }
        // RFC 9470 §3: "insufficient_user_authentication", with "acr_values".
        Status::InsufficientAuthentication(acr) => {
            let told = refused.refusal.to_string();
            let error = ErrorCode::InsufficientUserAuthentication;
            let one = challenge().error(error).acr_values(&[acr]).description(&told);
            (401, Some(one.to_string()))
        }
        // draft-rosomakho-oauth-txn-challenge §4.2: "A protected resource SHOULD use status
        // code 401".
        Status::ApprovalRequired => match &refused.transaction {
            Some(signed) => (401, Some(challenge().transaction(signed).to_string())),
            None => (403, None),
        },
        // workload-creds §5.2, wpt §2.1: "400 Bad Request"; 401 is not recommended.
        Status::Malformed | Status::InvalidProof => (400, None),
        Status::Forbidden => (403, None),
        Status::NotFound => (404, None),
        Status::MethodNotAllowed => (405, None),
        Status::Unavailable => (503, None),
    }
}

/// What the caller is told: a JSON-RPC error where it asked by JSON-RPC, else the same as plain
/// JSON.
fn body(refused: &Refused, id: Option<monitoring::RecordId>) -> Vec<u8> {
    let refusal = &refused.refusal;
    let mut data = serde_json::Map::new();
    let mut put = |name: &str, value: serde_json::Value| {
        data.insert(name.to_owned(), value);
    };
    put("check", refusal.check().into());
    if let Refusal::Denied { rules, needs, policy, .. } = refusal {
        put("policy", policy.clone().into());
        put("rules", rules.clone().into());
        if let Some(needs) = needs {
            put("needs", needs.clone().into());
        }
    }
    if let (Some(policy), Some(_)) = (&refused.policy, id) {
        put("policy", policy.clone().into());
    }
    if let Some(signed) = &refused.transaction {
        put("transaction_challenge", signed.as_ref().into());
    }
    if let Some(id) = id {
        put("audit_id", id.to_string().into());
    }
    let code = match (refusal, refusal.status()) {
        (Refusal::Map(gateway::MapRefusal::Malformed(error)), _) => error.code(),
        (Refusal::Map(gateway::MapRefusal::Misread(error)), _) => error.code(),
        (Refusal::Map(gateway::MapRefusal::Mismatch(error)), _) => error.code(),
        (_, Status::Malformed | Status::InvalidRequest | Status::InvalidProof) => {
            Code::InvalidRequest
        }
        (_, Status::NotFound | Status::MethodNotAllowed) => Code::MethodNotFound,
        (_, Status::Unavailable) => Code::Internal,
        _ => Code::Denied,
    };
    if refused.rpc.is_some() {
        let fault = Fault::new(code, refusal.to_string());
        let fault = fault.with_data(serde_json::Value::Object(data));
        return fault.response(refused.rpc.as_ref()).into_bytes();
    }
    let mut told = serde_json::Map::new();
    told.insert("error".to_owned(), refusal.check().into());
    told.insert("message".to_owned(), refusal.to_string().into());
    told.extend(data);
    serde_json::Value::Object(told).to_string().into_bytes()
}
