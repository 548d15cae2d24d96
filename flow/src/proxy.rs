//! The node's agent proxy: it gets the tokens, signs, and calls the gateway for a process that
//! holds no secret (SEC-01, SEC-04; docs/design.md §3). Each token has just the scope that the call
//! needs.

use std::collections::HashMap;
use std::sync::Mutex;

use authorization::{Proof, ResourcePolicy};
use credential::TokenText;
use env::rows::Held;
use env::{Change, Clock, Key, Keys, PeerFault, Peers, Recorded, Store, Unavailable, World};
use gateway::{MapRefusal, PathError, Target};
use jose::{Audience, NumericDate, SigningInput, Thumbprint, TokenHash};
use monitoring::{Event, RecordId};
use oauth::client_attestation_pop::{
    ATTESTATION_FIELD, ClientAttestationPop, ClientAttestationPopClaims, POP_FIELD,
};
use oauth::dpop::{DpopClaims, FIELD, ProofInput};
use oauth::token_response::{TokenResponse, TokenUse};
use oauth::{Scope, TokenId};
use provisioning::Epoch;
use registry::AgentRecord;
use time::{Span, UnixTime};

use crate::facts::{Basis, basis};
use crate::record::{begin, public_id, refused};
use crate::sign::ALGORITHM;
use crate::turns::{overtaken, settled};
use crate::workload::{self, Attested};

/// How long a proof lives.
const PROOF_LIFE: Span = Span::from_seconds(30);
/// How long before its end a token is no longer used.
const TOKEN_SPARE: Span = Span::from_seconds(20);
/// Where the issuer gives tokens.
const TOKEN_PATH: &str = "/token";
/// The most tokens that are kept.
const TOKENS_MAX: usize = 4_096;

/// Header fields to add to a call, and where it goes.
#[derive(Clone)]
pub struct Signed {
    /// Authorization, WIT and WPT.
    pub headers: Vec<(&'static str, TokenText)>,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signed({} fields)", self.headers.len())
    }
}

/// Why a call is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The path reads in two ways.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No such resource.
    #[error("no resource `{name}`; it is the first segment of the path")]
    NoResource {
        /// The first segment.
        name: String,
    },
    /// What is asked for is not understood, or no policy speaks of it.
    #[error(transparent)]
    Map(#[from] MapRefusal),
    /// The resource takes a proof that is not given here.
    #[error(
        "the resource `{resource}` takes {what}, which the agent proxy does not give: it proves by \
         `wit` and `dpop`; an agent that holds its keys (`keys = \"handed\"`) can prove itself"
    )]
    Proof {
        /// Its name.
        resource: String,
        /// What it takes.
        what: &'static str,
    },
    /// The process has no identity any longer.
    #[error(transparent)]
    Workload(#[from] workload::Refusal),
    /// The authorization server refused a token.
    #[error("no token for this call: {error}{}", told(.description.as_deref()))]
    Token {
        /// The OAuth error code.
        error: String,
        /// What the server says.
        description: Option<String>,
    },
}

impl Refusal {
    /// What a record calls the check, and why: what the gateway would refuse, in its words.
    fn recorded(&self) -> (&'static str, String) {
        let check = match self {
            Self::Workload(refusal) => refusal.check(),
            Self::Proof { .. } => "proxy::Proof",
            _ => "proxy::Token",
        };
        let same = self.as_gateways().map(|same| (same.check(), same.to_string()));
        same.unwrap_or_else(|| (check, self.to_string()))
    }

    /// The same as the gateway would say it.
    pub fn as_gateways(&self) -> Option<gateway::Refusal> {
        match self {
            Self::Path(error) => Some(error.clone().into()),
            Self::NoResource { name } => Some(gateway::Refusal::NoResource { name: name.clone() }),
            Self::Map(refusal) => Some(refusal.clone().into()),
            Self::Proof { .. } | Self::Workload(_) | Self::Token { .. } => None,
        }
    }

