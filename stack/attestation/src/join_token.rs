//! Join tokens: one host, once (SPIRE's `join_token`; ATT-02, ATT-08).
//!
//! The server knows a token by its hash alone; the row stays, used, until the token would have
//! ended, so that a second use is told from an unknown token.

use serde::{Deserialize, Serialize};
use time::UnixTime;
use wimse::WorkloadId;

use crate::mechanism::{Appraisal, Facts, Refusal, Role};
use crate::selector::{Selector, Selectors};

/// The longest token text that is looked up, in bytes.
pub const TOKEN_BYTES_MAX: usize = 128;

/// What the server keeps of a join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// base64url(SHA-256(token)).
    pub hash: String,
    /// What may join by it.
    pub role: Role,
    /// The name that it gets; else one is made of the hash.
    pub name: Option<String>,
    /// When it was made.
    pub created: UnixTime,
    /// When it ends.
    pub expires: UnixTime,
    /// When and by whom it was used.
    pub used: Option<(UnixTime, WorkloadId)>,
}

impl JoinToken {
    /// The token after its one use.
    #[must_use]
    pub fn used_by(&self, id: WorkloadId, now: UnixTime) -> Self {
        Self { used: Some((now, id)), ..self.clone() }
    }
}

/// The name of the mechanism.
pub const NAME: &str = "join_token";

/// The mechanism `join_token`.
#[derive(Debug)]
pub struct Mechanism;

impl crate::mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        NAME
    }

    fn challenge(&self, _: &[u8], _: &Facts<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(None)
    }

    fn appraise(
        &self,
        _: &[u8],
        _: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, Refusal> {
        let token = facts.token.ok_or(Refusal::TokenUnknown)?;
        if let Some((at, by)) = &token.used {
            return Err(Refusal::TokenUsed { at: *at, by: by.to_string() });
        }
        if token.expires <= facts.now {
            return Err(Refusal::TokenExpired { end: token.expires, now: facts.now });
        }
        if token.role != facts.role {
            return Err(Refusal::TokenRole { role: token.role.name() });
        }
        let short: String =
            token.hash.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let name = token.name.clone().unwrap_or_else(|| short.to_ascii_lowercase());
        let selectors = Selectors::new([Selector::parse(&format!("join_token:name:{name}"))?])?;
        Ok(Appraisal { once: true, ..Appraisal::new("join_token", name, selectors) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::Mechanism as _;
    use crate::policy::NodeRule;

    fn token() -> JoinToken {
        JoinToken {
            hash: "Hash-of_it0123456".to_owned(),
            role: Role::Node,
            name: Some("host-1".to_owned()),
            created: UnixTime::from_seconds(10),
            expires: UnixTime::from_seconds(20),
            used: None,
        }
    }

    fn check(token: Option<&JoinToken>, role: Role, now: u64) -> Result<String, Refusal> {
        let rule = NodeRule::default();
        let now = UnixTime::from_seconds(now);
        let facts = Facts { token, ..Facts::new(role, &rule, &[0; 32], now) };
        Mechanism.appraise(b"", None, &facts).map(|appraisal| appraisal.name)
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_join_token_serves_one_host_once_in_time() {
        let fresh = token();
        assert_eq!(check(Some(&fresh), Role::Node, 19), Ok("host-1".to_owned()));
        assert_eq!(check(None, Role::Node, 19), Err(Refusal::TokenUnknown));
        let (end, now) = (UnixTime::from_seconds(20), UnixTime::from_seconds(20));
        assert_eq!(check(Some(&fresh), Role::Node, 20), Err(Refusal::TokenExpired { end, now }));
        assert_eq!(
            check(Some(&fresh), Role::Gateway, 19),
            Err(Refusal::TokenRole { role: "node" })
        );
        let by = WorkloadId::parse("spiffe://demo.example/node/host-1").unwrap();
        let at = UnixTime::from_seconds(12);
        let used = fresh.used_by(by.clone(), at);
        let refused = Refusal::TokenUsed { at, by: by.to_string() };
        assert_eq!(check(Some(&used), Role::Node, 13), Err(refused));
    }
}
