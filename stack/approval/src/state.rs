//! The lifecycle of an approval: one transition function, its table a snapshot.

use serde::{Deserialize, Serialize};

/// How an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody answered yet.
    Pending,
    /// Somebody allowed it; what it serves was not done yet.
    Allowed,
    /// Somebody denied it.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// Whoever asked took the question back.
    Cancelled,
    /// What it was for was done: it serves nothing more.
    Used,
}

impl State {
    /// All of them, for tables.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Allowed, Self::Denied, Self::Expired, Self::Cancelled, Self::Used];

    /// The name on pages and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Used => "used",
        }
    }

    /// The state after `step`. Every answer is final, and so is that there was none.
    pub const fn after(self, step: Step) -> Result<Self, Unmoved> {
        match (self, step) {
            (Self::Pending, Step::Allow) => Ok(Self::Allowed),
            (Self::Pending, Step::Deny) => Ok(Self::Denied),
            (Self::Pending, Step::Expire) => Ok(Self::Expired),
            (Self::Pending, Step::Cancel) => Ok(Self::Cancelled),
            (Self::Allowed, Step::Use) => Ok(Self::Used),
            (state, step) => Err(Unmoved { state, step }),
        }
    }
}

/// What happens to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Whoever was asked allows it.
    Allow,
    /// Whoever was asked denies it.
    Deny,
    /// Its time is over.
    Expire,
    /// Whoever asked takes it back.
    Cancel,
    /// What was allowed is done.
    Use,
}

impl Step {
    /// All of them, for tables.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Deny, Self::Expire, Self::Cancel, Self::Use];

    /// The name in records and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Expire => "expire",
            Self::Cancel => "cancel",
            Self::Use => "use",
        }
    }
}

/// A step that the state does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the approval is {}: it does not take `{}`", .state.name(), .step.name())]
pub struct Unmoved {
    /// How it stands.
    pub state: State,
    /// What was tried.
    pub step: Step,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-31 (part)
    #[test]
    fn s10_6_every_answer_is_final_and_serves_once() {
        let mut table = format!("{:10}", "");
        table.extend(Step::ALL.iter().map(|step| format!("| {:9} ", step.name())));
        for state in State::ALL {
            table.push_str(&format!("\n{:10}", state.name()));
            for step in Step::ALL {
                let after = state.after(step).map_or("", State::name);
                table.push_str(&format!("| {after:9} "));
            }
        }
        let table: Vec<_> = table.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(table.join("\n"), @r"
                  | allow     | deny      | expire    | cancel    | use
        pending   | allowed   | denied    | expired   | cancelled |
        allowed   |           |           |           |           | used
        denied    |           |           |           |           |
        expired   |           |           |           |           |
        cancelled |           |           |           |           |
        used      |           |           |           |           |
        ");
    }
}
