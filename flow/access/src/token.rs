//! The token endpoint (RFC 6749 §3.2): who asks, what for, whether, and the token
//! (S4 §10; AUTHZ-01 to AUTHZ-03, AUTHZ-07, AUTHZ-08, AUTHZ-11, AUTHZ-12, AUTHZ-23).

pub mod asker;
mod attested;
pub(crate) mod brought;
pub mod client;
mod describe;
mod hold;
mod made;
pub(crate) mod people;
pub mod proof;
pub mod push;
mod subject_grant;
mod target;
mod vouched;
mod wanting;

use authentication::{Caller, Method, Once, private_key_jwt};
use authorization::granted::GrantRecord;
use authorization::grants::{self, Context, Redeemed, propose};
use authorization::presented;
use authorization::profile::{
    AtToken, Unmet, demands, of_asker, of_registration, of_token_request, unmet_by_agent,
};
use authorization::{Audience, Proposal};
use credential::{KeyRing, Purpose};
use env::{Change, CommitFault, Recorded, Store, Stored, Unavailable, World, Write};
use jose::Thumbprint;
use monitoring::{Event, Record};
use oauth::client_assertion::PresentedClient;
use oauth::dpop::ProofRefused;
use oauth::token_request::{GrantType, TokenRequest};
use oauth::token_response::TokenResponse;
use oauth::{Issuer, TokenType};
use pdp::{Denial, Permitted, Question};
use registry::ClientRecord;
use time::UnixTime;

use crate::ends::{self, Ending};
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, single_use};
use crate::turns::{TRIES_MAX, overtaken, pause, settled};
use brought::{Brought, Waiting};
use describe::{
    circumstances, conclude, describe_brought, describe_caller, describe_proposal, refuse, unproved,
};
use hold::Early;
use made::Made;
use people::People;

pub use client::ClientRefusal;
pub use people::principal;
pub(crate) use proof::gives_challenges;
pub use proof::shown_key;
pub use proof::{ALGORITHMS as DPOP_ALGORITHMS, algorithm as dpop_algorithm, challenge, nonce};
pub use target::TargetRefusal;
pub use wanting::Wanting;

/// A request that reads; nothing in it is believed yet.
#[derive(Clone, Debug)]
pub struct Call {
    /// The grant and its parameters.
    pub request: TokenRequest,
    /// `client_id` and `client_assertion`.
    pub client: PresentedClient,
    /// `OAuth-Client-Attestation` and its proof, where that is not one of DPoP.
    pub attestation: Option<(oauth::TokenText, Option<oauth::TokenText>)>,
    /// The values of the `DPoP` field.
    pub dpop: Vec<Vec<u8>>,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Where it comes from, for counting strangers.
    pub source: String,
}

