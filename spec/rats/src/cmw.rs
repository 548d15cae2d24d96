//! Conceptual message wrappers (CMW) in JSON and CBOR: a message with its media type, or a tree of
//! such.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use json::{Bounds, Unreadable};
use serde_json::{Map, Value, json};

use crate::cbor::{self, CborError, Item};

/// The largest wrapper, in bytes.
pub const CMW_BYTES_MAX: usize = 512 * 1024;
/// How deep collections stand in each other; the outermost is the first.
pub const COLLECTION_DEPTH_MAX: usize = 4;
/// The most messages of a wrapper, at all depths together.
pub const COLLECTION_ENTRIES_MAX: usize = 32;
/// Longest label or media type, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// The key of a collection's type.
const TYPE: &str = "__cmwc_t";

/// A wrapper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cmw {
    /// One message.
    Record(Record),
    /// Several, each under its label.
    Collection {
        /// Which namespace the labels belong to: a URI or an object identifier.
        kind: Option<String>,
        /// The messages.
        entries: BTreeMap<String, Cmw>,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its media type.
    pub media_type: String,
    /// The message itself.
    pub value: Vec<u8>,
    /// What kinds of messages it holds, where the media type does not tell.
    pub contents: Option<Contents>,
}

/// The bits of `ind` (CMW §3.1.1); at least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents(u32);

impl Contents {
    /// Reference values.
    pub const REFERENCE_VALUES: Self = Self(1);
    /// Endorsements.
    pub const ENDORSEMENTS: Self = Self(1 << 1);
    /// Evidence.
    pub const EVIDENCE: Self = Self(1 << 2);
    /// Attestation results.
    pub const ATTESTATION_RESULTS: Self = Self(1 << 3);
    /// Appraisal policies.
    pub const APPRAISAL_POLICY: Self = Self(1 << 4);

    // CMW §3.1: "Only five bits are registered in this document, so, the acceptable values are
    // currently limited to 1 to 31."
    const ALL: u64 = 31;

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn read(bits: Option<u64>) -> Result<Self, CmwError> {
        let bits = bits.filter(|bits| (1..=Self::ALL).contains(bits));
        let bits = bits.and_then(|bits| u32::try_from(bits).ok());
        bits.map(Self).ok_or(CmwError::Indicator)
    }
}

/// Why bytes are no wrapper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CmwError {
    /// Not JSON with one meaning, or over a bound of it.
    #[error(transparent)]
    Json(#[from] Unreadable),
    /// Not CBOR that is read here, or over a bound of it.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Too long.
    #[error("{bytes} bytes, at most {CMW_BYTES_MAX} are read")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// A CoAP Content-Format, or a tag made of one, in place of a media type.
    #[error("a message by the number {number}; name its media type")]
    Number {
        /// The number.
        number: u64,
    },
    /// Neither an array nor an object.
    #[error("neither a record nor a collection")]
    Shape,
    /// A record without its two or three members.
    #[error("a record has a type, a value and perhaps an indicator; this one has {count} members")]
    Members {
        /// How many.
        count: usize,
    },
    /// Not a media type.
    #[error("`{found}` is not a media type")]
    MediaType {
        /// What stood there.
        found: String,
    },
    /// Not base64url without padding; in CBOR, not a byte string.
    #[error("the value is not base64url without padding, in cbor a byte string")]
    Value,
    /// Bits that are not registered, or none.
    #[error("the indicator is not a number from 1 to 31")]
    Indicator,
    /// A type of a collection that is neither an absolute URI nor an object identifier.
    #[error("`__cmwc_t` is neither an absolute URI nor an object identifier")]
    CollectionType,
    /// A collection without entries.
    #[error("a collection without an entry")]
    Empty,
    /// A label that is no label.
    #[error("`{label}` is not a label")]
    Label {
        /// What stood there.
        label: String,
    },
    /// Over a bound.
    #[error("more than {max} messages")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// Too deep.
    #[error("collections deeper than {max}")]
    TooDeep {
        /// The bound.
        max: usize,
    },
}

