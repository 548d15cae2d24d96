//! Clients that name a document about themselves (draft-ietf-oauth-client-id-metadata-document-01,
//! and -02 where it is stricter or says that a URL needs no path).
//!
//! In scope: which URLs may be a `client_id`, and what their documents must say. Not here: fetching
//! them, which addresses may be asked, caching.

use jose::{json, named};
use serde_json::{Map, Value};

use crate::client_metadata::{ClientMetadataError, SECRETS};
use crate::identifier::ClientId;
use crate::registration::Registration;

/// Bytes of a document. §6.6: "The recommended maximum response size for client metadata documents
/// is 5 kilobytes."
pub const MAX_DOCUMENT_BYTES: usize = 5 * 1_024;
/// Bytes of a URL.
const MAX_URL_BYTES: usize = 2_048;
/// What a `client_id` must not begin with where a server makes it up.
pub const SCHEME: &str = "https://";

/// A `client_id` that is the URL of its document. Only the text counts: nothing is normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientIdUrl(String);

impl ClientIdUrl {
    /// The text, judged before any library repairs it.
    pub fn parse(text: &str) -> Result<Self, NotAClientIdUrl> {
        if text.len() > MAX_URL_BYTES {
            return Err(NotAClientIdUrl::TooLong { length: text.len(), max: MAX_URL_BYTES });
        }
        // §3: "Client identifier URLs MUST have an "https" scheme".
        let rest = text.strip_prefix(SCHEME).ok_or(NotAClientIdUrl::Scheme)?;
        // -02: no spaces, tabs, backslashes or control characters.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
        if !rest.bytes().all(plain) {
            return Err(NotAClientIdUrl::Character);
        }
        // §3: "MUST NOT contain a fragment component and MUST NOT contain a username or password".
        if rest.contains('#') {
            return Err(NotAClientIdUrl::Fragment);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(NotAClientIdUrl::UserInfo);
        }
        let path = rest.get(authority.len()..).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        // §3: "MUST NOT contain single-dot or double-dot path segments"; -02: in percent-encoding
        // neither.
        let dots = |segment: &str| {
            matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
        };
        if path.split('/').any(dots) {
            return Err(NotAClientIdUrl::DotSegment);
        }
        let url = url::Url::parse(text).map_err(|_| NotAClientIdUrl::Host)?;
        // What a library reads as another host is none.
        let host = url.host_str().filter(|host| !host.is_empty());
        let same = host.is_some_and(|host| {
            authority == host || authority.strip_prefix(host).is_some_and(is_port)
        });
        if !same {
            return Err(NotAClientIdUrl::Host);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host and port, which people are shown.
    pub fn host(&self) -> &str {
        let rest = self.0.strip_prefix(SCHEME).unwrap_or_default();
        rest.split(['/', '?']).next().unwrap_or_default()
    }

    /// Reads the document that was fetched from this URL.
    pub fn document(&self, text: &str) -> Result<Registration, DocumentRefused> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentRefused::TooLong { length: text.len(), max: MAX_DOCUMENT_BYTES });
        }
        let members: Map<String, Value> = json::parse(text).map_err(ClientMetadataError::Json)?;
        // §4.1: "The client metadata document MUST contain a client_id property whose value MUST
        // match the URL of the document using simple string comparison".
        let found = members.get("client_id").and_then(Value::as_str);
        if found != Some(self.as_str()) {
            let found = found.map(|text| text.chars().take(MAX_URL_BYTES).collect());
            return Err(DocumentRefused::WrongClient { found, expected: self.0.clone() });
        }
        // §4.1: "the client_secret and client_secret_expires_at properties MUST NOT be used".
        if let Some(member) = SECRETS.iter().find(|name| members.contains_key(**name)) {
            return Err(ClientMetadataError::Secret { member }.into());
        }
        let mut members = members;
        // RFC 7591 §2 has a default that shares a secret: here none can be meant.
        let method = members.entry("token_endpoint_auth_method");
        method.or_insert_with(|| Value::from("none"));
        let read = Registration::of_members(&members)?;
        // §4.1: "the token_endpoint_auth_method property MUST NOT include client_secret_post,
        // client_secret_basic, client_secret_jwt, or any other method based around a shared
        // symmetric secret".
        if read.token_endpoint_auth_method.is_symmetric() {
            return Err(ClientMetadataError::Secret { member: "token_endpoint_auth_method" }.into());
        }
        Ok(read)
    }

    /// The client that it is.
    pub fn client_id(&self) -> Option<ClientId> {
        ClientId::parse(&self.0).ok()
    }
}

/// Whether a server may make up this identifier: none that could be taken for a URL.
pub fn may_be_issued(client_id: &str) -> bool {
    // §3: a server that issues identifiers keeps them apart from those of documents.
    !client_id.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// Why a text is no such identifier; each is of §3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAClientIdUrl {
    #[error("client id of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("client id that is no `https` URL")]
    Scheme,
    #[error("client id with a character that no URL has")]
    Character,
    #[error("client id with a fragment")]
    Fragment,
    #[error("client id with user information")]
    UserInfo,
    #[error("client id with a dot segment")]
    DotSegment,
    #[error("client id without a host in its one spelling")]
    Host,
}

/// Why a document is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentRefused {
    #[error("metadata document of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("metadata document of {}, expected `{expected}`", named(found.as_deref()))]
    WrongClient { found: Option<String>, expected: String },
    #[error(transparent)]
    Metadata(#[from] ClientMetadataError),
}

fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
