//! A call that arrives at the gateway (S2 §5.1; S4 §10.7; GW-01, GW-02, AUTHZ-20, AUTHN-02,
//! AUTHN-05, AUTHN-12, AUTHN-13): one permit a call, the token swapped and never forwarded, nothing
//! released unrecorded.

mod caller;
mod challenge;
mod dpop;
mod exchange;
pub mod standing;

use std::future::Future;

use authorization::presented::Presented;
use authorization::{Audience, Proof, ResourcePolicy};
use env::rows::Feed;
use env::{
    Change, Clock, CommitFault, Key, Receipt, Recorded, SingleUse, Store, Unavailable, World,
};
use gateway::{Call, Refusal, Wanted, WantedKind, map};
use jose::TokenHash;
use monitoring::{Event, Outcome, Record};
use pdp::{Circumstances, Decision, Denial, Fact, Permit, Question, Resource};
use time::UnixTime;

use crate::facts::{Basis, basis};
use crate::feed;
use crate::record::{begin, refused, single_use};
use crate::turns::{overtaken, settled};

pub use caller::{Verdicts, Verified};
pub use exchange::Delegate;
use standing::Calling;

/// What is sent upstream.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The whole URL.
    pub url: String,
    /// The HTTP method.
    pub method: String,
    /// The header fields: what may travel on, and the transaction token.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, byte for byte the one that was decided on.
    pub body: Vec<u8>,
}

/// How an upstream's answer begins.
pub trait Answer: Send {
    /// The HTTP status.
    fn status(&self) -> u16;
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream did not answer: {0}")]
pub struct UpstreamFault(pub String);

/// Under what an answer was released: while one of these ends, its stream is cut (AUTHN-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Whom the token concerns.
    pub concerned: Vec<String>,
    /// What it came from, and its own id.
    pub lineage: Vec<String>,
    /// The epoch that the token was issued under.
    pub epoch: provisioning::Epoch,
    /// When the token ends.
    pub expires: UnixTime,
}

/// The end of a call.
#[derive(Debug)]
pub enum End<A> {
    /// Let through: the upstream's answer, or why there is none.
    Forwarded(Recorded<Result<A, UpstreamFault>>, Live),
    /// Refused.
    Refused(Recorded<Refused>),
    /// The caller proved nothing: count it.
    Stranger(Refused),
}

/// A refusal and what its form on the wire needs.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The JSON-RPC request that it answers.
    pub rpc: Option<agentic::Id>,
    /// The resource's name, for its metadata's URL.
    pub resource: Option<String>,
    /// All the scopes that the resource has, for a challenge.
    pub scopes: oauth::ScopeSet,
    /// Whether it takes tokens that are bound to a DPoP key: the challenge says so.
    pub dpop: bool,
    /// The signed challenge of a call that a human must approve, where the client takes one.
    pub transaction: Option<Box<str>>,
    /// The version of the policy that was looked at.
    pub policy: Option<String>,
    /// The token that came with it, where it is one of ours.
    pub(crate) presented: Option<Box<Presented>>,
}

impl Refused {
    /// A refusal of which no more is known.
    pub fn bare(refusal: Refusal) -> Self {
        let scopes = oauth::ScopeSet::default();
        Self {
            refusal,
            rpc: None,
            resource: None,
            scopes,
            dpop: false,
            transaction: None,
            policy: None,
            presented: None,
        }
    }
}

