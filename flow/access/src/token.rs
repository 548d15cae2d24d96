//! The token endpoint (RFC 6749 §3.2): who asks, what for, whether, and the token
//! (S4 §10; AUTHZ-01 to AUTHZ-03, AUTHZ-07, AUTHZ-08, AUTHZ-11, AUTHZ-12, AUTHZ-23).

pub mod client;
mod target;

use std::collections::BTreeSet;

use authentication::{Caller, Who};
use authorization::access_token::Issuing;
use authorization::client::Facet;
use authorization::grants::{self, Context, Grant, Standing, propose};
use authorization::presented::{self, Presented};
use authorization::{Proposal, TokenKind, access_token, txn_token};
use credential::{AuthorityKey, KeyRing, Purpose, TokenText};
use env::{Change, CommitFault, Key, Recorded, Store, Stored, Unavailable, World};
use identifier::Kind;
use monitoring::{Event, Outcome, Record};
use oauth::client_assertion::PresentedClient;
use oauth::token_request::{GrantType, TokenRequest, TypedToken};
use oauth::token_response::{TokenResponse, TokenUse};
use oauth::{Issuer, ScopeSet, TokenType};
use pdp::{Circumstances, Denial, Permitted, Principal, PrincipalKind, Question};
use registry::{AgentRecord, ClientRecord};
use time::UnixTime;

use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, public_id, refused, single_use};
use crate::sign::{self, ALGORITHM};
use crate::turns::{overtaken, settled};

pub use client::ClientRefusal;
pub use target::TargetRefusal;

