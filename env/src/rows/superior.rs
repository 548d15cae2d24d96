//! What is known of the authority above ours.

use credential::Purpose;
use jose::{Jwk, KeyId};
use serde::{Deserialize, Serialize};
use time::UnixTime;

/// How the authority above ours stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuperiorRow {
    /// Which it is, in words.
    pub name: String,
    /// Since when nothing was had of it.
    pub failing: Option<Failing>,
    /// The keys of JWT-SVIDs and WITs that it publishes, where it is a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyAbove>,
    /// Its roots that were mistrusted, by their key ids: ours of before hang on them no longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tainted: Vec<RootTainted>,
}

/// A key that the authority above publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAbove {
    /// Of JWT-SVIDs or WITs.
    pub purpose: Purpose,
    /// The public half, with its id.
    pub public: Jwk,
    /// Its id.
    pub kid: KeyId,
    /// When it ends; `None` where that is not said.
    pub until: Option<UnixTime>,
}

/// A root above ours that is mistrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootTainted {
    /// SHA-256 of its certificate, base64url.
    pub root: String,
    /// Since when we know.
    pub since: UnixTime,
}

/// What was not had, and when it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    pub since: UnixTime,
    /// How often in a row.
    pub tries: u32,
    /// When it is tried next.
    pub again: UnixTime,
    /// Why the last time.
    pub why: String,
    /// Whether it would not certify, and not only failed to tell its roots: that it tells them is
    /// no answer to that.
    #[serde(default)]
    pub certifying: bool,
}

impl SuperiorRow {
    /// Its row.
    pub const ID: &'static str = "superior";
}
