//! Sessions of people's browsers, and the codes and links that sign them in (AUTHN-11).
//!
//! In scope: what is stored, and whether it still counts. Not here: the cookie, and how somebody
//! signed in.

use std::collections::BTreeSet;

use jose::TokenHash;
use provisioning::Epoch;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

/// How far [`Session::seen`] may be behind: a busy page writes nothing.
pub const SEEN_AGAIN: Span = Span::from_seconds(60);

/// A value that a browser or a person holds, known here by its hash alone.
pub fn hash_of(secret: &str) -> String {
    TokenHash::of(secret).to_base64url()
}

/// How somebody proved who they are (RFC 8176 names the methods).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticated {
    /// When.
    pub at: UnixTime,
    /// `acr`: which class of authentication that is.
    pub acr: Acr,
    /// `amr`: by which methods.
    pub amr: BTreeSet<String>,
}

/// The classes of authentication that this server tells apart, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Acr {
    /// A code or link that an operator gave.
    #[serde(rename = "urn:aims:acr:code")]
    Code,
    /// Another identity provider said so.
    #[serde(rename = "urn:aims:acr:federated")]
    Federated,
    /// A passkey: `phr` of OpenID Connect EAP ACR Values 1.0, "phishing-resistant".
    #[serde(rename = "phr")]
    Passkey,
    /// A passkey that no other device has: `phrh`, "phishing-resistant hardware-protected".
    #[serde(rename = "phrh")]
    HardwarePasskey,
}

impl Acr {
    /// All of them, weakest first.
    pub const ALL: [Self; 4] = [Self::Code, Self::Federated, Self::Passkey, Self::HardwarePasskey];

    /// The value on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "urn:aims:acr:code",
            Self::Federated => "urn:aims:acr:federated",
            Self::Passkey => "phr",
            Self::HardwarePasskey => "phrh",
        }
    }

    /// The class of that value.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|acr| acr.as_str() == text)
    }

    /// Whether who authenticated so satisfies who asks for `wanted`: a stronger class does.
    pub fn satisfies(self, wanted: Self) -> bool {
        self >= wanted
    }
}

/// A browser in which somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its row: the hash of the cookie.
    pub hash: String,
    /// What pages and records call it, and `sid` in ID tokens: no secret.
    pub id: String,
    /// Whose: an identifier of a user.
    pub user: String,
    /// How they proved it, last.
    pub authenticated: Authenticated,
    /// When it began.
    pub began: UnixTime,
    /// When it was last seen, to [`SEEN_AGAIN`].
    pub seen: UnixTime,
    /// It ends if it is not seen for so long.
    pub idle: Span,
    /// It ends then in any case.
    pub until: UnixTime,
    /// The epoch that it began under.
    pub epoch: Epoch,
    /// The browser, as it calls itself, cut short: for its owner to tell one from another.
    pub browser: String,
    /// Where somebody signed in at another provider: its issuer, and its `sid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<(String, Option<String>)>,
    /// When they came here, where another provider says since when it knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered: Option<UnixTime>,
    /// Another provider did not say when they proved who they are: the time of
    /// [`Session::authenticated`] is the one at which they came, and meets nobody who asks for one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undated: bool,
    /// Who is told when it ends (OpenID Connect Back-Channel Logout 1.0 §2.3): client ids.
    #[serde(default)]
    pub clients: BTreeSet<String>,
}

impl Session {
    /// When it ends if it is not seen again.
    pub fn ends(&self) -> UnixTime {
        self.seen.plus(self.idle).min(self.until)
    }

    /// Whether they proved who they are not longer ago than `most`, as far as is known.
    pub fn proved_within(&self, most: Span, now: UnixTime) -> bool {
        !self.undated && now <= self.authenticated.at.plus(most)
    }

    /// Whether they proved who they are at `when` or later, as far as is known.
    pub fn proved_since(&self, when: UnixTime) -> bool {
        !self.undated && self.authenticated.at >= when
    }

    /// Whether they signed in here at `when` or later, whenever they had proved who they are.
    pub fn entered_since(&self, when: UnixTime) -> bool {
        self.entered.unwrap_or(self.authenticated.at) >= when
    }

    /// Refuses one that ended.
    pub fn is_live(&self, now: UnixTime) -> Result<(), SessionEnded> {
        let at = self.ends();
        if now < at { Ok(()) } else { Err(SessionEnded { at }) }
    }
}

/// A session that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session ended at {at}")]
pub struct SessionEnded {
    /// When.
    pub at: UnixTime,
}

/// A code, or a link with one, that an operator gave a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInCode {
    /// Its row: the hash of the code.
    pub hash: String,
    /// Whose.
    pub user: String,
    /// What it is for.
    pub purpose: CodePurpose,
    /// How often it may still be used.
    pub uses_left: u32,
    /// Until when.
    pub until: UnixTime,
    /// Who made it.
    pub by: String,
}

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodePurpose {
    /// To sign in, typed beside the user's name.
    SignIn,
    /// To add a passkey, as a link: the first one, or after all were lost.
    AddPasskey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9470_4_a_stronger_class_satisfies_a_weaker_one() {
        for (held, wanted, does) in [
            (Acr::Passkey, Acr::Passkey, true),
            (Acr::HardwarePasskey, Acr::Passkey, true),
            (Acr::Passkey, Acr::HardwarePasskey, false),
            (Acr::Code, Acr::Passkey, false),
            (Acr::Federated, Acr::Code, true),
        ] {
            assert_eq!(held.satisfies(wanted), does, "{held:?} {wanted:?}");
        }
        for acr in Acr::ALL {
            assert_eq!(Acr::parse(acr.as_str()), Some(acr));
            assert_eq!(serde_json::to_value(acr).unwrap(), acr.as_str());
        }
        assert_eq!(Acr::parse("PHR"), None);
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_in_any_case() {
        let at = UnixTime::from_seconds;
        let mut session = Session {
            hash: hash_of("secret"),
            id: "s".to_owned(),
            user: "user:ada".to_owned(),
            authenticated: Authenticated { at: at(0), acr: Acr::Passkey, amr: BTreeSet::new() },
            began: at(0),
            seen: at(100),
            idle: Span::from_seconds(50),
            until: at(200),
            epoch: Epoch(1),
            browser: String::new(),
            upstream: None,
            entered: None,
            undated: false,
            clients: BTreeSet::new(),
        };
        assert_eq!(session.is_live(at(149)), Ok(()));
        assert_eq!(session.is_live(at(150)), Err(SessionEnded { at: at(150) }));
        // Who proved it when is asked of what is known of that, not of when they came.
        let dated =
            (session.proved_within(Span::from_seconds(9), at(9)), session.proved_since(at(0)));
        assert_eq!((dated, session.entered_since(at(1))), ((true, true), false));
        (session.undated, session.entered) = (true, Some(at(1)));
        let undated =
            (session.proved_within(Span::from_seconds(9), at(9)), session.proved_since(at(0)));
        assert_eq!((undated, session.entered_since(at(1))), ((false, false), true));
        session.seen = at(190);
        assert_eq!(session.is_live(at(199)), Ok(()));
        assert_eq!(session.is_live(at(200)), Err(SessionEnded { at: at(200) }));
    }
}
