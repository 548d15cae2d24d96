//! `[approvals]` of `domain.toml`: who is asked, and for how long.

use std::fmt;

use authentication::session::Acr;
use serde::{Deserialize, Serialize};
use time::Span;

/// The longest that a question may wait, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 86_400;
/// The longest that a grant may live which an approval gave, in seconds.
pub const GRANT_SECONDS_MAX: u64 = 90 * 86_400;
/// The longest that a request is held open, in seconds. CIBA Core 1.0 §10.1: "The OP should not
/// take longer than 30 seconds to respond to a request, even when using long polling."
pub const LONG_POLL_SECONDS_MAX: u64 = 25;
/// Resources with a rule of their own.
pub const RESOURCES_MAX: usize = 512;

/// `[approvals]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approvals {
    /// Which human is asked.
    pub ask: Ask,
    /// Whether the person an agent acts for may allow it: where not, somebody else must.
    pub by_subject: bool,
    /// How strongly who allows something must have authenticated; any sign-in, where it does not
    /// say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<Acr>,
    /// How long a question waits for its answer, in seconds.
    pub wait: Span,
    /// How long what a user allowed to a device or by CIBA may be used, in seconds.
    pub grant: Span,
    /// How long a backchannel client that asks for its answer too early is made to wait for it in
    /// the same request, in seconds; it is not, where this is 0.
    pub long_poll: Span,
    /// Whether clients may wait for an approval at the token endpoint (Deferred Token Response, a
    /// draft).
    pub deferred: bool,
    /// Clients that FAPI-CIBA holds for, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fapi: Vec<String>,
    /// Resources for which somebody else is asked.
    #[serde(rename = "resource", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<OfResource>,
}

/// `[[approvals.resource]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfResource {
    /// The resource, by its name.
    pub name: String,
    /// Which human is asked.
    pub ask: Ask,
    /// As in `[approvals]`.
    #[serde(default = "yes")]
    pub by_subject: bool,
    /// As in `[approvals]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<Acr>,
}

const fn yes() -> bool {
    true
}

/// Which human is asked in a chain: `subject`, `owner`, or `role:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ask {
    /// The one in whose name the chain acts.
    #[default]
    Subject,
    /// The owner of the agent that asks.
    Owner,
    /// Whoever has this role.
    Role(String),
}

impl TryFrom<String> for Ask {
    type Error = NotAnAsk;

    fn try_from(text: String) -> Result<Self, NotAnAsk> {
        match text.as_str() {
            "subject" => Ok(Self::Subject),
            "owner" => Ok(Self::Owner),
            other => match other.strip_prefix("role:") {
                Some(role) if !role.is_empty() => Ok(Self::Role(role.to_owned())),
                _ => Err(NotAnAsk(text)),
            },
        }
    }
}

impl From<Ask> for String {
    fn from(ask: Ask) -> Self {
        ask.to_string()
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("subject"),
            Self::Owner => f.write_str("owner"),
            Self::Role(role) => write!(f, "role:{role}"),
        }
    }
}

/// A text that names nobody to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names nobody to ask: `subject`, `owner` or `role:NAME`")]
pub struct NotAnAsk(String);

impl Default for Approvals {
    fn default() -> Self {
        Self {
            ask: Ask::Subject,
            by_subject: true,
            acr: None,
            wait: Span::from_seconds(300),
            grant: Span::from_seconds(86_400),
            long_poll: Span::ZERO,
            deferred: false,
            fapi: Vec::new(),
            resources: Vec::new(),
        }
    }
}

/// What holds for one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which human is asked.
    pub ask: Ask,
    /// Whether the person an agent acts for may allow it.
    pub by_subject: bool,
    /// How strongly they must have authenticated.
    pub acr: Option<Acr>,
}

impl Approvals {
    /// What holds at the resource of that name.
    pub fn at(&self, resource: Option<&str>) -> Rule {
        let own = self.resources.iter().find(|one| Some(one.name.as_str()) == resource);
        match own {
            Some(OfResource { ask, by_subject, acr, .. }) => {
                let acr = (*acr).max(self.acr);
                Rule { ask: ask.clone(), by_subject: *by_subject && self.by_subject, acr }
            }
            None => Rule { ask: self.ask.clone(), by_subject: self.by_subject, acr: self.acr },
        }
    }

    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let bounds = [
            ("approvals.wait", self.wait, WAIT_SECONDS_MAX),
            ("approvals.grant", self.grant, GRANT_SECONDS_MAX),
        ];
        let outside = |span: Span, max| span.seconds() == 0 || span.seconds() > max;
        let mut faults: Vec<_> = bounds
            .into_iter()
            .filter(|(_, span, max)| outside(*span, *max))
            .map(|(name, span, max)| {
                (name, format!("`{name}` is {} seconds; allowed are 1 to {max}", span.seconds()))
            })
            .collect();
        if self.long_poll.seconds() > LONG_POLL_SECONDS_MAX {
            let (found, max) = (self.long_poll.seconds(), LONG_POLL_SECONDS_MAX);
            let message =
                format!("`approvals.long_poll` is {found} seconds; allowed are 0 to {max}");
            faults.push(("approvals.long_poll", message));
        }
        if self.resources.len() > RESOURCES_MAX {
            faults.push(("approvals.resource", format!("more than {RESOURCES_MAX} resources")));
        }
        let nobody = |ask: &Ask, by_subject: bool| *ask == Ask::Subject && !by_subject;
        let own =
            self.resources.iter().any(|one| nobody(&one.ask, one.by_subject && self.by_subject));
        if nobody(&self.ask, self.by_subject) || own {
            let message = "`ask = \"subject\"` with `by_subject = false` leaves nobody to ask";
            faults.push(("approvals.ask", message.to_owned()));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-31 (part)
    #[test]
    fn s10_6_who_is_asked_is_policy() {
        let own = |by_subject, acr| OfResource {
            name: "bank".to_owned(),
            ask: Ask::Role("finance".to_owned()),
            by_subject,
            acr,
        };
        let approvals = Approvals {
            acr: Some(Acr::Passkey),
            resources: vec![own(false, Some(Acr::Code))],
            ..Approvals::default()
        };
        let plain = Rule { ask: Ask::Subject, by_subject: true, acr: Some(Acr::Passkey) };
        assert_eq!(approvals.at(None), plain);
        assert_eq!(approvals.at(Some("crm")), plain);
        let bank = approvals.at(Some("bank"));
        assert_eq!(bank.ask.to_string(), "role:finance");
        // A resource asks for more, never for less.
        assert_eq!((bank.by_subject, bank.acr), (false, Some(Acr::Passkey)));
        assert_eq!(approvals.faults(), Vec::new());
        let long = Approvals { long_poll: Span::from_seconds(26), ..Approvals::default() };
        assert_eq!(long.faults().len(), 1);
        let nobody = Approvals { by_subject: false, ..Approvals::default() };
        assert_eq!(nobody.faults().len(), 1);
        for wrong in ["", "role:", "user:ada", "Subject"] {
            assert!(Ask::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
