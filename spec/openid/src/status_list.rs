//! Lists of the status of tokens (draft-ietf-oauth-status-list-20): one place of a few bits for
//! each token, compressed, in a signed token of its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Kind, NumericDate, Verified, Window};
pub use oauth::status::{Status, StatusReference};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::deflate::{Undecodable, deflate, inflate};

/// Bytes of a list when it is not compressed: eight million tokens at one bit.
const MAX_LIST_BYTES: usize = 1_024 * 1_024;
/// Bytes of a URI.
const MAX_URI_BYTES: usize = 2_048;

/// §7.1: the status types that have a meaning everywhere.
pub const VALID: u8 = 0;
/// §7.1.
pub const INVALID: u8 = 1;
/// §7.1.
pub const SUSPENDED: u8 = 2;

/// Bits of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    One,
    Two,
    Four,
    Eight,
}

impl Bits {
    /// §4.2: "The allowed values for bits are 1, 2, 4, and 8."
    pub const fn of(bits: u64) -> Option<Self> {
        match bits {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    const fn mask(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 3,
            Self::Four => 15,
            Self::Eight => 255,
        }
    }
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList {
    bits: Bits,
    bytes: Vec<u8>,
}

impl StatusList {
    /// A list of at least `places`, all valid.
    pub fn new(bits: Bits, places: usize) -> Result<Self, StatusRefused> {
        let length = places.div_ceil(usize::from(8 / bits.number()));
        if length > MAX_LIST_BYTES {
            return Err(StatusRefused::TooLong { length, max: MAX_LIST_BYTES });
        }
        Ok(Self { bits, bytes: vec![VALID; length] })
    }

    /// How many places there are.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64 * u64::from(8 / self.bits.number())
    }

    /// Whether there is no place.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The status at a place.
    pub fn status(&self, index: u64) -> Result<u8, StatusRefused> {
        // §8.3: "If the provided index is out of bounds of the Status List, no statement about the
        // status of the Referenced Token can be made and the Referenced Token MUST be rejected."
        let (at, shift) = self.place(index);
        let byte = at.and_then(|at| self.bytes.get(at)).copied();
        let byte = byte.ok_or(StatusRefused::NoPlace { index, places: self.len() })?;
        Ok(byte >> shift & self.bits.mask())
    }

    /// Writes the status at a place.
    pub fn set(&mut self, index: u64, status: u8) -> Result<(), StatusRefused> {
        let (mask, places) = (self.bits.mask(), self.len());
        if status > mask {
            return Err(StatusRefused::NoSuchStatus { status, max: mask });
        }
        let (at, shift) = self.place(index);
        let byte = at.and_then(|at| self.bytes.get_mut(at));
        let byte = byte.ok_or(StatusRefused::NoPlace { index, places })?;
        *byte = *byte & !(mask << shift) | status << shift;
        Ok(())
    }

    /// §4.1: the places of a byte "from the least significant bit" to the most.
    fn place(&self, index: u64) -> (Option<usize>, u8) {
        let each = u64::from(8 / self.bits.number());
        let shift = u8::try_from(index % each).unwrap_or_default() * self.bits.number();
        (usize::try_from(index / each).ok(), shift)
    }
}

/// The members of a list (§4.2).
#[derive(Serialize, Deserialize)]
struct Members {
    bits: u64,
    lst: String,
}

impl Serialize for StatusList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lst = URL_SAFE_NO_PAD.encode(deflate(&self.bytes));
        Members { bits: u64::from(self.bits.number()), lst }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StatusList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Members::deserialize(deserializer)?;
        let bits = Bits::of(members.bits).ok_or(D::Error::custom("`bits` is not 1, 2, 4 or 8"))?;
        let data = URL_SAFE_NO_PAD.decode(&members.lst);
        let data = data.map_err(|_| D::Error::custom("`lst` is not base64url without padding"))?;
        let bytes = inflate(&data, MAX_LIST_BYTES).map_err(D::Error::custom)?;
        Ok(Self { bits, bytes })
    }
}

/// The kind `statuslist+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct StatusListToken;

/// §5.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListClaims {
    /// The URI of the list.
    pub sub: String,
    pub iat: NumericDate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    pub status_list: StatusList,
}

impl Kind for StatusListToken {
    // §5.1: the type is required.
    const TYPES: &'static [&'static str] = &["statuslist+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = StatusListClaims;
    type Hint = String;

    fn hint(claims: &StatusListClaims) -> String {
        claims.sub.clone()
    }

    fn window(claims: &StatusListClaims) -> Window {
        Window { exp: claims.exp, nbf: None, iat: Some(claims.iat) }
    }
}

/// The status of a token, of the list that it names, which was verified with a key of its issuer.
pub fn status_of(
    reference: &StatusReference,
    list: &Verified<StatusListToken>,
) -> Result<u8, StatusRefused> {
    let claims = list.claims();
    // §8.3: "The subject claim (sub or 2) of the Status List Token MUST be equal to the uri claim
    // in the status_list object of the Referenced Token".
    if claims.sub != reference.uri {
        let cut = |text: &str| text.chars().take(MAX_URI_BYTES).collect();
        let (found, expected) = (cut(&claims.sub), cut(&reference.uri));
        return Err(StatusRefused::WrongList { found, expected });
    }
    claims.status_list.status(reference.idx)
}

/// Why nothing can be said of a token: it is to be rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusRefused {
    #[error("status list of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("place {index} in a list of {places} (§8.3)")]
    NoPlace { index: u64, places: u64 },
    #[error("status {status}, more than {max} (§4.1)")]
    NoSuchStatus { status: u8, max: u8 },
    #[error("status list `{found}`, expected `{expected}` (§8.3)")]
    WrongList { found: String, expected: String },
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
}
