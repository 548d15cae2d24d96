//! What a client waits with for somebody's answer: a device code, an `auth_req_id`, a deferral
//! code, the id of a challenged transaction (RFC 8628 §3.4, CIBA Core 1.0 §7.3; AUTHZ-17,
//! AUTHZ-19).

use std::fmt;

use authentication::Method;
use authorization::granted::{Binding, NotYet};
use jose::TokenHash;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::approval::Approval;
use crate::state::State;

/// How long a ticket's row outlives it, so that a late use is told for what it is.
pub const KEPT: Span = Span::from_seconds(86_400);
/// The same of a device's: most of them belong to nobody who is known.
pub const DEVICE_KEPT: Span = Span::from_seconds(3_600);
/// RFC 8628 §3.5, CIBA Core 1.0 §11: how much longer who comes too soon must wait from then on.
pub const SLOW_DOWN: Span = Span::from_seconds(oauth::device::SLOW_DOWN_SECONDS);
/// How long one waits at first between two requests.
pub const INTERVAL: Span = Span::from_seconds(oauth::device::DEFAULT_INTERVAL_SECONDS);
/// The longest that one may be made to wait.
pub const INTERVAL_MAX: Span = Span::from_seconds(300);
/// How often a client is told at most that does not answer.
pub const NOTIFY_TRIES_MAX: u32 = 8;
/// The pause after the first of these tries; each later one is twice as long.
const NOTIFY_PAUSE: Span = Span::from_seconds(2);
/// The longest of them.
const NOTIFY_PAUSE_MAX: Span = Span::from_seconds(300);
/// How long tokens that are on their way are not made again: longer than a try takes.
const NOTIFY_CLAIM: Span = Span::from_seconds(30);
/// What clocks and networks may take off an interval without harm.
const EARLY: Span = Span::from_millis(500);

/// What it is for: each kind begins with its own letters, so that none is taken for another
/// (docs/past-defects.md 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `device_code`.
    Device,
    /// `auth_req_id`.
    Ciba,
    /// `deferral_code`.
    Deferred,
    /// `transaction_authorization_id`.
    Challenge,
    /// `task.id` of an AuthZEN access request.
    AccessRequest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Device, Self::Ciba, Self::Deferred, Self::Challenge, Self::AccessRequest];

    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Ciba => "ciba",
            Self::Deferred => "deferred",
            Self::Challenge => "challenge",
            Self::AccessRequest => "access_request",
        }
    }

    /// How the text begins. CIBA Core 1.0 §7.3: "It MUST only contain characters from the set
    /// [...] A-Z, a-z, 0-9, ".", "-" and "_"".
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Device => "aims_dc_",
            Self::Ciba => "aims_ar_",
            Self::Deferred => "aims_df_",
            Self::Challenge => "aims_ta_",
            Self::AccessRequest => "aims_aq_",
        }
    }

    /// The text with these random bytes.
    pub fn text(self, secret: &[u8; 32]) -> String {
        format!("{}{}", self.prefix(), TokenHash::from_bytes(*secret).to_base64url())
    }

    /// How it is known in the store; `None` for a text that is none of this kind.
    pub fn hash_of(self, text: &str) -> Option<String> {
        text.starts_with(self.prefix()).then(|| TokenHash::of(text).to_base64url())
    }
}

