//! Who calls: the token, the proof that must come with it, and how those stand whom it concerns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use authentication::{ProofRefusal, spiffe_x509, wit_wpt};
use authorization::Audience;
use authorization::policy::Proof;
use authorization::presented::{self, Presented};
use credential::{KeyRing, Purpose};
use env::rows::OpaqueToken;
use env::{Clock, Key, Peers, Store, Unavailable, World};
use gateway::{Call, Refusal};
use jose::TokenHash;
use oauth::{Issuer, TokenText, bearer};
use provisioning::Epoch;
use time::{Span, UnixTime};
use wimse::{TrustAnchors, VerifiedWit, WorkloadId};
use x509::Purpose as CertificatePurpose;

use super::{Asked, dpop};
use crate::{feed, opaque};

/// How long a call waits for an opaque token that the server gave a moment ago.
const OPAQUE_PATIENCE: Span = Span::from_seconds(1);
/// The most verdicts of one kind that are kept.
const VERDICTS_MAX: usize = 16_384;

/// Signatures that were verified already, by the hash of the text: a token or WIT is not verified
/// twice (docs/design.md §9). What a verdict says is only that the signature was good under keys of
/// one state of the key rings; audience, lifetime, standing and epoch are looked at on every call.
#[derive(Default)]
pub struct Verdicts {
    tokens: Mutex<Kept<Presented>>,
    wits: Mutex<Kept<VerifiedWit>>,
}

impl std::fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verdicts")
    }
}

struct Kept<T> {
    /// The keys' row versions under which all of these were made.
    keys: u64,
    by_hash: HashMap<TokenHash, (UnixTime, Arc<T>)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { keys: 0, by_hash: HashMap::new() }
    }
}

impl<T> Kept<T> {
    fn get(&mut self, hash: TokenHash, keys: u64, now: UnixTime) -> Option<Arc<T>> {
        if self.keys != keys {
            self.by_hash.clear();
            self.keys = keys;
        }
        let (until, value) = self.by_hash.get(&hash)?;
        (now < *until).then(|| Arc::clone(value))
    }

    /// Keeps a verdict. A full set is emptied: what is lost is only work.
    fn put(&mut self, hash: TokenHash, keys: u64, until: UnixTime, value: Arc<T>) {
        if self.keys == keys {
            if self.by_hash.len() >= VERDICTS_MAX {
                self.by_hash.clear();
            }
            self.by_hash.insert(hash, (until, value));
        }
    }
}

/// What the proof showed.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The proof's name in records.
    pub name: &'static str,
    /// The identity of the channel, which may be another than the agent's (AUTHN-13).
    pub transport: Option<String>,
    /// The epoch of the credential that was proved.
    pub issued: Option<Epoch>,
    /// What the proof used up.
    pub once: Option<authentication::Once>,
}

impl Verified {
    /// Its name in policy.
    pub fn proof(&self) -> &'static str {
        if self.name == "wit+wpt" { Proof::Wit.name() } else { self.name }
    }
}

/// How a token comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// RFC 6750 §2.1.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

/// The one access token of a request (RFC 6750 §2.1). A token in the query is refused.
pub(super) fn bearer(call: &Call) -> Result<(TokenText, Scheme), Refusal> {
    let bad = |why: &dyn std::fmt::Display| Refusal::BadRequest { why: why.to_string() };
    if let Some(query) = &call.target.query {
        bearer::refuse_in_query(query).map_err(|error| bad(&error))?;
    }
    let (found, scheme) = match bearer::from_authorization(call.values("authorization")) {
        Err(bearer::BearerError::OtherScheme { .. }) => {
            (bearer::from_dpop_authorization(call.values("authorization")), Scheme::Dpop)
        }
        found => (found, Scheme::Bearer),
    };
    match found {
        Ok(token) => Ok((token, scheme)),
        // RFC 6750 §3.1: "If the request lacks any authentication information (e.g., the client was
        // unaware that authentication is necessary or attempted using an unsupported authentication
        // method), the resource server SHOULD NOT include an error code".
        Err(bearer::BearerError::Absent | bearer::BearerError::OtherScheme { .. }) => {
            Err(Refusal::NoToken)
        }
        Err(error) => Err(bad(&error)),
    }
}

