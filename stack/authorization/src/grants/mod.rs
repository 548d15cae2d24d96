//! The grants, and the table of the checks that each of them must pass. A new grant is a new
//! column here: what the old ones had, it cannot lack unseen (docs/past-defects.md, family 4).

pub mod authorization_code;
pub mod checks;
pub mod client_credentials;
pub mod jwt_bearer;
pub mod refresh_token;
pub mod token_exchange;
pub mod transaction;
pub mod waited;

use std::collections::BTreeMap;

use authentication::Caller;
use credential::policy::Lifetimes;
use jose::{Thumbprint, named};
use oauth::act::Act;
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::{CertificateThumbprint, Confirmation};
use oauth::pkce::{CodeVerifier, PkceRefused};
use oauth::token_request::GrantType;
use oauth::{ScopeSet, SubjectText};
use provisioning::{Epoch, Lifecycle, NotInForce};
use serde_json::Value;
use time::UnixTime;

use crate::audience::Audience;
use crate::client::Facet;
use crate::granted::refresh::{self, Shown};
use crate::granted::{Code, Ended, GrantRecord, NotYet, Over, Waited, code};
use crate::policy::{Delegation, Proof};
use crate::presented::Presented;
use crate::proposal::Proposal;

pub use checks::{CHECKS, Check};
pub use jwt_bearer::Asserted;

/// A grant of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 8693, for an access token.
    Exchange,
    /// RFC 8693, for a transaction token.
    Transaction,
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 7523 §2.1.
    JwtBearer,
    /// RFC 8628 §3.4.
    DeviceCode,
    /// CIBA Core 1.0 §10.1.
    Ciba,
    /// Deferred token response, a draft.
    Deferred,
    /// draft-rosomakho-oauth-txn-challenge §5.3.
    Challenge,
}

impl Grant {
    /// All of them, for tables.
    pub const ALL: [Self; 10] = [
        Self::ClientCredentials,
        Self::Exchange,
        Self::Transaction,
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::JwtBearer,
        Self::DeviceCode,
        Self::Ciba,
        Self::Deferred,
        Self::Challenge,
    ];

    /// The name in tables and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Exchange => "token_exchange",
            Self::Transaction => "txn_token",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::JwtBearer => "jwt_bearer",
            Self::DeviceCode => "device_code",
            Self::Ciba => "ciba",
            Self::Deferred => "deferred",
            Self::Challenge => "challenge",
        }
    }

    /// Whether it goes on using what was granted and stored before.
    pub const fn is_of_a_stored_grant(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::RefreshToken) || self.waits()
    }

    /// Whether it comes of somebody's answer that the client waited for.
    pub const fn waits(self) -> bool {
        matches!(self, Self::DeviceCode | Self::Ciba | Self::Deferred | Self::Challenge)
    }

    /// The action that the PDP is asked about.
    pub const fn action(self) -> &'static str {
        match self {
            Self::ClientCredentials
            | Self::AuthorizationCode
            | Self::RefreshToken
            | Self::JwtBearer
            | Self::DeviceCode
            | Self::Ciba
            | Self::Deferred
            | Self::Challenge => "token.issue",
            Self::Exchange | Self::Transaction => "token.exchange",
        }
    }
}

impl From<Grant> for GrantType {
    /// The name that a client registers it by.
    fn from(grant: Grant) -> Self {
        match grant {
            Grant::ClientCredentials => Self::ClientCredentials,
            Grant::Exchange | Grant::Transaction => Self::TokenExchange,
            Grant::AuthorizationCode => Self::AuthorizationCode,
            Grant::RefreshToken => Self::RefreshToken,
            Grant::JwtBearer => Self::JwtBearer,
            Grant::DeviceCode => Self::DeviceCode,
            Grant::Ciba => Self::Ciba,
            Grant::Deferred | Grant::Challenge => Self::Deferred,
        }
    }
}

