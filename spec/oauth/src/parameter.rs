//! How a parameter of a request, or a member of a document, is refused: by its name, by what is
//! wrong with it, and by the sentence of which text.

use std::fmt;

use letters::steers;

use crate::form::Form;

/// Bytes of what an error repeats.
const MAX_EVIDENCE_BYTES: usize = 64;

/// One parameter or member that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` {fault} ({rule})")]
pub struct Refused {
    /// The parameter or member.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
    /// Specification and section.
    pub rule: &'static str,
}

/// What is wrong with a parameter or a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It must be there.
    Missing,
    /// It has no place here.
    Unexpected,
    /// It is longer than `max` bytes.
    TooLong { length: usize, max: usize },
    /// It has more than `max` values.
    TooMany { max: usize },
    /// It is not of the form that it must have, which is told.
    Form(String),
    /// It has a value that is not supported.
    Value { found: String },
}

impl Refused {
    /// It must be there.
    pub const fn missing(name: &'static str, rule: &'static str) -> Self {
        Self { name, fault: Fault::Missing, rule }
    }

    /// It has no place here.
    pub const fn unexpected(name: &'static str, rule: &'static str) -> Self {
        Self { name, fault: Fault::Unexpected, rule }
    }

    /// It is not of its form: `what` completes "it is".
    pub fn form(name: &'static str, rule: &'static str, what: impl fmt::Display) -> Self {
        Self { name, fault: Fault::Form(what.to_string()), rule }
    }

    /// It has a value that is not supported.
    pub fn value(name: &'static str, rule: &'static str, found: &str) -> Self {
        Self { name, fault: Fault::Value { found: evidence(found) }, rule }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is absent"),
            Self::Unexpected => f.write_str("has no place here"),
            Self::TooLong { length, max } => write!(f, "has {length} bytes, more than {max}"),
            Self::TooMany { max } => write!(f, "has more than {max} values"),
            Self::Form(what) => write!(f, "is refused: {what}"),
            Self::Value { found } => write!(f, "has the value `{found}`, which is not supported"),
        }
    }
}

/// The value of a parameter that must be there.
pub fn required<'a>(
    form: &'a Form,
    name: &'static str,
    rule: &'static str,
) -> Result<&'a str, Refused> {
    form.get(name).ok_or(Refused::missing(name, rule))
}

/// The value of a parameter, if it is there, of at most `max` bytes and without control characters.
pub fn bounded<'a>(
    form: &'a Form,
    name: &'static str,
    rule: &'static str,
    max: usize,
) -> Result<Option<&'a str>, Refused> {
    form.get(name).map(|text| within(text, name, rule, max)).transpose()
}

/// A text of at most `max` bytes without control characters.
pub fn within<'a>(
    text: &'a str,
    name: &'static str,
    rule: &'static str,
    max: usize,
) -> Result<&'a str, Refused> {
    if text.len() > max {
        return Err(Refused { name, fault: Fault::TooLong { length: text.len(), max }, rule });
    }
    if text.chars().any(char::is_control) {
        return Err(Refused::form(name, rule, "a control character"));
    }
    Ok(text)
}

/// As much of a text as an error may repeat.
pub fn evidence(text: &str) -> String {
    text.chars().filter(|letter| !steers(*letter)).take(MAX_EVIDENCE_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_5_2_a_refusal_names_parameter_and_rule() {
        for (refused, expect) in [
            (Refused::missing("code", "RFC 6749 §4.1.3"), "`code` is absent (RFC 6749 §4.1.3)"),
            (
                Refused::value("prompt", "OpenID Connect Core §3.1.2.1", "a\nb"),
                "`prompt` has the value `ab`, which is not supported \
                 (OpenID Connect Core §3.1.2.1)",
            ),
            (
                within(&"a".repeat(9), "state", "RFC 6749 §4.1.1", 8).unwrap_err(),
                "`state` has 9 bytes, more than 8 (RFC 6749 §4.1.1)",
            ),
            (
                within("a\0", "state", "RFC 6749 §4.1.1", 8).unwrap_err(),
                "`state` is refused: a control character (RFC 6749 §4.1.1)",
            ),
        ] {
            assert_eq!(refused.to_string(), expect);
        }
    }
}