/// The token: signature, kind, lifetime and issuer (kept by hash). Whom it is for is looked at
/// next.
pub(super) async fn token<W: World>(
    world: &W,
    asked: &Asked<'_>,
    verdicts: &Verdicts,
    text: &TokenText,
) -> Result<Result<Presented, Refusal>, Unavailable> {
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    let purpose = Purpose::AccessToken.name();
    let rows = world.store().snapshot(&[Key::of::<KeyRing>(purpose)]).await?;
    let Some(ring) = rows.get::<KeyRing>(purpose)? else {
        return Err(Unavailable::of("store", "no access token keys yet"));
    };
    if opaque::is_one(text.as_str()) {
        return opaque_token(world, text, &issuer, asked.now).await;
    }
    let (hash, now) = (text.token_hash(), asked.now);
    let kept = locked(&verdicts.tokens).get(hash, ring.version, now);
    let presented = match kept {
        Some(presented) => presented,
        None => {
            let skew = asked.facts.set().domain().bounds.clock_skew;
            match Presented::access_token(text.as_str(), &ring, &issuer, now, skew) {
                Ok(presented) => {
                    let (until, presented) = (presented.expires(), Arc::new(presented));
                    locked(&verdicts.tokens).put(hash, ring.version, until, Arc::clone(&presented));
                    presented
                }
                Err(error) => {
                    let why = error.to_string();
                    let is_foreign = error.is_no_token_of_ours();
                    return Ok(Err(if is_foreign {
                        Refusal::ForeignToken { why }
                    } else {
                        Refusal::Token { why }
                    }));
                }
            }
        }
    };
    Ok(Ok((*presented).clone()))
}

/// What an opaque token stands for. One that the server gave a moment ago may be on its way here.
async fn opaque_token<W: World>(
    world: &W,
    text: &TokenText,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Result<Presented, Refusal>, Unavailable> {
    let hash = opaque::hash_of(text.as_str());
    let mut found = crate::facts::one::<W, OpaqueToken>(world, &hash).await?;
    if found.is_none() {
        let (told, heard) = (feed::told(world).await?, feed::heard(world).await?);
        let since = heard.map_or(0, |heard| heard.seq);
        // A server that does not answer has told all that is known here.
        if world.peers().pending(since).await.unwrap_or(false) {
            let patience = world.clock().sleep(OPAQUE_PATIENCE);
            super::first(feed::news(world, told), patience).await;
            found = crate::facts::one::<W, OpaqueToken>(world, &hash).await?;
        }
    }
    let Some(found) = found else {
        let why = presented::Refusal::Unknown.to_string();
        return Ok(Err(Refusal::ForeignToken { why }));
    };
    let read = Presented::of_opaque(found.claims.clone(), issuer, now);
    Ok(read.map_err(|error| Refusal::Token { why: error.to_string() }))
}

/// What comes beside a token.
pub(super) struct Beside<'a> {
    pub(super) text: &'a TokenText,
    pub(super) scheme: Scheme,
    pub(super) presented: &'a Presented,
    pub(super) audience: &'a Audience,
}

