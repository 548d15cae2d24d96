//! What is said about approvals.

use approval::Approval;
use serde::{Deserialize, Serialize};

/// An approval, as operators see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalShown {
    /// All of it.
    #[serde(flatten)]
    pub approval: Approval,
    /// What is shown to who is asked, line by line.
    pub lines: Vec<(String, String)>,
}

impl From<Approval> for ApprovalShown {
    fn from(approval: Approval) -> Self {
        let lines = approval.lines();
        Self { approval, lines }
    }
}

/// An operator's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAnswer {
    /// `hash` of the approval that was shown.
    pub shown: String,
}