/// Why no token is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client is not authenticated.
    #[error(transparent)]
    Client(#[from] ClientRefusal),
    /// What the client proved itself with was used before.
    #[error("the client's proof was used before")]
    Replayed,
    /// The DPoP proof.
    #[error(transparent)]
    Dpop(#[from] ProofRefused),
    /// The DPoP proof was used before.
    #[error("the DPoP proof was used before")]
    DpopReplayed,
    /// The assertion of another issuer was used before.
    #[error("the assertion was used before")]
    AssertionReplayed,
    /// The subject token.
    #[error("the subject token: {0}")]
    Subject(presented::Refusal),
    /// The actor token.
    #[error("the actor token: {0}")]
    Actor(presented::Refusal),
    /// A kind of token that is not taken here.
    #[error("a token of the type `{}` is not taken here", .0.as_str())]
    TokenType(TokenType),
    /// A grant that is not served here.
    #[error("the grant type `{0}` is not served here")]
    GrantType(GrantType),
    /// What the token is asked for.
    #[error(transparent)]
    Target(#[from] TargetRefusal),
    /// The grant.
    #[error(transparent)]
    Grant(#[from] grants::Refusal),
    /// A profile of the client, or of the resource.
    #[error(transparent)]
    Profile(#[from] Unmet),
    /// Policy.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// Policy permits it once a human approved it.
    #[error("{}", .0.denial)]
    Unapproved(Box<Wanting>),
    /// What was permitted cannot be made into a token.
    #[error("the token cannot be made: {0}")]
    Unmakeable(String),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Client(refusal) => refusal.check(),
            Self::Replayed => "token::Replayed",
            Self::Dpop(refused) if refused.asks_for_nonce() => "token::DpopNonce",
            Self::Dpop(_) => "token::Dpop",
            Self::DpopReplayed => "token::DpopReplayed",
            Self::AssertionReplayed => "token::AssertionReplayed",
            Self::Subject(_) => "token::Subject",
            Self::Actor(_) => "token::Actor",
            Self::TokenType(_) => "token::TokenType",
            Self::GrantType(_) => "token::GrantType",
            Self::Target(_) => "token::Target",
            Self::Grant(refusal) => refusal.check(),
            Self::Profile(unmet) => unmet.check(),
            Self::Denied(_) | Self::Unapproved(_) => "pdp::Denied",
            Self::Unmakeable(_) => "token::Unmakeable",
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub enum End {
    /// The client is known: decided, and recorded.
    Decided(Recorded<Result<TokenResponse, Refusal>>),
    /// The client proved nothing but its name, and brought nothing that is ours: count it.
    Unproved(Refusal),
    /// Nobody proved anything: count it.
    Stranger(ClientRefusal),
}

/// Where a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// The transaction authorization endpoint (draft-rosomakho-oauth-txn-challenge §5.3).
    Transaction,
    /// Nowhere: tokens are sent to a client that asked for somebody (CIBA Core 1.0 §10.3).
    Push,
}

impl Endpoint {
    /// Its path, below the issuer.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Token => "/token",
            Self::Transaction => "/transaction-authorization",
            Self::Push => "/bc-authorize",
        }
    }
}

/// Where challenges are given, below the issuer.
pub const CHALLENGE: &str = "/challenge";

/// Answers one request to the token endpoint.
pub async fn answer<W: World>(world: &W, call: Call) -> Result<End, Unavailable> {
    answer_at(world, Endpoint::Token, call).await
}

/// Answers one request.
pub async fn answer_at<W: World>(
    world: &W,
    endpoint: Endpoint,
    call: Call,
) -> Result<End, Unavailable> {
    let mut held = None;
    for turn in 0..TRIES_MAX {
        match attempt(world, endpoint, &call, held).await? {
            Tried::Done(end) => return Ok(end),
            // Another request used the same code or refresh token: decided again, by what that
            // left.
            Tried::Overtaken => pause(world, turn).await,
            Tried::Early(early) => held = Some(early.hold(world).await?),
        }
    }
    Err(overtaken())
}

/// What came of one try.
enum Tried {
    Done(End),
    /// Another commit came first.
    Overtaken,
    /// Nobody answered yet, and the client is made to wait.
    Early(Early),
}

/// One try. `held`: when the request came, where it was made to wait.
async fn attempt<W: World>(
    world: &W,
    endpoint: Endpoint,
    call: &Call,
    held: Option<UnixTime>,
) -> Result<Tried, Unavailable> {
    let shown = client::Shown {
        client: &call.client,
        attestation: call.attestation.as_ref(),
        certificates: &call.certificates,
        dpop: &call.dpop,
        path: endpoint.path(),
        source: &call.source,
    };
    let keys = match client::keys(world, shown).await? {
        Ok(keys) => keys,
        Err(refusal) => return Ok(Tried::Done(End::Stranger(refusal))),
    };
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    // What it proved itself with need not outlive the wait.
    let arrived = held.unwrap_or(now);
    let proved = match client::authenticate(world, shown, &facts, &issuer, arrived).await? {
        Ok(proved) => proved,
        Err(refusal) => return Ok(Tried::Done(End::Stranger(refusal))),
    };
    let mut record = begin(world, Event::TokenIssued);
    describe_caller(&mut record, &proved.caller, &facts);
    let mut spent = Spent::default();
    spent.add(proved.once, Refusal::Replayed);
    let mut asked =
        Asked { call, caller: &proved.caller, issuer: &issuer, key: None, endpoint, arrived, now };
    let at = proof::At { method: "POST", path: endpoint.path(), access_token: None };
    let shown = proof::of(world, &facts, &call.dpop, at, arrived).await?;
    let verdict = match shown {
        Ok(shown) => {
            asked.key = shown.as_ref().map(|shown| shown.key);
            // Where it proved the client, it is spent already.
            let shown = shown.filter(|_| proved.caller.method() != Method::AttestationDpop);
            spent.add(shown.map(|shown| shown.once), Refusal::DpopReplayed);
            decide(world, &facts, &asked, &mut record).await?
        }
        Err(refused) => no(refused),
    };
    let verdict = match unproved(verdict, &asked, &record) {
        Ok(verdict) => verdict,
        Err(refusal) => return Ok(Tried::Done(End::Unproved(refusal))),
    };
    if let Some(early) = Early::of(&verdict, &asked, &facts).filter(|_| held.is_none()) {
        return Ok(Tried::Early(early));
    }
    let end = finish(world, &facts, &asked, verdict, (record, spent)).await?;
    Ok(end.map_or(Tried::Overtaken, Tried::Done))
}

/// Makes what was decided, and commits it; `None` when another commit came first.
async fn finish<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    (decided, question): Verdict,
    (mut record, mut spent): (Record, Spent),
) -> Result<Option<End>, Unavailable> {
    record.facts = serde_json::to_value(&question).unwrap_or_default();
    let mut change = Change::default();
    let made = match decided {
        Ok(decided) => {
            let Decided { permitted, brought, people } = *decided;
            spent.add(brought.once.clone(), Refusal::AssertionReplayed);
            let of = (asked, &brought, &people);
            made::make(world, facts, &permitted, of, &mut record).await?.map(|made| {
                let Made { response, writes } = made;
                change.writes = writes;
                response
            })
        }
        Err(no) => Err(put_refused(world, *no, asked.now, &mut change)),
    };
    conclude(&mut record, made.as_ref().err());
    let asked = what_was_asked(&record);
    spent.put(&mut change, &mut record);
    change.records.push(record);
    match world.store().commit(change).await {
        Ok(receipt) => Ok(Some(End::Decided(Recorded::new(made, &receipt)))),
        Err(CommitFault::Used(used)) => {
            let refusal = spent.of(&used.hash);
            replayed(world, asked, refusal).await.map(Some)
        }
        Err(CommitFault::Conflict(_)) => Ok(None),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

/// What a refusal leaves behind: that it was asked for, and the end of a grant that was reused.
fn put_refused<W: World>(world: &W, no: Refused, now: UnixTime, change: &mut Change) -> Refusal {
    let Refused { refusal, reused, asked, .. } = no;
    change.writes.extend(asked);
    if let Some(grant) = reused {
        let why = refusal.to_string();
        let ending = Ending::by(refusal.check(), &why);
        change.writes.extend(ends::of_grant(&grant, ending, now));
        change.records.push(ends::told(world, &grant, ending));
    }
    refusal
}

/// What a request uses up, and what is said where it was used before.
#[derive(Default)]
struct Spent(Vec<(env::SingleUse, monitoring::record::Used, Refusal)>);

impl Spent {
    fn add(&mut self, once: Option<Once>, refusal: Refusal) {
        if let Some(once) = once {
            let (use_, used) = single_use(&once.space, &once.value, once.until);
            self.0.push((use_, used, refusal));
        }
    }

    fn put(&self, change: &mut Change, record: &mut Record) {
        change.uses.extend(self.0.iter().map(|(use_, ..)| use_.clone()));
        record.used.extend(self.0.iter().map(|(_, used, _)| used.clone()));
    }

    fn of(self, hash: &[u8; 32]) -> Refusal {
        let found = self.0.into_iter().find(|(use_, ..)| use_.hash == *hash);
        found.map_or(Refusal::Replayed, |(.., refusal)| refusal)
    }
}

/// What the record of a replay takes from the one that was not written: the rest of it, the facts
/// above all, need not be kept for that.
fn what_was_asked(record: &Record) -> Record {
    let new = Record::new(record.id, record.time, record.component.clone(), record.event);
    Record {
        agent: record.agent.clone(),
        action: record.action.clone(),
        resource: record.resource.clone(),
        proof: record.proof.clone(),
        policy: record.policy.clone(),
        ..new
    }
}

/// The proof was seen before: nothing is issued, and that is what is recorded.
async fn replayed<W: World>(world: &W, old: Record, refusal: Refusal) -> Result<End, Unavailable> {
    let mut record = begin(world, Event::TokenIssued);
    record.agent = old.agent;
    record.action = old.action;
    record.resource = old.resource;
    record.proof = old.proof;
    record.policy = old.policy;
    refuse(&mut record, &refusal);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(End::Decided(Recorded::new(Err(refusal), &receipt)))
}

/// Who asks, and what was proved so far.
pub(crate) struct Asked<'a> {
    pub(crate) call: &'a Call,
    pub(crate) caller: &'a Caller,
    pub(crate) issuer: &'a Issuer,
    /// The key of the DPoP proof.
    pub(crate) key: Option<Thumbprint>,
    pub(crate) endpoint: Endpoint,
    /// When the request came; before `now`, where it was made to wait.
    pub(crate) arrived: UnixTime,
    pub(crate) now: UnixTime,
}

/// What may be made into a token.
struct Decided {
    permitted: Permitted,
    brought: Brought,
    people: People,
}

/// A refusal, and the grant that it ends.
struct Refused {
    refusal: Refusal,
    reused: Option<Stored<GrantRecord>>,
    /// That the client asked, where it waits.
    asked: Option<Write>,
    /// The question that it waits for.
    question: Option<String>,
}

impl Refused {
    const fn plain(refusal: Refusal) -> Self {
        Self { refusal, reused: None, asked: None, question: None }
    }
}

type Verdict = (Result<Box<Decided>, Box<Refused>>, Option<Question>);

fn no(refusal: impl Into<Refusal>) -> Verdict {
    (Err(Box::new(Refused::plain(refusal.into()))), None)
}

/// Everything between who asks and the token: read what it brings, load whom that concerns,
/// propose, ask policy.
async fn decide<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    record: &mut Record,
) -> Result<Verdict, Unavailable> {
    if let Err(refusal) = may_ask(facts, asked)? {
        return Ok(no(refusal));
    }
    let brought = match brought::read(world, facts, asked).await? {
        Ok(brought) => brought,
        Err(refusal) => return Ok(no(refusal)),
    };
    describe_brought(record, &brought);
    let site = world.site();
    let userinfo = Audience::userinfo(&site.issuer).id;
    // A code or refresh token that leads nowhere says nothing of a target: its check comes first.
    let wanted = match target::wanted(&asked.call.request, &brought, &userinfo) {
        Ok(wanted) => wanted,
        Err(_) if brought.held.is_none() && brought.grant.is_of_a_stored_grant() => String::new(),
        Err(refusal) => return Ok(no(refusal)),
    };
    record.resource = Some(wanted.clone()).filter(|wanted| !wanted.is_empty());
    if let Err(unmet) = of_target(facts, &site.gateway, asked, &wanted)? {
        return Ok(no(unmet));
    }
    let client_id = asked.caller.client_id();
    let mut ids = brought.concerned();
    let concerned = ids.clone();
    ids.extend([client_id.to_owned(), wanted.clone()]);
    let people = People::load(world, &ids).await?;
    if let Err(unmet) = of_agent(facts, &site.gateway, &people, (client_id, &wanted)) {
        return Ok(no(unmet));
    }
    let target = target::resolve(brought.grant, &wanted, facts, &people, site);
    let facet = people.facet(client_id);
    let attested = attested::of(world, target.as_ref(), client_id, asked.now).await?;
    let context = Context {
        standing: people.standing(client_id),
        allowed: people.client(client_id).map(|one| one.metadata.grant_types.as_slice()),
        target: target.as_ref(),
        target_standing: people.standing(&wanted),
        concerned: concerned.iter().map(|id| (id.clone(), people.standing(id))).collect(),
        code: brought.code.as_ref().and_then(|code| redeemed(&asked.call.request, code)),
        key: asked.key,
        certificate: client::certificate(&asked.call.certificates),
        attested,
        ..brought.context(asked, &facet, facts)
    };
    let proposal = match propose(&context) {
        Ok(proposal) => proposal,
        Err(refusal) => {
            let reused = brought.held.filter(|_| refusal.ends_the_grant());
            let waits = matches!(refusal, grants::Refusal::Wait(_));
            let asked = brought.waiting.as_ref().filter(|_| waits).and_then(Waiting::asked);
            let question = brought.waiting.as_ref().map(|one| one.approval().id.clone());
            let refusal = refusal.into();
            return Ok((Err(Box::new(Refused { refusal, reused, asked, question })), None));
        }
    };
    describe_proposal(record, &proposal);
    let principal = people.principal(client_id);
    let circumstances = circumstances(&proposal, &brought, asked, facts);
    let asking = proposal.clone();
    let (answer, question) = facts.set().pdp().sanction(proposal, principal, circumstances);
    let decided = match answer {
        Ok(permitted) => Ok(Box::new(Decided { permitted, brought, people })),
        Err(denial) => Err(Box::new(Refused::plain(denied(denial, &asking, &brought, asked)))),
    };
    Ok((decided, Some(question)))
}

/// What policy refuses; where it is for want of an approval, what somebody would have to approve.
fn denied(denial: Denial, asking: &Proposal, brought: &Brought, asked: &Asked<'_>) -> Refusal {
    match Wanting::of(&denial, asking, brought.grant, asked) {
        Some(wanting) => Refusal::Unapproved(Box::new(wanting)),
        None => Refusal::Denied(Box::new(denial)),
    }
}

/// What a registered client must be before anything is said of what it brings: what its profiles
/// want comes before all else, and who may not use the grant learns nothing by it. The table has
/// that check as well; there stands what is said of a client that is not in force.
fn may_ask(facts: &Basis, asked: &Asked<'_>) -> Result<Result<(), Refusal>, Unavailable> {
    // It was read to authenticate the client.
    let client = facts.rows.get::<ClientRecord>(asked.caller.client_id())?;
    let Some(client) = client else { return Ok(Ok(())) };
    if let Err(unmet) = of_token_request(&demands(&client.profiles), shown(asked)) {
        return Ok(Err(unmet.into()));
    }
    let (grant, allowed) = (asked.call.request.grant_type(), &client.metadata.grant_types);
    let judged = asked.endpoint == Endpoint::Token && client.is_enabled().is_ok();
    if judged && !allowed.contains(&grant) {
        let allowed = allowed.clone();
        return Ok(Err(grants::Refusal::GrantNotAllowed { grant, allowed }.into()));
    }
    // RFC 9449 §5.2: "If true, the authorization server MUST reject token requests from the client
    // that do not contain the DPoP header."
    if client.metadata.dpop_bound_access_tokens && asked.key.is_none() {
        return Ok(Err(grants::Refusal::NoDpopProof.into()));
    }
    Ok(Ok(()))
}

/// Holds the request to the profiles of the resource that the token is for.
fn of_target(
    facts: &Basis,
    gateway: &str,
    asked: &Asked<'_>,
    wanted: &str,
) -> Result<Result<(), Unmet>, Unavailable> {
    let demands = facts.set().demands([wanted], gateway);
    if demands.is_empty() {
        return Ok(Ok(()));
    }
    let client = facts.rows.get::<ClientRecord>(asked.caller.client_id())?;
    let registered = client.map_or(Ok(()), |one| of_registration(&demands, &one.metadata));
    Ok(registered.and_then(|()| of_token_request(&demands, shown(asked))))
}

/// Holds an agent to them, by what its record says of it as a client.
fn of_agent(
    facts: &Basis,
    gateway: &str,
    people: &People,
    (client_id, wanted): (&str, &str),
) -> Result<(), Unmet> {
    let wants = facts.set().demands([wanted], gateway);
    match people.agent(client_id) {
        Some(agent) => of_asker(&wants, &unmet_by_agent(&agent.entry.client)),
        None => Ok(()),
    }
}

/// What a request shows to the profiles of its client, and of the resource.
fn shown(asked: &Asked<'_>) -> AtToken {
    let certificate = client::certificate(&asked.call.certificates).is_some();
    let assertion = asked.call.client.assertion.as_ref();
    AtToken {
        proved: asked.caller.method().proves_a_key(),
        // It was verified by now: what its header says is so.
        algorithm: assertion.and_then(|(_, text)| private_key_jwt::algorithm(text.as_str())),
        dpop: asked.key.and_then(|_| proof::algorithm(&asked.call.dpop)),
        bound: asked.key.is_some() || certificate,
        resource: !asked.call.request.resources().is_empty(),
    }
}

/// The code with what came with it.
fn redeemed<'a>(
    request: &'a TokenRequest,
    code: &'a Stored<authorization::granted::Code>,
) -> Option<Redeemed<'a>> {
    let TokenRequest::AuthorizationCode(request) = request else { return None };
    let (redirect_uri, verifier) =
        (request.redirect_uri.as_deref(), request.code_verifier.as_ref());
    Some(Redeemed { code: &code.value, redirect_uri, verifier })
}

/// The grants that are served.
pub const GRANTS: &[GrantType] = &[
    GrantType::ClientCredentials,
    GrantType::TokenExchange,
    GrantType::AuthorizationCode,
    GrantType::RefreshToken,
    GrantType::JwtBearer,
    GrantType::DeviceCode,
    GrantType::Ciba,
    GrantType::Deferred,
];

pub(crate) fn ring(facts: &Basis, purpose: Purpose) -> Result<Stored<KeyRing>, Unavailable> {
    let missing = || Unavailable::of("store", format!("no {} keys yet", purpose.name()));
    facts.rows.get::<KeyRing>(purpose.name())?.ok_or_else(missing)
}
