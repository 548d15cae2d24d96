//! Step-up authentication (RFC 9470): what a resource needs of how its user signed in, and whether
//! a token has it.

use jose::{NumericDate, named};
use time::UnixTime;

use crate::challenge::Challenge;
use crate::error::ErrorCode;

/// What a resource needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// One of these, in order of preference; none where it is all the same.
    pub acr_values: Vec<String>,
    /// Seconds since the user authenticated, at most.
    pub max_age: Option<u64>,
}

impl Needed {
    /// Checks what a token says.
    pub fn check(
        &self,
        acr: Option<&str>,
        auth_time: Option<NumericDate>,
        now: UnixTime,
    ) -> Result<(), TooWeak> {
        let has = |acr: &str| self.acr_values.iter().any(|value| value == acr);
        if !self.acr_values.is_empty() && !acr.is_some_and(has) {
            return Err(TooWeak::Context { found: acr.map(str::to_owned) });
        }
        // RFC 9470 §3: "the allowable elapsed time in seconds since the last active authentication
        // event associated with the access token."
        let Some(max) = self.max_age else { return Ok(()) };
        let authenticated = auth_time.ok_or(TooWeak::NoTime)?.time();
        let age = now.since(authenticated).seconds();
        if age > max {
            return Err(TooWeak::TooLongAgo { age, max });
        }
        Ok(())
    }

    /// What the client is told.
    pub fn challenge(&self, challenge: Challenge) -> Challenge {
        // RFC 9470 §3: "insufficient_user_authentication The authentication event associated with
        // the access token presented with the request does not meet the authentication requirements
        // of the protected resource."
        let mut challenge = challenge.error(ErrorCode::InsufficientUserAuthentication);
        if !self.acr_values.is_empty() {
            let values: Vec<&str> = self.acr_values.iter().map(String::as_str).collect();
            challenge = challenge.acr_values(&values);
        }
        match self.max_age {
            Some(seconds) => challenge.max_age(seconds),
            None => challenge,
        }
    }
}

/// Why a token is not enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooWeak {
    #[error(
        "authenticated as {}, which is not what is needed (RFC 9470 §3)",
        named(found.as_deref())
    )]
    Context { found: Option<String> },
    #[error("a token without `auth_time` (RFC 9470 §6)")]
    NoTime,
    #[error("authenticated {age} s ago, more than {max} (RFC 9470 §3)")]
    TooLongAgo { age: u64, max: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-18 (part)
    #[test]
    fn rfc9470_3_a_token_has_what_is_needed_or_not() {
        let needed = Needed { acr_values: vec!["myACR".to_owned()], max_age: Some(5) };
        let now = UnixTime::from_seconds(100);
        let at = |seconds| Some(NumericDate::from_seconds(seconds));
        let context = |found: Option<&str>| TooWeak::Context { found: found.map(str::to_owned) };
        for (acr, auth_time, expect) in [
            (Some("myACR"), at(95), Ok(())),
            (Some("myACR"), at(101), Ok(())),
            (Some("myacr"), at(95), Err(context(Some("myacr")))),
            (None, at(95), Err(context(None))),
            (Some("myACR"), None, Err(TooWeak::NoTime)),
            (Some("myACR"), at(94), Err(TooWeak::TooLongAgo { age: 6, max: 5 })),
        ] {
            assert_eq!(needed.check(acr, auth_time, now), expect);
        }
        assert_eq!(Needed::default().check(None, None, now), Ok(()));
        let challenge = needed.challenge(Challenge::bearer()).to_string();
        assert_eq!(
            challenge,
            r#"Bearer error="insufficient_user_authentication", acr_values="myACR", max_age="5""#
        );
    }
}
