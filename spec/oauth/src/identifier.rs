//! Names of clients, subjects, tokens, transactions and lineages: text of bounded length, each
//! with a type of its own so that one is not passed for another. None of them is more than text:
//! that a client is a workload, or a subject a user, is for others to find out.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of a client or subject: the longest SPIFFE ID has as many.
const MAX_NAME_BYTES: usize = 2_048;
/// Bytes of an identifier that an issuer makes up.
const MAX_ID_BYTES: usize = 256;

/// Why a text is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIdentifier {
    #[error("{what} of {length} bytes, not 1 to {max}")]
    Length { what: &'static str, length: usize, max: usize },
    #[error("{what} with a character that it must not have")]
    Character { what: &'static str },
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text, if it is within the bounds.
            pub fn parse(text: &str) -> Result<Self, NotAnIdentifier> {
                let (what, max) = ($what, $max);
                if text.is_empty() || text.len() > max {
                    return Err(NotAnIdentifier::Length { what, length: text.len(), max });
                }
                if !text.chars().all($allowed) {
                    return Err(NotAnIdentifier::Character { what });
                }
                Ok(Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

identifier! {
    /// `client_id`: for our agents their identifier.
    // RFC 6749 appendix A.1: "client-id = *VSCHAR"
    ClientId, "client id", MAX_NAME_BYTES, |c| matches!(c, ' '..='~')
}
identifier! {
    /// `sub`: a user, a system or an agent, unique for its issuer.
    // RFC 7519 §4.1.2: "The "sub" value is a case-sensitive string"
    SubjectText, "subject", MAX_NAME_BYTES, |c| !c.is_control()
}
identifier! {
    /// `jti`: one token of its issuer.
    TokenId, "token id", MAX_ID_BYTES, |c| !c.is_control()
}
identifier! {
    /// `txn`: one transaction, in all its tokens (RFC 8417 §2.2).
    TransactionId, "transaction id", MAX_ID_BYTES, |c| !c.is_control()
}
identifier! {
    /// `aims_root`: what a token, and all that came of it, began with. Opaque to whoever reads it.
    LineageId, "lineage id", MAX_ID_BYTES, |c| !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_a_1_identifiers_are_bounded_text() {
        let length =
            |what, length, max| Err::<(), _>(NotAnIdentifier::Length { what, length, max });
        let character = |what| Err::<(), _>(NotAnIdentifier::Character { what });
        let client = |text: &str| ClientId::parse(text).map(|_| ());
        let subject = |text: &str| SubjectText::parse(text).map(|_| ());
        assert_eq!(client("spiffe://example.org/agent"), Ok(()));
        assert_eq!(client(&"c".repeat(2_048)), Ok(()));
        assert_eq!(client(&"c".repeat(2_049)), length("client id", 2_049, 2_048));
        assert_eq!(client(""), length("client id", 0, 2_048));
        assert_eq!(client("a\tb"), character("client id"));
        assert_eq!(client("é"), character("client id"));
        assert_eq!(subject("é"), Ok(()));
        assert_eq!(subject("a\u{7f}b"), character("subject"));
        assert_eq!(TokenId::parse(&"j".repeat(257)).map(|_| ()), length("token id", 257, 256));
        assert!(serde_json::from_str::<TransactionId>("\"\"").is_err());
        assert!(serde_json::from_str::<LineageId>("1").is_err());
    }
}