/// A request that reads; nothing in it is believed yet.
#[derive(Clone, Debug)]
pub struct Call {
    /// The grant and its parameters.
    pub request: TokenRequest,
    /// `client_id` and `client_assertion`.
    pub client: PresentedClient,
    /// `OAuth-Client-Attestation` and its proof.
    pub attestation: Option<(oauth::TokenText, oauth::TokenText)>,
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
    /// Policy.
    #[error("{0}")]
    Denied(Box<Denial>),
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
            Self::Subject(_) => "token::Subject",
            Self::Actor(_) => "token::Actor",
            Self::TokenType(_) => "token::TokenType",
            Self::GrantType(_) => "token::GrantType",
            Self::Target(_) => "token::Target",
            Self::Grant(refusal) => refusal.check(),
            Self::Denied(_) => "pdp::Denied",
            Self::Unmakeable(_) => "token::Unmakeable",
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub enum End {
    /// The client is known: decided, and recorded.
    Decided(Recorded<Result<TokenResponse, Refusal>>),
    /// Nobody proved anything: count it.
    Stranger(ClientRefusal),
}

/// Answers one request.
pub async fn answer<W: World>(world: &W, call: Call) -> Result<End, Unavailable> {
    let facts = basis(world, client::keys((&call).into())).await?;
    let now = issuing::now(world, &facts)?;
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    let proved = match client::authenticate((&call).into(), &facts, &issuer, now)? {
        Ok(proved) => proved,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let mut record = begin(world, Event::TokenIssued);
    describe_caller(&mut record, &proved.caller, &facts);
    let mut change = Change::default();
    if let Some(once) = &proved.once {
        let (use_, used) = single_use(&once.space, &once.value, once.until);
        change.uses.push(use_);
        record.used.push(used);
    }
    let asked = Asked { call: &call, caller: &proved.caller, issuer: &issuer, now };
    let (decided, question) = decide(world, &facts, &asked, &mut record).await?;
    record.facts = serde_json::to_value(&question).unwrap_or_default();
    let made = match decided {
        Ok(permitted) => make(world, &facts, &permitted, &asked, &mut record).await?,
        Err(refusal) => Err(refusal),
    };
    match &made {
        Ok(_) => record.outcome = Outcome::Permitted,
        Err(refusal) => refuse(&mut record, refusal),
    }
    let asked = what_was_asked(&record);
    change.records.push(record);
    match world.store().commit(change).await {
        Ok(receipt) => Ok(End::Decided(Recorded::new(made, &receipt))),
        Err(CommitFault::Used(_)) => replayed(world, asked).await,
        Err(CommitFault::Conflict(_)) => Err(overtaken()),
        Err(CommitFault::Unavailable(why)) => Err(why),
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
async fn replayed<W: World>(world: &W, old: Record) -> Result<End, Unavailable> {
    let mut record = begin(world, Event::TokenIssued);
    record.agent = old.agent;
    record.action = old.action;
    record.resource = old.resource;
    record.proof = old.proof;
    record.policy = old.policy;
    refuse(&mut record, &Refusal::Replayed);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = settled(commit)?.ok_or_else(overtaken)?;
    Ok(End::Decided(Recorded::new(Err(Refusal::Replayed), &receipt)))
}

struct Asked<'a> {
    call: &'a Call,
    caller: &'a Caller,
    issuer: &'a Issuer,
    now: UnixTime,
}

type Decided = (Result<Permitted, Refusal>, Option<Question>);

/// Everything between who asks and the token: read the tokens, load whom they concern, propose,
/// ask policy.
async fn decide<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    record: &mut Record,
) -> Result<Decided, Unavailable> {
    let tokens = match tokens(facts, asked)? {
        Ok(tokens) => tokens,
        Err(refusal) => return Ok((Err(refusal), None)),
    };
    describe_tokens(record, &tokens);
    let wanted = match target::wanted(&asked.call.request) {
        Ok(wanted) => wanted,
        Err(refusal) => return Ok((Err(refusal.into()), None)),
    };
    record.resource = Some(wanted.to_owned());
    let people = people(world, asked.caller, &tokens, wanted).await?;
    let target = target::resolve(tokens.grant, wanted, facts, &people, &world.site().gateway);
    let agent = people.agents.iter().find(|agent| agent.id.as_str() == asked.caller.client_id());
    let client = people.clients.iter().find(|one| one.client_id == asked.caller.client_id());
    let facet = facet(agent, client);
    let context = Context {
        grant: tokens.grant,
        caller: asked.caller,
        standing: standing(asked.caller.client_id(), &people),
        facet: &facet,
        allowed: client.map(|client| client.metadata.grant_types.as_slice()),
        target: target.as_ref(),
        target_standing: standing(wanted, &people),
        scope: tokens.scope.as_ref(),
        subject: tokens.subject.as_ref(),
        concerned: tokens
            .subject
            .iter()
            .flat_map(Presented::concerned)
            .map(|id| (id.clone(), standing(&id, &people)))
            .collect(),
        actor: tokens.actor.as_ref(),
        certificate: client::certificate(&asked.call.certificates),
        delegation: &facts.set().domain().delegation,
        lifetimes: &facts.set().domain().lifetimes,
        now: asked.now,
    };
    let proposal = match propose(&context) {
        Ok(proposal) => proposal,
        Err(refusal) => return Ok((Err(refusal.into()), None)),
    };
    describe_proposal(record, &proposal);
    let principal = principal(asked.caller.client_id(), agent.map(|one| &*one.value), client);
    let circumstances = circumstances(&proposal, &tokens, asked);
    let (answer, question) = facts.set().pdp().sanction(proposal, principal, circumstances);
    Ok((answer.map_err(|denial| Refusal::Denied(Box::new(denial))), Some(question)))
}

/// The grants that are served.
pub const GRANTS: &[GrantType] = &[GrantType::ClientCredentials, GrantType::TokenExchange];

/// What the request brings with it, verified.
struct Tokens {
    grant: Grant,
    scope: Option<ScopeSet>,
    subject: Option<Presented>,
    actor: Option<Presented>,
}

fn tokens(facts: &Basis, asked: &Asked<'_>) -> Result<Result<Tokens, Refusal>, Unavailable> {
    let exchange = match &asked.call.request {
        TokenRequest::ClientCredentials(request) => {
            let (grant, scope) = (Grant::ClientCredentials, request.scope.clone());
            return Ok(Ok(Tokens { grant, scope, subject: None, actor: None }));
        }
        TokenRequest::TokenExchange(exchange) => exchange,
        other => return Ok(Err(Refusal::GrantType(other.grant_type()))),
    };
    let grant = match exchange.requested_token_type {
        None | Some(TokenType::AccessToken) => Grant::Exchange,
        Some(TokenType::TxnToken) => Grant::Transaction,
        Some(other) => return Ok(Err(Refusal::TokenType(other))),
    };
    let subject = match presented(facts, asked, &exchange.subject)? {
        Ok(subject) => Some(subject),
        Err(refusal) => return Ok(Err(refusal(Refusal::Subject))),
    };
    let actor = match &exchange.actor {
        None => None,
        Some(token) => match presented(facts, asked, token)? {
            Ok(actor) => Some(actor),
            Err(refusal) => return Ok(Err(refusal(Refusal::Actor))),
        },
    };
    Ok(Ok(Tokens { grant, scope: exchange.scope.clone(), subject, actor }))
}

/// Lets the caller say which token it was that was refused.
type Blame = Box<dyn FnOnce(fn(presented::Refusal) -> Refusal) -> Refusal + Send>;

fn presented(
    facts: &Basis,
    asked: &Asked<'_>,
    token: &TypedToken,
) -> Result<Result<Presented, Blame>, Unavailable> {
    let (now, skew) = (asked.now, facts.set().domain().bounds.clock_skew);
    let text = token.token.as_str();
    let read = match token.token_type {
        TokenType::AccessToken | TokenType::Jwt => {
            let ring = ring(facts, Purpose::AccessToken)?;
            Presented::access_token(text, &ring, asked.issuer, now, skew)
        }
        TokenType::TxnToken => {
            let ring = ring(facts, Purpose::TxnToken)?;
            let domain = facts.set().domain().trust_domain.as_str();
            Presented::txn_token(text, &ring, domain, now, skew)
        }
        other => return Ok(Err(Box::new(move |_| Refusal::TokenType(other)))),
    };
    Ok(read.map_err(|refusal| -> Blame { Box::new(move |blame| blame(refusal)) }))
}

fn ring(facts: &Basis, purpose: Purpose) -> Result<Stored<KeyRing>, Unavailable> {
    let missing = || Unavailable::of("store", format!("no {} keys yet", purpose.name()));
    facts.rows.get::<KeyRing>(purpose.name())?.ok_or_else(missing)
}

/// The records of everybody whom the request concerns.
pub(crate) struct People {
    pub(crate) agents: Vec<Stored<AgentRecord>>,
    pub(crate) clients: Vec<Stored<ClientRecord>>,
}

async fn people<W: World>(
    world: &W,
    caller: &Caller,
    tokens: &Tokens,
    wanted: &str,
) -> Result<People, Unavailable> {
    let mut ids: BTreeSet<String> = tokens.subject.iter().flat_map(Presented::concerned).collect();
    ids.insert(caller.client_id().to_owned());
    ids.insert(wanted.to_owned());
    let keys: Vec<_> = ids
        .iter()
        .flat_map(|id| [Key::of::<AgentRecord>(id), Key::of::<ClientRecord>(id)])
        .collect();
    let rows = world.store().snapshot(&keys).await?;
    let (mut agents, mut clients) = (Vec::new(), Vec::new());
    for id in &ids {
        agents.extend(rows.get::<AgentRecord>(id)?);
        clients.extend(rows.get::<ClientRecord>(id)?);
    }
    Ok(People { agents, clients })
}

/// What the caller may do as a client: an agent's facet, or the scope that a client registered.
fn facet(agent: Option<&Stored<AgentRecord>>, client: Option<&Stored<ClientRecord>>) -> Facet {
    match (agent, client) {
        (Some(agent), _) => agent.entry.client.clone(),
        (None, Some(client)) => {
            let scope = Some(client.metadata.scope.clone()).filter(|scope| !scope.is_empty());
            Facet { scope_max: scope, ..Facet::default() }
        }
        (None, None) => Facet::default(),
    }
}

/// How an identifier stands. What has the form of ours and is not in the registry is unknown, not
/// foreign.
fn standing<'a>(id: &str, people: &'a People) -> Standing<'a> {
    if let Some(agent) = people.agents.iter().find(|agent| agent.id.as_str() == id) {
        return Standing::Agent(&agent.lifecycle);
    }
    if let Some(client) = people.clients.iter().find(|client| client.client_id == id) {
        return Standing::Client(client.is_enabled().map_err(|refusal| refusal.to_string()));
    }
    let ours =
        id.starts_with("spiffe://") || id.starts_with("wimse://") || id.starts_with("client-");
    if ours { Standing::Unknown } else { Standing::Foreign }
}

