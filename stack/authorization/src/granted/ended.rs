//! What ended before its time, for those who hold what came of it (OBS-10; docs/design.md §2,
//! ideas 5 and 6).

use serde::{Deserialize, Serialize};
use time::UnixTime;

/// An id that counts for nothing any more: of a grant, and with it of the whole lineage, or of one
/// token, and with it of what came of that. Servers and gateways look up the root, the parent and
/// the id of every token that they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The id.
    pub id: String,
    /// From then on nothing that came of it lives, and the row may go.
    pub until: UnixTime,
    /// Why, in words.
    pub why: String,
}