/// How somebody stands whom a token concerns.
#[derive(Clone, Debug)]
pub enum Standing<'a> {
    /// An agent or service of the registry.
    Agent(&'a Lifecycle),
    /// A registered client: the lowest number that counts for it; the refusal of a disabled one.
    Client(Result<Epoch, String>),
    /// A person.
    User(&'a Lifecycle),
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
    /// The first id of the subject token's lineage, or of the grant, that was ended.
    pub ended: Option<&'a Ended>,
    /// What the client was granted, where the request leads to that.
    pub held: Option<&'a GrantRecord>,
    /// The code that led there.
    pub code: Option<Redeemed<'a>>,
    /// What its refresh token leads to.
    pub refresh: Option<&'a Result<Shown, refresh::Refusal>>,
    /// What the client waited with.
    pub waited: Option<&'a Waited>,
    /// The assertion of another issuer.
    pub assertion: Option<&'a Asserted>,
    /// `authorization_details` of the request.
    pub authorization_details: Option<&'a AuthorizationDetails>,
    /// `requested_cnf`: the key of whoever will use the token.
    pub requested_cnf: Option<&'a Confirmation>,
    /// The key of the request's DPoP proof.
    pub key: Option<Thumbprint>,
    /// The certificate of the caller's channel, as RFC 8705 §3.1 names it.
    pub certificate: Option<CertificateThumbprint>,
    /// What the attestation of the caller came to, for targets whose policy asks for it.
    pub attested: BTreeMap<String, Value>,
    /// `[delegation]`.
    pub delegation: &'a Delegation,
    /// `[lifetimes]`.
    pub lifetimes: &'a Lifetimes,
    /// Now.
    pub now: UnixTime,
}

impl<'a> Context<'a> {
    /// A request that brings nothing, of a caller that nobody knows.
    pub fn bare(
        grant: Grant,
        caller: &'a Caller,
        facet: &'a Facet,
        delegation: &'a Delegation,
        lifetimes: &'a Lifetimes,
        now: UnixTime,
    ) -> Self {
        Self {
            grant,
            caller,
            standing: Standing::Unknown,
            facet,
            allowed: None,
            target: None,
            target_standing: Standing::Unknown,
            scope: None,
            subject: None,
            concerned: Vec::new(),
            actor: None,
            ended: None,
            held: None,
            code: None,
            refresh: None,
            waited: None,
            assertion: None,
            authorization_details: None,
            requested_cnf: None,
            key: None,
            certificate: None,
            attested: BTreeMap::new(),
            delegation,
            lifetimes,
            now,
        }
    }
}

impl Context<'_> {
    /// The key that the client shows, or that the issuer of its assertion says it has.
    fn shown_key(&self) -> Option<Thumbprint> {
        if let Some(Confirmation::Key(key)) = self.requested_cnf {
            return Some(*key);
        }
        self.key.or_else(|| match self.assertion?.cnf {
            Some(Confirmation::Key(key)) => Some(key),
            _ => None,
        })
    }

    /// The same of its certificate. What an assertion says comes before what the channel shows.
    fn shown_certificate(&self) -> Option<CertificateThumbprint> {
        if let Some(Confirmation::Certificate(certificate)) = self.requested_cnf {
            return Some(*certificate);
        }
        match self.assertion.and_then(|asserted| asserted.cnf.as_ref()) {
            Some(Confirmation::Certificate(certificate)) => Some(*certificate),
            _ => self.certificate,
        }
    }
}

/// A code, and what came with it.
#[derive(Clone, Copy, Debug)]
pub struct Redeemed<'a> {
    /// The code as it is stored.
    pub code: &'a Code,
    /// `redirect_uri` of the request.
    pub redirect_uri: Option<&'a str>,
    /// `code_verifier`.
    pub verifier: Option<&'a CodeVerifier>,
}

