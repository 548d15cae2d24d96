//! What is done to a host or gateway: the states of [`Lifecycle`], with acts of its own (S1 §8;
//! PROV-06).

use std::fmt;

use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::lifecycle::{Epoch, Lifecycle, State};

/// What an operator does to a host or gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeAct {
    /// Cut it off for now.
    Suspend,
    /// Let it join again by its evidence; what it had stays dead.
    Resume,
    /// Cut it off for a security reason, with all that was issued to agents there.
    Revoke,
    /// Take its next evidence for the first: a host that may join once may join anew.
    Forget,
}

impl NodeAct {
    /// All acts, for tables.
    pub const ALL: [Self; 4] = [Self::Suspend, Self::Resume, Self::Revoke, Self::Forget];

    /// The name in records and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
            Self::Forget => "forget",
        }
    }

    /// True for the acts that kill the credential that it has.
    pub const fn raises(self) -> bool {
        !matches!(self, Self::Resume)
    }
}

impl fmt::Display for NodeAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Lifecycle {
    /// The one transition function of hosts and gateways. `epoch` is the domain's number after this
    /// act, if it raises it ([`NodeAct::raises`]).
    pub fn of_node_after(
        &self,
        act: NodeAct,
        epoch: Epoch,
        reason: String,
        now: UnixTime,
    ) -> Result<Self, NodeTransitionRefusal> {
        let state = match (self.state, act) {
            (State::Active, NodeAct::Suspend) => State::Suspended,
            (State::Suspended, NodeAct::Resume) => State::Active,
            (State::Active | State::Suspended, NodeAct::Revoke) => State::Revoked,
            // A machine that was made anew is another one under the same name. Whoever was revoked
            // comes back by this alone, and with nothing that it had.
            (State::Active | State::Suspended | State::Revoked, NodeAct::Forget) => State::Active,
            (state, act) => return Err(NodeTransitionRefusal { state, act, since: self.since }),
        };
        let dead_before = if act.raises() { epoch } else { self.dead_before };
        Ok(Self { state, dead_before, since: now, reason })
    }
}

/// An act that does not fit the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {act} a node that is {state} (since {since})")]
pub struct NodeTransitionRefusal {
    /// Where it stands.
    pub state: State,
    /// What was tried.
    pub act: NodeAct,
    /// Since when it stands there.
    pub since: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: PROV-06 (part)
    #[test]
    fn s8_the_whole_table_of_a_nodes_transitions() {
        let since = UnixTime::from_seconds(5);
        let mut table = String::new();
        for state in State::ALL {
            for act in NodeAct::ALL {
                let standing =
                    Lifecycle { state, dead_before: Epoch(3), since, reason: String::new() };
                let now = UnixTime::from_seconds(9);
                let after = standing.of_node_after(act, Epoch(4), "why".into(), now);
                let shown = after.map_or_else(
                    |_| "refused".to_owned(),
                    |next| format!("{} (dead before {})", next.state, next.dead_before),
                );
                table.push_str(&format!("{state} + {act}: {shown}\n"));
            }
        }
        insta::assert_snapshot!(table, @r"
        active + suspend: suspended (dead before 4)
        active + resume: refused
        active + revoke: revoked (dead before 4)
        active + forget: active (dead before 4)
        suspended + suspend: refused
        suspended + resume: active (dead before 3)
        suspended + revoke: revoked (dead before 4)
        suspended + forget: active (dead before 4)
        revoked + suspend: refused
        revoked + resume: refused
        revoked + revoke: refused
        revoked + forget: active (dead before 4)
        retired + suspend: refused
        retired + resume: refused
        retired + revoke: refused
        retired + forget: refused
        ");
    }
}
