//! Discovery document of an OpenID provider (OpenID Connect Discovery 1.0 §3, RP-Initiated Logout
//! 1.0 §2.1, Back-Channel Logout 1.0 §2.1): that of its authorization server, and more.

use jose::json;
use oauth::Issuer;
use oauth::metadata::{Endpoint, Metadata, MetadataError};
use serde::{Deserialize, Serialize};

/// Bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 64 * 1_024;

/// The document. Members that are not listed are ignored when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    #[serde(flatten)]
    pub metadata: Metadata,
    /// §3: "REQUIRED."
    pub subject_types_supported: Vec<String>,
    /// §3: "REQUIRED."
    pub id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub userinfo_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claim_types_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub display_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub claims_parameter_supported: bool,
    /// §3: "If omitted, the default value is true": so it is always said.
    #[serde(default = "yes")]
    pub request_uri_parameter_supported: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub backchannel_logout_supported: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub backchannel_logout_session_supported: bool,
}

impl Discovery {
    /// What a provider says that adds nothing to the document of its authorization server.
    pub fn new(metadata: Metadata, algorithms: Vec<String>) -> Self {
        Self {
            metadata,
            subject_types_supported: vec!["public".to_owned()],
            id_token_signing_alg_values_supported: algorithms,
            userinfo_endpoint: None,
            userinfo_signing_alg_values_supported: Vec::new(),
            claims_supported: Vec::new(),
            claim_types_supported: Vec::new(),
            display_values_supported: Vec::new(),
            prompt_values_supported: Vec::new(),
            claims_parameter_supported: false,
            request_uri_parameter_supported: false,
            end_session_endpoint: None,
            backchannel_logout_supported: false,
            backchannel_logout_session_supported: false,
        }
    }

    /// Reads the document that was fetched for `expected`.
    pub fn parse(text: &str, expected: &Issuer) -> Result<Self, MetadataError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(MetadataError::TooLong { length: text.len(), max: MAX_DOCUMENT_BYTES });
        }
        let document: Self = json::parse(text)?;
        // §4.3: "The "issuer" value returned MUST be identical to the Issuer URL that was used as
        // the prefix to "/.well-known/openid-configuration" to retrieve the configuration
        // information."
        if document.metadata.issuer != *expected {
            let (found, expected) = (document.metadata.issuer, expected.clone());
            return Err(MetadataError::WrongIssuer { found, expected });
        }
        Ok(document)
    }
}

const fn yes() -> bool {
    true
}

/// serde passes a reference.
const fn is_false(value: &bool) -> bool {
    !*value
}