/// Runs the checks of the grant in the order of the table, then the grant.
pub fn propose(context: &Context<'_>) -> Result<Proposal, Refusal> {
    for (check, grants) in CHECKS {
        if grants.contains(&context.grant) {
            (check.run)(context)?;
        }
    }
    let mut proposal = match context.grant {
        Grant::ClientCredentials => client_credentials::decide(context),
        Grant::Exchange => token_exchange::decide(context),
        Grant::Transaction => transaction::decide(context),
        Grant::AuthorizationCode => authorization_code::decide(context),
        Grant::RefreshToken => refresh_token::decide(context),
        Grant::JwtBearer => jwt_bearer::decide(context),
        Grant::DeviceCode | Grant::Ciba | Grant::Deferred | Grant::Challenge => {
            waited::decide(context)
        }
    }?;
    // S4 §10.2: "The access token typically includes additional claims to convey contextual,
    // attestation-derived, or policy-related information that enables fine-grained access control."
    // For those whose policy asks for it and nobody else.
    if context.target.is_some_and(|target| target.attestation) {
        proposal.details.clone_from(&context.attested);
    }
    Ok(proposal)
}

/// What the token is bound to: what its target demands, or the key that the client shows.
fn binding(context: &Context<'_>) -> Option<Confirmation> {
    match context.target?.proof {
        Proof::Mtls => context.shown_certificate().map(Confirmation::Certificate),
        // RFC 9449 §5: "the authorization server MUST associate the issued access token with the
        // public key from the DPoP proof."
        Proof::Dpop | Proof::Bearer => context.shown_key().map(Confirmation::Key),
        Proof::Wit => None,
    }
}

