//! Names of credentials and users, and what is kept of a credential.

use std::fmt;

use crate::attestation::Attestation;
use crate::authenticator_data::Aaguid;
use crate::base64url;
use crate::key::CredentialKey;
use crate::{CREDENTIAL_ID_BYTES_MAX, TRANSPORTS_MAX, USER_HANDLE_BYTES_MAX};

/// Longest name of a transport, in characters.
const TRANSPORT_CHARS_MAX: usize = 32;

/// What an authenticator calls a credential: 1 to 1,023 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(Vec<u8>);

impl CredentialId {
    /// Takes the bytes.
    pub fn of(bytes: &[u8]) -> Result<Self, NotACredentialId> {
        // §7.1 step 25: "Verify that the credentialId is ≤ 1023 bytes."
        if !(1..=CREDENTIAL_ID_BYTES_MAX).contains(&bytes.len()) {
            return Err(NotACredentialId { bytes: bytes.len() });
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As JSON has it.
    pub fn to_base64url(&self) -> String {
        base64url::encode(&self.0)
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64url())
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

/// Bytes that are no credential id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a credential id of {bytes} bytes; 1 to {CREDENTIAL_ID_BYTES_MAX} are taken")]
pub struct NotACredentialId {
    /// How many there are.
    pub bytes: usize,
}

/// What a user is called to authenticators: 1 to 64 random bytes, not a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserHandle(Vec<u8>);

impl UserHandle {
    /// Takes the bytes.
    pub fn of(bytes: &[u8]) -> Result<Self, NotAUserHandle> {
        // §5.4.3: "A user handle is an opaque byte sequence with a maximum size of 64 bytes"; "The
        // user handle MUST NOT be empty."
        if !(1..=USER_HANDLE_BYTES_MAX).contains(&bytes.len()) {
            return Err(NotAUserHandle { bytes: bytes.len() });
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As JSON has it.
    pub fn to_base64url(&self) -> String {
        base64url::encode(&self.0)
    }
}

impl fmt::Debug for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserHandle({})", self.to_base64url())
    }
}

/// Bytes that are no user handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user handle of {bytes} bytes; 1 to {USER_HANDLE_BYTES_MAX} are taken")]
pub struct NotAUserHandle {
    /// How many there are.
    pub bytes: usize,
}

/// What a relying party keeps of a credential (§4, "credential record").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRecord {
    /// What it is called.
    pub id: CredentialId,
    /// Whose it is.
    pub user: UserHandle,
    /// What it verifies with.
    pub key: CredentialKey,
    /// The signature counter of the last ceremony; 0 where the authenticator has none.
    pub sign_count: u32,
    /// Whether it may leave its device; never changes.
    pub is_backup_eligible: bool,
    /// Whether it has, as far as the last ceremony tells.
    pub is_backed_up: bool,
    /// How its authenticator is reached, as the browser said.
    pub transports: Vec<String>,
    /// The model of its authenticator, which nobody vouches for.
    pub aaguid: Aaguid,
    /// What came with it when it was made.
    pub attestation: Attestation,
}

impl CredentialRecord {
    /// How options name it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor { id: self.id.clone(), transports: self.transports.clone() }
    }
}

/// A credential as options name it (§5.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is called.
    pub id: CredentialId,
    /// How its authenticator is reached.
    pub transports: Vec<String>,
}

/// Whether texts are transports: known ones or such as may come (`internal`, `smart-card`).
pub(crate) fn are_transports(texts: &[String]) -> bool {
    // §5.2.1.1: transports "SHOULD be members of AuthenticatorTransport but Relying Parties SHOULD
    // accept and store unknown values."
    let is_one = |text: &String| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=TRANSPORT_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain)
    };
    texts.len() <= TRANSPORTS_MAX && texts.iter().all(is_one)
}