/// What a client waits with, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its row: the hash of the text.
    pub hash: String,
    /// What it is for.
    pub kind: Kind,
    /// Whom it was given to.
    pub client_id: String,
    /// The question that it waits for: an id.
    pub approval: String,
    /// The audiences that were asked for: the token endpoint may ask for one of them.
    pub resources: Vec<String>,
    /// The key or certificate that alone may use it, where one was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// RFC 8628: the hash of what the user types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
    /// CIBA: where the client is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// How long the client must wait between two requests.
    pub interval: Span,
    /// When it last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<UnixTime>,
    /// Until when it serves.
    pub until: UnixTime,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixTime>,
    /// AuthZEN: the hash of what was handed in. The same again is the same request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Where a client is told of the answer (CIBA Core 1.0 §10.2, §10.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// `backchannel_client_notification_endpoint`.
    pub endpoint: String,
    /// `client_notification_token`: what the client knows us by.
    pub token: String,
    /// `auth_req_id`: it is sent with it.
    pub auth_req_id: String,
    /// Whether the tokens themselves are sent.
    pub push: bool,
    /// By which proof the client had authenticated when it asked: it does not when it is told.
    pub method: Method,
    /// How often it was tried.
    #[serde(default)]
    pub tries: u32,
    /// When it is tried next; `None` as long as there is nothing to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UnixTime>,
    /// When it was done, or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<UnixTime>,
}

impl Notify {
    /// Whether there is something to tell, now or later.
    pub const fn is_under_way(&self) -> bool {
        self.next.is_some() && self.done.is_none()
    }

    /// After the beginning of one more try: the next, if this one comes to nothing; `None` where
    /// there were enough.
    pub fn after_try(&self, now: UnixTime) -> Option<Self> {
        let doubled = 1_u64.checked_shl(self.tries).unwrap_or(u64::MAX);
        let pause = NOTIFY_PAUSE.seconds().saturating_mul(doubled).min(NOTIFY_PAUSE_MAX.seconds());
        let tries = self.tries.saturating_add(1);
        let next = Some(now.plus(Span::from_seconds(pause)));
        (tries <= NOTIFY_TRIES_MAX).then(|| Self { tries, next, ..self.clone() })
    }

    /// Done, or given up. What the client knows us by is forgotten.
    #[must_use]
    pub fn after_end(&self, now: UnixTime) -> Self {
        let (token, auth_req_id) = (String::new(), String::new());
        Self { token, auth_req_id, done: Some(now), next: None, ..self.clone() }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notify({}, push {}, {} tries)", self.endpoint, self.push, self.tries)
    }
}

/// How what a person types is stored: a code is found by it, and not read from it.
pub fn user_code_hash(letters: &str) -> String {
    TokenHash::of(&format!("aims user code\0{letters}")).to_base64url()
}

impl Ticket {
    /// What the client gets that asks now, and the ticket after that, where it changed. `arrived`
    /// is when its request came: CIBA Core 1.0 §10.1: "The polling interval is measured from the
    /// instant when a polling request is sent."
    pub fn poll(
        &self,
        approval: &Approval,
        arrived: UnixTime,
        now: UnixTime,
    ) -> (Option<Self>, Result<(), NotYet>) {
        if let Some(at) = self.used {
            return (None, Err(NotYet::Used { at }));
        }
        // CIBA Core 1.0 §11: "unauthorized_client If the Client is registered to use Push Mode then
        // it MUST NOT call the Token Endpoint with the CIBA Grant Type".
        if self.notify.as_ref().is_some_and(|notify| notify.push) {
            return (None, Err(NotYet::Pushed));
        }
        if now >= self.until {
            return (None, Err(NotYet::Expired { at: self.until }));
        }
        match approval.state_at(now) {
            State::Allowed => (Some(self.after_use(now)), Ok(())),
            State::Denied | State::Cancelled => (None, Err(NotYet::Denied)),
            State::Expired => (None, Err(NotYet::Expired { at: approval.until })),
            State::Used => {
                (None, Err(NotYet::Used { at: approval.used.unwrap_or(approval.until) }))
            }
            State::Pending => self.wait(arrived),
        }
    }