/// Decides and, if it may be, forwards by `send`, which is called at most once.
pub async fn call<W, A, F>(
    world: &W,
    gateway: &Delegate,
    verdicts: &Verdicts,
    call: Call,
    send: impl FnOnce(Forward) -> F + Send,
) -> Result<End<A>, Unavailable>
where
    W: World,
    A: Answer,
    F: Future<Output = Result<A, UpstreamFault>> + Send,
{
    let facts = basis(world, vec![Key::of::<Feed>(Feed::ID)]).await?;
    let now = world.clock().now();
    let asked = Asked { call: &call, facts: &facts, now };
    let mut record = begin(world, Event::CallDecided);
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.action = "call".to_owned();
    let mut change = Change::default();
    let decided = decide(world, &asked, verdicts, &mut record, &mut change).await?;
    let permitted = match decided {
        Ok(permitted) => permitted,
        Err(refused) => {
            let refused = challenge::with(world, gateway, &asked, refused, &mut record).await?;
            return refuse(world, record, change, refused).await;
        }
    };
    let swapped = exchange::swap(world, gateway, &asked, &permitted, &mut record).await?;
    record.outcome = Outcome::Permitted;
    record.rules = permitted.permit.rules().to_vec();
    let decision = record.id;
    let mut end = begin(world, Event::CallFinished);
    follow(&mut end, &record);
    let live = permitted.live();
    change.records.push(record.clone());
    let forward = exchange::forward(&call, permitted.resource, &swapped);
    // docs/design.md §7: an action that may have effects is forwarded only when its decision is
    // durable; one that policy marks read-only may be forwarded while the append runs.
    // What a human approved once goes on once, however little it changes.
    let once = record.attestation.contains_key(challenge::APPROVED);
    let (receipt, answer) = if permitted.wanted.read_only && !once {
        let (committed, answer) = both(world.store().commit(change), send(forward)).await;
        match receipt(world, record, permitted.refused, committed).await? {
            Ok(receipt) => (receipt, answer),
            Err(refused) => return Ok(End::Refused(refused)),
        }
    } else {
        let committed = world.store().commit(change).await;
        match receipt(world, record, permitted.refused, committed).await? {
            Ok(receipt) => (receipt, send(forward).await),
            Err(refused) => return Ok(End::Refused(refused)),
        }
    };
    end.after = Some(decision);
    match &answer {
        Ok(answer) => {
            end.outcome = Outcome::Done;
            end.facts = serde_json::json!({ "status": answer.status() });
        }
        Err(fault) => {
            refused(&mut end, "upstream::Fault", fault, None);
            end.outcome = Outcome::Failed;
        }
    }
    settled(world.store().commit(Change::record(end)).await)?.ok_or_else(overtaken)?;
    Ok(End::Forwarded(Recorded::new(answer, &receipt), live))
}

/// Runs two futures together and waits for both.
async fn both<A: Send, B: Send>(
    one: impl Future<Output = A> + Send,
    other: impl Future<Output = B> + Send,
) -> (A, B) {
    use std::pin::pin;
    use std::task::Poll;
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |context| {
        if first.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(context)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(context)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// The receipt of the decision; what was used before turns it into a refusal of this form.
async fn receipt<W: World>(
    world: &W,
    record: Record,
    form: Refused,
    committed: Result<Receipt, CommitFault>,
) -> Result<Result<Receipt, Recorded<Refused>>, Unavailable> {
    match committed {
        Ok(receipt) => Ok(Ok(receipt)),
        Err(CommitFault::Conflict(_)) => Err(overtaken()),
        Err(CommitFault::Unavailable(why)) => Err(why),
        Err(CommitFault::Used(used)) => {
            let refusal = seen_before(&record, &used);
            let mut replay = begin(world, Event::CallDecided);
            let (id, time) = (replay.id, replay.time);
            replay = Record { id, time, used: Vec::new(), rules: Vec::new(), ..record };
            replay.txn = None;
            refused(&mut replay, refusal.check(), &refusal, None);
            let commit = world.store().commit(Change::record(replay)).await;
            let receipt = settled(commit)?.ok_or_else(overtaken)?;
            Ok(Err(Recorded::new(Refused { refusal, transaction: None, ..form }, &receipt)))
        }
    }
}

/// What of a call was used before: the approval that its token is of, or the proof.
fn seen_before(record: &Record, used: &SingleUse) -> Refusal {
    let hash = TokenHash::from_bytes(used.hash).to_base64url();
    let approval = record.attestation.contains_key(challenge::APPROVED);
    match record.proof.as_deref() {
        _ if approval && record.used.last().is_some_and(|last| last.hash == hash) => Refusal::Spent,
        Some(dpop::NAME) => Refusal::DpopReplayed,
        _ => Refusal::Replayed,
    }
}

async fn refuse<W: World, A>(
    world: &W,
    mut record: Record,
    mut change: Change,
    refusal: Refused,
) -> Result<End<A>, Unavailable> {
    // docs/design.md §2, idea 3: "A refusal is recorded like a permit". Who showed a token of ours
    // is no stranger, even where nothing else of the call was looked at.
    if refusal.refusal.is_strangers() && record.agent.is_none() {
        return Ok(End::Stranger(refusal));
    }
    let needs = match &refusal.refusal {
        Refusal::Denied { needs, rules, .. } => {
            record.rules.clone_from(rules);
            needs.clone()
        }
        Refusal::Scope { scope } => Some(format!("a token with the scope `{scope}`")),
        _ => None,
    };
    let why = refusal.refusal.to_string();
    refused(&mut record, refusal.refusal.check(), &why, needs);
    change.records.push(record.clone());
    let committed = world.store().commit(change).await;
    match receipt(world, record, refusal.clone(), committed).await? {
        Ok(receipt) => Ok(End::Refused(Recorded::new(refusal, &receipt))),
        Err(replayed) => Ok(End::Refused(replayed)),
    }
}

/// What is asked, and the facts it is decided by.
pub(crate) struct Asked<'a> {
    pub(crate) call: &'a Call,
    pub(crate) facts: &'a Basis,
    pub(crate) now: UnixTime,
}

/// A call that may go through.
pub(crate) struct Permitted<'a> {
    pub(crate) resource: &'a ResourcePolicy,
    pub(crate) audience: Audience,
    pub(crate) wanted: Wanted,
    pub(crate) presented: Presented,
    pub(crate) permit: Permit,
    /// The form of a refusal, where it turns out that the proof was used before.
    refused: Refused,
}

