//! The node's agent proxy: it gets the tokens, signs, and calls the gateway for a process that
//! holds no secret (SEC-01, SEC-04; docs/design.md §3). Each token has just the scope that the call
//! needs.

use std::collections::HashMap;
use std::sync::Mutex;

use credential::TokenText;
use env::rows::Held;
use env::{Clock, Key, Keys, PeerFault, Peers, Unavailable, World};
use gateway::{MapRefusal, PathError, Target};
use jose::{Audience, NumericDate, SigningInput, TokenHash};
use oauth::client_attestation_pop::{
    ATTESTATION_FIELD, ClientAttestationPop, ClientAttestationPopClaims, POP_FIELD,
};
use oauth::token_response::TokenResponse;
use oauth::{Scope, TokenId};
use provisioning::Epoch;
use registry::AgentRecord;
use time::{Span, UnixTime};
use wimse::Proof;

use crate::facts::basis;
use crate::record::public_id;
use crate::sign::ALGORITHM;
use crate::workload::{self, Attested};

/// How long a proof lives.
const PROOF_LIFE: Span = Span::from_seconds(30);
/// How long before its end a token is no longer used.
const TOKEN_SPARE: Span = Span::from_seconds(20);
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
/// connection began may have been suspended since (AUTHN-12).
pub async fn sign<W: World>(
    world: &W,
    tokens: &Tokens,
    attested: &Attested,
    call: Outbound<'_>,
) -> Result<Result<Signed, Refusal>, Unavailable> {
    let id = attested.agent.id.to_string();
    let facts = basis(world, vec![Key::of::<AgentRecord>(&id)]).await?;
    let Some(agent) = facts.rows.get::<AgentRecord>(&id)? else {
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
    let held = match workload::held_wit(world, attested).await? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    let audience = resource.audience(&world.site().gateway);
    let key = TokenKey { agent: attested.agent.id.to_string(), audience, scope };
    let token = match token(world, tokens, attested, &held, key).await? {
        Ok(token) => token,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let target = format!("{}{}", world.site().gateway, call.target.path);
    let proof = proof(world, &held, &token, &target).await?;
    let bearer = TokenText::new(format!("Bearer {}", token.expose()));
    let headers = vec![
        ("authorization", bearer),
        (wimse::WORKLOAD_IDENTITY_TOKEN, TokenText::new(held.credential.clone())),
        (wimse::WORKLOAD_PROOF_TOKEN, proof),
    ];
    Ok(Ok(Signed { headers }))
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
    let headers = vec![(ATTESTATION_FIELD, wit), (POP_FIELD, pop(world, held).await?)];
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

/// The proof that goes with the call (wimse-wpt §2).
async fn proof<W: World>(
    world: &W,
    held: &Held<String>,
    token: &TokenText,
    target: &str,
) -> Result<TokenText, Unavailable> {
    let jti = public_id(world);
    let proof = Proof {
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
