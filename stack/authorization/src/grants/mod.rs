//! The grants, and the table of the checks that each of them must pass. A new grant is a new
//! column here: what the old ones had, it cannot lack unseen (docs/past-defects.md, family 4).

pub mod checks;
pub mod client_credentials;
pub mod token_exchange;
pub mod transaction;

use authentication::Caller;
use credential::policy::Lifetimes;
use oauth::act::Act;
use oauth::token_request::GrantType;
use oauth::{ScopeSet, SubjectText};
use provisioning::{Lifecycle, NotInForce};
use time::UnixTime;

use crate::audience::Audience;
use crate::client::Facet;
use crate::policy::Delegation;
use crate::presented::Presented;
use crate::proposal::Proposal;

pub use checks::{CHECKS, Check};

/// A grant of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 8693, for an access token.
    Exchange,
    /// RFC 8693, for a transaction token.
    Transaction,
}

impl Grant {
    /// All of them, for tables.
    pub const ALL: [Self; 3] = [Self::ClientCredentials, Self::Exchange, Self::Transaction];

    /// The name in tables and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Exchange => "token_exchange",
            Self::Transaction => "txn_token",
        }
    }

    /// The action that the PDP is asked about.
    pub const fn action(self) -> &'static str {
        match self {
            Self::ClientCredentials => "token.issue",
            Self::Exchange | Self::Transaction => "token.exchange",
        }
    }
}

/// How somebody stands whom a token concerns.
#[derive(Clone, Debug)]
pub enum Standing<'a> {
    /// An agent or service of the registry.
    Agent(&'a Lifecycle),
    /// A registered client; the refusal of a disabled one.
    Client(Result<(), String>),
    /// Not one of ours by its form: a user of another issuer, the name of a resource.
    Foreign,
    /// It has the form of ours, and is not in the registry.
    Unknown,
}

/// All that a grant may look at: the request, the caller, the facts.
#[derive(Debug)]
pub struct Context<'a> {
    /// Which grant.
    pub grant: Grant,
    /// Who asks.
    pub caller: &'a Caller,
    /// How the caller stands.
    pub standing: Standing<'a>,
    /// The caller's OAuth facet.
    pub facet: &'a Facet,
    /// The grants that a registered client may use; `None` for agents, whose policy decides.
    pub allowed: Option<&'a [GrantType]>,
    /// What the token is asked for, if it is known.
    pub target: Option<&'a Audience>,
    /// How the target stands, where it is an agent.
    pub target_standing: Standing<'a>,
    /// The scope asked for.
    pub scope: Option<&'a ScopeSet>,
    /// The token that is exchanged.
    pub subject: Option<&'a Presented>,
    /// How those stand whom that token concerns.
    pub concerned: Vec<(String, Standing<'a>)>,
    /// The token of the one who acts, where one was given.
    pub actor: Option<&'a Presented>,
    /// The certificate of the caller's channel, as RFC 8705 §3.1 names it.
    pub certificate: Option<String>,
    /// `[delegation]`.
    pub delegation: &'a Delegation,
    /// `[lifetimes]`.
    pub lifetimes: &'a Lifetimes,
    /// Now.
    pub now: UnixTime,
}

/// Runs the checks of the grant in the order of the table, then the grant.
pub fn propose(context: &Context<'_>) -> Result<Proposal, Refusal> {
    for (check, grants) in CHECKS {
        if grants.contains(&context.grant) {
            (check.run)(context)?;
        }
    }
    match context.grant {
        Grant::ClientCredentials => client_credentials::decide(context),
        Grant::Exchange => token_exchange::decide(context),
        Grant::Transaction => transaction::decide(context),
    }
}

/// Everybody who acted in what `subject` stands for, the last one outermost. Who asked for a
/// transaction token stands beside its actors, and is not dropped when the token is replaced.
// Transaction tokens §13.15: "MUST maintain the Call Chain of workloads that requested the
// Txn-Token being replaced in the subsequently issued Txn-Token. The mechanism for maintaining this
// Call Chain is out of scope for this specification."
fn actors(subject: &Presented) -> Result<Option<Act>, Refusal> {
    match subject.requested_by() {
        Some(asked) => wrap(subject.act().cloned(), asked).map(Some),
        None => Ok(subject.act().cloned()),
    }
}

/// The chain with one more actor.
fn wrap(prior: Option<Act>, actor: &str) -> Result<Act, Refusal> {
    let actor = SubjectText::parse(actor).map_err(|_| Refusal::NoActor)?;
    let Some(prior) = prior else { return Ok(Act::new(actor)) };
    let (depth, allowed) = (prior.depth() + 1, oauth::act::MAX_ACTORS);
    prior.wrap(actor).map_err(|_| Refusal::TooDeep { depth, allowed })
}