    /// What a client gets that is pushed its tokens. They are made anew where it was not reached:
    /// what was made before, nobody else has.
    pub fn push(&self, approval: &Approval, now: UnixTime) -> Result<(), NotYet> {
        // They are on their way already, or were delivered.
        let due = |one: &Notify| one.is_under_way() && one.next.is_some_and(|next| next <= now);
        if !self.notify.as_ref().is_some_and(due) {
            return Err(NotYet::Pushed);
        }
        match (approval.state_at(now), self.used) {
            (State::Allowed, None) | (State::Used, Some(_)) => Ok(()),
            (State::Allowed, Some(at)) => Err(NotYet::Used { at }),
            (State::Used, None) => {
                Err(NotYet::Used { at: approval.used.unwrap_or(approval.until) })
            }
            (State::Denied | State::Cancelled, _) => Err(NotYet::Denied),
            (State::Expired, _) => Err(NotYet::Expired { at: approval.until }),
            (State::Pending, _) => Err(NotYet::Pending),
        }
    }

    /// The ticket, used for tokens that are on their way: nobody else sends them meanwhile.
    #[must_use]
    pub fn after_push(&self, now: UnixTime) -> Self {
        let next = Some(now.plus(NOTIFY_CLAIM));
        let notify = self.notify.clone().map(|notify| Notify { next, ..notify });
        Self { notify, used: self.used.or(Some(now)), ..self.clone() }
    }

    /// The ticket from when there is an answer: its client is to be told, where it wants to be.
    pub fn after_answer(&self, now: UnixTime) -> Option<Self> {
        let notify = self.notify.as_ref().filter(|one| one.done.is_none() && one.next.is_none())?;
        let notify = Some(Notify { next: Some(now), ..notify.clone() });
        Some(Self { notify, ..self.clone() })
    }

    /// Whether its client is to be told. Who fetched the tokens knows already.
    pub fn is_to_tell(&self) -> bool {
        let told = |one: &Notify| one.is_under_way() && (one.push || self.used.is_none());
        self.notify.as_ref().is_some_and(told)
    }

    /// Nobody answered yet.
    fn wait(&self, now: UnixTime) -> (Option<Self>, Result<(), NotYet>) {
        let asked = Some(now);
        let soon = self.asked.is_some_and(|last| now.plus(EARLY) < last.plus(self.interval));
        if !soon {
            return (Some(Self { asked, ..self.clone() }), Err(NotYet::Pending));
        }
        // RFC 8628 §3.5: "the interval MUST be increased by 5 seconds for this and all subsequent
        // requests."
        let longer = Span::from_seconds(self.interval.seconds() + SLOW_DOWN.seconds());
        let interval = longer.min(INTERVAL_MAX);
        let after = Self { asked, interval, ..self.clone() };
        (Some(after), Err(NotYet::TooSoon { interval }))
    }

    /// The ticket, used: it serves nothing more.
    #[must_use]
    pub fn after_use(&self, now: UnixTime) -> Self {
        Self { used: Some(now), ..self.clone() }
    }