impl Permitted<'_> {
    fn live(&self) -> Live {
        let (epoch, expires) = (self.presented.epoch(), self.presented.expires());
        let (concerned, lineage) = (self.presented.concerned(), self.presented.lineage());
        Live { concerned, lineage, epoch, expires }
    }
}

type Decided<'a> = Result<Permitted<'a>, Refused>;

/// The checks, in order: feed, resource, token, proof, standing, meaning, scope, policy.
async fn decide<'a, W: World>(
    world: &W,
    asked: &Asked<'a>,
    verdicts: &Verdicts,
    record: &mut Record,
    change: &mut Change,
) -> Result<Decided<'a>, Unavailable> {
    let policy = Some(asked.facts.version());
    let mut refusing = Refusing { policy, ..Refusing::default() };
    if let Err(lost) = feed_lost(asked)? {
        return Ok(Err(refusing.with(lost)));
    }
    let target = &asked.call.target;
    let Some(resource) = asked.facts.set().resource_named(target.resource()) else {
        let name = target.resource().to_owned();
        name_caller(world, asked, verdicts, record).await?;
        return Ok(Err(refusing.with(Refusal::NoResource { name })));
    };
    refusing.resource = Some(resource.name.clone());
    refusing.scopes = resource.scope_set();
    refusing.dpop = resource.proof == Proof::Dpop;
    let audience = Audience::of_resource(resource, &world.site().gateway);
    record.resource = Some(audience.id.clone());
    let (token, scheme) = match caller::bearer(asked.call) {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusing.with(refusal))),
    };
    let presented = match caller::token(world, asked, verdicts, &token).await? {
        Ok(presented) => presented,
        Err(refusal) => return Ok(Err(refusing.with(refusal))),
    };
    // It is one of ours, so the record says whose, whether it is for this resource or not.
    describe_token(record, &presented);
    if let Err(error) = presented.is_for(&audience.id) {
        return Ok(Err(refusing.with(Refusal::Token { why: error.to_string() })));
    }
    refusing.dpop |= presented.key().is_some();
    let (text, presented_token) = (&token, &presented);
    let beside = caller::Beside { text, scheme, presented: presented_token, audience: &audience };
    let proved = match caller::proof(world, asked, verdicts, &beside).await? {
        Ok(proved) => proved,
        Err(refusal) => return Ok(Err(refusing.with(refusal))),
    };
    describe_proof(record, change, &audience, &proved);
    let calling = match standing::in_force(world, &presented, proved.issued).await? {
        Ok(calling) => calling,
        Err(refusal) => return Ok(Err(refusing.with(refusal))),
    };
    let wanted = match map(asked.call, resource) {
        Ok(wanted) => wanted,
        Err(refusal) => return Ok(Err(refusing.unmapped(asked.call, refusal))),
    };
    refusing.rpc.clone_from(&wanted.rpc);
    record.action = wanted.action().to_owned();
    record.resource = Some(wanted.what(&audience.id));
    record.trace.clone_from(&wanted.trace);
    if let Some(scope) = wanted.scope.as_ref().filter(|one| !presented.scope().contains(one)) {
        let refusal = Refusal::Scope { scope: scope.clone() };
        return Ok(Err(refusing.with(refusal)));
    }
    let judged = Judged { resource, audience, wanted, presented, calling, proved };
    Ok(judge(asked, refusing, record, change, judged).map_err(|refused| *refused))
}