pub(crate) fn principal(
    id: &str,
    agent: Option<&AgentRecord>,
    client: Option<&Stored<ClientRecord>>,
) -> Principal {
    match (agent, client) {
        (Some(agent), _) => {
            let kind = match agent.entry.kind {
                Kind::Agent => PrincipalKind::Agent,
                Kind::Service => PrincipalKind::Service,
            };
            let (name, owner) = (agent.entry.name.to_string(), agent.entry.owner.clone());
            Principal::new(kind, id, name, owner, agent.entry.capabilities.iter().cloned())
        }
        (None, Some(client)) => {
            let name = client.metadata.client_name.clone().unwrap_or_default();
            Principal::new(PrincipalKind::Client, id, name, String::new(), Vec::new())
        }
        (None, None) => Principal::new(PrincipalKind::Client, id, "", "", Vec::new()),
    }
}

fn circumstances(proposal: &Proposal, tokens: &Tokens, asked: &Asked<'_>) -> Circumstances {
    let names = |scope: &ScopeSet| scope.iter().map(ToString::to_string).collect();
    let own = proposal.subject() == proposal.client_id();
    Circumstances {
        scope: names(proposal.scope()),
        granted: tokens.subject.as_ref().map(|one| names(one.scope())).unwrap_or_default(),
        subject: if own { String::new() } else { proposal.subject().to_owned() },
        actors: proposal.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect(),
        proof: asked.caller.method().name().to_owned(),
        transport: asked.caller.transport().map(ToString::to_string).unwrap_or_default(),
        autonomous: own,
        ..Circumstances::at(asked.now)
    }
}

