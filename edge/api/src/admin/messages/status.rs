//! How the server is, in its own words.

use provisioning::alarm::{Alarm, Outage};
use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::health::{FeedState, LogState};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The issuer identifier.
    pub issuer: String,
    /// What is missing before it can serve; none if it serves.
    pub not_ready: Option<String>,
    /// What every identifier belongs to: scheme and trust domain; none before the first policy.
    #[serde(default)]
    pub origin: Option<wimse::Origin>,
    /// The trust domain; none before the first policy.
    pub trust_domain: Option<String>,
    /// The policy version in force.
    pub policy: Option<String>,
    /// The number of revocations so far.
    pub epoch: Option<u64>,
    /// Whether private keys lie sealed on disk.
    pub keys_sealed: bool,
    /// The logs.
    pub logs: Vec<LogState>,
    /// The components in this process that follow the server.
    pub feeds: Vec<FeedState>,
    /// Now, by the server's clock.
    pub now: UnixTime,
    /// The newest record, where the clock jumped back behind it: nothing is issued until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jumped_back_from: Option<UnixTime>,
    /// What is not renewed in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// How long others go on without this server, by the policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
    /// The authority above the X.509 authority, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superior: Option<SuperiorShown>,
}

/// How the authority above the X.509 authority stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuperiorShown {
    /// Which it is, in words.
    pub name: String,
    /// Until when the intermediate that was had last signs.
    pub signs_until: Option<UnixTime>,
    /// Since when no other was had, though it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<UnixTime>,
    /// Why the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<UnixTime>,
}
