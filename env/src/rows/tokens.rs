//! Opaque tokens, and the secret that values are made with which nobody has to remember.

use oauth::access_token::AccessTokenClaims;
use serde::{Deserialize, Serialize};

use crate::store::{Index, Table};

/// What an opaque access token stands for. The token itself is known by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpaqueToken {
    /// Its row: base64url(SHA-256) of the text.
    pub hash: String,
    /// What the token would say if it said anything.
    pub claims: AccessTokenClaims,
}

entity!(
    OpaqueToken, Table::Tokens, one => one.hash.clone(),
    Vec::new(),
    Some(one.claims.exp.time())
);

/// The place of a token in a status list (draft-ietf-oauth-status-list), with what the token says:
/// whether it still counts is looked up, and nowhere written down twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusEntry {
    /// Its row: the list and the place in it. Two tokens never have one.
    pub row: String,
    /// The list.
    pub list: String,
    /// The place.
    pub index: u64,
    /// What the token says.
    pub claims: AccessTokenClaims,
}

entity!(
    StatusEntry, Table::Statuses, one => one.row.clone(),
    vec![(Index::Handle, one.list.clone())],
    Some(one.claims.exp.time())
);

/// The secret of this installation: DPoP nonces and pairwise identifiers are made with it. It never
/// leaves the component.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerSecret {
    octets: [u8; 32],
}

impl ServerSecret {
    /// Its row.
    pub const ID: &'static str = "secret";

    /// The secret of these random octets.
    pub const fn of(octets: [u8; 32]) -> Self {
        Self { octets }
    }

    /// The octets.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.octets
    }
}

impl std::fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerSecret(..)")
    }
}

entity!(ServerSecret, Table::Singles, _one => Self::ID.to_owned());
