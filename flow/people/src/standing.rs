//! Whether a person gets anything now, in words that are about people.

use provisioning::{Act, Epoch, NotInForce, State};
use registry::UserRecord;
use time::UnixTime;

/// What a person's state is called.
pub const fn state_name(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Suspended => "disabled",
        State::Revoked | State::Retired => "removed",
    }
}

/// What an operator does to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAct {
    /// Stop them for now.
    Disable,
    /// Let them in again.
    Enable,
    /// For good. The name stays taken.
    Remove,
}

impl UserAct {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Disable, Self::Enable, Self::Remove];

    /// Its name in paths and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Remove => "remove",
        }
    }

    /// The act of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == text)
    }

    /// The step of the lifecycle.
    pub(crate) const fn step(self) -> Act {
        match self {
            Self::Disable => Act::Suspend,
            Self::Enable => Act::Resume,
            Self::Remove => Act::Retire,
        }
    }
}

/// A person who gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// They were disabled or removed.
    #[error("the user `{user}` is {} since {since}", state_name(*.state))]
    State {
        /// Who.
        user: String,
        /// Their state.
        state: State,
        /// Since when.
        since: UnixTime,
    },
    /// What they show is of before they were disabled.
    #[error("of epoch {issued}; what `{user}` had before epoch {dead_before} ended")]
    Epoch {
        /// Who.
        user: String,
        /// The number that it carries.
        issued: Epoch,
        /// The lowest that counts.
        dead_before: Epoch,
    },
}

/// Refuses a person who is disabled or removed.
pub fn active(user: &UserRecord) -> Result<(), NotAdmitted> {
    user.lifecycle.is_active().map_err(|why| of(user, why))
}

/// Refuses what was given to a person under `issued`, if all of before has ended.
pub fn admits(user: &UserRecord, issued: Epoch) -> Result<(), NotAdmitted> {
    user.lifecycle.admits(Some(issued)).map_err(|why| of(user, why))
}

fn of(user: &UserRecord, why: NotInForce) -> NotAdmitted {
    let user = user.name.to_string();
    match why {
        NotInForce::State { state, since } => NotAdmitted::State { user, state, since },
        NotInForce::Epoch { issued, dead_before } => {
            NotAdmitted::Epoch { user, issued, dead_before }
        }
    }
}
