//! OAuth clients that are not agents: registered with a public key, never with a secret (CRED-10).

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
    /// When.
    pub registered: UnixTime,
    /// Whether it gets tokens.
    pub state: ClientState,
    /// Since when.
    pub since: UnixTime,
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
