//! Client data: what a browser says of the page that asked (§5.8.1).

use json::{Bounds, Unreadable};
use serde_json::{Map, Value};

use crate::CLIENT_DATA_BYTES_MAX;
use crate::challenge::Challenge;
use crate::refusal::Reason;
use crate::relying_party::{Origin, sha256};

/// Client data is flat; what a later level adds may not be.
const DEPTH_MAX: usize = 8;
/// Longest text of a member that a refusal repeats, in characters.
const SHOWN_CHARS_MAX: usize = 256;

/// Which of the two ceremonies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceremony {
    /// A credential is made (§7.1).
    Registration,
    /// A credential is used (§7.2).
    Authentication,
}

impl Ceremony {
    /// What client data calls it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Authentication => "webauthn.get",
        }
    }
}

/// What the browser says, read; whether it counts is for the verification of a ceremony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientData {
    kind: String,
    challenge: String,
    origin: String,
    is_cross_origin: bool,
    top_origin: Option<String>,
    hash: [u8; 32],
}

impl ClientData {
    /// Reads all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClientDataError> {
        // §7.1 step 5: "In particular, any leading byte order mark (BOM) must be stripped."
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let bounds = Bounds { bytes_max: CLIENT_DATA_BYTES_MAX, depth_max: DEPTH_MAX };
        let members = json::object(text, bounds)?;
        // §5.8.1: "it's critical when parsing to be tolerant of unknown keys and of any reordering
        // of the keys."
        let required = |name| text_of(&members, name)?.ok_or(ClientDataError::Absent { name });
        let is_cross_origin = match members.get("crossOrigin") {
            None => false,
            Some(Value::Bool(is_set)) => *is_set,
            Some(_) => return Err(ClientDataError::Member { name: "crossOrigin" }),
        };
        Ok(Self {
            kind: required("type")?,
            challenge: required("challenge")?,
            origin: required("origin")?,
            is_cross_origin,
            top_origin: text_of(&members, "topOrigin")?,
            // §5.8.1: "This is the hash (computed using SHA-256) of the JSON-compatible
            // serialization of client data, as constructed by the client": of the bytes as they
            // came, a byte order mark among them.
            hash: sha256(bytes),
        })
    }

    /// `webauthn.create` or `webauthn.get`, or what was said instead.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Where the page that asked is from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it was in a frame of a page from elsewhere.
    pub const fn is_cross_origin(&self) -> bool {
        self.is_cross_origin
    }

    /// Where that page is from.
    pub fn top_origin(&self) -> Option<&str> {
        self.top_origin.as_deref()
    }

    /// SHA-256 of the bytes.
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// §7.1 steps 7 to 11, §7.2 steps 10 to 14.
    pub(crate) fn check(
        &self,
        ceremony: Ceremony,
        challenge: &Challenge,
        origin: &Origin,
    ) -> Result<(), Reason> {
        // §7.1 step 7: "Verify that the value of C.type is webauthn.create."
        // §7.2 step 10: "Verify that the value of C.type is the string webauthn.get."
        if self.kind != ceremony.kind() {
            return Err(Reason::Kind { found: shown(&self.kind) });
        }
        // §7.1 step 8: "Verify that the value of C.challenge equals the base64url encoding of
        // pkOptions.challenge."
        if !challenge.is(&self.challenge) {
            return Err(Reason::Challenge);
        }
        // §13.4.9: "Validation MAY be performed by exact string matching"
        if self.origin != origin.as_str() {
            let found = shown(&self.origin);
            return Err(Reason::Origin { found, expected: origin.clone() });
        }
        // §7.1 step 10: "If C.crossOrigin is present and set to true, verify that the Relying Party
        // expects that this credential would have been created within an iframe": we do not.
        if self.is_cross_origin {
            return Err(Reason::CrossOrigin);
        }
        // §7.1 step 11: "If C.topOrigin is present: Verify that the Relying Party expects" that.
        match &self.top_origin {
            Some(found) => Err(Reason::TopOrigin { found: shown(found) }),
            None => Ok(()),
        }
    }
}

fn text_of(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, ClientDataError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ClientDataError::Member { name }),
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// Why bytes are no client data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientDataError {
    #[error("client data: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("client data has no `{name}`")]
    Absent { name: &'static str },
    #[error("`{name}` of client data is of the wrong kind")]
    Member { name: &'static str },
}