/// The proof that the resource's policy demands beside the token, or that the token itself does.
pub(super) async fn proof<W: World>(
    world: &W,
    asked: &Asked<'_>,
    verdicts: &Verdicts,
    beside: &Beside<'_>,
) -> Result<Result<Verified, Refusal>, Unavailable> {
    let (text, presented) = (beside.text, beside.presented);
    let bound = presented.key();
    if bound.is_none() && beside.scheme == Scheme::Dpop {
        let why = "the token is not bound to a key, and came with the scheme `DPoP`";
        return Ok(Err(Refusal::Scheme { why }));
    }
    let transport = match channel(asked) {
        Ok(transport) => transport,
        // RFC 8705 §3: a client that is no workload is known by the hash in its token alone; its
        // certificate need not chain to anything that we know.
        Err(_) if is_of_a_client(asked, presented) => None,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let demanded = match (beside.audience.proof, bound, presented.certificate()) {
        // To take it without its key would turn it into a bearer token.
        (Proof::Bearer, Some(_), _) => Proof::Dpop,
        (Proof::Bearer, None, Some(_)) => Proof::Mtls,
        (demanded, ..) => demanded,
    };
    Ok(match demanded {
        Proof::Bearer => {
            let (transport, issued) = (transport.map(|one| one.0), None);
            Ok(Verified { name: "bearer", transport, issued, once: None })
        }
        Proof::Dpop => return dpop::proof(world, asked, beside, transport).await,
        Proof::Mtls => bound_to_certificate(asked, presented, transport),
        Proof::Wit => wit_and_wpt(world, asked, verdicts, text, presented, transport),
    })
}

/// The identity that mutual TLS proved, if the client showed a certificate. A certificate that is
/// that of no workload we know refuses the call: it is never passed over.
fn channel(asked: &Asked<'_>) -> Result<Option<(String, Option<u64>)>, Refusal> {
    let chain = &asked.call.certificates;
    if chain.is_empty() {
        return Ok(None);
    }
    let bundles = &asked.facts.trust.bundles;
    let wic = spiffe_x509::channel(chain, bundles, CertificatePurpose::Client, asked.now);
    match wic {
        Ok(wic) => Ok(Some((wic.workload_id().to_string(), wic.epoch()))),
        Err(spiffe_x509::Refusal::Certificate(error)) => {
            Err(Refusal::Proof(ProofRefusal::Certificate(error)))
        }
        Err(other) => Err(Refusal::BadRequest { why: other.to_string() }),
    }
}

/// Whether the certificate of the connection is the one that the token of a client, which is no
/// workload, is bound to.
fn is_of_a_client(asked: &Asked<'_>, presented: &Presented) -> bool {
    let leaf = asked.call.certificates.first();
    let leaf = leaf.and_then(|leaf| x509::Certificate::parse(leaf).ok());
    let is_bound = leaf.is_some_and(|leaf| {
        let is_in_force = leaf.not_before() <= asked.now && asked.now < leaf.not_after();
        is_in_force && presented.certificate() == Some(leaf.fingerprint_sha256())
    });
    is_bound && WorkloadId::parse(presented.client_id()).is_err()
}

/// RFC 8705 §3: "the protected resource MUST obtain … the client certificate used for mutual TLS
/// and MUST verify that the certificate matches the certificate associated with the access token".
fn bound_to_certificate(
    asked: &Asked<'_>,
    presented: &Presented,
    transport: Option<(String, Option<u64>)>,
) -> Result<Verified, Refusal> {
    let leaf = asked.call.certificates.first().ok_or(ProofRefusal::NoCertificate)?;
    let leaf = x509::Certificate::parse(leaf)
        .map_err(|error| Refusal::BadRequest { why: error.to_string() })?;
    if presented.certificate() != Some(leaf.fingerprint_sha256()) {
        return Err(ProofRefusal::OtherCertificate.into());
    }
    let Some((id, epoch)) = transport else {
        return match is_of_a_client(asked, presented) {
            true => Ok(Verified { name: "mtls", transport: None, issued: None, once: None }),
            false => Err(ProofRefusal::NoCertificate.into()),
        };
    };
    if id != presented.client_id() {
        let presenter = WorkloadId::parse(&id)
            .map_err(|error| Refusal::BadRequest { why: error.to_string() })?;
        let holder = presented.client_id().to_owned();
        return Err(ProofRefusal::OtherHolder { holder, presenter }.into());
    }
    Ok(Verified { name: "mtls", transport: Some(id), issued: epoch.map(Epoch), once: None })
}

fn wit_and_wpt<W: World>(
    world: &W,
    asked: &Asked<'_>,
    verdicts: &Verdicts,
    text: &TokenText,
    presented: &Presented,
    transport: Option<(String, Option<u64>)>,
) -> Result<Verified, Refusal> {
    let bounds = &asked.facts.set().domain().bounds;
    let anchors = TrustAnchors::from(&asked.facts.trust.bundles);
    // wpt §3.1: our own authority comes from configuration, never from the request.
    let target = format!("{}{}", world.site().gateway, asked.call.target.path);
    let request = wit_wpt::Request {
        wit: asked.call.values(wimse::WORKLOAD_IDENTITY_TOKEN).collect(),
        wpt: asked.call.values(wimse::WORKLOAD_PROOF_TOKEN).collect(),
        token: Some((text.as_str(), presented.client_id())),
        audiences: &[&target],
        anchors: &anchors,
        now: asked.now,
        skew: bounds.clock_skew,
        lifetime_max: bounds.proof_lifetime,
    };
    let wit_text = wit_wpt::wit_text(&request)?;
    let keys = asked.facts.trust_version;
    let hash = TokenHash::of(wit_text);
    let kept = locked(&verdicts.wits).get(hash, keys, asked.now);
    let wit = match kept {
        Some(wit) => wit,
        None => {
            let wit = Arc::new(wit_wpt::wit(wit_text, &request)?);
            locked(&verdicts.wits).put(hash, keys, wit.expires(), Arc::clone(&wit));
            wit
        }
    };
    let proved = wit_wpt::authenticate(&request, &wit)?;
    Ok(Verified {
        name: "wit+wpt",
        transport: transport.map(|one| one.0),
        issued: proved.caller.issued(),
        once: proved.once,
    })
}

/// A poisoned lock holds only verdicts, which are whole: a panic elsewhere spoils nothing here.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
