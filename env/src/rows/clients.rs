//! Clients, and what they publish about themselves.

use jose::KeySet;
use registry::ClientRecord;
use registry::client::Invitation;
use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::store::{Entity, Index, Table, Unreadable};

impl Entity for ClientRecord {
    const TABLE: Table = Table::Clients;

    fn id(&self) -> String {
        self.client_id.clone()
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn expires(&self) -> Option<UnixTime> {
        self.until
    }
}

impl Entity for Invitation {
    const TABLE: Table = Table::Invitations;

    fn id(&self) -> String {
        self.hash.clone()
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn expires(&self) -> Option<UnixTime> {
        Some(self.until)
    }
}

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

impl Entity for ClientDocument {
    const TABLE: Table = Table::Documents;

    fn id(&self) -> String {
        Self::row(&self.url)
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn terms(&self) -> Vec<(Index, String)> {
        vec![(Index::Client, self.url.clone())]
    }

    fn expires(&self) -> Option<UnixTime> {
        Some(self.fresh_until)
    }
}

impl Entity for ClientKeys {
    const TABLE: Table = Table::Documents;

    fn id(&self) -> String {
        Self::row(&self.url)
    }

    fn encode(&self) -> Vec<u8> {
        Unreadable::to_json(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Unreadable::from_json(bytes)
    }

    fn expires(&self) -> Option<UnixTime> {
        Some(self.fresh_until)
    }
}
