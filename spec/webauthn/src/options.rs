//! What a browser is asked, as `PublicKeyCredential.parse…OptionsFromJSON()` reads it (§5.1.9,
//! §5.1.10).

use serde_json::{Value, json};

use crate::challenge::Challenge;
use crate::credential::{Descriptor, UserHandle};
use crate::key::Algorithm;
use crate::relying_party::{RelyingParty, is_name};

/// How long a browser waits for the user, in milliseconds.
// §15.1: "Recommended default value: 300000 milliseconds (5 minutes)."
const TIMEOUT_MS: u32 = 300_000;
/// Longest name of a user, in bytes: §6.4.1 lets authenticators cut longer ones.
const USER_NAME_BYTES_MAX: usize = 64;

/// Which authenticators a browser shows first (§5.8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// One that is plugged in or held near.
    SecurityKey,
    /// The one of this device.
    ClientDevice,
    /// A phone.
    Hybrid,
}

impl Hint {
    const fn name(self) -> &'static str {
        match self {
            Self::SecurityKey => "security-key",
            Self::ClientDevice => "client-device",
            Self::Hybrid => "hybrid",
        }
    }
}

/// A user as authenticators show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    handle: UserHandle,
    name: String,
    display_name: String,
}

impl User {
    /// `name` tells accounts apart, `display_name` is what people call themselves, or nothing.
    pub fn new(handle: UserHandle, name: &str, display_name: &str) -> Result<Self, NotAUser> {
        // §5.4.3: "If no suitable or human-palatable name is available, the Relying Party SHOULD
        // set this value to an empty string."
        let may_be_shown = display_name.is_empty() || is_name(display_name, USER_NAME_BYTES_MAX);
        if !is_name(name, USER_NAME_BYTES_MAX) || !may_be_shown {
            return Err(NotAUser);
        }
        Ok(Self { handle, name: name.to_owned(), display_name: display_name.to_owned() })
    }

    /// What they are called to authenticators.
    pub const fn handle(&self) -> &UserHandle {
        &self.handle
    }
}

/// Names that cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name of a user has 1 to {USER_NAME_BYTES_MAX} bytes and no letter that is not seen")]
pub struct NotAUser;

/// `PublicKeyCredentialCreationOptionsJSON`: make a passkey.
#[derive(Clone, Copy, Debug)]
pub struct CreationOptions<'a> {
    /// Who asks.
    pub relying_party: &'a RelyingParty,
    /// Whose it becomes.
    pub user: &'a User,
    /// The challenge of this ceremony.
    pub challenge: &'a Challenge,
    /// What it may sign with, the one that is liked best first.
    pub algorithms: &'a [Algorithm],
    /// Credentials that the user has already: their authenticators make no second one.
    pub exclude: &'a [Descriptor],
    /// What the browser shows first.
    pub hints: &'a [Hint],
}

impl CreationOptions<'_> {
    /// The JSON value.
    pub fn to_json(&self) -> Value {
        let parameters = self.algorithms.iter().map(|algorithm| {
            // §5.3: "type [...] alg"
            json!({"type": "public-key", "alg": algorithm.cose()})
        });
        json!({
            "rp": {"id": self.relying_party.id().as_str(), "name": self.relying_party.name()},
            "user": {
                "id": self.user.handle.to_base64url(),
                "name": self.user.name,
                "displayName": self.user.display_name,
            },
            "challenge": self.challenge.to_base64url(),
            "pubKeyCredParams": parameters.collect::<Vec<_>>(),
            "timeout": TIMEOUT_MS,
            "excludeCredentials": descriptors(self.exclude),
            // §5.4.4: "Relying Parties SHOULD set it [requireResidentKey] to true if, and only if,
            // residentKey is set to required."
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": true,
                "userVerification": "required",
            },
            "hints": hints(self.hints),
            "attestation": "none",
        })
    }
}

/// `PublicKeyCredentialRequestOptionsJSON`: use a passkey.
#[derive(Clone, Copy, Debug)]
pub struct RequestOptions<'a> {
    /// Who asks.
    pub relying_party: &'a RelyingParty,
    /// The challenge of this ceremony.
    pub challenge: &'a Challenge,
    /// The credentials that serve; empty: any that the user has here.
    pub allow: &'a [Descriptor],
    /// What the browser shows first.
    pub hints: &'a [Hint],
}

impl RequestOptions<'_> {
    /// The JSON value.
    pub fn to_json(&self) -> Value {
        json!({
            "challenge": self.challenge.to_base64url(),
            "timeout": TIMEOUT_MS,
            "rpId": self.relying_party.id().as_str(),
            "allowCredentials": descriptors(self.allow),
            "userVerification": "required",
            "hints": hints(self.hints),
        })
    }
}

/// §5.8.3.
fn descriptors(credentials: &[Descriptor]) -> Vec<Value> {
    let one = |Descriptor { id, transports }: &Descriptor| match transports.as_slice() {
        [] => json!({"type": "public-key", "id": id.to_base64url()}),
        _ => json!({"type": "public-key", "id": id.to_base64url(), "transports": transports}),
    };
    credentials.iter().map(one).collect()
}

fn hints(hints: &[Hint]) -> Vec<&'static str> {
    hints.iter().map(|hint| hint.name()).collect()
}
