//! What clients are told when a session ends (OpenID Connect Back-Channel Logout 1.0 §2).
//!
//! In scope: what is stored of a notice that is under way. Not here: the token, and the sending.

use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

/// How long a client that does not answer is told again.
pub const LIFE: Span = Span::from_seconds(3_600);
/// The pause after the first try that failed; each later one is twice as long.
const PAUSE_SECONDS: u64 = 2;
/// The longest pause.
const PAUSE_SECONDS_MAX: u64 = 600;

/// One client that is to be told of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whom.
    pub client_id: String,
    /// Which session: its public id.
    pub sid: String,
    /// Whose it was.
    pub user: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub next: UnixTime,
    /// Until when.
    pub until: UnixTime,
}

impl Notice {
    /// The first.
    pub fn new(client_id: &str, sid: &str, user: &str, now: UnixTime) -> Self {
        let (client_id, sid, user) = (client_id.to_owned(), sid.to_owned(), user.to_owned());
        Self { client_id, sid, user, tries: 0, next: now, until: now.plus(LIFE) }
    }

    /// Its row. No session's id has a space.
    pub fn row(&self) -> String {
        format!("{} {}", self.sid, self.client_id)
    }

    /// After a try that failed; `None` when it is given up.
    pub fn after_failure(&self, now: UnixTime) -> Option<Self> {
        let doubled = 1_u64.checked_shl(self.tries).unwrap_or(u64::MAX);
        let pause = PAUSE_SECONDS.saturating_mul(doubled).min(PAUSE_SECONDS_MAX);
        let next = now.plus(Span::from_seconds(pause));
        let tries = self.tries.saturating_add(1);
        (next < self.until).then(|| Self { tries, next, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backchannel_2_8_a_client_is_told_again_with_longer_pauses_and_not_for_ever() {
        let mut now = UnixTime::from_seconds(1_000);
        let mut notice = Notice::new("client-1", "s", "user:ada", now);
        let mut pauses = Vec::new();
        while let Some(next) = notice.after_failure(now) {
            pauses.push(next.next.since(now).seconds());
            (now, notice) = (next.next, next);
        }
        assert_eq!(&pauses[..4], [2, 4, 8, 16]);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_SECONDS_MAX));
        assert!(pauses.iter().sum::<u64>() < LIFE.seconds());
    }
}
