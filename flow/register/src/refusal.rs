//! Why a registration is not taken, and how such a request ends.

use authorization::profile::Unmet;
use env::{Change, CommitFault, Recorded, Store, Unavailable, World, Write};
use jose::{Malformed, Refused};
use monitoring::Record;
use oauth::client_metadata::ClientMetadataError;
use registry::ClientRefusal;
use registry::admission::Unadmitted;
use time::UnixTime;

use crate::record::refused;

/// Why nothing is registered, shown, changed or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody may register here.
    #[error("clients are registered by operators here: policy has `registration.dynamic` off")]
    Off,
    /// No token where one is needed.
    #[error("an initial access token is needed")]
    NoToken,
    /// It is none of ours, or of another client.
    #[error("the access token is not known here")]
    UnknownToken,
    /// It is over.
    #[error("the initial access token ended at {0}")]
    Expired(UnixTime),
    /// It was used as often as it may be.
    #[error("the initial access token was used as often as it may be")]
    UsedUp,
    /// Too many registered themselves, from there or altogether.
    #[error("too many clients registered themselves: come again in {wait} s")]
    TooMany {
        /// In so many seconds.
        wait: u64,
    },
    /// The metadata do not read.
    #[error(transparent)]
    Metadata(#[from] ClientMetadataError),
    /// Clients may not be so here.
    #[error(transparent)]
    Unadmitted(#[from] Unadmitted),
    /// Its profiles want more of it.
    #[error(transparent)]
    Profile(#[from] Unmet),
    /// There is no software statement, and policy wants one.
    #[error("`software_statement` is needed here")]
    NoStatement,
    /// The software statement does not read.
    #[error("`software_statement`: {0}")]
    StatementMalformed(#[from] Malformed),
    /// The software statement does not hold.
    #[error("`software_statement`: {0}")]
    Statement(#[from] Refused),
    /// Nobody whom policy trusts made it.
    #[error("`software_statement` of `{0}`, whose word does not count here")]
    StatementIssuer(String),
    /// An operator disabled the client: it cannot help itself (docs/past-defects.md 8).
    #[error(transparent)]
    Disabled(#[from] ClientRefusal),
    /// An operator's order about a client that is not there.
    #[error("no client `{0}`")]
    Unknown(String),
    /// An operator's order does not keep a bound.
    #[error("{0}")]
    Bound(String),
}

impl Refusal {
    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Off => "registration::Off",
            Self::NoToken => "registration::NoToken",
            Self::UnknownToken => "registration::UnknownToken",
            Self::Expired(_) => "registration::Expired",
            Self::UsedUp => "registration::UsedUp",
            Self::TooMany { .. } => "registration::TooMany",
            Self::Metadata(_) => "registration::Metadata",
            Self::Unadmitted(why) => why.check(),
            Self::Profile(unmet) => unmet.check(),
            Self::NoStatement => "registration::NoStatement",
            Self::StatementMalformed(_) => "registration::StatementMalformed",
            Self::Statement(_) => "registration::Statement",
            Self::StatementIssuer(_) => "registration::StatementIssuer",
            Self::Disabled(_) => "registration::Disabled",
            Self::Unknown(_) => "registration::Unknown",
            Self::Bound(_) => "registration::Bound",
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub enum End<T> {
    /// It was decided, and recorded.
    Decided(Recorded<Result<T, Refusal>>),
    /// Nobody proved anything, and nothing came of it: count it.
    Stranger(Refusal),
}

impl<T> End<T> {
    /// The same with what was done as something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> End<U> {
        match self {
            Self::Decided(recorded) => End::Decided(recorded.map(|end| end.map(change))),
            Self::Stranger(refusal) => End::Stranger(refusal),
        }
    }
}

/// Commits what was decided with its record; `None` when another commit came first.
pub(crate) async fn settle<W: World, T>(
    world: &W,
    mut record: Record,
    decided: Result<(T, Vec<Write>), Refusal>,
) -> Result<Option<Recorded<Result<T, Refusal>>>, Unavailable> {
    let (decided, writes) = match decided {
        Ok((value, writes)) => (Ok(value), writes),
        Err(refusal) => {
            refused(&mut record, refusal.check(), &refusal, None);
            (Err(refusal), Vec::new())
        }
    };
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    match world.store().commit(change).await {
        Ok(receipt) => Ok(Some(Recorded::new(decided, &receipt))),
        Err(CommitFault::Conflict(_)) => Ok(None),
        Err(CommitFault::Used(_)) => Err(Unavailable::of("store", "an unexpected second use")),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}
