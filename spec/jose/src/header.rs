//! The header of a JWS (RFC 7515 §4): what of it counts, and what makes the token invalid.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::token::{Kind, Malformed};

/// Bytes of a key id.
const MAX_KEY_ID_BYTES: usize = 256;
/// Bytes of a header value that an error repeats.
const MAX_EVIDENCE_BYTES: usize = 64;

/// What a header says that may be used. Keys and addresses of keys (`jwk`, `jku`, `x5u`, `x5c`)
/// are not among it: whoever makes a token chooses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    algorithm: Algorithm,
    kid: Option<KeyId>,
    typ: Option<&'static str>,
}

impl Header {
    /// `alg`.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`.
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    /// `typ`, in the spelling of [`Kind::TYPES`].
    pub const fn typ(&self) -> Option<&'static str> {
        self.typ
    }

    pub(crate) fn into_kid(self) -> Option<KeyId> {
        self.kid
    }

    pub(crate) fn of<K: Kind>(members: &Map<String, Value>) -> Result<Self, Malformed> {
        // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood
        // and supported by the recipient, then the JWS is invalid." None is understood here, and
        // the list must not be empty.
        if members.contains_key("crit") {
            return Err(Malformed::Critical);
        }
        // RFC 7515 §4.1.1: "This Header Parameter MUST be present and MUST be understood and
        // processed by implementations."
        let name = text(members, "alg")?.ok_or(Malformed::AlgorithmAbsent)?;
        // draft-ietf-oauth-rfc8725bis §3.1: "libraries should use allowlists for critical
        // parameters such as "alg" instead of blocklists"
        let algorithm = Algorithm::parse(name)
            .ok_or_else(|| Malformed::UnknownAlgorithm { alg: evidence(name) })?;
        let typ = declared_type::<K>(text(members, "typ")?)?;
        if let Some(allowed) = K::HEADER_PARAMETERS
            && let Some(name) = members.keys().find(|name| !allowed.contains(&name.as_str()))
        {
            return Err(Malformed::HeaderParameter { name: evidence(name) });
        }
        let kid = text(members, "kid")?.map(KeyId::parse).transpose()?;
        Ok(Self { algorithm, kid, typ })
    }
}

/// Which key signed, as its owner calls it. Compared character by character; any text of bounded
/// length without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct KeyId(String);

impl KeyId {
    /// Any text of 1 to 256 bytes without control characters.
    pub fn parse(text: &str) -> Result<Self, NotAKeyId> {
        // draft-ietf-oauth-rfc8725bis §3.10: "Treat claim values as being potentially
        // attacker-provided input. The "kid" (key ID) header is used by the relying application
        // to perform key lookup."
        if text.is_empty() || text.len() > MAX_KEY_ID_BYTES {
            return Err(NotAKeyId::Length { length: text.len(), max: MAX_KEY_ID_BYTES });
        }
        if text.chars().any(char::is_control) {
            return Err(NotAKeyId::ControlCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKeyId {
    #[error("key id of {length} bytes, not 1 to {max}")]
    Length { length: usize, max: usize },
    #[error("key id with a control character")]
    ControlCharacter,
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The type of the token among those of its kind.
fn declared_type<K: Kind>(typ: Option<&str>) -> Result<Option<&'static str>, Malformed> {
    let Some(typ) = typ else {
        return if K::TYPE_MAY_BE_ABSENT {
            Ok(None)
        } else {
            Err(Malformed::TypeAbsent { expected: K::TYPES })
        };
    };
    let found = K::TYPES.iter().copied().find(|expected| same_type(expected, typ));
    found.map(Some).ok_or_else(|| Malformed::WrongType { found: evidence(typ), expected: K::TYPES })
}

fn same_type(expected: &str, found: &str) -> bool {
    full_type(expected).eq_ignore_ascii_case(full_type(found))
}

/// A media type less the `application/` that may stand before it or not.
fn full_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    // RFC 7515 §4.1.9: "A recipient using the media type value MUST treat it as if "application/"
    // were prepended to any "typ" value not containing a '/'."
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => typ,
    }
}

/// A parameter that is a string where it is present.
fn text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, Malformed> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed::NotText { name }),
    }
}

fn evidence(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_EVIDENCE_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7515_4_1_9_types_are_media_types() {
        for (expected, found, same) in [
            ("wit+jwt", "wit+jwt", true),
            ("wit+jwt", "WIT+JWT", true),
            ("wit+jwt", "application/wit+jwt", true),
            ("wit+jwt", "Application/WIT+jwt", true),
            ("JWT", "jwt", true),
            ("wit+jwt", "wpt+jwt", false),
            ("wit+jwt", "JWT", false),
            ("wit+jwt", "text/wit+jwt", false),
            ("wit+jwt", "application/application/wit+jwt", false),
            ("wit+jwt", "/wit+jwt", false),
            ("wit+jwt", "wit+jwt ", false),
            ("wit+jwt", "wit+jwt;a=b", false),
            ("wit+jwt", "", false),
            ("wit+jwt", "é", false),
        ] {
            assert_eq!(same_type(expected, found), same, "{found}");
        }
    }

    #[test]
    fn key_ids_are_bounded() {
        assert_eq!(KeyId::parse("June 5").unwrap().as_str(), "June 5");
        assert!(KeyId::parse(&"k".repeat(MAX_KEY_ID_BYTES)).is_ok());
        let length = |length| Err(NotAKeyId::Length { length, max: MAX_KEY_ID_BYTES });
        assert_eq!(KeyId::parse(""), length(0));
        assert_eq!(KeyId::parse(&"k".repeat(257)), length(257));
        assert_eq!(KeyId::parse("a\nb"), Err(NotAKeyId::ControlCharacter));
    }
}