    /// Whether the server decided it: then the record is there.
    const fn is_the_servers(&self) -> bool {
        matches!(self, Self::Token { .. } | Self::Workload(workload::Refusal::Server(_)))
    }
}

/// A call that is not signed, as its caller is told.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The JSON-RPC request that it answers.
    pub rpc: Option<agentic::Id>,
    /// The version of the policy that was looked at.
    pub policy: String,
    /// The record of it; what the server refuses, the server recorded.
    pub audit: Option<RecordId>,
}

fn told(description: Option<&str>) -> String {
    description.map(|one| format!(": {one}")).unwrap_or_default()
}

/// Access tokens of the agents on this node, each for one audience and scope.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<TokenKey, Kept>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

#[derive(PartialEq, Eq, Hash)]
struct TokenKey {
    agent: String,
    audience: String,
    scope: Option<Scope>,
    /// The key that it is bound to, where the resource takes bound tokens.
    bound: Option<Thumbprint>,
}

struct Kept {
    token: TokenText,
    until: UnixTime,
    /// What was issued under a lower epoch was dead when it was got. It grows with each suspension,
    /// whatever clocks say.
    dead_before: Epoch,
}

/// What a process on this node is about to send.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Path and query below the gateway's base URL.
    pub target: &'a Target,
    /// The body.
    pub body: &'a [u8],
}

/// Signs one call of an attested process. Its record is read again: what was attested when the
/// connection began may have been suspended since (AUTHN-12). A call that does not get as far as
/// the gateway is recorded here, as it would be there.
pub async fn sign<W: World>(
    world: &W,
    tokens: &Tokens,
    attested: &Attested,
    call: Outbound<'_>,
) -> Result<Result<Signed, Refused>, Unavailable> {
    let id = attested.agent.id.to_string();
    let facts = basis(world, vec![Key::of::<AgentRecord>(&id)]).await?;
    let refusal = match signed(world, tokens, attested, call, &facts).await? {
        Ok(signed) => return Ok(Ok(signed)),
        Err(refusal) => refusal,
    };
    let policy = facts.version();
    let rpc = match agentic::Message::parse(call.body) {
        Ok(agentic::Message::Request(request)) => Some(request.id),
        _ => None,
    };
    let audit = match refusal.is_the_servers() {
        true => None,
        false => {
            let mut record = begin(world, Event::CallDecided);
            record.policy = Some(policy.clone());
            record.epoch = Some(facts.epoch.0);
            record.action = "call".to_owned();
            let resource = facts.set().resource_named(call.target.resource());
            record.resource = resource.map(|one| one.audience(&world.site().gateway));
            (record.agent, record.subject) = (Some(id.clone()), Some(id));
            let (check, why) = refusal.recorded();
            refused(&mut record, check, &why, None);
            let committed = world.store().commit(Change::record(record)).await;
            let receipt = settled(committed)?.ok_or_else(overtaken)?;
            Recorded::new((), &receipt).audit_id()
        }
    };
    Ok(Err(Refused { refusal, rpc, policy, audit }))
}

