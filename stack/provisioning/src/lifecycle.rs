//! An agent's life: one state, one transition function, one table (S1 §8; PROV-06).

use std::fmt;

use serde::{Deserialize, Serialize};
use time::UnixTime;

/// The number of revocations so far. Each one raises it; what was issued under a lower number than
/// that of an agent's last suspension is dead (docs/design.md §2, idea 6).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who keeps the private key of an agent's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyHolding {
    /// The node: the process gets its identity through the agent proxy and holds no key (SEC-01).
    Kept,
    /// The process gets it through the Workload API.
    Handed,
}

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It gets credentials, and they work.
    Active,
    /// It gets none, and those it had are dead; it can come back.
    Suspended,
    /// It was ended for a security reason; it does not come back.
    Revoked,
    /// It was ended in good order; it does not come back.
    Retired,
}

impl State {
    /// All states, for tables.
    pub const ALL: [Self; 4] = [Self::Active, Self::Suspended, Self::Revoked, Self::Retired];

    /// The name in rows and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an operator, or a signal, does to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Stop it for now.
    Suspend,
    /// Let it go on.
    Resume,
    /// End it for a security reason.
    Revoke,
    /// End it in good order.
    Retire,
}

impl Act {
    /// All acts, for tables.
    pub const ALL: [Self; 4] = [Self::Suspend, Self::Resume, Self::Revoke, Self::Retire];

    /// The name in records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
            Self::Retire => "retire",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An agent's state, since when and why, and the epoch below which everything of it is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Where it stands.
    pub state: State,
    /// What was issued under a lower epoch is dead, also after the agent came back.
    pub dead_before: Epoch,
    /// Since when.
    pub since: UnixTime,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Lifecycle {
    /// A new agent, registered under `epoch`.
    pub fn begin(epoch: Epoch, now: UnixTime) -> Self {
        Self { state: State::Active, dead_before: epoch, since: now, reason: "registered".into() }
    }

    /// The one transition function. `epoch` is the domain's number after this act, if it raises it
    /// ([`Lifecycle::raises`]).
    pub fn after(
        &self,
        act: Act,
        epoch: Epoch,
        reason: String,
        now: UnixTime,
    ) -> Result<Self, TransitionRefusal> {
        let state = match (self.state, act) {
            (State::Active, Act::Suspend) => State::Suspended,
            (State::Suspended, Act::Resume) => State::Active,
            (State::Active | State::Suspended, Act::Revoke) => State::Revoked,
            (State::Active | State::Suspended, Act::Retire) => State::Retired,
            (state, act) => return Err(TransitionRefusal { state, act, since: self.since }),
        };
        let dead_before = if Self::raises(act) { epoch } else { self.dead_before };
        Ok(Self { state, dead_before, since: now, reason })
    }

    /// The same state, with everything dead that was issued below `epoch`: who it is, or what it
    /// may get, was decided anew.
    #[must_use]
    pub fn renewed(&self, epoch: Epoch) -> Self {
        Self { dead_before: epoch.max(self.dead_before), ..self.clone() }
    }

    /// True for the acts that kill what was issued before.
    pub const fn raises(act: Act) -> bool {
        !matches!(act, Act::Resume)
    }

    /// Whether the agent may have anything issued now.
    pub fn is_active(&self) -> Result<(), NotInForce> {
        match self.state {
            State::Active => Ok(()),
            state => Err(NotInForce::State { state, since: self.since }),
        }
    }

    /// Whether something that was issued under `issued` still counts. What carries no epoch is
    /// taken as issued under the first: it is dead as soon as anything was ever revoked here.
    pub fn admits(&self, issued: Option<Epoch>) -> Result<(), NotInForce> {
        self.is_active()?;
        let issued = issued.unwrap_or_default();
        if issued < self.dead_before {
            return Err(NotInForce::Epoch { issued, dead_before: self.dead_before });
        }
        Ok(())
    }
}

/// Why an agent, or something issued to it, does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    /// The agent is not active.
    #[error("the agent is {state} since {since}")]
    State {
        /// Its state.
        state: State,
        /// Since when.
        since: UnixTime,
    },
    /// Issued before its last suspension.
    #[error("issued under epoch {issued}; what was issued before epoch {dead_before} was revoked")]
    Epoch {
        /// The number it carries.
        issued: Epoch,
        /// The lowest number that counts.
        dead_before: Epoch,
    },
}

/// An act that does not fit the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {act} an agent that is {state} (since {since})")]
pub struct TransitionRefusal {
    /// Where it stands.
    pub state: State,
    /// What was tried.
    pub act: Act,
    /// Since when it stands there.
    pub since: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(state: State) -> Lifecycle {
        let since = UnixTime::from_seconds(5);
        Lifecycle { state, dead_before: Epoch(3), since, reason: String::new() }
    }

    /// req: PROV-06 (part)
    #[test]
    fn s8_the_whole_table_of_transitions() {
        let mut table = String::new();
        for state in State::ALL {
            for act in Act::ALL {
                let now = UnixTime::from_seconds(9);
                let after = standing(state).after(act, Epoch(4), "why".into(), now);
                let shown = after.map_or_else(
                    |refused| format!("refused: {refused}"),
                    |next| format!("{} (dead before {})", next.state, next.dead_before),
                );
                table.push_str(&format!("{state} + {act}: {shown}\n"));
            }
        }
        insta::assert_snapshot!(table, @r"
        active + suspend: suspended (dead before 4)
        active + resume: refused: cannot resume an agent that is active (since 1970-01-01T00:00:05.000Z)
        active + revoke: revoked (dead before 4)
        active + retire: retired (dead before 4)
        suspended + suspend: refused: cannot suspend an agent that is suspended (since 1970-01-01T00:00:05.000Z)
        suspended + resume: active (dead before 3)
        suspended + revoke: revoked (dead before 4)
        suspended + retire: retired (dead before 4)
        revoked + suspend: refused: cannot suspend an agent that is revoked (since 1970-01-01T00:00:05.000Z)
        revoked + resume: refused: cannot resume an agent that is revoked (since 1970-01-01T00:00:05.000Z)
        revoked + revoke: refused: cannot revoke an agent that is revoked (since 1970-01-01T00:00:05.000Z)
        revoked + retire: refused: cannot retire an agent that is revoked (since 1970-01-01T00:00:05.000Z)
        retired + suspend: refused: cannot suspend an agent that is retired (since 1970-01-01T00:00:05.000Z)
        retired + resume: refused: cannot resume an agent that is retired (since 1970-01-01T00:00:05.000Z)
        retired + revoke: refused: cannot revoke an agent that is retired (since 1970-01-01T00:00:05.000Z)
        retired + retire: refused: cannot retire an agent that is retired (since 1970-01-01T00:00:05.000Z)
        ");
    }

    /// req: OBS-04 (part)
    #[test]
    fn s11_what_was_issued_before_a_suspension_stays_dead() {
        let check = |state, issued: Option<u64>, expect: bool| {
            assert_eq!(standing(state).admits(issued.map(Epoch)).is_ok(), expect);
        };
        check(State::Active, Some(3), true);
        check(State::Active, Some(2), false);
        check(State::Active, None, false);
        check(State::Suspended, Some(3), false);
        check(State::Revoked, Some(9), false);
    }
}
