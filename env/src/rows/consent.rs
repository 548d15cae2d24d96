//! What stands between a client's request for a user and the answer, as it is stored.

use authorization::interaction::{Interaction, KEPT, Pushed};
use time::UnixTime;

use crate::store::{Entity, Table, Unreadable};

impl Entity for Pushed {
    const TABLE: Table = Table::Pushed;

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
        Some(self.until.plus(KEPT))
    }
}

impl Entity for Interaction {
    const TABLE: Table = Table::Interactions;

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
        Some(self.until.plus(KEPT))
    }
}
