//! What a node holds for a workload: had of the server, kept while it serves, renewed ahead
//! (PROV-02, CRED-11).

use std::sync::Arc;

use credential::TokenText;
use env::rows::{Held, Holding, Taints, TrustRow};
use env::{
    AssignedCredential, Change, Clock, Entropy, Expect, Handle, IssueKind, IssueOrder, Key, Keys,
    PeerFault, Peers, Purpose, Store, Unavailable, World, Write,
};
use jose::{PublicKey, Unverified};
use provisioning::{CredentialKind, KeyHolding, renewal};
use registry::AgentRecord;
use spiffe::SpiffeId;
use time::UnixTime;
use wimse::{TrustAnchors, VerifiedWit, WIT_SVID_ALGORITHMS, Wit, WitPolicy, verify_wit};
use x509::{Certificate, Name, RequestTemplate};

use super::{Attested, RETRY, Refusal};
use crate::facts::basis;
use crate::sign::{ALGORITHM, CERTIFICATE_ALGORITHM};
use crate::turns::{TRIES_MAX, pause};
use crate::turns::{overtaken, settled};
use crate::watch;

/// An X.509-SVID and its private key, as the Workload API hands them out.
pub struct X509Answer {
    /// Whose it is.
    pub id: SpiffeId,
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The private key.
    pub key: jose::PrivateKey,
    /// The bundles.
    pub trust: Arc<TrustRow>,
    /// When to look again at the latest.
    pub renew: UnixTime,
}

/// A WIT and its private key.
pub struct WitAnswer {
    /// Whose it is.
    pub id: SpiffeId,
    /// The token.
    pub token: TokenText,
    /// The private key.
    pub key: jose::PrivateKey,
    /// When to look again at the latest.
    pub renew: UnixTime,
}

