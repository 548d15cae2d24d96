//! Who calls: the token, the proof that must come with it, and how those stand whom it concerns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use authentication::{ProofRefusal, spiffe_x509, wit_wpt};
use authorization::Audience;
use authorization::policy::Proof;
use authorization::presented::Presented;
use credential::{KeyRing, Purpose};
use env::{Key, Store, Unavailable, World};
use gateway::{Call, Refusal};
use jose::TokenHash;
use oauth::{Issuer, TokenText, bearer};
use provisioning::Epoch;
use registry::AgentRecord;
use time::UnixTime;
use wimse::{TrustAnchors, VerifiedWit, WorkloadId};
use x509::Purpose as CertificatePurpose;

use super::Asked;

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

/// The one access token of a request (RFC 6750 §2.1). A token in the query is refused.
pub(super) fn bearer(call: &Call) -> Result<TokenText, Refusal> {
    let bad = |why: &dyn std::fmt::Display| Refusal::BadRequest { why: why.to_string() };
    if let Some(query) = &call.target.query {
        bearer::refuse_in_query(query).map_err(|error| bad(&error))?;
    }
    match bearer::from_authorization(call.values("authorization")) {
        Ok(token) => Ok(token),
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

/// The proof that the resource's policy demands beside the token.
pub(super) fn proof<W: World>(
    world: &W,
    asked: &Asked<'_>,
    verdicts: &Verdicts,
    text: &TokenText,
    presented: &Presented,
    audience: &Audience,
) -> Result<Verified, Refusal> {
    let transport = channel(asked)?;
    match audience.proof {
        Proof::Bearer => {
            let (transport, issued) = (transport.map(|one| one.0), None);
            Ok(Verified { name: "bearer", transport, issued, once: None })
        }
        Proof::Mtls => bound_to_certificate(asked, presented, transport),
        Proof::Wit => wit_and_wpt(world, asked, verdicts, text, presented, transport),
    }
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
    let (id, epoch) = transport.ok_or(ProofRefusal::NoCertificate)?;
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

/// How those stand whom the token concerns; the record of the agent that calls.
pub(super) async fn in_force<W: World>(
    world: &W,
    presented: &Presented,
    proved: Option<Epoch>,
) -> Result<Result<Arc<AgentRecord>, Refusal>, Unavailable> {
    let concerned = presented.concerned();
    let keys: Vec<_> = concerned.iter().map(Key::of::<AgentRecord>).collect();
    let rows = world.store().snapshot(&keys).await?;
    let mut calling = None;
    for who in &concerned {
        let Some(agent) = rows.get::<AgentRecord>(who)? else {
            // Audiences and users are not in the registry; workloads of ours are.
            let ours = who.starts_with("spiffe://") || who.starts_with("wimse://");
            if ours || who == presented.client_id() {
                return Ok(Err(Refusal::NotRegistered { who: who.clone() }));
            }
            continue;
        };
        let lowest = match proved {
            Some(proved) if who == presented.client_id() => presented.epoch().min(proved),
            _ => presented.epoch(),
        };
        if let Err(why) = agent.lifecycle.admits(Some(lowest)) {
            return Ok(Err(Refusal::NotInForce { who: who.clone(), why }));
        }
        if who == presented.client_id() {
            calling = Some(agent.value);
        }
    }
    let who = presented.client_id().to_owned();
    Ok(calling.ok_or(Refusal::NotRegistered { who }))
}

/// A poisoned lock holds only verdicts, which are whole: a panic elsewhere spoils nothing here.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
