//! JWK Set (RFC 7517 §5): read leniently, because sets of others hold keys for other purposes.

use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::header::KeyId;
use crate::json::{self, NotStrict};
use crate::jwk::{Jwk, JwkError};
use crate::key::PublicKey;
use crate::token::Kind;
use crate::verify::{KeySource, NoKey};

/// Entries of one set, those that are ignored included.
const MAX_KEYS: usize = 128;
/// Bytes of the text of a set.
const MAX_SET_BYTES: usize = 512 * 1_024;

/// Public keys of one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Jwk>,
    ignored: Vec<Ignored>,
}

/// An entry of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its place in the set, from 0.
    pub index: usize,
    pub reason: JwkError,
}

impl KeySet {
    /// A set of our own.
    pub fn new(keys: Vec<Jwk>) -> Result<Self, KeySetError> {
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys { max: MAX_KEYS });
        }
        Ok(Self { keys, ignored: Vec::new() })
    }

    /// Reads the text of a set. Entries that are no usable public key for signatures are ignored
    /// and listed.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        if text.len() > MAX_SET_BYTES {
            return Err(KeySetError::TooLong { length: text.len(), max: MAX_SET_BYTES });
        }
        json::parse::<Entries>(text)?.read()
    }

    /// The keys, in the order of the set.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The entries that are not used, and why.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// The one key with that id; `None` as well if there are several.
    pub fn by_kid(&self, kid: &KeyId) -> Option<&Jwk> {
        let mut found = self.keys.iter().filter(|key| key.kid() == Some(kid));
        found.next().filter(|_| found.next().is_none())
    }

    /// The one key that a token with that `kid` may be signed by.
    pub fn signer(&self, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        let candidates =
            self.keys.iter().filter(|key| kid.is_none_or(|kid| key.kid() == Some(kid)));
        // RFC 7517 §4.2: of its values, "sig" is the one for signatures; another specification's
        // (`x509-svid`) make the key one for its purposes.
        let signing = candidates.filter(|key| matches!(key.use_(), None | Some("sig")));
        let mut keys = signing.filter_map(|key| key.verification_key().ok());
        match (keys.next(), keys.next(), kid) {
            (Some(key), None, _) => Ok(key),
            (None, _, None) => Err(NoKey::NoKeys),
            (None, _, Some(kid)) => Err(NoKey::UnknownKeyId { kid: kid.clone() }),
            (Some(_), Some(_), None) => Err(NoKey::KeyIdRequired),
            (Some(_), Some(_), Some(kid)) => Err(NoKey::AmbiguousKeyId { kid: kid.clone() }),
        }
    }
}

/// The set of the one issuer that the caller settled on, whatever the hint says.
impl<K: Kind> KeySource<K> for KeySet {
    fn key(&self, _: &K::Hint, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        self.signer(kid)
    }
}

impl Serialize for KeySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "keys": self.keys }).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entries::deserialize(deserializer)?.read().map_err(de::Error::custom)
    }
}

/// Why a text is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("key set of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("key set of more than {max} keys")]
    TooManyKeys { max: usize },
}

/// The member `keys`, not yet looked into.
struct Entries(Vec<Value>);

impl Entries {
    fn read(self) -> Result<KeySet, KeySetError> {
        if self.0.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys { max: MAX_KEYS });
        }
        let mut set = KeySet::default();
        for (index, entry) in self.0.iter().enumerate() {
            // RFC 7517 §5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty"
            // (key type) values that are not understood by them, that are missing required
            // members, or for which values are out of the supported ranges."
            match Jwk::from_value(entry) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.ignored.push(Ignored { index, reason }),
            }
        }
        Ok(set)
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JWK Set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "keys" {
                entries = Some(map.next_value::<BoundedList>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        // RFC 7517 §5: "The JSON object MUST have a "keys" member, with its value being an array
        // of JWKs."
        entries.map(Entries).ok_or_else(|| de::Error::missing_field("keys"))
    }
}

/// At most one entry more than may be there: enough to see that there are too many.
struct BoundedList(Vec<Value>);

impl<'de> Deserialize<'de> for BoundedList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = BoundedList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of JWKs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<BoundedList, A::Error> {
        let mut entries = Vec::new();
        while entries.len() <= MAX_KEYS {
            match list.next_element()? {
                Some(entry) => entries.push(entry),
                None => return Ok(BoundedList(entries)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(BoundedList(entries))
    }
}
