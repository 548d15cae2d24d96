//! Metadata of a protected resource (RFC 9728). Where it stands is said by
//! [`Resource::well_known_path`]; the challenge that leads there is [`crate::challenge`].

use jose::json::{self, NotStrict};
use serde::{Deserialize, Serialize};

use crate::issuer::Issuer;
use crate::metadata::Endpoint;
use crate::resource::Resource;
use crate::scope::Scope;

/// Bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 64 * 1_024;

/// The document. Members that are not listed here are ignored when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedResource {
    pub resource: Resource,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_servers: Vec<Issuer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<Scope>,
    /// RFC 9728 §2: "The empty array [] can be used to indicate that no Bearer methods are
    /// supported."
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_methods_supported: Option<Vec<String>>,
    /// RFC 9728 §2: the types of RFC 9396 that mean something there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details_types_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_documentation: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub tls_client_certificate_bound_access_tokens: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub dpop_bound_access_tokens_required: bool,
    /// draft-rosomakho-oauth-txn-challenge §4.3: the keys that challenges are signed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn_challenge_jwks_uri: Option<Endpoint>,
    /// RFC 9728 §2: "Additional protected resource metadata parameters MAY also be used": the
    /// profiles that whoever wants a token for it is held to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aims_profiles: Vec<String>,
}

impl ProtectedResource {
    /// A resource that takes tokens in the header field, from one server.
    pub fn new(resource: Resource, authorization_server: Issuer) -> Self {
        Self {
            resource,
            authorization_servers: vec![authorization_server],
            jwks_uri: None,
            scopes_supported: Vec::new(),
            bearer_methods_supported: Some(vec!["header".to_owned()]),
            authorization_details_types_supported: Vec::new(),
            resource_name: None,
            resource_documentation: None,
            tls_client_certificate_bound_access_tokens: false,
            dpop_signing_alg_values_supported: Vec::new(),
            dpop_bound_access_tokens_required: false,
            txn_challenge_jwks_uri: None,
            aims_profiles: Vec::new(),
        }
    }

    /// Reads the document that was fetched for `expected`.
    pub fn parse(text: &str, expected: &Resource) -> Result<Self, ProtectedResourceError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            let length = text.len();
            return Err(ProtectedResourceError::TooLong { length, max: MAX_DOCUMENT_BYTES });
        }
        let document: Self = json::parse(text)?;
        // RFC 9728 §3.3: "The resource value returned MUST be identical to the protected
        // resource's resource identifier value into which the well-known URI path suffix was
        // inserted [...]. If these values are not identical, the data contained in the response
        // MUST NOT be used."
        if document.resource != *expected {
            let (found, expected) = (document.resource, expected.clone());
            return Err(ProtectedResourceError::WrongResource { found, expected });
        }
        // RFC 9728 §1.2: "a URL that uses the https scheme and has no fragment component."
        if !document.resource.as_str().starts_with("https://") {
            return Err(ProtectedResourceError::NotHttps { found: document.resource });
        }
        Ok(document)
    }
}

/// Why a document is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectedResourceError {
    #[error("metadata of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("metadata of `{found}` where that of `{expected}` was expected")]
    WrongResource { found: Resource, expected: Resource },
    #[error("metadata of `{found}`, which is no https URL")]
    NotHttps { found: Resource },
}

/// serde passes a reference.
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> Resource {
        Resource::parse(text).unwrap()
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn rfc9728_2_document() {
        let issuer = Issuer::parse("https://localhost:8443").unwrap();
        let mut document = ProtectedResource::new(resource("https://localhost:8446/tools"), issuer);
        document.scopes_supported = vec![Scope::parse("tools:read").unwrap()];
        document.resource_name = Some("Tools".to_owned());
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
        {
          "resource": "https://localhost:8446/tools",
          "authorization_servers": [
            "https://localhost:8443"
          ],
          "scopes_supported": [
            "tools:read"
          ],
          "bearer_methods_supported": [
            "header"
          ],
          "resource_name": "Tools"
        }
        "#);
        let text = serde_json::to_string(&document).unwrap();
        let read = ProtectedResource::parse(&text, &resource("https://localhost:8446/tools"));
        assert_eq!(read, Ok(document));
    }

    #[test]
    fn rfc9728_3_3_document_must_be_of_its_resource() {
        let of = |text: &str| format!(r#"{{"resource":"{text}"}}"#);
        let expected = resource("https://r.example/a");
        assert!(ProtectedResource::parse(&of("https://r.example/a"), &expected).is_ok());
        let found = resource("https://r.example/a/");
        let wrong = ProtectedResourceError::WrongResource { found, expected: expected.clone() };
        assert_eq!(ProtectedResource::parse(&of("https://r.example/a/"), &expected), Err(wrong));
        let plain = resource("http://r.example");
        let refused = ProtectedResourceError::NotHttps { found: plain.clone() };
        assert_eq!(ProtectedResource::parse(&of("http://r.example"), &plain), Err(refused));
        for text in [
            "{}".to_owned(),
            of("r.example"),
            r#"{"resource":"https://r.example/a","authorization_servers":["http://i"]}"#.to_owned(),
        ] {
            let refused = ProtectedResource::parse(&text, &expected);
            assert!(matches!(refused, Err(ProtectedResourceError::Json(_))), "{text}");
        }
        let long = format!("{}{}", of("https://r.example/a"), " ".repeat(70_000));
        let refused = ProtectedResource::parse(&long, &expected);
        assert!(matches!(refused, Err(ProtectedResourceError::TooLong { .. })));
    }
}
