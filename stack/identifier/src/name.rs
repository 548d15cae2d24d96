//! The name people use for an agent: the last part of its identifier.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: it is also fit for a DNS label.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// Lower case letters, digits and inner hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(String);

impl AgentName {
    /// Reads a name, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        let fit =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if let Some(letter) = text.chars().find(|letter| !fit(*letter)) {
            return Err(NameError::Letter { letter });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Hyphen);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AgentName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0
    }
}

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name is empty")]
    Empty,
    /// Over [`NAME_BYTES_MAX`].
    #[error("a name of {bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A letter outside the set.
    #[error("`{letter}` in a name: only a to z, 0 to 9 and `-` are allowed")]
    Letter {
        /// The first such letter.
        letter: char,
    },
    /// A hyphen at an end.
    #[error("a name does not begin or end with `-`")]
    Hyphen,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ID-02 (part)
    #[test]
    fn s5_names_are_fit_for_a_path_and_a_dns_label() {
        let check = |text: &str, expect: Result<(), NameError>| {
            assert_eq!(AgentName::parse(text).map(|_| ()), expect, "{text}");
        };
        check("invoice-agent", Ok(()));
        check("a1", Ok(()));
        check("", Err(NameError::Empty));
        check("Invoice", Err(NameError::Letter { letter: 'I' }));
        check("a/b", Err(NameError::Letter { letter: '/' }));
        check("a.b", Err(NameError::Letter { letter: '.' }));
        check("ä", Err(NameError::Letter { letter: 'ä' }));
        check("-a", Err(NameError::Hyphen));
        check("a-", Err(NameError::Hyphen));
        check(&"a".repeat(64), Err(NameError::TooLong { bytes: 64 }));
    }
    /// A name that arrives in a file or a request is held to the same rule.
    #[test]
    fn s5_a_name_in_a_document_is_read_by_the_same_rule() {
        let read = |text: &str| {
            serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<
                serde::de::value::Error,
            >::new(text))
        };
        let name: AgentName = read("invoice").unwrap();
        assert_eq!((name.as_str(), name.to_string()), ("invoice", "invoice".to_owned()));
        for bad in ["", "Invoice", "../invoice", "-a", &"a".repeat(64)] {
            assert!(AgentName::parse(bad).is_err() && read(bad).is_err(), "{bad}");
        }
    }
}
