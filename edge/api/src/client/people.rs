//! Orders about users and their sessions.

use ::people::standing::UserAct;

use super::{Client, Fault, Told, paged, segment, with};
use crate::admin::messages::{
    AskCode, AskCodeShown, GiveOrder, GivenShown, NewUser, Page, Reason, SessionShown,
    SessionsEnded, UserAdded, UserChange, UserMoved, UserShown,
};

impl Client {
    /// Adds a user.
    pub async fn add_user(&self, order: &NewUser) -> Result<Told<UserAdded>, Fault> {
        self.post("/v1/users", order).await
    }

    /// A page of users.
    pub async fn users(
        &self,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<UserShown>, Fault> {
        self.get(&paged("/v1/users", after, limit)).await
    }

    /// One user.
    pub async fn user(&self, name: &str) -> Result<UserShown, Fault> {
        self.get(&format!("/v1/users/{}", segment(name))).await
    }

    /// Changes what is said of a user.
    pub async fn change_user(
        &self,
        name: &str,
        order: &UserChange,
    ) -> Result<Told<UserShown>, Fault> {
        self.post(&format!("/v1/users/{}/change", segment(name)), order).await
    }

    /// Disables, enables or removes a user.
    pub async fn move_user(
        &self,
        name: &str,
        act: UserAct,
        reason: &str,
    ) -> Result<Told<UserMoved>, Fault> {
        let reason = Reason { reason: reason.to_owned() };
        self.post(&format!("/v1/users/{}/{}", segment(name), act.name()), &reason).await
    }

    /// A link that lets a user add a passkey.
    pub async fn user_link(
        &self,
        name: &str,
        order: &GiveOrder,
    ) -> Result<Told<GivenShown>, Fault> {
        self.post(&format!("/v1/users/{}/link", segment(name)), order).await
    }

    /// A code that lets a user in.
    pub async fn user_code(
        &self,
        name: &str,
        order: &GiveOrder,
    ) -> Result<Told<GivenShown>, Fault> {
        self.post(&format!("/v1/users/{}/code", segment(name)), order).await
    }

    /// The code without which no client gets a user asked: a new one, or none.
    pub async fn user_ask_code(
        &self,
        name: &str,
        order: &AskCode,
    ) -> Result<Told<AskCodeShown>, Fault> {
        self.post(&format!("/v1/users/{}/ask-code", segment(name)), order).await
    }

    /// A page of live sessions; of one user all of them.
    pub async fn sessions(
        &self,
        user: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<SessionShown>, Fault> {
        let limit = limit.map(|limit| limit.to_string());
        let given = [("user", user), ("after", after), ("limit", limit.as_deref())];
        self.get(&with("/v1/sessions", &given)).await
    }

    /// Ends a session.
    pub async fn end_session(&self, id: &str, reason: &str) -> Result<Told<SessionsEnded>, Fault> {
        let reason = Reason { reason: reason.to_owned() };
        self.post(&format!("/v1/sessions/{}/end", segment(id)), &reason).await
    }

    /// Ends all sessions of a user.
    pub async fn end_sessions(
        &self,
        user: &str,
        reason: &str,
    ) -> Result<Told<SessionsEnded>, Fault> {
        let reason = Reason { reason: reason.to_owned() };
        self.post(&format!("/v1/users/{}/sign-out", segment(user)), &reason).await
    }
}