/// What policy is asked about, once everything else was in order.
struct Judged<'a> {
    resource: &'a ResourcePolicy,
    audience: Audience,
    wanted: Wanted,
    presented: Presented,
    calling: Calling,
    proved: Verified,
}

/// The last of the checks: what was approved, and policy.
fn judge<'a>(
    asked: &Asked<'a>,
    mut refusing: Refusing,
    record: &mut Record,
    change: &mut Change,
    judged: Judged<'a>,
) -> Result<Permitted<'a>, Box<Refused>> {
    let Judged { resource, audience, wanted, presented, calling, proved } = judged;
    // A token for one approved call lets that one through, once.
    let approved = match challenge::approved(asked, &presented, &wanted, &audience) {
        Ok(approved) => approved,
        Err(refusal) => return Err(Box::new(refusing.with(refusal))),
    };
    let mut question = question(asked, &presented, &calling, &wanted, &audience, &proved);
    let acr = challenge::tell(&mut question, approved.is_some(), &presented);
    record.facts = serde_json::to_value(&question).unwrap_or_default();
    // Nothing here can take a member out of an answer.
    let decision = asked.facts.set().pdp().decide(&question);
    match decision.after(approved.is_some(), acr.as_deref()).without_obligations() {
        Decision::Permit(permit) => {
            if let Some(txn) = &approved {
                challenge::spend(record, change, &audience, txn, presented.expires());
            }
            let refused = refusing.with(Refusal::Replayed);
            Ok(Permitted { resource, audience, wanted, presented, permit, refused })
        }
        Decision::Deny(denial) => {
            refusing.presented = Some(Box::new(presented));
            Err(Box::new(refusing.with(denied(&denial))))
        }
    }
}

/// Gathers what the form of a refusal needs, as it becomes known.
#[derive(Default)]
struct Refusing {
    rpc: Option<agentic::Id>,
    resource: Option<String>,
    scopes: oauth::ScopeSet,
    dpop: bool,
    policy: Option<String>,
    presented: Option<Box<Presented>>,
}

impl Refusing {
    fn with(self, refusal: Refusal) -> Refused {
        let Self { rpc, resource, scopes, dpop, policy, presented } = self;
        Refused { refusal, rpc, resource, scopes, dpop, transaction: None, policy, presented }
    }

    /// A call whose meaning is not known: its id may still be.
    fn unmapped(mut self, call: &Call, refusal: gateway::MapRefusal) -> Refused {
        if let gateway::MapRefusal::RpcMethod { rpc, .. } = &refusal {
            self.rpc.clone_from(rpc);
        }
        self.rpc = self.rpc.or_else(|| rpc_of(call));
        self.with(Refusal::Map(refusal))
    }
}

/// The id of the request in the body, so that even what is not understood is answered.
fn rpc_of(call: &Call) -> Option<agentic::Id> {
    match agentic::Message::parse(&call.body) {
        Ok(agentic::Message::Request(request)) => Some(request.id),
        _ => None,
    }
}

/// Whose call it is that names nothing here, where a token of ours says so.
async fn name_caller<W: World>(
    world: &W,
    asked: &Asked<'_>,
    verdicts: &Verdicts,
    record: &mut Record,
) -> Result<(), Unavailable> {
    let Ok((token, _)) = caller::bearer(asked.call) else { return Ok(()) };
    if let Ok(presented) = caller::token(world, asked, verdicts, &token).await? {
        describe_token(record, &presented);
    }
    Ok(())
}

/// docs/design.md §2, idea 6: a gateway that has lost the feed for longer than its bound refuses.
fn feed_lost(asked: &Asked<'_>) -> Result<Result<(), Refusal>, Unavailable> {
    let domain = asked.facts.set().domain();
    let bound = domain.revocation.feed_lost_after;
    let heard = asked.facts.rows.get::<Feed>(Feed::ID)?.map_or(UnixTime::EPOCH, |feed| feed.heard);
    let lost = !feed::is_fresh(heard, asked.now, domain);
    Ok(if lost { Err(Refusal::FeedLost { heard, bound }) } else { Ok(()) })
}