    /// When its row may be swept.
    pub fn kept_until(&self) -> UnixTime {
        self.until.plus(if self.kind == Kind::Device { DEVICE_KEPT } else { KEPT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    fn after(seconds: u64) -> UnixTime {
        NOW.plus(Span::from_seconds(seconds))
    }

    fn approval(state: State) -> Approval {
        let text = serde_json::json!({
            "id": "a", "whom": "typed", "by_subject": true, "asks": { "client_id": "c" },
            "sought": { "targets": {} }, "hash": "", "number": 10, "policy": "p",
            "front": "device", "root": "a", "epoch": 1, "created": NOW,
            "until": after(60), "state": state,
        });
        serde_json::from_value(text).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket {
            hash: "h".to_owned(),
            kind: Kind::Device,
            client_id: "c".to_owned(),
            approval: "a".to_owned(),
            resources: Vec::new(),
            binding: None,
            user_code: None,
            notify: None,
            interval: INTERVAL,
            asked: None,
            until: after(60),
            used: None,
            body: None,
        }
    }

    /// req: AUTHZ-19 (part)
    #[test]
    fn rfc8628_3_5_who_asks_too_soon_waits_longer_from_then_on() {
        let pending = approval(State::Pending);
        let mut ticket = ticket();
        let too_soon = |seconds| NotYet::TooSoon { interval: Span::from_seconds(seconds) };
        let story = [
            (0, NotYet::Pending),
            (5, NotYet::Pending),
            (9, too_soon(10)),
            (18, too_soon(15)),
            (33, NotYet::Pending),
            (47, too_soon(20)),
        ];
        for (at, expect) in story {
            let (next, found) = ticket.poll(&pending, after(at), after(at));
            assert_eq!(found, Err(expect), "at {at}");
            ticket = next.unwrap();
        }
        let (next, found) = ticket.poll(&pending, after(60), after(60));
        assert_eq!((next, found), (None, Err(NotYet::Expired { at: after(60) })));
    }

    /// req: AUTHZ-17 (part)
    #[test]
    fn ciba_11_each_state_has_its_answer() {
        let check = |state, expect| {
            let (next, found) = ticket().poll(&approval(state), NOW, NOW);
            assert_eq!((next.is_some(), found), (expect == Ok(()), expect), "{state:?}");
        };
        check(State::Allowed, Ok(()));
        check(State::Denied, Err(NotYet::Denied));
        check(State::Cancelled, Err(NotYet::Denied));
        check(State::Expired, Err(NotYet::Expired { at: after(60) }));
        check(State::Used, Err(NotYet::Used { at: after(60) }));
        let used = ticket().after_use(NOW);
        let (next, found) = used.poll(&approval(State::Allowed), after(1), after(1));
        assert_eq!((next, found), (None, Err(NotYet::Used { at: NOW })));
        let notify = Notify {
            endpoint: "https://c.example/cb".to_owned(),
            token: "secret".to_owned(),
            auth_req_id: "id".to_owned(),
            push: true,
            method: Method::PrivateKeyJwt,
            tries: 0,
            next: None,
            done: None,
        };
        assert!(!format!("{notify:?}").contains("secret"));
        let pushed = Ticket { notify: Some(notify), ..ticket() };
        assert_eq!(pushed.poll(&approval(State::Allowed), NOW, NOW).1, Err(NotYet::Pushed));
    }

    /// req: AUTHZ-17 (part)
    #[test]
    fn ciba_10_2_a_client_is_told_again_with_longer_pauses_and_not_for_ever() {
        let notify = Notify {
            endpoint: "https://c.example/cb".to_owned(),
            token: "secret".to_owned(),
            auth_req_id: "id".to_owned(),
            push: false,
            method: Method::PrivateKeyJwt,
            tries: 0,
            next: None,
            done: None,
        };
        let waiting = Ticket { notify: Some(notify), ..ticket() };
        // Before there is an answer there is nothing to tell.
        assert!(!waiting.is_to_tell());
        let told = waiting.after_answer(NOW).unwrap();
        assert!(told.is_to_tell());
        assert_eq!(told.after_answer(NOW), None);
        // Who asked for the tokens meanwhile knows.
        assert!(!told.after_use(NOW).is_to_tell());
        let (mut now, mut notify, mut pauses) = (NOW, told.notify.unwrap(), Vec::new());
        while let Some(later) = notify.after_try(now) {
            let next = later.next.unwrap();
            pauses.push(next.since(now).seconds());
            (now, notify) = (next, later);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256]);
        let over = notify.after_end(now);
        assert_eq!((over.token.as_str(), over.auth_req_id.as_str()), ("", ""));
        assert!(!over.is_under_way());
    }

    /// Defect: a code of one kind was taken where one of another kind was asked for.
    #[test]
    fn ciba_7_3_no_ticket_is_taken_for_another() {
        for kind in Kind::ALL {
            let text = kind.text(&[7; 32]);
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            assert!(text.chars().all(plain), "{text}");
            for other in Kind::ALL {
                assert_eq!(other.hash_of(&text).is_some(), other == kind, "{text}");
            }
        }
    }
}
