//! Users and sessions.

use std::collections::BTreeSet;
use std::fmt;

use ::people::orders::Given;
use ::people::standing::state_name;
use authentication::session::Session;
use registry::UserRecord;
use serde::{Deserialize, Serialize};
use time::UnixTime;

/// `POST /v1/users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: it is theirs for good.
    pub name: String,
    /// What pages call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where they are written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What policy may ask of them.
    #[serde(default)]
    pub roles: BTreeSet<String>,
}

/// Its answer: the only time that the link is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserAdded {
    /// The user.
    pub user: UserShown,
    /// The link by which they add their first passkey.
    pub link: GivenShown,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserShown {
    /// The name.
    pub name: String,
    /// What pages call them.
    pub display_name: String,
    /// Where they are written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What policy may ask of them.
    pub roles: BTreeSet<String>,
    /// `active`, `disabled` or `removed`.
    pub state: String,
    /// Since when.
    pub since: UnixTime,
    /// Why.
    pub reason: String,
    /// When they were added.
    pub registered: UnixTime,
    /// What they sign in with.
    pub passkeys: Vec<PasskeyShown>,
    /// Their accounts at other identity providers.
    pub accounts: Vec<AccountShown>,
}

/// A passkey, without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyShown {
    /// The credential id, base64url.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whether it can be in several devices.
    pub backup_eligible: bool,
    /// When it was added.
    pub added: UnixTime,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixTime>,
}

/// An account elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountShown {
    /// Its issuer.
    pub issuer: String,
    /// `sub` there.
    pub subject: String,
}

impl From<&UserRecord> for UserShown {
    fn from(user: &UserRecord) -> Self {
        let passkeys = user.passkeys.iter().map(|passkey| PasskeyShown {
            id: passkey.id.clone(),
            name: passkey.name.clone(),
            backup_eligible: passkey.backup_eligible,
            added: passkey.added,
            used: passkey.used,
        });
        let accounts = user.accounts.iter().map(|account| AccountShown {
            issuer: account.issuer.clone(),
            subject: account.subject.clone(),
        });
        Self {
            name: user.name.to_string(),
            display_name: user.display_name.clone(),
            email: user.email.clone(),
            roles: user.roles.clone(),
            state: state_name(user.lifecycle.state).to_owned(),
            since: user.lifecycle.since,
            reason: user.lifecycle.reason.clone(),
            registered: user.registered,
            passkeys: passkeys.collect(),
            accounts: accounts.collect(),
        }
    }
}

/// `POST /v1/users/{name}/link` and `…/code`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveOrder {
    /// How often a code serves; once unless given. A link serves once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// How long it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
}

/// A link or a code: the only time that it is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct GivenShown {
    /// Whose.
    pub user: String,
    /// The link, or the code to type. Whoever has it can be that user.
    pub text: String,
    /// How often it serves.
    pub uses: u32,
    /// When it ends.
    pub until: UnixTime,
}

impl fmt::Debug for GivenShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GivenShown(for {}, until {})", self.user, self.until)
    }
}

impl From<&Given> for GivenShown {
    fn from(given: &Given) -> Self {
        let (user, text) = (given.user.to_string(), given.text.expose().to_owned());
        Self { user, text, uses: given.uses, until: given.until }
    }
}

/// `POST /v1/users/{name}/change`: what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// What pages call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where they are written to; empty: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Roles that they get.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// Roles that they lose.
    #[serde(default)]
    pub not_roles: BTreeSet<String>,
    /// Why.
    pub reason: String,
}

/// `POST /v1/users/{name}/ask-code`: a new code in the place of the one before, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskCode {
    /// Whether the user is asked without one from now on.
    #[serde(default)]
    pub off: bool,
}

/// The code that clients must say to get a user asked: the only time that it is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct AskCodeShown {
    /// Whose.
    pub user: String,
    /// The code; none, where they are asked without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl fmt::Debug for AskCodeShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskCodeShown(for {}, one: {})", self.user, self.text.is_some())
    }
}

/// `POST /v1/users/{name}/{act}`: the user after it, and what ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMoved {
    /// The user.
    #[serde(flatten)]
    pub user: UserShown,
    /// Sessions that ended.
    pub sessions_ended: usize,
    /// Grants that ended.
    pub grants_ended: usize,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionShown {
    /// Its public id: no secret.
    pub id: String,
    /// Whose.
    pub user: String,
    /// `acr`: how they proved who they are.
    pub acr: String,
    /// When they did.
    pub authenticated: UnixTime,
    /// When it began.
    pub began: UnixTime,
    /// When it was last seen.
    pub seen: UnixTime,
    /// When it ends if it is not seen again.
    pub ends: UnixTime,
    /// The browser, as it calls itself.
    pub browser: String,
    /// The clients that somebody signed in to by it.
    pub clients: BTreeSet<String>,
}

impl From<&Session> for SessionShown {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.clone(),
            user: ::people::sessions::owner(session),
            acr: session.authenticated.acr.as_str().to_owned(),
            authenticated: session.authenticated.at,
            began: session.began,
            seen: session.seen,
            ends: session.ends(),
            browser: session.browser.clone(),
            clients: session.clients.clone(),
        }
    }
}

/// What ended: the answer of orders that end sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsEnded {
    /// Sessions.
    pub sessions_ended: usize,
    /// Grants that lasted no longer.
    pub grants_ended: usize,
}
