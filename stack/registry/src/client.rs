//! OAuth clients that are not agents: registered with a public key, never with a secret (CRED-10).

use authorization::client::Redirects;
use oauth::client_metadata::ClientMetadata;
use serde::{Deserialize, Serialize};
use time::UnixTime;

/// Whether a client gets tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Its id: `client-<uuid>`; never in the form of a URI, so it cannot be taken for an agent or
    /// a user (RFC 9700 §4.15).
    pub client_id: String,
    /// What it registered.
    pub metadata: ClientMetadata,
    /// Whether it is a public client: one that proves nothing but its name (RFC 6749 §2.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// What it registered for users in browsers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirects: Option<Redirects>,
    /// How it takes part in signing out.
    #[serde(default)]
    pub logout: ClientLogout,
    /// When.
    pub registered: UnixTime,
    /// Whether it gets tokens.
    pub state: ClientState,
    /// Since when.
    pub since: UnixTime,
}

/// How a client takes part in signing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLogout {
    /// `backchannel_logout_uri` (OpenID Connect Back-Channel Logout 1.0 §2.2): where it is told that
    /// a session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel: Option<String>,
    /// `post_logout_redirect_uris` (RP-Initiated Logout 1.0 §3.1): where browsers may go on. They
    /// are compared as texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
}

impl ClientRecord {
    /// Refuses a disabled client: through any grant (docs/past-defects.md 8).
    pub fn is_enabled(&self) -> Result<(), ClientRefusal> {
        match self.state {
            ClientState::Enabled => Ok(()),
            ClientState::Disabled => Err(ClientRefusal::Disabled { since: self.since }),
        }
    }
}

/// Why a client gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// An operator disabled it.
    #[error("the client is disabled since {since}")]
    Disabled {
        /// Since when.
        since: UnixTime,
    },
}
