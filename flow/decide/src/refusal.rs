//! Why somebody who asks is told nothing, or no question is put: one variant a check.

use approval::bound::NotBound;
use authzen::access_request::ProblemType;
use pdp::Misfit;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token of who asks.
    #[error(transparent)]
    Caller(#[from] gateway::Refusal),
    /// The question does not read as one about a resource here.
    #[error(transparent)]
    Misfit(Misfit),
    /// The resource does not list who asks: whether it is there, they are not told.
    #[error("`{client}` may not ask for decisions about that resource")]
    NotListed {
        /// Who asks.
        client: String,
    },
    /// A path that reads in two ways.
    #[error(transparent)]
    Path(#[from] gateway::PathError),
    /// The denial is of somebody or something else, or made up.
    #[error(transparent)]
    NotBound(#[from] NotBound),
    /// Bound by other means than we give.
    #[error("a `binding_token` is not ours: none was given")]
    BindingToken,
    /// No denial is named.
    #[error("`denial.evaluation_id` is missing")]
    NoDenial,
    /// The denial is over.
    #[error("the denial could be asked for until {until}")]
    ExpiredDenial {
        /// Its end.
        until: time::UnixTime,
    },
    /// What is echoed of it is not what was told.
    #[error("`denial.expires_at` is not what was told")]
    OtherEnd,
    /// Nobody has to approve it, or nobody can.
    #[error("there is nothing to ask for: {0}")]
    NotRequestable(String),
    /// So many questions wait already.
    #[error("too many questions wait for who would be asked")]
    TooManyWait,
    /// The end that is wished for is over.
    #[error("`requested_access.requested_until` is over")]
    UntilOver,
    /// The key was used for another request.
    #[error("the `Idempotency-Key` was used for another request")]
    Duplicate,
    /// There is no such task for who asks.
    #[error("there is no such task")]
    UnknownTask,
    /// The task is over for good.
    #[error("the task was told of until {until}")]
    TaskExpired {
        /// Its end.
        until: time::UnixTime,
    },
    /// It was answered, or is over.
    #[error("{0}")]
    TaskState(String),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Caller(refusal) => refusal.check(),
            Self::Misfit(_) => "decide::Misfit",
            Self::NotListed { .. } => "decide::NotListed",
            Self::Path(_) => "decide::Path",
            Self::NotBound(_) => "decide::NotBound",
            Self::BindingToken => "decide::BindingToken",
            Self::NoDenial => "decide::NoDenial",
            Self::ExpiredDenial { .. } => "decide::ExpiredDenial",
            Self::OtherEnd => "decide::OtherEnd",
            Self::NotRequestable(_) => "decide::NotRequestable",
            Self::TooManyWait => "decide::TooManyWait",
            Self::UntilOver => "decide::UntilOver",
            Self::Duplicate => "decide::Duplicate",
            Self::UnknownTask => "decide::UnknownTask",
            Self::TaskExpired { .. } => "decide::TaskExpired",
            Self::TaskState(_) => "decide::TaskState",
        }
    }

    /// Its type, where the profile of access requests has one (Error Responses).
    pub const fn problem(&self) -> Option<ProblemType> {
        Some(match self {
            Self::NotBound(_) | Self::BindingToken | Self::NoDenial | Self::OtherEnd => {
                ProblemType::InvalidDenialBinding
            }
            Self::ExpiredDenial { .. } => ProblemType::ExpiredDenial,
            Self::NotRequestable(_) => ProblemType::NotRequestable,
            Self::Duplicate => ProblemType::DuplicateRequest,
            Self::UnknownTask => ProblemType::UnknownTask,
            Self::TaskExpired { .. } => ProblemType::TaskExpired,
            Self::TaskState(_) => ProblemType::InvalidTaskState,
            Self::Caller(_)
            | Self::Misfit(_)
            | Self::NotListed { .. }
            | Self::Path(_)
            | Self::TooManyWait
            | Self::UntilOver => return None,
        })
    }

    /// The HTTP status of those that have none of the profile's and are not about the token
    /// (AuthZEN §10.1.2).
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotListed { .. } => 403,
            Self::TooManyWait => 429,
            _ => 400,
        }
    }
}
