//! What stands between two requests: the grant that a client holds, the code that leads to it, and
//! the refresh token that goes on using it (RFC 6749 §1.3; AUTHZ-06, OBS-10).
//!
//! In scope: what is stored, and whether it still counts. Not here: what it takes to get a grant,
//! and tokens of the moment.

pub mod code;
pub mod ended;
pub mod refresh;
pub mod wait;

use std::collections::BTreeMap;

use authentication::session::Authenticated;
use oauth::ScopeSet;
use provisioning::Epoch;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Span, UnixTime};

pub use code::Code;
pub use ended::Ended;
pub use refresh::Refresh;
pub use wait::{Branch, NotYet, Waited};

/// How far [`LastUse::at`] may be behind: a busy client writes nothing.
pub const USED_AGAIN: Span = Span::from_seconds(60);
/// How long an ended grant is kept, so that its owner can still see it.
pub const ENDED_KEPT: Span = Span::from_seconds(30 * 86_400);
/// Targets of one grant.
pub const TARGETS_MAX: usize = 32;
/// `authorization_details` of one target.
pub const DETAILS_MAX: usize = 32;

/// The grant: what a user, or the client for itself, was given, and may go on using.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Its id. It is the root of the lineage of every token that comes of it: to end this id ends
    /// them all (docs/design.md §2, idea 5). No secret.
    pub id: String,
    /// Who holds it.
    pub client_id: String,
    /// On whose behalf: an identifier of a user.
    pub subject: String,
    /// How it came about.
    pub way: Way,
    /// The rights, by the audience of the token that carries them.
    pub targets: BTreeMap<String, Granted>,
    /// Of `openid`, `profile`, `email`, `offline_access`: what was granted.
    pub openid: ScopeSet,
    /// The user's authentication that it came of, for `auth_time`, `acr` and `amr`.
    pub authenticated: Option<Authenticated>,
    /// The session that it came of: its public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The key that the client's refresh token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The epoch that it was given under.
    pub epoch: Epoch,
    /// When.
    pub created: UnixTime,
    /// Until when it may be used.
    pub until: UnixTime,
    /// When and why it ended, where it did before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<End>,
    /// Its last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<LastUse>,
    /// The refresh token, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// How a grant came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By the user's browser (RFC 6749 §4.1).
    Code,
    /// By a code that the user typed into another browser (RFC 8628).
    Device,
    /// By an approval that the client asked for (CIBA).
    Ciba,
    /// By an approval of one single action.
    Approval,
}

impl Way {
    /// The name on pages and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Device => "device",
            Self::Ciba => "ciba",
            Self::Approval => "approval",
        }
    }
}

/// Rights at one audience.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The scope.
    pub scope: ScopeSet,
    /// `authorization_details` (RFC 9396), as they were granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Value>,
}

/// What a refresh token, and the access tokens that it gives, are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// RFC 9449: the thumbprint of the DPoP key.
    Dpop(String),
    /// RFC 8705: the SHA-256 of the certificate.
    Certificate(String),
    /// draft-ietf-oauth-attestation-based-client-auth §9.3: the thumbprint of the instance's key.
    Instance(String),
}

/// The end of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: UnixTime,
    /// By whom: a user, an operator, a client, or a check by its name.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

/// The last use of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    /// When, to [`USED_AGAIN`].
    pub at: UnixTime,
    /// For which audience.
    pub audience: String,
}

impl GrantRecord {
    /// Refuses a grant that is over.
    pub fn is_live(&self, now: UnixTime) -> Result<(), Over> {
        if let Some(end) = &self.ended {
            return Err(Over::Ended { at: end.at, why: end.why.clone() });
        }
        if now >= self.until {
            return Err(Over::Expired { at: self.until });
        }
        Ok(())
    }

    /// The grant after its use, where that is worth a write.
    pub fn after_use(&self, now: UnixTime, audience: &str) -> Option<Self> {
        let told = self
            .used
            .as_ref()
            .is_some_and(|last| last.audience == audience && now < last.at.plus(USED_AGAIN));
        let used = Some(LastUse { at: now, audience: audience.to_owned() });
        (!told).then(|| Self { used, ..self.clone() })
    }

    /// The grant, ended. What ended before keeps its end.
    #[must_use]
    pub fn after_end(&self, end: End) -> Self {
        let ended = Some(self.ended.clone().unwrap_or(end));
        Self { ended, refresh: None, ..self.clone() }
    }

    /// When its row may be swept.
    pub fn kept_until(&self) -> UnixTime {
        self.ended.as_ref().map_or(self.until, |end| end.at).plus(ENDED_KEPT)
    }
}

/// Why a grant gives nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// Somebody ended it.
    #[error("the grant was ended at {at}: {why}")]
    Ended {
        /// When.
        at: UnixTime,
        /// Why.
        why: String,
    },
    /// Its time is over.
    #[error("the grant expired at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    fn grant() -> GrantRecord {
        GrantRecord {
            id: "grant-1".to_owned(),
            client_id: "client-1".to_owned(),
            subject: "user:ada".to_owned(),
            way: Way::Code,
            targets: BTreeMap::new(),
            openid: ScopeSet::default(),
            authenticated: None,
            session: None,
            binding: None,
            epoch: Epoch(1),
            created: NOW,
            until: NOW.plus(Span::from_seconds(600)),
            ended: None,
            used: None,
            refresh: None,
        }
    }

    #[test]
    fn s1_3_an_ended_grant_stays_ended_for_its_first_reason() {
        let end = |why: &str| End { at: NOW, by: "user:ada".to_owned(), why: why.to_owned() };
        let ended = grant().after_end(end("done")).after_end(end("again"));
        let over = Over::Ended { at: NOW, why: "done".to_owned() };
        assert_eq!(ended.is_live(NOW), Err(over));
        assert_eq!(grant().is_live(NOW), Ok(()));
        let until = grant().until;
        assert_eq!(grant().is_live(until), Err(Over::Expired { at: until }));
    }

    #[test]
    fn s1_3_a_busy_client_writes_its_use_once_a_minute() {
        let used = grant().after_use(NOW, "a").unwrap();
        assert_eq!(used.after_use(NOW.plus(Span::from_seconds(59)), "a"), None);
        assert!(used.after_use(NOW.plus(USED_AGAIN), "a").is_some());
        assert!(used.after_use(NOW, "b").is_some());
    }
}
