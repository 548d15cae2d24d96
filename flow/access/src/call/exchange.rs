//! The token swap: what goes upstream instead of the access token (AUTHZ-12, AUTHZ-20).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use authorization::access_token::Issuing;
use authorization::txn_token::{ForCall, at_gateway, build};
use authorization::{Protocol, ResourcePolicy};
use credential::TokenText;
use env::{Clock, Handle, Keys, PeerFault, Peers, Purpose, Unavailable, World};
use gateway::{Call, forwardable};
use jose::KeyId;
use monitoring::Record;
use oauth::{Issuer, Scope, ScopeSet};
use time::{Span, UnixTime};

use super::{Asked, Forward, Permitted};
use crate::feed;
use crate::issuing;
use crate::record::public_id;
use crate::sign::{self, ALGORITHM};

/// How long before its end a delegated key is replaced.
const RENEW_BEFORE: Span = Span::from_seconds(300);

/// The key by which this gateway signs transaction tokens, with the server's leave.
#[derive(Debug, Default)]
pub struct Delegate {
    current: Mutex<Option<Arc<Leave>>>,
}

#[derive(Debug)]
pub(super) struct Leave {
    pub(super) handle: Handle,
    pub(super) kid: KeyId,
    pub(super) until: UnixTime,
    /// Whether the feed has told of it: only then does its absence say something.
    is_told: AtomicBool,
}

impl Delegate {
    /// Gets leave for a new key when there is none, or the one there is nears its end.
    pub async fn renew<W: World>(&self, world: &W) -> Result<(), Unavailable> {
        let now = world.clock().now();
        if self.leave().is_some_and(|leave| now.plus(RENEW_BEFORE) < leave.until) {
            return Ok(());
        }
        let (handle, public) = world.keys().generate(Purpose::Component, ALGORITHM).await?;
        let asked = world.peers().delegate(public.to_jwk()).await;
        let given = asked.map_err(|fault| match fault {
            PeerFault::Unavailable(why) => why,
            refused => Unavailable::of("server", refused),
        })?;
        let is_told = AtomicBool::new(false);
        let leave = Arc::new(Leave { handle, kid: given.kid, until: given.until, is_told });
        let old = self.lock().replace(leave);
        if let Some(old) = old {
            world.keys().destroy(&old.handle).await?;
        }
        Ok(())
    }

    /// Looks at what the feed tells of our key. One that left the key set was revoked: nobody takes
    /// what it signs, so that another is asked for at once.
    pub async fn heard<W: World>(&self, world: &W) -> Result<(), Unavailable> {
        let Some(leave) = self.leave() else { return self.renew(world).await };
        let Some(ring) = feed::ring(world, Purpose::TxnToken).await? else { return Ok(()) };
        if ring.keys.iter().any(|key| key.kid == leave.kid) {
            leave.is_told.store(true, Ordering::Release);
            return Ok(());
        }
        if !leave.is_told.load(Ordering::Acquire) {
            return Ok(());
        }
        // Another may have been given meanwhile.
        let gone = self.lock().take_if(|current| Arc::ptr_eq(current, &leave));
        if let Some(gone) = gone {
            world.keys().destroy(&gone.handle).await?;
        }
        self.renew(world).await
    }

    pub(super) fn leave(&self) -> Option<Arc<Leave>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Leave>>> {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The transaction token of a permitted call.
pub(super) async fn swap<W: World>(
    world: &W,
    delegate: &Delegate,
    asked: &Asked<'_>,
    permitted: &Permitted<'_>,
    record: &mut Record,
) -> Result<TokenText, Unavailable> {
    let now = issuing::now(world, asked.facts)?;
    let leave = delegate.leave().filter(|leave| now < leave.until);
    let leave = leave.ok_or_else(|| {
        Unavailable::of("server", "no leave to sign transaction tokens; the server gives it")
    })?;
    let domain = asked.facts.set().domain();
    let proposal = at_gateway(ForCall {
        presented: &permitted.presented,
        trust_domain: domain.trust_domain.as_str(),
        purpose: purpose(permitted)?,
        details: details(permitted),
        context: context(permitted),
        until: now.plus(domain.lifetimes.txn_token),
    });
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("gateway", error);
    let sanctioned = pdp::Permitted::by_call(permitted.permit.clone(), proposal)
        .ok_or_else(|| fault(&"the permit is of somebody else"))?;
    let issuer = Issuer::parse(&world.site().issuer).map_err(|error| fault(&error))?;
    let issuing = Issuing {
        issuer: &issuer,
        jti: public_id(world),
        fresh_root: public_id(world),
        status: None,
        epoch: asked.facts.epoch.0,
        now,
        kid: &leave.kid,
        algorithm: ALGORITHM,
    };
    let fresh = public_id(world);
    let (txn, checked) = build(&sanctioned, &issuing, &fresh).map_err(|error| fault(&error))?;
    record.txn = Some(txn);
    sign::token(world, &leave.handle, checked).await
}

/// The purpose: the scope that the action needs, or the action's own name.
fn purpose(permitted: &Permitted<'_>) -> Result<ScopeSet, Unavailable> {
    let scope = match &permitted.wanted.scope {
        Some(scope) => scope.clone(),
        None => Scope::parse(permitted.wanted.action())
            .map_err(|error| Unavailable::of("gateway", error))?,
    };
    Ok([scope].into_iter().collect())
}

/// `tctx`: what is done, and to what.
fn details(permitted: &Permitted<'_>) -> serde_json::Map<String, serde_json::Value> {
    let mut details = serde_json::Map::new();
    details.insert("action".to_owned(), permitted.wanted.action().into());
    details.insert("resource".to_owned(), permitted.wanted.what(&permitted.audience.id).into());
    details
}

/// `rctx`: by whom, and how it was proved.
fn context(permitted: &Permitted<'_>) -> serde_json::Map<String, serde_json::Value> {
    let mut context = serde_json::Map::new();
    context.insert("client_id".to_owned(), permitted.presented.client_id().into());
    context.insert("authn".to_owned(), permitted.audience.proof.name().into());
    context
}

/// The request that goes upstream: the same method, path below the resource, query and body; the
/// caller's proofs and rights left out; the transaction token added.
pub(super) fn forward(call: &Call, resource: &ResourcePolicy, token: &TokenText) -> Forward {
    let below = call.target.below();
    let base = resource.upstream.trim_end_matches('/');
    let mut url = match (resource.protocol, below) {
        // The upstream of an MCP resource is its endpoint itself.
        (Protocol::Mcp, "/") => resource.upstream.clone(),
        (Protocol::Mcp, _) | (Protocol::Http, _) => format!("{base}{below}"),
    };
    if let Some(query) = &call.target.query {
        url.push('?');
        url.push_str(query);
    }
    let mut headers = forwardable(&call.headers);
    // draft-ietf-oauth-transaction-tokens §12.1: exactly one, and never in Authorization.
    headers.push((oauth::txn_token::FIELD.to_owned(), token.expose().as_bytes().to_vec()));
    Forward { url, method: call.method.clone(), headers, body: call.body.clone() }
}
