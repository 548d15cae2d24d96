//! Orders about approvals.

use super::{Client, Fault, Told, segment, with};
use crate::admin::messages::{ApprovalAnswer, ApprovalShown, Page};

impl Client {
    /// A page of approvals; of one state alone where it is named.
    pub async fn approvals(
        &self,
        state: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<ApprovalShown>, Fault> {
        let limit = limit.map(|limit| limit.to_string());
        let given = [("state", state), ("after", after), ("limit", limit.as_deref())];
        self.get(&with("/v1/approvals", &given)).await
    }

    /// One approval.
    pub async fn approval(&self, id: &str) -> Result<ApprovalShown, Fault> {
        self.get(&format!("/v1/approvals/{}", segment(id))).await
    }

    /// Allows or denies what was shown as `shown`.
    pub async fn answer_approval(
        &self,
        id: &str,
        allow: bool,
        shown: &str,
    ) -> Result<Told<ApprovalShown>, Fault> {
        let act = if allow { "approve" } else { "deny" };
        let order = ApprovalAnswer { shown: shown.to_owned() };
        self.post(&format!("/v1/approvals/{}/{act}", segment(id)), &order).await
    }
}
