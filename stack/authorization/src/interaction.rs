//! What stands between a client's request for a user and the user's answer: pushed requests
//! (RFC 9126) and interactions, each bound to one browser (AUTHZ-01, AUTHZ-06).
//!
//! In scope: what is stored, and whether it still counts. Not here: what the request asks for
//! ([`crate::asked`]), and what an answer gives ([`crate::granted`]).

use jose::TokenHash;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

/// How long a pushed request waits for its user's browser. RFC 9126 §2.2: "The request URI lifetime
/// is at the discretion of the authorization server but will typically be relatively short (e.g.,
/// between 5 and 600 seconds)."
pub const PUSHED_LIFE: Span = Span::from_seconds(90);
/// How long an interaction waits for its user.
pub const INTERACTION_LIFE: Span = Span::from_seconds(1_800);
/// How long the row of an interaction outlives it, so that who comes late is told what it was.
pub const KEPT: Span = Span::from_seconds(300);
/// How long the row of a pushed request outlives it that no browser ever came with.
pub const UNBEGUN_KEPT: Span = Span::from_seconds(60);
/// Bytes of a request, as it is stored, that a client pushed which proved who it is.
pub const PARAMETERS_BYTES_MAX: usize = 32 * 1_024;
/// The same of one that anybody can send.
pub const UNPROVED_BYTES_MAX: usize = 8 * 1_024;
/// Characters of the name of an interaction: 32 bytes as base64url.
const NAME_CHARS: usize = 43;

/// How a request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameBy {
    /// By the browser, for anybody to change.
    Parameters,
    /// By the browser, in an object that the client signed.
    Object,
    /// Pushed before: by the row of that hash.
    Pushed {
        /// The row.
        hash: String,
        /// Whether in an object that the client signed.
        signed: bool,
    },
}

impl CameBy {
    /// Whether the client's signature is over it.
    pub const fn is_signed(&self) -> bool {
        matches!(self, Self::Object | Self::Pushed { signed: true, .. })
    }

    /// Whether it was pushed.
    pub const fn is_pushed(&self) -> bool {
        matches!(self, Self::Pushed { .. })
    }
}

/// A request that a client pushed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Its row: the hash of the `request_uri`.
    pub hash: String,
    /// Who pushed it.
    pub client_id: String,
    /// The parameters, as a form body.
    pub parameters: String,
    /// Whether they came in an object that the client signed.
    pub signed: bool,
    /// Until when it may be begun.
    pub until: UnixTime,
    /// When a browser first came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<UnixTime>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixTime>,
    /// Whether the answer was no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

impl std::fmt::Debug for Pushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pushed request of `{}` until {}", self.client_id, self.until)
    }
}

impl Pushed {
    /// Refuses one that is over, or of another client.
    pub fn admits(&self, client_id: &str, now: UnixTime) -> Result<(), PushedRefusal> {
        // RFC 9126 §4: "the authorization server [...] MUST [...] bind the request URI to the
        // client that posted the authorization request" (§2.2).
        if self.client_id != client_id {
            return Err(PushedRefusal::OfOther);
        }
        // RFC 9126 §7.3: "the authorization server SHOULD make the request URIs one-time use".
        if let Some(at) = self.used {
            return Err(PushedRefusal::Used { at });
        }
        // RFC 9126 §4: "An expired request_uri MUST be rejected as invalid."
        if now >= self.until {
            return Err(PushedRefusal::Expired { at: self.until });
        }
        Ok(())
    }

    /// The same, once a browser came with it; `None` where one did before.
    pub fn after_begin(&self, now: UnixTime) -> Option<Self> {
        self.begun.is_none().then(|| Self { begun: Some(now), ..self.clone() })
    }

    /// When its row may be swept. One that was begun stays for as long as it can be answered in any
    /// tab: it is what says that it was, in another.
    pub fn kept_until(&self) -> UnixTime {
        match self.begun {
            Some(_) => self.until.plus(INTERACTION_LIFE).plus(KEPT),
            None => self.until.plus(UNBEGUN_KEPT),
        }
    }

    /// The same, used up.
    #[must_use]
    pub fn after_use(&self, now: UnixTime, allowed: bool) -> Self {
        Self { used: Some(now), refused: !allowed, ..self.clone() }
    }
}

/// Why a pushed request counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushedRefusal {
    /// There is none.
    #[error("no request was pushed under this `request_uri` (RFC 9126 §4)")]
    Unknown,
    /// Another client pushed it.
    #[error("the `request_uri` is of another client (RFC 9126 §2.2)")]
    OfOther,
    /// It was answered.
    #[error("the `request_uri` was used at {at}; it serves once (RFC 9126 §7.3)")]
    Used {
        /// When.
        at: UnixTime,
    },
    /// It came too late.
    #[error("the `request_uri` expired at {at} (RFC 9126 §4)")]
    Expired {
        /// When.
        at: UnixTime,
    },
}