impl Cmw {
    /// Reads the JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, CmwError> {
        let bounds = Bounds { bytes_max: CMW_BYTES_MAX, depth_max: COLLECTION_DEPTH_MAX + 1 };
        let text = json::text(bytes, bounds)?;
        let value = serde_json::from_str(text)
            .map_err(|error| Unreadable::NotJson { reason: error.to_string() })?;
        Self::read(&value)
    }

    /// The same of a value that was read already, such as a member of a request.
    pub fn read(value: &Value) -> Result<Self, CmwError> {
        read(value, 1, &mut { COLLECTION_ENTRIES_MAX })
    }

    /// Reads the CBOR form.
    pub fn parse_cbor(bytes: &[u8]) -> Result<Self, CmwError> {
        if bytes.len() > CMW_BYTES_MAX {
            return Err(CmwError::TooLong { bytes: bytes.len() });
        }
        from_cbor(cbor::parse(bytes)?, 1, &mut { COLLECTION_ENTRIES_MAX })
    }

    /// The CBOR form; labels are texts.
    pub fn to_cbor(&self) -> Vec<u8> {
        self.to_item().to_bytes()
    }

    fn to_item(&self) -> Item {
        let text = |text: &str| Item::Text(text.to_owned());
        match self {
            Self::Record(record) => {
                let value = Item::Bytes(record.value.clone());
                let mut all = vec![text(&record.media_type), value];
                all.extend(record.contents.map(|contents| Item::Unsigned(contents.0.into())));
                Item::Array(all)
            }
            Self::Collection { kind, entries } => {
                let kind = kind.iter().map(|kind| (text(TYPE), text(kind)));
                let entries = entries.iter().map(|(label, one)| (text(label), one.to_item()));
                Item::Map(kind.chain(entries).collect())
            }
        }
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Record(record) => {
                let mut all =
                    vec![json!(record.media_type), json!(URL_SAFE_NO_PAD.encode(&record.value))];
                all.extend(record.contents.map(|contents| json!(contents.0)));
                Value::Array(all)
            }
            Self::Collection { kind, entries } => {
                let kind = kind.iter().map(|kind| (TYPE.to_owned(), json!(kind)));
                let entries = entries.iter().map(|(label, one)| (label.clone(), one.to_json()));
                Value::Object(kind.chain(entries).collect())
            }
        }
    }

    /// Every message with the labels that lead to it, joined by `/`; that of a lone record is
    /// empty.
    pub fn records(&self) -> Vec<(String, &Record)> {
        match self {
            Self::Record(record) => vec![(String::new(), record)],
            Self::Collection { entries, .. } => {
                let below = entries.iter().flat_map(|(label, one)| {
                    one.records().into_iter().map(move |(path, record)| {
                        let gap = if path.is_empty() { "" } else { "/" };
                        (format!("{label}{gap}{path}"), record)
                    })
                });
                below.collect()
            }
        }
    }
}

fn read(value: &Value, depth: usize, left: &mut usize) -> Result<Cmw, CmwError> {
    match value {
        Value::Array(members) => {
            // The bound is spent, whatever the tree looks like.
            let over = CmwError::TooMany { max: COLLECTION_ENTRIES_MAX };
            *left = left.checked_sub(1).ok_or(over)?;
            record(members).map(Cmw::Record)
        }
        Value::Object(_) if depth > COLLECTION_DEPTH_MAX => {
            Err(CmwError::TooDeep { max: COLLECTION_DEPTH_MAX })
        }
        Value::Object(members) => collection(members, depth, left),
        _ => Err(CmwError::Shape),
    }
}

fn record(members: &[Value]) -> Result<Record, CmwError> {
    let (media_type, value, contents) = match members {
        [media_type, value] => (media_type, value, None),
        [media_type, value, contents] => (media_type, value, Some(contents)),
        _ => return Err(CmwError::Members { count: members.len() }),
    };
    let name = media_type.as_str().filter(|name| is_media_type(name));
    let name = name.ok_or_else(|| CmwError::MediaType { found: shown(media_type) })?;
    // CMW §3.1: "the value field MUST be encoded as Base64 using the URL and filename safe alphabet
    // [...] without padding."
    let octets = value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    Ok(Record {
        media_type: name.to_owned(),
        value: octets.ok_or(CmwError::Value)?,
        contents: contents.map(|one| Contents::read(one.as_u64())).transpose()?,
    })
}

fn collection(
    members: &Map<String, Value>,
    depth: usize,
    left: &mut usize,
) -> Result<Cmw, CmwError> {
    let mut entries = BTreeMap::new();
    let mut kind = None;
    for (label, value) in members {
        if label == TYPE {
            let text = value.as_str().filter(|text| is_collection_type(text));
            kind = Some(text.ok_or(CmwError::CollectionType)?.to_owned());
            continue;
        }
        check_label(label)?;
        entries.insert(label.clone(), read(value, depth + 1, left)?);
    }
    // CMW §3.3: "A Collection MUST have at least one CMW entry."
    if entries.is_empty() {
        return Err(CmwError::Empty);
    }
    Ok(Cmw::Collection { kind, entries })
}

