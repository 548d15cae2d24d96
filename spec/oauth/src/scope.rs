//! Scope (RFC 6749 §3.3): names of rights. Rights of a set are compared as sets, never as text.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of one value.
const MAX_SCOPE_BYTES: usize = 256;
/// Values of one set.
const MAX_SCOPES: usize = 64;
/// Bytes of a set as text: a bound before any work is done with it.
const MAX_SET_BYTES: usize = 4_096;

/// One scope value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

impl Scope {
    /// One value, in the characters of its grammar.
    pub fn parse(text: &str) -> Result<Self, NotAScope> {
        if text.is_empty() {
            return Err(NotAScope::Empty);
        }
        if text.len() > MAX_SCOPE_BYTES {
            return Err(NotAScope::TooLong { length: text.len(), max: MAX_SCOPE_BYTES });
        }
        // RFC 6749 §3.3: "scope-token = 1*( %x21 / %x23-5B / %x5D-7E )"
        if !text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            return Err(NotAScope::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A set of scope values; the empty set gives no right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// The parameter or claim `scope`. A value that stands twice counts once.
    pub fn parse(text: &str) -> Result<Self, NotAScope> {
        if text.len() > MAX_SET_BYTES {
            return Err(NotAScope::TooLong { length: text.len(), max: MAX_SET_BYTES });
        }
        // RFC 6749 §3.3: "scope = scope-token *( SP scope-token )"
        let values: BTreeSet<Scope> =
            text.split(' ').map(Scope::parse).collect::<Result<_, _>>()?;
        if values.len() > MAX_SCOPES {
            return Err(NotAScope::TooMany { max: MAX_SCOPES });
        }
        Ok(Self(values))
    }

    /// Whether every value of this set is in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The values that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Whether it has that value.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether it gives nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The values in the order of their text.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

/// Of values that were bounded where they came from.
impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Why a text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAScope {
    #[error("a scope value is empty")]
    Empty,
    #[error("scope of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("a scope value has a character that it must not have")]
    Character,
    #[error("more than {max} scope values")]
    TooMany { max: usize },
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

/// RFC 8693 §4.2: "a JSON string containing a space-separated list of scopes".
impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The empty text is the empty set: the grammar has no word for it, documents of ours need one.
impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    #[test]
    fn rfc6749_3_3_grammar() {
        assert_eq!(set("write read read").to_string(), "read write");
        assert_eq!(set("urn:example:channel=HBO&urn:example:rating=G,PG-13").len(), 1);
        let too_long = |length, max| NotAScope::TooLong { length, max };
        let many: Vec<String> = (0..=MAX_SCOPES).map(|index| format!("s{index}")).collect();
        for (text, expect) in [
            ("", NotAScope::Empty),
            (" read", NotAScope::Empty),
            ("read ", NotAScope::Empty),
            ("read  write", NotAScope::Empty),
            ("read\twrite", NotAScope::Character),
            ("re\"ad", NotAScope::Character),
            ("re\\ad", NotAScope::Character),
            ("r\u{e9}ad", NotAScope::Character),
            (&"s".repeat(257), too_long(257, MAX_SCOPE_BYTES)),
            (&"s ".repeat(4_000), too_long(8_000, MAX_SET_BYTES)),
            (&many.join(" "), NotAScope::TooMany { max: MAX_SCOPES }),
        ] {
            assert_eq!(ScopeSet::parse(text), Err(expect), "{text}");
        }
    }

    #[test]
    fn rfc6749_3_3_sets_compare_by_values() {
        for (left, right, within, both) in [
            ("a b", "b a", true, "a b"),
            ("a", "a b", true, "a"),
            ("a b", "a", false, "a"),
            ("a", "A", false, ""),
            ("read", "readwrite", false, ""),
        ] {
            assert_eq!(set(left).is_within(&set(right)), within, "{left} {right}");
            assert_eq!(set(left).intersection(&set(right)).to_string(), both);
        }
        assert!(ScopeSet::default().is_within(&ScopeSet::default()));
        assert!(set("a b").contains(&Scope::parse("a").unwrap()));
    }

    #[test]
    fn rfc8693_4_2_claim_is_one_string() {
        assert_eq!(serde_json::to_string(&set("b a")).unwrap(), "\"a b\"");
        assert_eq!(serde_json::from_str::<ScopeSet>("\"\"").unwrap(), ScopeSet::default());
        for refused in ["[\"a\"]", "null", "\" \"", "1"] {
            assert!(serde_json::from_str::<ScopeSet>(refused).is_err(), "{refused}");
        }
    }
}