/// A request in somebody's browser. It decides nothing: what it asks for is looked at anew each
/// time that it is shown, and when it is answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interaction {
    /// Its row: [`hash_of`] its name.
    pub hash: String,
    /// The browser that it is bound to: the hash of what names that.
    pub browser: String,
    /// Which client asks.
    pub client_id: String,
    /// The parameters, as a form body.
    pub parameters: String,
    /// How they came.
    pub by: CameBy,
    /// When.
    pub began: UnixTime,
    /// Until when it may be answered.
    pub until: UnixTime,
    /// How it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
}

impl std::fmt::Debug for Interaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (client, answered) = (&self.client_id, &self.answered);
        write!(f, "interaction of `{client}` until {} ({answered:?})", self.until)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// When.
    pub at: UnixTime,
    /// The grant that came of it; `None` where nothing was allowed.
    pub grant: Option<String>,
}

impl Interaction {
    /// Refuses one that is over, or in another browser.
    pub fn admits(&self, browser: &str, now: UnixTime) -> Result<(), Over> {
        if self.browser != browser {
            return Err(Over::OtherBrowser);
        }
        if let Some(answered) = &self.answered {
            let allowed = answered.grant.is_some();
            return Err(Over::Answered { at: answered.at, allowed });
        }
        if now >= self.until {
            return Err(Over::Expired { at: self.until });
        }
        Ok(())
    }

    /// The same, answered. Its parameters have served: the row goes on only to say so.
    #[must_use]
    pub fn after_answer(&self, answered: Answered) -> Self {
        Self { parameters: String::new(), answered: Some(answered), ..self.clone() }
    }
}

/// Why an interaction cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// There is none.
    #[error("there is no such question, or it is of long ago")]
    Unknown,
    /// It was begun elsewhere.
    #[error("the question was asked in another browser")]
    OtherBrowser,
    /// It was answered.
    #[error("the question was answered at {at}")]
    Answered {
        /// When.
        at: UnixTime,
        /// Whether anything was allowed.
        allowed: bool,
    },
    /// It came too late.
    #[error("the question expired at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
}

/// The name of an interaction with these random bytes, as its path has it.
pub fn name(secret: &[u8; 32]) -> String {
    TokenHash::from_bytes(*secret).to_base64url()
}

/// How an interaction of that name is known in the store; `None` for a text that names none.
pub fn hash_of(name: &str) -> Option<String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let fits = name.len() == NAME_CHARS && name.bytes().all(letter);
    fits.then(|| TokenHash::of(&format!("interaction {name}")).to_base64url())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    #[test]
    fn rfc9126_4_a_pushed_request_is_of_one_client_and_serves_once() {
        let pushed = Pushed {
            hash: "h".to_owned(),
            client_id: "client-1".to_owned(),
            parameters: "state=secret".to_owned(),
            signed: false,
            until: NOW.plus(PUSHED_LIFE),
            begun: None,
            used: None,
            refused: false,
        };
        let until = pushed.until;
        assert_eq!(pushed.admits("client-1", NOW), Ok(()));
        assert_eq!(pushed.admits("client-2", NOW), Err(PushedRefusal::OfOther));
        assert_eq!(pushed.admits("client-1", until), Err(PushedRefusal::Expired { at: until }));
        // It outlives every question that may have been begun with it.
        let begun = pushed.after_begin(until.minus(Span::from_seconds(1))).unwrap();
        assert!(begun.kept_until() > until.plus(INTERACTION_LIFE));
        assert_eq!(begun.after_begin(NOW), None);
        assert_eq!(pushed.kept_until(), until.plus(UNBEGUN_KEPT));
        let used = pushed.after_use(NOW, true);
        assert_eq!(used.admits("client-1", NOW), Err(PushedRefusal::Used { at: NOW }));
        assert!(!format!("{pushed:?}").contains("secret"));
    }

    #[test]
    fn rfc6749_10_12_an_interaction_is_of_one_browser_and_answered_once() {
        let open = Interaction {
            hash: "h".to_owned(),
            browser: "b".to_owned(),
            client_id: "client-1".to_owned(),
            parameters: "state=secret".to_owned(),
            by: CameBy::Parameters,
            began: NOW,
            until: NOW.plus(INTERACTION_LIFE),
            answered: None,
        };
        assert_eq!(open.admits("b", NOW), Ok(()));
        assert_eq!(open.admits("c", NOW), Err(Over::OtherBrowser));
        assert_eq!(open.admits("b", open.until), Err(Over::Expired { at: open.until }));
        let answered = open.after_answer(Answered { at: NOW, grant: None });
        let over = Over::Answered { at: NOW, allowed: false };
        assert_eq!(answered.admits("b", NOW), Err(over));
        // Whoever finds the name of a question in another browser learns nothing of it.
        assert_eq!(answered.admits("c", NOW), Err(Over::OtherBrowser));
        assert!(!format!("{open:?}{answered:?}").contains("secret"));
        assert_eq!(answered.parameters, "");
    }

    #[test]
    fn an_interaction_is_known_by_a_hash() {
        let named = name(&[7; 32]);
        assert!(hash_of(&named).is_some_and(|hash| hash != named));
        for bad in ["", "short", &"!".repeat(43), &"A".repeat(44)] {
            assert_eq!(hash_of(bad), None, "{bad}");
        }
    }
}