/// How the caller proved itself, and what that used up.
fn describe_proof(record: &mut Record, change: &mut Change, audience: &Audience, proof: &Verified) {
    if let Some(once) = &proof.once {
        let space = format!("{} {}", audience.id, once.space);
        let (use_, used) = single_use(&space, &once.value, once.until);
        change.uses.push(use_);
        record.used.push(used);
    }
    record.proof = Some(proof.name.to_owned());
    record.transport = proof.transport.clone();
}

fn describe_token(record: &mut Record, presented: &Presented) {
    record.agent = Some(presented.client_id().to_owned());
    record.subject = Some(presented.subject().to_owned());
    record.actors = presented.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect();
    record.jti = Some(presented.jti().to_owned());
    record.parent = presented.parent().map(str::to_owned);
    record.root = Some(presented.root().to_owned());
}

/// What a call's end says of the call: enough to stand in the tree by itself.
fn follow(end: &mut Record, decision: &Record) {
    end.agent.clone_from(&decision.agent);
    end.subject.clone_from(&decision.subject);
    end.resource.clone_from(&decision.resource);
    end.action.clone_from(&decision.action);
    end.root.clone_from(&decision.root);
    end.txn.clone_from(&decision.txn);
    end.jti.clone_from(&decision.jti);
    end.trace.clone_from(&decision.trace);
}

fn question(
    asked: &Asked<'_>,
    presented: &Presented,
    calling: &Calling,
    wanted: &Wanted,
    audience: &Audience,
    proved: &Verified,
) -> Question {
    let mut resource = match &wanted.kind {
        WantedKind::Tool { name } => Resource::tool(&audience.id, name, wanted.read_only),
        WantedKind::Session => Resource::audience(&audience.id),
        WantedKind::Request { path, .. } => Resource::path(&audience.id, path),
    };
    let name = Fact::Text(audience.name.clone());
    let named = resource.parent.as_deref_mut().map(|parent| &mut parent.attributes);
    named.unwrap_or(&mut resource.attributes).insert("name".to_owned(), name);
    let own = presented.subject() == presented.client_id();
    let (method, path) = match &wanted.kind {
        WantedKind::Request { method, path } => (Some(method.clone()), Some(path.clone())),
        WantedKind::Tool { .. } | WantedKind::Session => (None, None),
    };
    let circumstances = Circumstances {
        scope: wanted.scope.iter().map(ToString::to_string).collect(),
        granted: presented.scope().iter().map(ToString::to_string).collect(),
        subject: if own { String::new() } else { presented.subject().to_owned() },
        actors: presented.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect(),
        proof: proved.proof().to_owned(),
        transport: proved.transport.clone().unwrap_or_default(),
        autonomous: own,
        method,
        path,
        ..Circumstances::at(asked.now)
    };
    Question {
        principal: calling.principal(presented.client_id()),
        action: wanted.action().to_owned(),
        resource,
        context: circumstances.into(),
    }
}

fn denied(denial: &Denial) -> Refusal {
    if let Some(unmet) = challenge::unmet(denial) {
        return unmet;
    }
    Refusal::Denied {
        message: denial.to_string(),
        rules: denial.rules.clone(),
        needs: (!denial.needs.is_empty()).then(|| denial.needs.join("; or ")),
        policy: denial.version.as_str().to_owned(),
    }
}

/// Ends when an answer that was released under `live` may no longer be: the token ended, or
/// somebody it concerns was suspended, or what it came from was ended (AUTHN-12). Says why.
pub async fn cut<W: World>(world: &W, live: &Live) -> Result<Refusal, Unavailable> {
    let keys = standing::keys(&live.concerned, &live.lineage);
    loop {
        let rows = world.store().snapshot(&keys).await?;
        let checked = standing::check(&rows, &live.concerned, &live.lineage, |_| live.epoch)?;
        if let Err(refusal) = checked {
            return Ok(refusal);
        }
        let now = world.clock().now();
        if now >= live.expires {
            return Ok(Refusal::Token { why: format!("it ended at {}", live.expires) });
        }
        let until = live.expires.since(now);
        first(world.store().past(rows.seq), world.clock().sleep(until)).await;
    }
}

/// Ends with whichever ends first.
async fn first(one: impl Future + Send, other: impl Future + Send) {
    use std::pin::pin;
    use std::task::Poll;
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(move |context| {
        let done = one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready();
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