/// The X.509-SVID of an attested process: the one that is held, or a new one.
pub async fn x509<W: World>(
    world: &W,
    attested: &Attested,
) -> Result<Result<X509Answer, Refusal>, Unavailable> {
    let id = match spiffe_id(&attested.agent) {
        Ok(id) => id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let held = match held_x509(world, attested).await? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let facts = basis(world, Vec::new()).await?;
    let key = world.keys().export(&held.key)?;
    let (chain, renew) = (held.credential, held.renew);
    Ok(Ok(X509Answer { id, chain, key, trust: facts.trust, renew }))
}

/// The WIT of an attested process that may hold its key.
pub async fn wit<W: World>(
    world: &W,
    attested: &Attested,
) -> Result<Result<WitAnswer, Refusal>, Unavailable> {
    let id = match spiffe_id(&attested.agent) {
        Ok(id) => id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let held = match held_wit(world, attested).await? {
        Ok(held) => held,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let key = world.keys().export(&held.key)?;
    let token = TokenText::new(held.credential.clone());
    Ok(Ok(WitAnswer { id, token, key, renew: held.renew }))
}

/// A JWT-SVID: bearer, so never held.
pub async fn jwt<W: World>(
    world: &W,
    attested: &Attested,
    audiences: Vec<String>,
) -> Result<Result<(SpiffeId, TokenText), Refusal>, Unavailable> {
    let id = match spiffe_id(&attested.agent) {
        Ok(id) => id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let kind = IssueKind::Jwt { audiences };
    match order(world, attested, kind).await? {
        Ok(AssignedCredential::Jwt { token, .. }) => Ok(Ok((id, token))),
        Ok(_) => Err(Unavailable::of("server", "another credential than was asked for")),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Workload API §5.2.1: an SVID comes with "the SPIFFE ID of the SVID". Its clients read no other
/// identifier, so that one of another scheme is refused before anything is issued.
fn spiffe_id(agent: &AgentRecord) -> Result<SpiffeId, Refusal> {
    agent.id.as_spiffe().cloned().ok_or_else(|| Refusal::NotSpiffe { id: agent.id.clone() })
}

/// Whether a held credential still serves: it is young enough, was issued after the agent's last
/// suspension, and nobody mistrusts the key that signed it.
fn serves<T>(held: &Held<T>, agent: &AgentRecord, taints: &Taints, now: UnixTime) -> bool {
    now < held.renew
        // Its record may have changed between keys that it holds and keys that stay here.
        && held.key.purpose == purpose_of(agent)
        && agent.lifecycle.admits(Some(held.epoch)).is_ok()
        && !taints.has(&held.signer)
}

/// The keys that are mistrusted now.
pub(crate) async fn taints<W: World>(world: &W) -> Result<Arc<Taints>, Unavailable> {
    let found = crate::facts::one::<W, Taints>(world, Taints::ID).await?;
    Ok(found.map(|row| row.value).unwrap_or_default())
}

/// The key that signed a certificate, as [`Taints`] names it.
pub(crate) fn signer_of(leaf: &Certificate) -> String {
    hex(leaf.authority_key_id().unwrap_or_default())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key that signed a WIT of ours, which was verified.
fn wit_signer(token: &TokenText) -> Result<String, Unavailable> {
    let parsed = Unverified::<Wit>::parse(token.expose()).map_err(|_| no_credential())?;
    let kid = parsed.header().kid().ok_or_else(no_credential)?;
    Ok(kid.as_str().to_owned())
}

/// What is held of an agent, and the keys that are mistrusted, as of one instant.
async fn holding<W: World>(
    world: &W,
    agent: &AgentRecord,
) -> Result<(Holding, Expect, Arc<Taints>), Unavailable> {
    let id = agent.id.to_string();
    let keys = [Key::of::<Holding>(&id), Key::of::<Taints>(Taints::ID)];
    let rows = world.store().snapshot(&keys).await?;
    let taints = rows.get::<Taints>(Taints::ID)?.map(|row| row.value).unwrap_or_default();
    Ok(match rows.get::<Holding>(&id)? {
        Some(row) => ((*row.value).clone(), Expect::Version(row.version), taints),
        None => (Holding { agent: id, x509: None, wit: None }, Expect::Absent, taints),
    })
}

const X509: CredentialKind = CredentialKind::X509;
const WIT: CredentialKind = CredentialKind::Wit;

/// What a report of trouble calls a credential.
fn subject(agent: &AgentRecord, kind: CredentialKind) -> String {
    format!("{} ({})", agent.id, kind.name())
}

async fn held_x509<W: World>(
    world: &W,
    attested: &Attested,
) -> Result<Result<Held<Vec<Vec<u8>>>, Refusal>, Unavailable> {
    let (holding, _, taints) = holding(world, &attested.agent).await?;
    let now = world.clock().now();
    let old = holding.x509;
    if let Some(held) = old.clone().filter(|held| serves(held, &attested.agent, &taints, now)) {
        return Ok(Ok(held));
    }
    let (handle, request) = new_key(world, &attested.agent).await?;
    let issued = match order(world, attested, IssueKind::X509 { request }).await {
        Ok(Ok(AssignedCredential::X509 { chain })) => read_leaf(chain).map(Ok),
        Ok(Ok(_)) => Err(no_credential()),
        Ok(Err(refusal)) => Ok(Err(refusal)),
        Err(why) => Err(why),
    };
    match issued {
        Ok(Ok((chain, leaf))) => {
            let epoch = provisioning::Epoch(leaf.epoch().unwrap_or_default());
            let (from, until) = (leaf.not_before(), leaf.not_after());
            let signer = signer_of(&leaf);
            let held = hold(world, chain, (handle, signer), (from.max(now), until), epoch);
            let kept = keep(world, &attested.agent, |holding| &mut holding.x509, held).await?;
            watch::mended(world, &subject(&attested.agent, X509)).await?;
            Ok(Ok(kept))
        }
        Ok(Err(refusal)) => {
            without(world, old, &attested.agent, &handle, (Ok(refusal), X509)).await
        }
        Err(why) => without(world, old, &attested.agent, &handle, (Err(why), X509)).await,
    }
}

/// The WIT that the node holds for an agent; the agent proxy signs with its key.
pub async fn held_wit<W: World>(
    world: &W,
    attested: &Attested,
) -> Result<Result<Held<String>, Refusal>, Unavailable> {
    let (holding, _, taints) = holding(world, &attested.agent).await?;
    let now = world.clock().now();
    let old = holding.wit;
    if let Some(held) = old.clone().filter(|held| serves(held, &attested.agent, &taints, now)) {
        return Ok(Ok(held));
    }
    let (handle, request) = new_key(world, &attested.agent).await?;
    let issued = match order(world, attested, IssueKind::Wit { request }).await {
        Ok(Ok(AssignedCredential::Wit { token })) => read_wit(world, token, now).await.map(Ok),
        Ok(Ok(_)) => Err(no_credential()),
        Ok(Err(refusal)) => Ok(Err(refusal)),
        Err(why) => Err(why),
    };
    match issued {
        Ok(Ok((token, wit, signer))) => {
            let epoch = provisioning::Epoch(wit.epoch().unwrap_or_default());
            let text = token.expose().to_owned();
            let held = hold(world, text, (handle, signer), (now, wit.expires()), epoch);
            let kept = keep(world, &attested.agent, |holding| &mut holding.wit, held).await?;
            watch::mended(world, &subject(&attested.agent, WIT)).await?;
            Ok(Ok(kept))
        }
        Ok(Err(refusal)) => without(world, old, &attested.agent, &handle, (Ok(refusal), WIT)).await,
        Err(why) => without(world, old, &attested.agent, &handle, (Err(why), WIT)).await,
    }
}

/// The server's chain, and its leaf read.
fn read_leaf(chain: Vec<Vec<u8>>) -> Result<(Vec<Vec<u8>>, Certificate), Unavailable> {
    let leaf = chain.first().and_then(|der| Certificate::parse(der).ok());
    leaf.ok_or_else(no_credential).map(|leaf| (chain, leaf))
}

/// The server's WIT, verified, and which key signed it.
async fn read_wit<W: World>(
    world: &W,
    token: TokenText,
    now: UnixTime,
) -> Result<(TokenText, VerifiedWit, String), Unavailable> {
    let wit = verified(world, &token, now).await?;
    let signer = wit_signer(&token)?;
    Ok((token, wit, signer))
}

/// When nothing new was issued. An outage of the server costs nobody a credential that still
/// counts; its decision against the agent does.
async fn without<W: World, T>(
    world: &W,
    old: Option<Held<T>>,
    agent: &AgentRecord,
    unused: &Handle,
    (end, kind): (Result<Refusal, Unavailable>, CredentialKind),
) -> Result<Result<Held<T>, Refusal>, Unavailable> {
    world.keys().destroy(unused).await?;
    let why = match end {
        Ok(refusal) => return Ok(Err(refusal)),
        Err(why) => why,
    };
    let now = world.clock().now();
    let valid =
        |held: &Held<T>| now < held.until && agent.lifecycle.admits(Some(held.epoch)).is_ok();
    let (pause, held) = match old.filter(valid) {
        Some(held) => (renewal::retry_after, held),
        None => return Err(why),
    };
    watch::fails(world, &subject(agent, kind), held.until, &why.to_string()).await?;
    let [high, low, ..] = world.entropy().public();
    let pause = renewal::spread(pause(RETRY, now, held.until), u16::from_be_bytes([high, low]));
    let renew = now.plus(pause);
    Ok(Ok(Held { renew, ..held }))
}

/// The server's WIT, verified like anybody's before it is handed out.
async fn verified<W: World>(
    world: &W,
    token: &TokenText,
    now: UnixTime,
) -> Result<VerifiedWit, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let anchors = TrustAnchors::from(&facts.trust.bundles);
    let policy = WitPolicy {
        algorithms: WIT_SVID_ALGORITHMS,
        confirmation_algorithms: WIT_SVID_ALGORITHMS,
        issuers: None,
        skew: facts.set().domain().bounds.clock_skew,
    };
    verify_wit(token.expose(), &anchors, policy, now)
        .map_err(|error| Unavailable::of("server", error))
}

fn no_credential() -> Unavailable {
    Unavailable::of("server", "the credential that it sent does not read")
}

fn hold<W: World, T>(
    world: &W,
    credential: T,
    (key, signer): (Handle, String),
    (from, until): (UnixTime, UnixTime),
    epoch: provisioning::Epoch,
) -> Held<T> {
    let [high, low, ..] = world.entropy().public();
    let renew = renewal::due(from, until, u16::from_be_bytes([high, low]));
    Held { credential, key, from, until, renew, epoch, signer }
}

/// Keeps what was issued; the key before it is forgotten. Another stream of the same agent may have
/// been first: then what that one got serves both, and the key of this one is forgotten.
async fn keep<W: World, T: Clone + Send>(
    world: &W,
    agent: &AgentRecord,
    part: fn(&mut Holding) -> &mut Option<Held<T>>,
    new: Held<T>,
) -> Result<Held<T>, Unavailable> {
    for turn in 0..TRIES_MAX {
        let (mut holding, expect, taints) = holding(world, agent).await?;
        let old = part(&mut holding).replace(new.clone());
        let now = world.clock().now();
        if let Some(first) = old.clone().filter(|held| serves(held, agent, &taints, now)) {
            world.keys().destroy(&new.key).await?;
            return Ok(first);
        }
        let writes = vec![Write::put(&holding, expect)];
        let change = Change { writes, uses: Vec::new(), records: Vec::new() };
        if settled(world.store().commit(change).await)?.is_some() {
            if let Some(old) = old {
                world.keys().destroy(&old.key).await?;
            }
            return Ok(new);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// A fresh key (CRED-11), and the request that proves it (PROV-07).
async fn new_key<W: World>(
    world: &W,
    agent: &AgentRecord,
) -> Result<(Handle, Vec<u8>), Unavailable> {
    requested(world.keys(), purpose_of(agent)).await
}

/// A fresh key of this purpose and a PKCS#10 request for it. A key whose request cannot be signed
/// is not left behind.
pub async fn requested<K: Keys>(
    keys: &K,
    purpose: Purpose,
) -> Result<(Handle, Vec<u8>), Unavailable> {
    let (handle, public) = keys.generate(purpose, ALGORITHM).await?;
    match request_with(keys, &handle, &public).await {
        Ok(request) => Ok((handle, request)),
        Err(why) => {
            // Why there is no request says more than that the key could not be removed either.
            let _ = keys.destroy(&handle).await;
            Err(why)
        }
    }
}

/// What a key for this agent is: one that its record lets it hold, or one that stays here.
fn purpose_of(agent: &AgentRecord) -> Purpose {
    match agent.keys() {
        KeyHolding::Kept => Purpose::Agent,
        KeyHolding::Handed => Purpose::Workload,
    }
}

/// A PKCS#10 request for a key behind the door.
pub async fn request<W: World>(
    world: &W,
    handle: &Handle,
    public: &PublicKey,
) -> Result<Vec<u8>, Unavailable> {
    request_with(world.keys(), handle, public).await
}

/// The same before there is a world: a component that joins has its keys alone.
pub async fn request_with<K: Keys>(
    keys: &K,
    handle: &Handle,
    public: &PublicKey,
) -> Result<Vec<u8>, Unavailable> {
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: public.spki_der().to_vec(),
        uri_names: Vec::new(),
        dns_names: Vec::new(),
    };
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
    let unsigned = template.to_be_signed(CERTIFICATE_ALGORITHM).map_err(|error| fault(&error))?;
    let signature = keys.sign(handle, unsigned.bytes()).await?;
    let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).map_err(|error| fault(&error))?;
    Ok(unsigned.attach(&der))
}

async fn order<W: World>(
    world: &W,
    attested: &Attested,
    kind: IssueKind,
) -> Result<Result<AssignedCredential, Refusal>, Unavailable> {
    let (agent, process) = (attested.agent.id.clone(), attested.process.clone());
    match world.peers().issue(IssueOrder { agent, process, kind }).await {
        Ok(credential) => Ok(Ok(credential)),
        Err(PeerFault::Refused { message, .. }) => Ok(Err(Refusal::Server(message))),
        Err(PeerFault::Unavailable(why)) => Err(why),
    }
}
