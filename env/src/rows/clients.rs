//! Clients, and what they publish about themselves.

use jose::KeySet;
use registry::ClientRecord;
use registry::client::Invitation;
use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::store::{Index, Table};

entity!(ClientRecord, Table::Clients, one => one.client_id.clone(), Vec::new(), one.until);

entity!(Invitation, Table::Invitations, one => one.hash.clone(), Vec::new(), Some(one.until));

/// Until when the document of a client counts. What it says stands in the client's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDocument {
    /// Its URL, which is the client's id.
    pub url: String,
    /// When it was read.
    pub read: UnixTime,
    /// From then on it is read again before it is used.
    pub fresh_until: UnixTime,
    /// SHA-256 of it, base64url.
    pub digest: String,
}

/// The keys that a client publishes at a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKeys {
    /// The URL.
    pub url: String,
    /// The keys.
    pub keys: KeySet,
    /// When they were read.
    pub read: UnixTime,
    /// From then on they are read again before they are used.
    pub fresh_until: UnixTime,
}

impl ClientDocument {
    /// Its row. Both kinds stand in one table, and one URL may be both.
    pub fn row(url: &str) -> String {
        format!("client {url}")
    }
}

impl ClientKeys {
    /// Its row.
    pub fn row(url: &str) -> String {
        format!("keys {url}")
    }
}

entity!(
    ClientDocument, Table::Documents, one => Self::row(&one.url),
    vec![(Index::Client, one.url.clone())],
    Some(one.fresh_until)
);

entity!(
    ClientKeys, Table::Documents, one => Self::row(&one.url),
    Vec::new(),
    Some(one.fresh_until)
);
