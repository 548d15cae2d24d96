//! How often somebody was asked: a row that each question writes anew. Questions that come at once
//! are so counted one after the other, and the bound of those that wait holds.

use serde::{Deserialize, Serialize};
use time::UnixTime;

/// What was asked of one person, or of the people of one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Who: an identifier, or a role's handle.
    pub who: String,
    /// How often, since the row is there.
    pub asked: u64,
    /// Until when one of these questions may wait; then the row goes.
    pub until: UnixTime,
}

impl Queue {
    /// After one more question, which waits until then.
    pub fn after(before: Option<&Self>, who: &str, until: UnixTime) -> Self {
        let asked = before.map_or(0, |before| before.asked).saturating_add(1);
        let until = before.map_or(until, |before| before.until.max(until));
        Self { who: who.to_owned(), asked, until }
    }
}
