//! Authenticator data: what an authenticator signs of itself (§6.1).

use std::fmt;

use crate::cbor::{Malformed, Reader, Value};
use crate::credential::{CredentialId, NotACredentialId};
use crate::key::{CredentialKey, KeyError};
use crate::{AUTHENTICATOR_DATA_BYTES_MAX, EXTENSIONS_MAX};

/// Longest identifier of an extension or a format, in octets (§8.1, §9.1).
pub(crate) const IDENTIFIER_OCTETS_MAX: usize = 32;

/// The bits of authenticator data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    const UP: u8 = 1;
    const UV: u8 = 1 << 2;
    const BE: u8 = 1 << 3;
    const BS: u8 = 1 << 4;
    const AT: u8 = 1 << 6;
    const ED: u8 = 1 << 7;
    const RESERVED: u8 = (1 << 1) | (1 << 5);

    /// Somebody was there (UP).
    pub const fn is_user_present(self) -> bool {
        self.has(Self::UP)
    }

    /// It was the user, as the authenticator knows them (UV).
    pub const fn is_user_verified(self) -> bool {
        self.has(Self::UV)
    }

    /// The credential may leave its device (BE).
    pub const fn is_backup_eligible(self) -> bool {
        self.has(Self::BE)
    }

    /// The credential has been copied elsewhere (BS).
    pub const fn is_backed_up(self) -> bool {
        self.has(Self::BS)
    }

    /// A new credential follows (AT).
    pub const fn has_credential(self) -> bool {
        self.has(Self::AT)
    }

    /// Outputs of extensions follow (ED).
    pub const fn has_extensions(self) -> bool {
        self.has(Self::ED)
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::UP, "UP"),
            (Self::UV, "UV"),
            (Self::BE, "BE"),
            (Self::BS, "BS"),
            (Self::AT, "AT"),
            (Self::ED, "ED"),
        ];
        let set = names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| name);
        f.debug_list().entries(set).finish()
    }
}

/// The model of an authenticator, as it says itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aaguid(pub [u8; 16]);

impl fmt::Display for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&at) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A new credential (§6.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The model of its authenticator.
    pub aaguid: Aaguid,
    /// What it is called.
    pub id: CredentialId,
    /// Its public key.
    pub key: CredentialKey,
}

/// What an authenticator says, read; whether it counts is for the verification of a ceremony.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthenticatorData {
    bytes: Vec<u8>,
    rp_id_hash: [u8; 32],
    flags: Flags,
    sign_count: u32,
    attested: Option<Attested>,
    extensions: Vec<String>,
}

impl AuthenticatorData {
    /// Reads all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthenticatorDataError> {
        use AuthenticatorDataError as E;
        if bytes.len() > AUTHENTICATOR_DATA_BYTES_MAX {
            return Err(E::TooLong { bytes: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        // §6.1: "The authenticator data structure is a byte array of 37 bytes or more"
        let rp_id_hash = reader.array().map_err(E::Malformed)?;
        let [flags] = reader.array().map_err(E::Malformed)?;
        let sign_count = reader.array().map(u32::from_be_bytes).map_err(E::Malformed)?;
        // §6.1: "The RFU bits SHALL be set to zero."
        if flags & Flags::RESERVED != 0 {
            return Err(E::Reserved);
        }
        let flags = Flags(flags);
        let attested = flags.has_credential().then(|| attested(&mut reader)).transpose()?;
        let extensions = if flags.has_extensions() { extensions(&mut reader)? } else { Vec::new() };
        // §6.1: "The authenticator data describes its own length"
        reader.end().map_err(E::Malformed)?;
        let bytes = bytes.to_vec();
        Ok(Self { bytes, rp_id_hash, flags, sign_count, attested, extensions })
    }

    /// SHA-256 of the relying party identifier.
    pub const fn rp_id_hash(&self) -> &[u8; 32] {
        &self.rp_id_hash
    }

    /// Its bits.
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// How often the authenticator signed, or 0.
    pub const fn sign_count(&self) -> u32 {
        self.sign_count
    }

    /// The new credential, in a registration.
    pub const fn attested(&self) -> Option<&Attested> {
        self.attested.as_ref()
    }

    /// Identifiers of the extensions that gave an output; what they gave is not looked at.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// As it came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is signed: this, and the hash of the client data.
    pub(crate) fn signed_with(&self, client_data_hash: &[u8; 32]) -> Vec<u8> {
        [self.bytes.as_slice(), client_data_hash].concat()
    }
}

impl fmt::Debug for AuthenticatorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatorData")
            .field("flags", &self.flags)
            .field("sign_count", &self.sign_count)
            .field("attested", &self.attested)
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}

fn attested(reader: &mut Reader<'_>) -> Result<Attested, AuthenticatorDataError> {
    use AuthenticatorDataError as E;
    let aaguid = Aaguid(reader.array().map_err(E::Malformed)?);
    // §6.5.1: "Byte length L of credentialId, 16-bit unsigned big-endian integer."
    let length = reader.array().map(u16::from_be_bytes).map_err(E::Malformed)?;
    let id = CredentialId::of(reader.take(usize::from(length)).map_err(E::Malformed)?)?;
    let before = reader.left();
    let value = reader.value().map_err(E::Malformed)?;
    let written = before.get(..before.len() - reader.left().len()).unwrap_or_default();
    Ok(Attested { aaguid, id, key: CredentialKey::of_value(&value, written)? })
}

fn extensions(reader: &mut Reader<'_>) -> Result<Vec<String>, AuthenticatorDataError> {
    use AuthenticatorDataError as E;
    let value = reader.value().map_err(E::Malformed)?;
    // §6.1: "This is a CBOR map with extension identifiers as keys, and authenticator extension
    // outputs as values."
    let entries = value.map().ok_or(E::Extensions)?;
    if entries.len() > EXTENSIONS_MAX {
        return Err(E::Extensions);
    }
    let name = |key: &Value<'_>| key.text().filter(|text| is_identifier(text)).map(str::to_owned);
    entries.iter().map(|(key, _)| name(key).ok_or(E::Extensions)).collect()
}

/// Whether `text` may name an extension or a format of attestation statements.
pub(crate) fn is_identifier(text: &str) -> bool {
    // §8.1, §9.1: "MUST be a maximum of 32 octets in length and MUST consist only of printable
    // USASCII characters, excluding backslash and doublequote, i.e., VCHAR"
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=IDENTIFIER_OCTETS_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Why bytes are no authenticator data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorDataError {
    #[error("{bytes} bytes; at most {AUTHENTICATOR_DATA_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error(transparent)]
    Malformed(Malformed),
    #[error("a reserved flag is set")]
    Reserved,
    #[error(transparent)]
    CredentialId(#[from] NotACredentialId),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("extensions that are no map of at most {EXTENSIONS_MAX} identifiers")]
    Extensions,
}
