//! The credential box's own policy: how long things live (CRED-06).

use serde::{Deserialize, Serialize};
use time::Span;

use crate::authority::{Purpose, Schedule};

/// `[lifetimes]` of `domain.toml`, in seconds. Short by default; these are also the upper bounds:
/// an attestation rule may only shorten them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifetimes {
    /// X.509-SVIDs of workloads.
    pub x509_svid: Span,
    /// Workload identity tokens.
    pub wit: Span,
    /// JWT-SVIDs: bearer, so minutes.
    pub jwt_svid: Span,
    /// X.509-SVIDs of nodes and gateways.
    pub component: Span,
    /// Access tokens.
    pub access_token: Span,
    /// Transaction tokens.
    pub txn_token: Span,
    /// How long an X.509 authority signs.
    pub x509_authority: Span,
    /// How long the authority of the HTTPS listeners signs, which people put into their browsers
    /// and programs into a file.
    pub web_authority: Span,
    /// How long a token signing key signs.
    pub signing_key: Span,
    /// How long a key is published before it is used.
    pub publish_ahead: Span,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            x509_svid: Span::from_seconds(3_600),
            wit: Span::from_seconds(3_600),
            jwt_svid: Span::from_seconds(300),
            component: Span::from_seconds(3_600),
            access_token: Span::from_seconds(300),
            txn_token: Span::from_seconds(60),
            x509_authority: Span::from_seconds(7 * 86_400),
            web_authority: Span::from_seconds(5 * 365 * 86_400),
            signing_key: Span::from_seconds(86_400),
            publish_ahead: Span::from_seconds(3_600),
        }
    }
}

/// The longest life that policy may give to a bearer JWT-SVID, in seconds.
pub const JWT_SVID_SECONDS_MAX: u64 = 3_600;
/// The longest life that policy may give to a key-bound credential, in seconds.
pub const CREDENTIAL_SECONDS_MAX: u64 = 86_400;
/// The longest life that policy may give to an access token, in seconds.
pub const ACCESS_TOKEN_SECONDS_MAX: u64 = 3_600;
/// The longest life that policy may give to a transaction token, in seconds (docs/design.md §5).
pub const TXN_TOKEN_SECONDS_MAX: u64 = 60;

/// The shortest and the longest life that policy may give to the authority of the HTTPS listeners,
/// in seconds.
pub const WEB_AUTHORITY_SECONDS: (u64, u64) = (30 * 86_400, 10 * 365 * 86_400);
/// How long a certificate of an HTTPS listener lives; it is renewed at half of that.
pub const LISTENER_LIFE: Span = Span::from_seconds(7 * 86_400);
/// The longest time that the next authority of the HTTPS listeners stands in `ca.pem` before it
/// signs; a quarter of its life where that is shorter.
const WEB_AHEAD: Span = Span::from_seconds(90 * 86_400);

/// How long an attestation result may count at most.
pub const RESULT_LIFE_MAX: Span = Span::from_seconds(86_400);

