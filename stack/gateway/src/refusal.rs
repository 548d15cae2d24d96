//! Why a call is not let through: one variant a check, and what each is on the wire.

use authentication::ProofRefusal;
use oauth::Scope;
use provisioning::NotInForce;
use time::{Span, UnixTime};

use crate::call::PathError;
use crate::mapping::MapRefusal;

/// A refusal. The caller is told the message; the record has it all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A path that reads in two ways.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No such resource.
    #[error("no resource `{name}` here")]
    NoResource {
        /// The first segment of the path.
        name: String,
    },
    /// No token, so nothing to be wrong with it.
    #[error("no access token")]
    NoToken,
    /// More than one token, or one in the wrong place.
    #[error("the authorization of the request does not read: {why}")]
    BadRequest {
        /// What is wrong.
        why: String,
    },
    /// A text in the token's place that no key of ours signed: anybody may have written it.
    #[error("no access token of this issuer: {why}")]
    ForeignToken {
        /// What is wrong.
        why: String,
    },
    /// The token has ended, or is for another audience.
    #[error("the access token is not valid here: {why}")]
    Token {
        /// What is wrong.
        why: String,
    },
    /// The proof that must come with the token is missing or wrong.
    #[error(transparent)]
    Proof(#[from] ProofRefusal),
    /// The DPoP proof that must come with the token is missing or wrong.
    #[error("the DPoP proof: {0}")]
    Dpop(#[from] oauth::dpop::ProofRefused),
    /// The token is bound to a key, and came as if it were not, or the other way round.
    #[error("{why}")]
    Scheme {
        /// What is wrong.
        why: &'static str,
    },
    /// Something that the token came from was ended before its time, or the token itself.
    #[error("`{id}` was ended: {why}")]
    Ended {
        /// Which id of its lineage.
        id: String,
        /// Why.
        why: String,
    },
    /// The client is disabled.
    #[error("`{who}`: {why}")]
    Disabled {
        /// Which.
        who: String,
        /// Since when.
        why: String,
    },
    /// The proof was seen before.
    #[error("the proof was used before")]
    Replayed,
    /// The DPoP proof was seen before.
    #[error("the DPoP proof was used before")]
    DpopReplayed,
    /// The token is for one approved call, which was made.
    #[error("the access token is for one approved call, and that was made")]
    Spent,
    /// Somebody the token concerns is suspended or ended, or the token is older than that.
    #[error("`{who}`: {why}")]
    NotInForce {
        /// Whom it concerns.
        who: String,
        /// Why it does not count.
        why: NotInForce,
    },
    /// Somebody the token concerns is not in the registry.
    #[error("`{who}` is not in the registry")]
    NotRegistered {
        /// Whom it concerns.
        who: String,
    },
    /// The token's scope is too narrow.
    #[error("the access token lacks the scope `{scope}`")]
    Scope {
        /// What it would need.
        scope: Scope,
    },
    /// What is asked for is not understood.
    #[error(transparent)]
    Map(#[from] MapRefusal),
    /// Policy says no.
    #[error("{message}")]
    Denied {
        /// What the decision says.
        message: String,
        /// The rules that forbid, if any does.
        rules: Vec<String>,
        /// What would be needed.
        needs: Option<String>,
        /// The policy version.
        policy: String,
    },
    /// The token is for one call that was approved, and this is another one.
    #[error("the access token is for one approved call, and this is another: {why}")]
    OtherCall {
        /// What is different.
        why: String,
    },
    /// A human must approve this call first.
    #[error("policy {policy} wants a human to approve this call first")]
    Approval {
        /// The rules' policy version.
        policy: String,
    },
    /// The user must authenticate more strongly (RFC 9470).
    #[error("policy {policy} wants the user to authenticate as `{acr}`")]
    StepUp {
        /// How.
        acr: String,
        /// The rules' policy version.
        policy: String,
    },
    /// Revocations could have been missed.
    #[error("the server was last heard at {heard}, not within {} seconds", .bound.seconds())]
    FeedLost {
        /// When.
        heard: UnixTime,
        /// The bound.
        bound: Span,
    },
}

/// What a refusal is on the wire, before any protocol's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// 400: it does not read.
    Malformed,
    /// 400 `invalid_request`: what is to authorize it does not read (RFC 6750 §3.1).
    InvalidRequest,
    /// 401 without an error code: authenticate (RFC 6750 §3.1).
    Authenticate,
    /// 401 `invalid_token`.
    InvalidToken,
    /// 400: the proof is missing or wrong (workload-creds §5.2, WPT §2.1).
    InvalidProof,
    /// 401 `invalid_dpop_proof` (RFC 9449 §7.1).
    InvalidDpopProof,
    /// 401 `use_dpop_nonce` (RFC 9449 §9).
    UseDpopNonce,
    /// 403 `insufficient_scope`.
    InsufficientScope(Scope),
    /// 401 `insufficient_user_authentication` (RFC 9470 §3).
    InsufficientAuthentication(String),
    /// 401 `transaction_authorization_required`, where the client takes a challenge; else 403.
    ApprovalRequired,
    /// 403: policy says no.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 503: ask again later.
    Unavailable,
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Path(_) => "gateway::Path",
            Self::NoResource { .. } => "gateway::NoResource",
            Self::NoToken => "gateway::NoToken",
            Self::BadRequest { .. } => "gateway::BadRequest",
            Self::ForeignToken { .. } => "gateway::ForeignToken",
            Self::Token { .. } => "gateway::Token",
            Self::Proof(_) => "gateway::Proof",
            Self::Dpop(_) => "gateway::Dpop",
            Self::Scheme { .. } => "gateway::Scheme",
            Self::Ended { .. } => "gateway::Ended",
            Self::Disabled { .. } => "gateway::Disabled",
            Self::Replayed => "gateway::Replayed",
            Self::DpopReplayed => "gateway::DpopReplayed",
            Self::Spent => "gateway::Spent",
            Self::NotInForce { .. } => "gateway::NotInForce",
            Self::NotRegistered { .. } => "gateway::NotRegistered",
            Self::Scope { .. } => "gateway::Scope",
            Self::Map(_) => "gateway::Map",
            Self::Denied { .. } => "gateway::Denied",
            Self::OtherCall { .. } => "gateway::OtherCall",
            Self::Approval { .. } => "gateway::Approval",
            Self::StepUp { .. } => "gateway::StepUp",
            Self::FeedLost { .. } => "gateway::FeedLost",
        }
    }

    /// The one table from refusals to the wire.
    pub fn status(&self) -> Status {
        match self {
            Self::Path(_) => Status::Malformed,
            Self::BadRequest { .. } => Status::InvalidRequest,
            Self::NoResource { .. } => Status::NotFound,
            // RFC 6750 §3.1: "If the request lacks any authentication information … the resource
            // server SHOULD NOT include an error code".
            Self::NoToken => Status::Authenticate,
            Self::ForeignToken { .. }
            | Self::Token { .. }
            | Self::Scheme { .. }
            | Self::Ended { .. }
            | Self::Disabled { .. }
            | Self::NotInForce { .. }
            | Self::NotRegistered { .. }
            | Self::Spent => Status::InvalidToken,
            // RFC 8705 §3: "the resource access attempt MUST be rejected with an error, per
            // [RFC6750], using an HTTP 401 status code and the "invalid_token" error code."
            Self::Proof(proof) if proof.is_of_certificate() => Status::InvalidToken,
            Self::Proof(_) | Self::Replayed => Status::InvalidProof,
            Self::Dpop(refused) if refused.asks_for_nonce() => Status::UseDpopNonce,
            Self::Dpop(_) | Self::DpopReplayed => Status::InvalidDpopProof,
            Self::Scope { scope } => Status::InsufficientScope(scope.clone()),
            Self::Map(MapRefusal::HttpMethod { .. }) => Status::MethodNotAllowed,
            Self::Map(MapRefusal::NoAction { .. } | MapRefusal::RpcMethod { .. })
            | Self::Denied { .. } => Status::Forbidden,
            Self::Map(_) => Status::Malformed,
            Self::OtherCall { .. } => Status::Forbidden,
            Self::Approval { .. } => Status::ApprovalRequired,
            Self::StepUp { acr, .. } => Status::InsufficientAuthentication(acr.clone()),
            Self::FeedLost { .. } => Status::Unavailable,
        }
    }

    /// True when the caller proved nothing: such refusals are counted, not recorded one by one. A
    /// gateway that lost the feed looks at nobody's proof.
    pub const fn is_strangers(&self) -> bool {
        matches!(
            self,
            Self::Path(_)
                | Self::NoResource { .. }
                | Self::NoToken
                | Self::ForeignToken { .. }
                | Self::BadRequest { .. }
                | Self::FeedLost { .. }
        )
    }
}
