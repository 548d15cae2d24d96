//! What a rule says of itself beside its conditions, and the version of the set it is in.

use std::fmt;

use serde::Serialize;

/// The hash of a whole policy set, as every decision and record names it: `sha256:` and 64
/// hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PolicyVersion(String);

/// How a version begins.
const ALGORITHM: &str = "sha256:";
/// Digits of a version that people read.
const SHORT_DIGITS: usize = 12;

impl PolicyVersion {
    /// The version with this SHA-256 of the set.
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        let digits = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self(format!("{ALGORITHM}{digits}"))
    }

    /// Reads a version, as a record names it.
    pub fn parse(text: &str) -> Result<Self, VersionFault> {
        let digits = text.strip_prefix(ALGORITHM).ok_or(VersionFault::Algorithm)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 64 || !digits.bytes().all(is_digit) {
            return Err(VersionFault::Digits);
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it for a person to tell it from others.
    pub fn short(&self) -> &str {
        self.0.get(..ALGORITHM.len() + SHORT_DIGITS).unwrap_or(&self.0)
    }
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Why a text is not a policy version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionFault {
    #[error("policy version does not begin with `sha256:`")]
    Algorithm,
    #[error("policy version does not end with 64 lower-case hexadecimal digits")]
    Digits,
}

/// What a rule does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Permit,
    Forbid,
}

/// What must be done for a permit to hold. Whoever cannot do it must treat the permit as a denial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obligation {
    /// `approval`: a human must approve this one action first.
    Approval,
    /// `step-up=ACR`: the user must authenticate at least so.
    StepUp(String),
    /// `narrow-scope=SCOPE`: no more than this scope, its values separated by spaces.
    NarrowScope(String),
    /// `redact=MEMBER`: take this member out of the answer.
    Redact(String),
    /// `record-fully`: record arguments and result, not their hashes alone.
    RecordFully,
}

impl Obligation {
    /// Reads the value of an `@obligations` annotation: entries separated by commas.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(|entry| Self::parse(entry.trim())).collect()
    }

    fn parse(entry: &str) -> Result<Self, String> {
        let wrong = || format!("unknown obligation `{entry}`");
        match entry.split_once('=') {
            None if entry == "approval" => Ok(Self::Approval),
            None if entry == "record-fully" => Ok(Self::RecordFully),
            None => Err(wrong()),
            Some((_, "")) => Err(wrong()),
            Some(("step-up", acr)) => Ok(Self::StepUp(acr.to_owned())),
            Some(("narrow-scope", scope)) => Ok(Self::NarrowScope(scope.to_owned())),
            Some(("redact", member)) => Ok(Self::Redact(member.to_owned())),
            Some(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for Obligation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval => f.write_str("approval"),
            Self::StepUp(acr) => write!(f, "step-up={acr}"),
            Self::NarrowScope(scope) => write!(f, "narrow-scope={scope}"),
            Self::Redact(member) => write!(f, "redact={member}"),
            Self::RecordFully => f.write_str("record-fully"),
        }
    }
}

/// A rule as decisions speak of it.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: Effect,
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// `@needs`: what would be needed, in words.
    pub(crate) needs: Option<String>,
    /// `@reason`: why it is so, in words.
    pub(crate) reason: Option<String>,
    pub(crate) obligations: Vec<Obligation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_a_policy_version_is_a_hash_of_the_set() {
        let version = PolicyVersion::of_digest(&[0x0f; 32]);
        assert_eq!(version.as_str(), format!("sha256:{}", "0f".repeat(32)));
        assert_eq!(version.to_string(), "sha256:0f0f0f0f0f0f");
        assert_eq!(PolicyVersion::parse(version.as_str()), Ok(version));
        assert_eq!(PolicyVersion::parse("sha1:00"), Err(VersionFault::Algorithm));
        for digits in [String::new(), "0F".repeat(32), "0".repeat(63), "0".repeat(65)] {
            let parsed = PolicyVersion::parse(&format!("sha256:{digits}"));
            assert_eq!(parsed, Err(VersionFault::Digits));
        }
    }

    #[test]
    fn obligations_are_read_as_they_are_written() {
        let all = "approval, step-up=urn:x, narrow-scope=a b, redact=ssn, record-fully";
        let read = Obligation::parse_all(all).unwrap();
        let written: Vec<_> = read.iter().map(ToString::to_string).collect();
        assert_eq!(written.join(", "), all);
        for wrong in ["", "approve", "approval=x", "step-up", "step-up=", "approval,", "Approval"] {
            assert!(Obligation::parse_all(wrong).is_err(), "{wrong}");
        }
    }
}