impl Lifetimes {
    /// The settings that are zero, too long, or do not fit together, each with what is wrong.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let bounds = [
            ("x509_svid", self.x509_svid, CREDENTIAL_SECONDS_MAX),
            ("wit", self.wit, CREDENTIAL_SECONDS_MAX),
            ("jwt_svid", self.jwt_svid, JWT_SVID_SECONDS_MAX),
            ("component", self.component, CREDENTIAL_SECONDS_MAX),
            ("access_token", self.access_token, ACCESS_TOKEN_SECONDS_MAX),
            ("txn_token", self.txn_token, TXN_TOKEN_SECONDS_MAX),
        ];
        let mut faults: Vec<_> = bounds
            .into_iter()
            .filter(|(_, span, max)| span.seconds() == 0 || span.seconds() > *max)
            .map(|(name, span, max)| {
                let seconds = span.seconds();
                (name, format!("`{name}` is {seconds} seconds; allowed are 1 to {max}"))
            })
            .collect();
        let ((min, max), life) = (WEB_AUTHORITY_SECONDS, self.web_authority.seconds());
        if !(min..=max).contains(&life) {
            let message = format!("`web_authority` is {life} seconds; allowed are {min} to {max}");
            faults.push(("web_authority", message));
        }
        if self.publish_ahead >= self.signing_key || self.publish_ahead >= self.x509_authority {
            let message = "`publish_ahead` must be shorter than the life of every key".to_owned();
            faults.push(("publish_ahead", message));
        }
        faults
    }

    /// The schedule of the keys of `purpose`.
    pub fn schedule(&self, purpose: Purpose) -> Schedule {
        if purpose == Purpose::WebAuthority {
            let signs = self.web_authority;
            let ahead = WEB_AHEAD.min(Span::from_millis(signs.millis() / 4));
            return Schedule { ahead, signs, signed_life: LISTENER_LIFE };
        }
        let (signs, signed_life) = match purpose {
            Purpose::X509Authority => (self.x509_authority, self.x509_svid.max(self.component)),
            Purpose::JwtSvid => (self.signing_key, self.jwt_svid),
            Purpose::Wit => (self.signing_key, self.wit),
            Purpose::TxnToken => (self.signing_key, self.txn_token),
            Purpose::AttestationResult => (self.signing_key, RESULT_LIFE_MAX),
            _ => (self.signing_key, self.access_token),
        };
        Schedule { ahead: self.publish_ahead, signs, signed_life }
    }
}

/// The most levels of nested authorities: with those above ours a chain stays as short as it is
/// read.
pub const NESTED_LEVELS_MAX: u8 = 3;
/// The shortest and the longest life that policy may give to a nested authority, in seconds.
pub const NESTED_SECONDS: (u64, u64) = (120, 30 * 86_400);

/// `[nested]` of `domain.toml`: authorities of other servers below ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nested {
    /// How many levels of them may stand below ours.
    pub levels: u8,
    /// How long the certificate of one lives at the most.
    pub life: Span,
}

impl Default for Nested {
    fn default() -> Self {
        Self { levels: 0, life: Span::from_seconds(86_400) }
    }
}

impl Nested {
    /// The settings that are out of bounds, each with what is wrong.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.levels > NESTED_LEVELS_MAX {
            let levels = self.levels;
            let message = format!("`levels` is {levels}; allowed are 0 to {NESTED_LEVELS_MAX}");
            faults.push(("levels", message));
        }
        let ((min, max), life) = (NESTED_SECONDS, self.life.seconds());
        if !(min..=max).contains(&life) {
            let message = format!("`life` is {life} seconds; allowed are {min} to {max}");
            faults.push(("life", message));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: CRED-06 (part)
    #[test]
    fn s6_nested_authorities_are_few_levels_and_short_lived() {
        assert_eq!(Nested::default().faults(), []);
        for (levels, life, expect) in [
            (NESTED_LEVELS_MAX, NESTED_SECONDS.0, &[][..]),
            (NESTED_LEVELS_MAX + 1, NESTED_SECONDS.1, &["levels"]),
            (1, NESTED_SECONDS.0 - 1, &["life"]),
            (1, NESTED_SECONDS.1 + 1, &["life"]),
        ] {
            let nested = Nested { levels, life: Span::from_seconds(life) };
            let found: Vec<_> = nested.faults().iter().map(|fault| fault.0).collect();
            assert_eq!(found, expect, "{levels} {life}");
        }
    }

    /// req: CRED-06 (part)
    #[test]
    fn s6_lifetimes_are_short_and_bounded() {
        assert_eq!(Lifetimes::default().faults(), []);
        let long = Lifetimes { jwt_svid: Span::from_seconds(7_200), ..Lifetimes::default() };
        let zero = Lifetimes { wit: Span::ZERO, ..Lifetimes::default() };
        let late = Lifetimes { publish_ahead: Span::from_seconds(90_000), ..Lifetimes::default() };
        let brief = Lifetimes { web_authority: Span::from_seconds(7_200), ..Lifetimes::default() };
        for (lifetimes, name) in
            [(long, "jwt_svid"), (zero, "wit"), (late, "publish_ahead"), (brief, "web_authority")]
        {
            let faults = lifetimes.faults();
            assert_eq!(faults.iter().map(|fault| fault.0).collect::<Vec<_>>(), [name]);
        }
    }
}