fn from_cbor(item: Item, depth: usize, left: &mut usize) -> Result<Cmw, CmwError> {
    match item {
        Item::Array(members) => {
            let over = CmwError::TooMany { max: COLLECTION_ENTRIES_MAX };
            *left = left.checked_sub(1).ok_or(over)?;
            record_of_cbor(members).map(Cmw::Record)
        }
        Item::Map(_) if depth > COLLECTION_DEPTH_MAX => {
            Err(CmwError::TooDeep { max: COLLECTION_DEPTH_MAX })
        }
        Item::Map(members) => collection_of_cbor(members, depth, left),
        // CMW §3.2: the number of a tag is made of a CoAP Content-Format.
        Item::Tag(number, _) => Err(CmwError::Number { number }),
        _ => Err(CmwError::Shape),
    }
}

fn record_of_cbor(members: Vec<Item>) -> Result<Record, CmwError> {
    let count = members.len();
    let mut members = members.into_iter();
    let (Some(kind), Some(value), contents, None) =
        (members.next(), members.next(), members.next(), members.next())
    else {
        return Err(CmwError::Members { count });
    };
    let media_type = match kind {
        Item::Text(name) if is_media_type(&name) => name,
        Item::Text(name) => return Err(CmwError::MediaType { found: shown(&json!(name)) }),
        Item::Unsigned(number) => return Err(CmwError::Number { number }),
        _ => return Err(CmwError::MediaType { found: String::new() }),
    };
    // CMW §3.1: "When using CBOR, the value field MUST be encoded as a CBOR byte string."
    let Item::Bytes(value) = value else { return Err(CmwError::Value) };
    let contents = contents.map(|one| match one {
        Item::Unsigned(bits) => Contents::read(Some(bits)),
        _ => Err(CmwError::Indicator),
    });
    Ok(Record { media_type, value, contents: contents.transpose()? })
}

fn collection_of_cbor(
    members: Vec<(Item, Item)>,
    depth: usize,
    left: &mut usize,
) -> Result<Cmw, CmwError> {
    let (mut entries, mut kind) = (BTreeMap::new(), None);
    for (label, value) in members {
        let label = match label {
            Item::Text(label) if label == TYPE => {
                let Item::Text(text) = value else { return Err(CmwError::CollectionType) };
                kind = Some(text).filter(|text| is_collection_type(text));
                kind.as_ref().ok_or(CmwError::CollectionType)?;
                continue;
            }
            Item::Text(label) => label,
            // CMW §3.3: "Labels can be strings (or integers in the CBOR serialization)".
            Item::Unsigned(number) => number.to_string(),
            Item::Negative(number) => format!("{}", -1 - i128::from(number)),
            _ => return Err(CmwError::Label { label: String::new() }),
        };
        check_label(&label)?;
        let one = from_cbor(value, depth + 1, left)?;
        // An integer and a text that read alike are one label.
        if entries.insert(label.clone(), one).is_some() {
            return Err(CmwError::Label { label });
        }
    }
    if entries.is_empty() {
        return Err(CmwError::Empty);
    }
    Ok(Cmw::Collection { kind, entries })
}

fn check_label(label: &str) -> Result<(), CmwError> {
    if label.is_empty() || label.len() > TEXT_BYTES_MAX || label.contains(char::is_control) {
        return Err(CmwError::Label { label: shown(&json!(label)) });
    }
    Ok(())
}

/// RFC 9110 §8.3.1, as far as it must be told from other texts: type, subtype, parameters.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        let of_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        !part.is_empty() && part.chars().all(of_token)
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let printable = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    let halves = essence.split_once('/');
    text.len() <= TEXT_BYTES_MAX
        && printable
        && halves.is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// CMW §3.3: "The URI MUST be in the absolute form"; an object identifier is dotted numbers.
fn is_collection_type(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let oid = text.contains('.') && text.split('.').all(number);
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#');
    let uri = text.split_once(':').is_some_and(|(head, rest)| scheme(head) && !rest.is_empty());
    text.len() <= TEXT_BYTES_MAX && (oid || (uri && printable))
}

/// Longest value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}
