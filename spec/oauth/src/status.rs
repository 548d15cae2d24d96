//! `status` of a token (draft-ietf-oauth-status-list-20 §6.1): where one can read whether it still
//! counts. Not here: the lists (`openid`).

use serde::{Deserialize, Serialize};

/// `status` of a token whose status is in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub status_list: StatusReference,
}

/// Which place of which list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReference {
    pub idx: u64,
    pub uri: String,
}