/// Builds, checks and signs what was permitted.
async fn make<W: World>(
    world: &W,
    facts: &Basis,
    permitted: &Permitted,
    asked: &Asked<'_>,
    record: &mut Record,
) -> Result<Result<TokenResponse, Refusal>, Unavailable> {
    use authorization::Sanctioned;
    let proposal = permitted.proposal();
    record.rules = permitted.permit().rules().to_vec();
    let purpose = match proposal.kind() {
        TokenKind::Access => Purpose::AccessToken,
        TokenKind::Transaction => Purpose::TxnToken,
    };
    let ring = ring(facts, purpose)?;
    let key = sign::signer(&ring, asked.now)?;
    let issuing = issuing(world, facts, asked, key);
    let signed = sign_token(world, permitted, &issuing, purpose, key, record).await?;
    let token = match signed {
        Ok(token) => token,
        Err(fault) => return Ok(Err(Refusal::Unmakeable(fault.to_string()))),
    };
    let (root, parent, epoch) = issuing.lineage(proposal.lineage());
    record.jti = Some(issuing.jti.clone());
    record.root = Some(root.to_owned());
    record.parent = parent.map(str::to_owned);
    record.epoch = Some(epoch);
    let (token_type, issued) = match proposal.kind() {
        TokenKind::Access => (TokenUse::Bearer, TokenType::AccessToken),
        TokenKind::Transaction => (TokenUse::NotApplicable, TokenType::TxnToken),
    };
    let exchanged = matches!(asked.call.request, TokenRequest::TokenExchange(_));
    Ok(Ok(TokenResponse {
        expires_in: Some(proposal.expires().since(asked.now).seconds()),
        scope: Some(proposal.scope().clone()).filter(|scope| !scope.is_empty()),
        issued_token_type: exchanged.then_some(issued),
        ..TokenResponse::new(token.expose().to_owned(), token_type)
    }))
}

fn issuing<'a, W: World>(
    world: &W,
    facts: &Basis,
    asked: &'a Asked<'_>,
    key: &'a AuthorityKey,
) -> Issuing<'a> {
    Issuing {
        issuer: asked.issuer,
        jti: public_id(world),
        fresh_root: public_id(world),
        epoch: facts.epoch.0,
        now: asked.now,
        kid: &key.kid,
        algorithm: ALGORITHM,
    }
}

async fn sign_token<W: World>(
    world: &W,
    permitted: &Permitted,
    issuing: &Issuing<'_>,
    purpose: Purpose,
    key: &AuthorityKey,
    record: &mut Record,
) -> Result<Result<TokenText, access_token::Fault>, Unavailable> {
    let handle = sign::handle(purpose, key);
    if purpose == Purpose::AccessToken {
        return match access_token::build(permitted, issuing) {
            Ok(checked) => sign::token(world, &handle, checked).await.map(Ok),
            Err(fault) => Ok(Err(fault)),
        };
    }
    let fresh = public_id(world);
    match txn_token::build(permitted, issuing, &fresh) {
        Ok((txn, checked)) => {
            record.txn = Some(txn);
            sign::token(world, &handle, checked).await.map(Ok)
        }
        Err(fault) => Ok(Err(fault)),
    }
}

fn describe_caller(record: &mut Record, caller: &Caller, facts: &Basis) {
    record.agent = Some(caller.client_id().to_owned());
    record.proof = Some(caller.method().name().to_owned());
    record.transport = caller.transport().map(ToString::to_string);
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    if let Who::Client(_) = caller.who() {
        record.attestation.insert("client".to_owned(), "registered key".to_owned());
    }
}

fn describe_tokens(record: &mut Record, tokens: &Tokens) {
    record.action = tokens.grant.action().to_owned();
    if let Some(subject) = &tokens.subject {
        record.root = Some(subject.root().to_owned());
        record.parent = Some(subject.jti().to_owned());
        record.subject = Some(subject.subject().to_owned());
        record.txn = subject.txn().map(str::to_owned);
    }
}

fn describe_proposal(record: &mut Record, proposal: &Proposal) {
    record.subject = Some(proposal.subject().to_owned());
    record.actors = proposal.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect();
    record.resource = Some(proposal.audience().to_owned());
}

fn refuse(record: &mut Record, refusal: &Refusal) {
    let needs = match refusal {
        Refusal::Denied(denial) => {
            record.rules.clone_from(&denial.rules);
            (!denial.needs.is_empty()).then(|| denial.needs.join("; or "))
        }
        _ => None,
    };
    refused(record, refusal.check(), refusal, needs);
}
