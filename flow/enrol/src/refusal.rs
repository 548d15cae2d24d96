//! Why an agent is not enrolled.

use attestation::Refusal as EvidenceRefusal;
use attestation::class::Shortfall;
use enrolment::Unfit;
use enrolment::session;
use flow::join;
use identifier::AgentName;
use provisioning::IssueRefusal;
use time::UnixTime;

use crate::enrol::INSTANCES_MAX;

/// Why an agent is not enrolled: one variant a check, in their order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy has no table `enrol`.
    #[error("enrolment is off: policy has no table `enrol`")]
    Off,
    /// Policy does not allow it.
    #[error("policy does not let an agent enrol by `{mechanism}`")]
    NotAllowed {
        /// The mechanism.
        mechanism: String,
    },
    /// The session.
    #[error(transparent)]
    Session(#[from] session::Refusal),
    /// PROV-07, and the evidence of the platform: as of a host that joins.
    #[error(transparent)]
    Proof(#[from] join::Refusal),
    /// The key in the request is of a kind that no credential can bind.
    #[error("the key of the request cannot be bound: {0}")]
    Key(String),
    /// The wrapper holds too much, or too little.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Evidence that any process of a host can show, believed on first use: nothing remembers the
    /// host here.
    #[error("evidence of `{mechanism}` is believed on first use, which only a host can have")]
    FirstUse {
        /// The mechanism.
        mechanism: &'static str,
    },
    /// No such agent.
    #[error("no agent `{0}`")]
    Unknown(AgentName),
    /// Policy does not know the risk class of the record.
    #[error("policy has no risk class `{0}`")]
    Class(String),
    /// The evidence, the record or policy says no.
    #[error(transparent)]
    Issue(#[from] IssueRefusal),
    /// What was asked for cannot be made.
    #[error("{0}")]
    Order(String),
    /// The nonce, or a value of the evidence that serves once.
    #[error("the {0} was used before")]
    Replayed(&'static str),
    /// CRED-11, and one identity a key.
    #[error("the key was used before; make a new one for each request")]
    KeyUsed,
    /// Policy or a document was changed between the decision and its commit.
    #[error("policy, or what is kept about the agent, changed meanwhile; enrol again")]
    Overtaken,
    /// Over [`INSTANCES_MAX`].
    #[error("{INSTANCES_MAX} instances of the agent are enrolled already")]
    TooMany,
    /// The result would end too soon to be worth anything.
    #[error("the attestation result ends at {until}, now is {now}; enrol again")]
    Ended {
        /// Its end.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Off => "enrol::Off",
            Self::NotAllowed { .. } => "enrol::NotAllowed",
            Self::Session(session::Refusal::NotOurs) => "session::NotOurs",
            Self::Session(session::Refusal::Expired { .. }) => "session::Expired",
            Self::Session(session::Refusal::OtherEvidence) => "session::OtherEvidence",
            Self::Session(session::Refusal::OtherKey) => "session::OtherKey",
            Self::Proof(refusal) => refusal.check(),
            Self::Key(_) => "enrol::Key",
            Self::Unfit(_) => "enrol::Unfit",
            Self::FirstUse { .. } => "enrol::FirstUse",
            Self::Unknown(_) => "enrol::Unknown",
            Self::Class(_) => "enrol::Class",
            Self::Issue(refusal) => issue_check(refusal),
            Self::Order(_) => "enrol::Order",
            Self::Replayed(_) => "enrol::Replayed",
            Self::KeyUsed => "enrol::KeyUsed",
            Self::Overtaken => "enrol::Overtaken",
            Self::TooMany => "enrol::TooMany",
            Self::Ended { .. } => "enrol::Ended",
        }
    }

    /// True when the asker proved nothing at all: such refusals are counted per source.
    pub const fn is_strangers(&self) -> bool {
        match self {
            Self::Off
            | Self::NotAllowed { .. }
            | Self::Session(_)
            | Self::Key(_)
            | Self::Unfit(_) => true,
            // Whoever has a token of a public issuer can have it refused again and again: what is
            // refused before an agent is found is counted, at whatever step.
            Self::Proof(_) => true,
            _ => false,
        }
    }
}

const fn issue_check(refusal: &IssueRefusal) -> &'static str {
    match refusal {
        IssueRefusal::NotInForce(_) => "provisioning::NotInForce",
        IssueRefusal::Node { .. } | IssueRefusal::NoNode => "provisioning::Node",
        IssueRefusal::Evidence { .. } => "provisioning::Evidence",
        IssueRefusal::RuleTooWeak { .. } => "provisioning::RuleTooWeak",
        IssueRefusal::Attestation(Shortfall::Contraindicated { .. }) => {
            "attestation::Contraindicated"
        }
        IssueRefusal::Attestation(Shortfall::Demand { .. }) => "attestation::Demand",
        IssueRefusal::Attestation(Shortfall::Fact { .. }) => "attestation::Fact",
        IssueRefusal::Kind { .. } => "provisioning::Kind",
    }
}

impl From<EvidenceRefusal> for Refusal {
    fn from(refusal: EvidenceRefusal) -> Self {
        Self::Proof(refusal.into())
    }
}