/// The `authorization_details` of the token: what was asked for, which the checks found to be
/// within what is held, or all of that.
fn details_of(
    context: &Context<'_>,
    held: Option<&AuthorizationDetails>,
) -> Option<AuthorizationDetails> {
    context.authorization_details.or(held).cloned()
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
    #[error(
        "the client may not use the grant `{grant}`; it registered {}",
        named(allowed.iter().map(|one| one.as_str()))
    )]
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
    /// Policy lets the client ask for no key but its own.
    #[error("policy lets `{0}` ask for no token that another holds the key of (`requested_cnf`)")]
    CnfNotAllowed(String),
    /// The target demands another proof than the requested one.
    #[error("`requested_cnf` does not fit: the target demands `{0}`")]
    CnfUnfit(&'static str),
    /// Another key was shown than is asked for.
    #[error("`requested_cnf` is not the key of the DPoP proof")]
    CnfIsOther,
    /// The chain would be too long.
    #[error("{depth} actors in the chain, policy allows {allowed}")]
    TooDeep {
        /// How many there would be.
        depth: usize,
        /// How many policy allows.
        allowed: usize,
    },
    /// There is no answer yet, or there will be none.
    #[error(transparent)]
    Wait(#[from] NotYet),
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
    /// The target demands a proof that the caller did not bring.
    #[error("tokens for this target are bound to a DPoP key: send a `DPoP` proof")]
    NoDpopProof,
    /// The client is bound to DPoP otherwise than the target.
    #[error(
        "a DPoP proof, and tokens for this target are bound by `{0}`: they are not bound twice"
    )]
    BoundOtherwise(&'static str),
    /// What the token is made of ended before its time.
    #[error("`{id}`, that it comes from, was ended: {why}")]
    Ended {
        /// Which id.
        id: String,
        /// Why.
        why: String,
    },
    /// No such code or refresh token, or none of this server.
    #[error("the code or refresh token is not one of this server, or its grant is gone")]
    NotHeld,
    /// The code or refresh token was given to another client.
    #[error("the grant is of another client")]
    GrantOfOther,
    /// The code is used up or too old.
    #[error(transparent)]
    Code(#[from] code::Stale),
    /// Not the redirect URI of the request.
    #[error("`redirect_uri` is not the one of the authorization request")]
    OtherRedirectUri,
    /// PKCE.
    #[error(transparent)]
    Verifier(#[from] PkceRefused),
    /// The code or the refresh token is bound to a key, and another one was shown, or none.
    #[error("the grant is bound to a key or certificate, and this request shows another or none")]
    OtherKey,
    /// The grant is over.
    #[error(transparent)]
    Over(#[from] Over),
    /// The refresh token.
    #[error(transparent)]
    Refresh(#[from] refresh::Refusal),
    /// The grant does not cover the target.
    #[error(
        "nothing was granted for `{target}`; granted is {}",
        named(granted.iter().map(String::as_str))
    )]
    TargetNotGranted {
        /// What was asked for.
        target: String,
        /// For what there are rights.
        granted: Vec<String>,
    },
    /// Wider than what was granted.
    #[error("scope `{asked}` is wider than `{granted}`, that was granted")]
    ScopeOfGrant {
        /// What was asked for.
        asked: ScopeSet,
        /// What was granted.
        granted: ScopeSet,
    },
    /// `authorization_details` of a type or form that the target does not have.
    #[error("{0}")]
    DetailsUnknown(String),
    /// `authorization_details` wider than what is held.
    #[error("`authorization_details` are wider than what was granted")]
    DetailsTooWide,
    /// An assertion that gives nothing.
    #[error("the assertion: {0}")]
    Assertion(#[from] jwt_bearer::NotAccepted),
    /// The target demands a proof of identity, and the caller is no workload.
    #[error("tokens for this target are for workloads with a WIT; this client has none")]
    NoWorkload,
}

impl Refusal {
    /// Whether it shows that two hold what one should, so that the grant is ended. RFC 6749 §4.1.2:
    /// "If an authorization code is used more than once, the authorization server MUST deny the
    /// request and SHOULD revoke (when possible) all tokens previously issued based on that
    /// authorization code." RFC 9700 §4.14.2 says the same of refresh tokens.
    pub const fn ends_the_grant(&self) -> bool {
        matches!(
            self,
            Self::Code(code::Stale::Used { .. }) | Self::Refresh(refresh::Refusal::Reused)
        )
    }

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
            Self::CnfNotAllowed(_) => "grants::CnfNotAllowed",
            Self::CnfUnfit(_) => "grants::CnfUnfit",
            Self::CnfIsOther => "grants::CnfIsOther",
            Self::ActorIsOther { .. } => "grants::ActorIsOther",
            Self::TooDeep { .. } => "grants::TooDeep",
            Self::NoActor => "grants::NoActor",
            Self::NoScope => "grants::NoScope",
            Self::ScopeUnknown { .. } => "grants::ScopeUnknown",
            Self::ScopeOfClient { .. } => "grants::ScopeOfClient",
            Self::ScopeOfSubject { .. } => "grants::ScopeOfSubject",
            Self::NoCertificate => "grants::NoCertificate",
            Self::NoWorkload => "grants::NoWorkload",
            Self::NoDpopProof => "grants::NoDpopProof",
            Self::BoundOtherwise(_) => "grants::BoundOtherwise",
            Self::Ended { .. } => "grants::Ended",
            Self::NotHeld => "grants::NotHeld",
            Self::Wait(NotYet::Pending) => "grants::Pending",
            Self::Wait(NotYet::TooSoon { .. }) => "grants::TooSoon",
            Self::Wait(NotYet::Denied) => "grants::Denied",
            Self::Wait(NotYet::Expired { .. }) => "grants::WaitExpired",
            Self::Wait(NotYet::Used { .. }) => "grants::WaitUsed",
            Self::Wait(NotYet::Pushed) => "grants::Pushed",
            Self::GrantOfOther => "grants::GrantOfOther",
            Self::Code(code::Stale::Used { .. }) => "grants::CodeUsed",
            Self::Code(code::Stale::Expired { .. }) => "grants::CodeExpired",
            Self::OtherRedirectUri => "grants::OtherRedirectUri",
            Self::Verifier(_) => "grants::Verifier",
            Self::OtherKey => "grants::OtherKey",
            Self::Over(_) => "grants::Over",
            Self::Refresh(refresh::Refusal::Reused) => "grants::RefreshReused",
            Self::Refresh(_) => "grants::Refresh",
            Self::TargetNotGranted { .. } => "grants::TargetNotGranted",
            Self::ScopeOfGrant { .. } => "grants::ScopeOfGrant",
            Self::DetailsUnknown(_) => "grants::DetailsUnknown",
            Self::DetailsTooWide => "grants::DetailsTooWide",
            Self::Assertion(_) => "grants::Assertion",
        }
    }
}