/// Why a grant gives nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller is suspended or ended, or its credential is older than that.
    #[error("the client is not in force: {0}")]
    CallerNotInForce(NotInForce),
    /// The caller is disabled.
    #[error("{0}")]
    CallerDisabled(String),
    /// The caller is not in the registry.
    #[error("the client `{0}` is not in the registry")]
    CallerUnknown(String),
    /// The client registered without this grant.
    #[error("the client may not use the grant `{grant}`; it registered {allowed:?}")]
    GrantNotAllowed {
        /// The grant.
        grant: GrantType,
        /// What it registered.
        allowed: Vec<GrantType>,
    },
    /// The target is not known.
    #[error("the target is not known here")]
    UnknownTarget,
    /// The target is an agent that is not in force.
    #[error("the target is not in force: {0}")]
    TargetNotInForce(NotInForce),
    /// No subject token.
    #[error("`subject_token` is missing")]
    NoSubject,
    /// The token to exchange was given to somebody else.
    #[error("the subject token is for `{audience}`, not for the client `{client}`")]
    SubjectForOther {
        /// Its audience.
        audience: String,
        /// Who presents it.
        client: String,
    },
    /// Somebody the subject token concerns is not in force.
    #[error("the subject token concerns `{who}`: {why}")]
    SubjectNotInForce {
        /// Whom.
        who: String,
        /// Why.
        why: String,
    },
    /// The subject token names who may act, and it is not the caller.
    #[error("the subject token lets only `{allowed}` act")]
    MayNotAct {
        /// Whom it names.
        allowed: String,
    },
    /// The actor token is somebody else's.
    #[error("the actor token is of `{actor}`, not of the client `{client}`")]
    ActorIsOther {
        /// Whose it is.
        actor: String,
        /// Who presents it.
        client: String,
    },
    /// The chain would be too long.
    #[error("{depth} actors in the chain, policy allows {allowed}")]
    TooDeep {
        /// How many there would be.
        depth: usize,
        /// How many policy allows.
        allowed: usize,
    },
    /// The client's id cannot stand in a chain.
    #[error("the client's id is too long for a chain of actors")]
    NoActor,
    /// A transaction token must say its purpose.
    #[error("`scope` is missing: a transaction token says its purpose")]
    NoScope,
    /// Scopes that the target does not have.
    #[error("scope `{asked}` is not among those of the target: `{known}`")]
    ScopeUnknown {
        /// What was asked for.
        asked: ScopeSet,
        /// What there is.
        known: ScopeSet,
    },
    /// Wider than the client may ever have.
    #[error("scope `{asked}` is wider than `{allowed}`, the widest of this client")]
    ScopeOfClient {
        /// What was asked for.
        asked: ScopeSet,
        /// What it may have.
        allowed: ScopeSet,
    },
    /// Wider than the token that is exchanged.
    #[error("scope `{asked}` is wider than `{held}`, that of the subject token")]
    ScopeOfSubject {
        /// What was asked for.
        asked: ScopeSet,
        /// What the token has.
        held: ScopeSet,
    },
    /// The target demands a proof that the caller cannot give.
    #[error("tokens for this target are bound to a certificate: ask for one over mutual TLS")]
    NoCertificate,
    /// The target demands a proof of identity, and the caller is no workload.
    #[error("tokens for this target are for workloads with a WIT; this client has none")]
    NoWorkload,
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::CallerNotInForce(_) => "grants::CallerNotInForce",
            Self::CallerDisabled(_) => "grants::CallerDisabled",
            Self::CallerUnknown(_) => "grants::CallerUnknown",
            Self::GrantNotAllowed { .. } => "grants::GrantNotAllowed",
            Self::UnknownTarget => "grants::UnknownTarget",
            Self::TargetNotInForce(_) => "grants::TargetNotInForce",
            Self::NoSubject => "grants::NoSubject",
            Self::SubjectForOther { .. } => "grants::SubjectForOther",
            Self::SubjectNotInForce { .. } => "grants::SubjectNotInForce",
            Self::MayNotAct { .. } => "grants::MayNotAct",
            Self::ActorIsOther { .. } => "grants::ActorIsOther",
            Self::TooDeep { .. } => "grants::TooDeep",
            Self::NoActor => "grants::NoActor",
            Self::NoScope => "grants::NoScope",
            Self::ScopeUnknown { .. } => "grants::ScopeUnknown",
            Self::ScopeOfClient { .. } => "grants::ScopeOfClient",
            Self::ScopeOfSubject { .. } => "grants::ScopeOfSubject",
            Self::NoCertificate => "grants::NoCertificate",
            Self::NoWorkload => "grants::NoWorkload",
        }
    }
}
