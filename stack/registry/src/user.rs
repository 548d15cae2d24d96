//! The people agents act for, and those who run the system: one record a person (AUTHN-11).

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::TokenHash;
use provisioning::Lifecycle;
use serde::{Deserialize, Serialize};
use time::UnixTime;
use webauthn::{
    Aaguid, Attestation, CredentialId, CredentialKey, CredentialRecord, Descriptor, UserHandle,
};

/// How the identifier of a person begins, in `sub` and in records. It is no URI, and no identifier
/// of an agent or a client begins so (RFC 9700 §4.15).
pub const PREFIX: &str = "user:";
/// Characters of a name.
pub const NAME_MAX: usize = 64;
/// Passkeys of one person.
pub const PASSKEYS_MAX: usize = 16;
/// Accounts at other identity providers that one person signs in by.
pub const ACCOUNTS_MAX: usize = 8;
/// Accounts that are known as taken away.
pub const LEFT_MAX: usize = 64;
/// Roles of one person.
pub const ROLES_MAX: usize = 64;
/// The role of those who run the system.
pub const OPERATOR: &str = "operator";

/// The name of a person: what they type, and what follows `user:` in their identifier. It is never
/// given to another (OpenID Connect Core 1.0 §2: `sub` is "never reassigned").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// Reads a name: a to z, 0 to 9, and inside also `.`, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, NotAUserName> {
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: u8| edge(byte) || matches!(byte, b'.' | b'-' | b'_');
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(NotAUserName(text.to_owned()));
        };
        let fits = edge(*first) && edge(*last) && bytes.iter().all(|byte| inner(*byte));
        if fits && bytes.len() <= NAME_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(NotAUserName(text.chars().take(NAME_MAX).collect()))
    }

    /// The person's name of an identifier.
    pub fn of_id(id: &str) -> Option<Self> {
        Self::parse(id.strip_prefix(PREFIX)?).ok()
    }

    /// As it is typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier: `user:` and the name.
    pub fn id(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserName {
    type Error = NotAUserName;

    fn try_from(text: String) -> Result<Self, NotAUserName> {
        Self::parse(&text)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

/// A text that is no person's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no user name: 1 to {NAME_MAX} of a to z and 0 to 9, inside also `.`, `-` and `_`"
)]
pub struct NotAUserName(pub String);

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name.
    pub name: UserName,
    /// What pages call them.
    pub display_name: String,
    /// Where they are written to, if that is known; told only to clients with the scope `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The issuer whose word alone the address is, where nothing here rests on it: it leads to
    /// nobody, and clients are told that it is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_said_by: Option<String>,
    /// What policy may ask of them; [`OPERATOR`] opens the operators' pages.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// Whether they get anything, and since when.
    pub lifecycle: Lifecycle,
    /// When they were added.
    pub registered: UnixTime,
    /// The passkeys that they sign in with.
    #[serde(default)]
    pub passkeys: Vec<Passkey>,
    /// Their accounts at other identity providers.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// Accounts that they took away, by hash, the latest last: an address leads none of them back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// The hash of the code that they gave to clients which may ask for them (CIBA §7.1,
    /// `user_code`), as `pbkdf2-sha256$<rounds>$<salt>$<hash>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
}

impl UserRecord {
    /// The identifier: `user:` and the name.
    pub fn id(&self) -> String {
        self.name.id()
    }

    /// Whether they run the system.
    pub fn is_operator(&self) -> bool {
        self.roles.contains(OPERATOR)
    }

    /// What they are called to authenticators: no name, and always the same, since names are given
    /// once.
    ///
    /// WebAuthn Level 3 §14.6.1: "the user handle MUST NOT contain personally identifying
    /// information".
    pub fn handle(&self) -> UserHandle {
        let hash = TokenHash::of(&format!("aims passkey user handle\0{}", self.id()));
        #[expect(clippy::expect_used, reason = "a hash has 32 bytes, and a handle 1 to 64")]
        UserHandle::of(hash.as_bytes()).expect("32 bytes are a user handle")
    }

    /// The address that leads to them, here and for clients that name them by it.
    pub fn known_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_said_by.is_none())
    }

    /// The passkey of that credential id, base64url.
    pub fn passkey(&self, id: &str) -> Option<&Passkey> {
        self.passkeys.iter().find(|passkey| passkey.id == id)
    }
}

/// A passkey of a person (WebAuthn Level 3 §4, "credential record").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// The credential id, base64url without padding.
    pub id: String,
    /// The public key: `COSE_Key`, base64url without padding.
    pub key: String,
    /// The counter at its last use.
    pub counter: u32,
    /// Whether it can be in several devices.
    pub backup_eligible: bool,
    /// Whether it was, at its last use.
    pub backed_up: bool,
    /// What its owner calls it.
    pub name: String,
    /// How it is reached, as the browser said.
    #[serde(default)]
    pub transports: Vec<String>,
    /// When it was added.
    pub added: UnixTime,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixTime>,
}

impl Passkey {
    /// What is kept of a credential that was made at `now`, as its owner calls it.
    pub fn of(made: &CredentialRecord, name: &str, now: UnixTime) -> Self {
        Self {
            id: made.id.to_base64url(),
            key: URL_SAFE_NO_PAD.encode(made.key.as_bytes()),
            counter: made.sign_count,
            backup_eligible: made.is_backup_eligible,
            backed_up: made.is_backed_up,
            name: name.to_owned(),
            transports: made.transports.clone(),
            added: now,
            used: None,
        }
    }

    /// The same after a ceremony at `now`.
    pub fn note(&mut self, used: &CredentialRecord, now: UnixTime) {
        self.counter = used.sign_count;
        self.backed_up = used.is_backed_up;
        self.used = Some(now);
    }

    /// As options of a ceremony name it; `None` for a row that does not read.
    pub fn descriptor(&self) -> Option<Descriptor> {
        let id = CredentialId::of(&URL_SAFE_NO_PAD.decode(&self.id).ok()?).ok()?;
        Some(Descriptor { id, transports: self.transports.clone() })
    }

    /// As a ceremony verifies it, for the user of that handle; `None` for a row that does not read.
    pub fn credential(&self, user: UserHandle) -> Option<CredentialRecord> {
        let Descriptor { id, transports } = self.descriptor()?;
        let key = CredentialKey::parse(&URL_SAFE_NO_PAD.decode(&self.key).ok()?).ok()?;
        Some(CredentialRecord {
            id,
            user,
            key,
            sign_count: self.counter,
            is_backup_eligible: self.backup_eligible,
            is_backed_up: self.backed_up,
            transports,
            // Neither is kept, since neither is believed.
            aaguid: Aaguid([0; 16]),
            attestation: Attestation::None,
        })
    }
}

/// An account of a person at another identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its issuer.
    pub issuer: String,
    /// The person's `sub` there.
    pub subject: String,
    /// Since when.
    pub since: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_a_name_is_taken_as_it_is_or_refused() {
        for good in ["ada", "a", "ada.lovelace", "a-1_b", &"a".repeat(NAME_MAX)] {
            assert_eq!(UserName::parse(good).map(|name| name.id()), Ok(format!("user:{good}")));
        }
        for bad in ["", "Ada", ".ada", "ada.", "a b", "ädä", "a/b", "a:b", &"a".repeat(65)] {
            assert!(UserName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(UserName::of_id("user:ada").map(|name| name.to_string()), Some("ada".into()));
        for other in ["ada", "user:", "client-1", "spiffe://a.example/user:ada", "user:user:ada"] {
            assert_eq!(UserName::of_id(other), None, "{other}");
        }
    }
}
