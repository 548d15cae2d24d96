//! Selectors: one fact about a process or a host, as `kind:name:value` (the names are SPIRE's, so
//! that registrations move over unchanged).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest selector, in bytes: a path may be 4,096 bytes long.
pub const SELECTOR_BYTES_MAX: usize = 4_352;
/// The most selectors of one process or host: two for each of its groups, one for each label of its
/// container.
pub const SELECTORS_MAX: usize = 1_024;

/// One fact, such as `unix:uid:1000`: a kind, a colon, and the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(String);

impl Selector {
    /// Reads `kind:value`. The kind is lower case letters, digits, `_` and `-`; the value is any
    /// text without control characters.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(SelectorError::TooLong { bytes: text.len() });
        }
        let Some((kind, value)) = text.split_once(':') else {
            return Err(SelectorError::NoKind { text: text.to_owned() });
        };
        let named =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if kind.is_empty() || !kind.bytes().all(named) {
            return Err(SelectorError::NoKind { text: text.to_owned() });
        }
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(SelectorError::NoValue { kind: kind.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// Those of the texts that can stand in a selector. The others are left out rather than
    /// changed: no rule can ask for them.
    pub(crate) fn those_that_read(
        texts: impl Iterator<Item = String>,
    ) -> Result<Selectors, SelectorError> {
        Selectors::new(texts.filter_map(|text| Self::parse(&text).ok()))
    }

    /// What stands before the first colon: who found the fact.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(kind, _)| kind)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text before the last part of what the selector names: `unix:uid` of `unix:uid:0`.
    /// Policy demands selectors by it.
    pub fn name(&self) -> &str {
        let mut colons = self.0.match_indices(':').map(|(at, _)| at);
        match (colons.next(), colons.next()) {
            (_, Some(second)) => self.0.get(..second).unwrap_or(&self.0),
            (Some(first), None) => self.0.get(..first).unwrap_or(&self.0),
            (None, None) => &self.0,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        Self::parse(&text)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.0
    }
}

/// What a selector text lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// No kind before the first colon.
    #[error("selector `{text}` has no kind: write it as `unix:uid:1000`")]
    NoKind {
        /// What was given.
        text: String,
    },
    /// Nothing, or a control character, after it.
    #[error("selector of kind `{kind}` has no value, or a control character in it")]
    NoValue {
        /// Its kind.
        kind: String,
    },
    /// Over [`SELECTOR_BYTES_MAX`].
    #[error("selector of {bytes} bytes, at most {SELECTOR_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Over [`SELECTORS_MAX`].
    #[error("{count} selectors, at most {SELECTORS_MAX} are read")]
    TooMany {
        /// How many there were.
        count: usize,
    },
}

/// A bounded set of selectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Selector>", into = "BTreeSet<Selector>")]
pub struct Selectors(BTreeSet<Selector>);

impl Selectors {
    /// The selectors, if they are not too many.
    pub fn new(all: impl IntoIterator<Item = Selector>) -> Result<Self, SelectorError> {
        Self::try_from(all.into_iter().collect::<BTreeSet<_>>())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    /// True when every one of these is among `found`.
    pub fn all_in(&self, found: &Self) -> bool {
        self.0.is_subset(&found.0)
    }

    /// Whether this one is among them.
    pub fn has(&self, selector: &Selector) -> bool {
        self.0.contains(selector)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeSet<Selector>> for Selectors {
    type Error = SelectorError;

    fn try_from(set: BTreeSet<Selector>) -> Result<Self, SelectorError> {
        if set.len() > SELECTORS_MAX {
            return Err(SelectorError::TooMany { count: set.len() });
        }
        Ok(Self(set))
    }
}

impl From<Selectors> for BTreeSet<Selector> {
    fn from(selectors: Selectors) -> Self {
        selectors.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: ATT-02 (part)
    #[test]
    fn s7_selectors_are_read_strictly() {
        let check = |text: &str, expect: Result<&str, SelectorError>| {
            assert_eq!(
                Selector::parse(text).as_ref().map(Selector::name),
                expect.as_ref().copied()
            );
        };
        let no_kind = |text: &str| Err(SelectorError::NoKind { text: text.to_owned() });
        check("unix:uid:0", Ok("unix:uid"));
        check("unix:path:/opt/a:b", Ok("unix:path"));
        check("spiffe_id:spiffe://td/x", Ok("spiffe_id:spiffe"));
        check("x509pop:alone", Ok("x509pop"));
        check("", no_kind(""));
        check("unix", no_kind("unix"));
        check(":uid", no_kind(":uid"));
        check("Unix:uid:0", no_kind("Unix:uid:0"));
        check("unix:", Err(SelectorError::NoValue { kind: "unix".to_owned() }));
        check("unix:path:/a\nb", Err(SelectorError::NoValue { kind: "unix".to_owned() }));
        let long = format!("unix:path:{}", "a".repeat(SELECTOR_BYTES_MAX));
        check(&long, Err(SelectorError::TooLong { bytes: long.len() }));
    }

    #[test]
    fn s7_a_set_of_selectors_is_bounded() {
        let many = (0..=SELECTORS_MAX).map(|n| Selector(format!("unix:uid:{n}")));
        let refused = Selectors::new(many).err();
        assert_eq!(refused, Some(SelectorError::TooMany { count: SELECTORS_MAX + 1 }));
    }
}