async fn signed<W: World>(
    world: &W,
    tokens: &Tokens,
    attested: &Attested,
    call: Outbound<'_>,
    facts: &Basis,
) -> Result<Result<Signed, Refusal>, Unavailable> {
    let Some(agent) = facts.rows.get::<AgentRecord>(attested.agent.id.as_str())? else {
        return Ok(Err(workload::Refusal::NoRecord.into()));
    };
    if let Err(why) = agent.lifecycle.is_active() {
        let id = agent.id.clone();
        return Ok(Err(workload::Refusal::NotInForce { id, why }.into()));
    }
    let attested = &Attested { agent: agent.value, process: attested.process.clone() };
    let name = call.target.resource();
    let Some(resource) = facts.set().resource_named(name) else {
        return Ok(Err(Refusal::NoResource { name: name.to_owned() }));
    };
    let scope = match gateway::scope(call.method, call.target.below(), call.body, resource) {
        Ok(scope) => scope,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    let by_dpop = match by_dpop(resource, facts) {
        Ok(by_dpop) => by_dpop,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let held = match workload::held_wit(world, attested).await? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    let audience = resource.audience(&world.site().gateway);
    let bound = match by_dpop {
        true => Some(world.keys().public(&held.key)?.thumbprint()),
        false => None,
    };
    let key = TokenKey { agent: attested.agent.id.to_string(), audience, scope, bound };
    let token = match token(world, tokens, attested, &held, key).await? {
        Ok(token) => token,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let target = format!("{}{}", world.site().gateway, call.target.path);
    if by_dpop {
        // RFC 9449 §7.1: "the DPoP authentication scheme MUST be used".
        let authorization = TokenText::new(format!("DPoP {}", token.expose()));
        let proof = dpop(world, &held, (call.method, &target), Some(&token)).await?;
        return Ok(Ok(Signed { headers: vec![("authorization", authorization), (FIELD, proof)] }));
    }
    let proof = proof(world, &held, &token, &target).await?;
    let bearer = TokenText::new(format!("Bearer {}", token.expose()));
    let headers = vec![
        ("authorization", bearer),
        (wimse::WORKLOAD_IDENTITY_TOKEN, TokenText::new(held.credential.clone())),
        (wimse::WORKLOAD_PROOF_TOKEN, proof),
    ];
    Ok(Ok(Signed { headers }))
}

/// Whether the resource takes tokens that are bound to a DPoP key; what cannot be proved here is
/// refused before anything is asked for.
fn by_dpop(resource: &ResourcePolicy, facts: &Basis) -> Result<bool, Refusal> {
    let refused = |what| Err(Refusal::Proof { resource: resource.name.clone(), what });
    match resource.proof {
        Proof::Wit | Proof::Bearer => Ok(false),
        Proof::Dpop if facts.set().domain().bounds.dpop_nonces => {
            refused("proofs of DPoP with nonces (`dpop_nonces`)")
        }
        Proof::Dpop => Ok(true),
        Proof::Mtls => refused("tokens that are bound to a certificate (`proof = \"mtls\"`)"),
    }
}

/// A token that is kept, or a new one by client credentials with the agent's WIT.
async fn token<W: World>(
    world: &W,
    tokens: &Tokens,
    attested: &Attested,
    held: &Held<String>,
    key: TokenKey,
) -> Result<Result<TokenText, Refusal>, Unavailable> {
    let now = world.clock().now();
    let dead_before = attested.agent.lifecycle.dead_before;
    if let Some(kept) = locked(tokens).get(&key)
        && now < kept.until
        && kept.dead_before == dead_before
    {
        return Ok(Ok(kept.token.clone()));
    }
    let mut form = vec![
        ("grant_type".to_owned(), "client_credentials".to_owned()),
        ("client_id".to_owned(), key.agent.clone()),
        ("resource".to_owned(), key.audience.clone()),
    ];
    form.extend(key.scope.iter().map(|scope| ("scope".to_owned(), scope.to_string())));
    let wit = TokenText::new(held.credential.clone());
    let mut headers = vec![(ATTESTATION_FIELD, wit), (POP_FIELD, pop(world, held).await?)];
    if key.bound.is_some() {
        let endpoint = format!("{}{TOKEN_PATH}", world.site().issuer);
        headers.push((FIELD, dpop(world, held, ("POST", &endpoint), None).await?));
    }
    let (status, body) = match world.peers().token(form, headers).await {
        Ok(answer) => answer,
        Err(PeerFault::Unavailable(why)) => return Err(why),
        Err(PeerFault::Refused { check, message }) => {
            return Ok(Err(Refusal::Token { error: check, description: Some(message) }));
        }
    };
    if status != 200 {
        return refusal(status, &body).map(Err);
    }
    let answer: TokenResponse = serde_json::from_slice(&body)
        .map_err(|error| Unavailable::of("server", format!("its token answer: {error}")))?;
    // RFC 9449 §5: "If a non-DPoP token_type is returned, the access token MUST NOT be used if the
    // client requires DPoP".
    if key.bound.is_some() && answer.token_type != TokenUse::Dpop {
        return Err(Unavailable::of("server", "its token is bound to no key, and was to be"));
    }
    let life = Span::from_seconds(answer.expires_in.unwrap_or_default());
    let token = TokenText::new(answer.access_token.clone());
    let until = now.plus(life).minus(TOKEN_SPARE);
    let mut kept = locked(tokens);
    if kept.len() >= TOKENS_MAX {
        kept.clear();
    }
    kept.insert(key, Kept { token: token.clone(), until, dead_before });
    Ok(Ok(token))
}

fn refusal(status: u16, body: &[u8]) -> Result<Refusal, Unavailable> {
    #[derive(serde::Deserialize)]
    struct Told {
        error: String,
        error_description: Option<String>,
    }
    let told: Told = serde_json::from_slice(body)
        .map_err(|_| Unavailable::of("server", format!("status {status} without a reason")))?;
    if status >= 500 {
        return Err(Unavailable::of("server", told.error));
    }
    Ok(Refusal::Token { error: told.error, description: told.error_description })
}

/// The proof that the WIT's key authenticates to the token endpoint with.
async fn pop<W: World>(world: &W, held: &Held<String>) -> Result<TokenText, Unavailable> {
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
    let claims = ClientAttestationPopClaims {
        aud: Audience::one(world.site().issuer.clone()),
        jti: TokenId::parse(&public_id(world)).map_err(|error| fault(&error))?,
        iat: NumericDate::from_time(world.clock().now()),
        challenge: None,
        exp: None,
        nbf: None,
    };
    let input = SigningInput::<ClientAttestationPop>::new(ALGORITHM, None, &claims)
        .map_err(|error| fault(&error))?;
    let signature = world.keys().sign(&held.key, input.bytes()).await?;
    Ok(TokenText::new(input.attach(signature).into_string()))
}

/// The proof that the WIT's key is the one which the token is bound to, for one request (RFC 9449
/// §4.2).
async fn dpop<W: World>(
    world: &W,
    held: &Held<String>,
    (method, url): (&str, &str),
    token: Option<&TokenText>,
) -> Result<TokenText, Unavailable> {
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
    let claims = DpopClaims {
        jti: TokenId::parse(&public_id(world)).map_err(|error| fault(&error))?,
        htm: method.to_owned(),
        htu: url.to_owned(),
        iat: NumericDate::from_time(world.clock().now()),
        ath: token.map(|token| TokenHash::of(token.expose())),
        nonce: None,
        exp: None,
        nbf: None,
    };
    let public = world.keys().public(&held.key)?;
    let input = ProofInput::new(&public, ALGORITHM, &claims).map_err(|error| fault(&error))?;
    let signature = world.keys().sign(&held.key, input.bytes()).await?;
    Ok(TokenText::new(input.attach(&signature)))
}

/// The proof that goes with the call (wimse-wpt §2).
async fn proof<W: World>(
    world: &W,
    held: &Held<String>,
    token: &TokenText,
    target: &str,
) -> Result<TokenText, Unavailable> {
    let jti = public_id(world);
    let proof = wimse::Proof {
        audience: target,
        expires: world.clock().now().plus(PROOF_LIFE),
        jti: &jti,
        wit: TokenHash::of(&held.credential),
        access_token: Some(token.expose()),
        txn_token: None,
        other: &[],
    };
    let input = proof.signing_input(ALGORITHM).map_err(|error| Unavailable::of("keys", error))?;
    let signature = world.keys().sign(&held.key, input.bytes()).await?;
    Ok(TokenText::new(input.attach(signature).into_string()))
}

/// A poisoned lock holds only tokens, which are whole.
fn locked(tokens: &Tokens) -> std::sync::MutexGuard<'_, HashMap<TokenKey, Kept>> {
    tokens.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
