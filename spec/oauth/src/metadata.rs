//! Metadata of an authorization server (RFC 8414).

use std::fmt;

use jose::json::{self, NotStrict};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use crate::issuer::Issuer;
use crate::resource::Resource;
use crate::scope::Scope;

/// Registered name of the document below `/.well-known/`.
pub const WELL_KNOWN: &str = "oauth-authorization-server";
/// The name that clients of OpenID Connect look under (RFC 8414 §5).
pub const WELL_KNOWN_OPENID: &str = "openid-configuration";
/// Bytes of a document.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 * 1_024;
/// Bytes of a URL.
const MAX_URL_BYTES: usize = 2_048;

/// The document. Members that are not listed here are ignored when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub issuer: Issuer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<Endpoint>,
    pub token_endpoint: Endpoint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<Scope>,
    /// RFC 8414 §2: "REQUIRED"; so it stands there even when it is empty, which §3.2 would have
    /// omitted: clients that check what is required are more than those that mind an empty list.
    #[serde(default)]
    pub response_types_supported: Vec<String>,
    /// Always given: what is meant without it are the authorization code and implicit grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grant_types_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code_challenge_methods_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dpop_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_attestation_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_attestation_pop_signing_alg_values_supported: Vec<String>,
    /// RFC 9207 §3.
    #[serde(default, skip_serializing_if = "is_false")]
    pub authorization_response_iss_parameter_supported: bool,
    /// RFC 8705 §3.3.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// RFC 8705 §5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls_endpoint_aliases: Option<MtlsEndpointAliases>,
    /// RFC 9728 §4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected_resources: Vec<Resource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_documentation: Option<Endpoint>,
    /// What other specifications added.
    #[serde(flatten)]
    pub extensions: Extensions,
}

impl Metadata {
    /// The least that a server publishes; the rest is filled in by its fields.
    pub fn new(issuer: Issuer, token_endpoint: Endpoint) -> Self {
        Self {
            issuer,
            token_endpoint,
            authorization_endpoint: None,
            jwks_uri: None,
            registration_endpoint: None,
            introspection_endpoint: None,
            revocation_endpoint: None,
            scopes_supported: Vec::new(),
            response_types_supported: Vec::new(),
            grant_types_supported: Vec::new(),
            token_endpoint_auth_methods_supported: Vec::new(),
            token_endpoint_auth_signing_alg_values_supported: Vec::new(),
            code_challenge_methods_supported: Vec::new(),
            dpop_signing_alg_values_supported: Vec::new(),
            client_attestation_signing_alg_values_supported: Vec::new(),
            client_attestation_pop_signing_alg_values_supported: Vec::new(),
            authorization_response_iss_parameter_supported: false,
            tls_client_certificate_bound_access_tokens: false,
            mtls_endpoint_aliases: None,
            protected_resources: Vec::new(),
            service_documentation: None,
            extensions: Extensions::default(),
        }
    }

    /// Reads the document that was fetched for `expected`.
    pub fn parse(text: &str, expected: &Issuer) -> Result<Self, MetadataError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(MetadataError::TooLong { length: text.len(), max: MAX_DOCUMENT_BYTES });
        }
        let document: Self = json::parse(text)?;
        // RFC 8414 §3.3: "The "issuer" value returned MUST be identical to the authorization
        // server's issuer identifier value into which the well-known URI string was inserted [...].
        // If these values are not identical, the data contained in the response MUST NOT be used."
        if document.issuer != *expected {
            let (found, expected) = (document.issuer, expected.clone());
            return Err(MetadataError::WrongIssuer { found, expected });
        }
        Ok(document)
    }
}

/// Members that other specifications registered. Empty lists and `false` are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions {
    /// RFC 8414 §2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_modes_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ui_locales_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op_policy_uri: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op_tos_uri: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocation_endpoint_auth_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introspection_endpoint_auth_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_metadata: Option<String>,
    /// RFC 9126 §5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_pushed_authorization_requests: bool,
    /// RFC 9101 §10.5, OpenID Connect Discovery 1.0 §3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_object_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_signed_request_object: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub request_parameter_supported: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values_supported: Vec<String>,
    /// JARM §4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_signing_alg_values_supported: Vec<String>,
    /// RFC 8628 §4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<Endpoint>,
    /// CIBA Core 1.0 §4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_authentication_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backchannel_token_delivery_modes_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backchannel_authentication_request_signing_alg_values_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub backchannel_user_code_parameter_supported: bool,
    /// RFC 9396 §10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details_types_supported: Vec<String>,
    /// RFC 9701 §7.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introspection_signing_alg_values_supported: Vec<String>,
    /// draft-ietf-oauth-client-id-metadata-document §5.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_id_metadata_document_supported: bool,
    /// draft-ietf-oauth-identity-chaining §2.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_chaining_requested_token_types_supported: Vec<String>,
    /// draft-ietf-oauth-identity-assertion-authz-grant §7.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_grant_profiles_supported: Vec<String>,
    /// draft-ietf-oauth-attestation-based-client-auth §8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_attestation_pop_methods_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_endpoint: Option<Endpoint>,
    /// Of this software: the keys of transaction tokens, which gateways sign, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aims_txn_token_jwks_uri: Option<Endpoint>,
    /// Drafts: transaction challenge, deferred token response, global token revocation,
    /// refresh token expiration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_authorization_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub deferred_token_response_supported: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_token_revocation_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refresh_token_expiration_types_supported: Vec<String>,
}

/// The same endpoints where a client certificate is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MtlsEndpointAliases {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_authentication_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<Endpoint>,
}

/// Why a document is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("metadata of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error(transparent)]
    Json(#[from] NotStrict),
    #[error("metadata of `{found}` where that of `{expected}` was expected")]
    WrongIssuer { found: Issuer, expected: Issuer },
}

/// The URL of an endpoint: `https`, without fragment and user information.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(String);

impl Endpoint {
    /// The text, if it is such a URL.
    pub fn parse(text: &str) -> Result<Self, NotAnEndpoint> {
        if text.len() > MAX_URL_BYTES {
            return Err(NotAnEndpoint::TooLong { length: text.len(), max: MAX_URL_BYTES });
        }
        let url = Url::parse(text).map_err(|_| NotAnEndpoint::NotAUrl)?;
        if url.scheme() != "https" {
            return Err(NotAnEndpoint::Scheme { scheme: url.scheme().to_owned() });
        }
        // RFC 6749 §3.2: "The endpoint URI MUST NOT include a fragment component."
        if url.fragment().is_some() {
            return Err(NotAnEndpoint::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAnEndpoint::UserInfo);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || !text.starts_with("https://") {
            return Err(NotAnEndpoint::NotCanonical);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEndpoint {
    #[error("endpoint of {length} bytes, more than {max}")]
    TooLong { length: usize, max: usize },
    #[error("endpoint that is no URL")]
    NotAUrl,
    #[error("endpoint with the scheme `{scheme}`, not `https`")]
    Scheme { scheme: String },
    #[error("endpoint with a fragment")]
    Fragment,
    #[error("endpoint with user information")]
    UserInfo,
    #[error("endpoint with characters that a URL would repair")]
    NotCanonical,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// serde passes a reference.
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer::parse("https://localhost:8443").unwrap()
    }

    fn endpoint(path: &str) -> Endpoint {
        Endpoint::parse(&format!("https://localhost:8443{path}")).unwrap()
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn rfc8414_2_document() {
        let text = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let mut metadata = Metadata::new(issuer(), endpoint("/token"));
        metadata.jwks_uri = Some(endpoint("/jwks"));
        metadata.grant_types_supported = text(&["client_credentials"]);
        metadata.token_endpoint_auth_methods_supported = text(&["private_key_jwt", "spiffe_wit"]);
        metadata.token_endpoint_auth_signing_alg_values_supported = text(&["ES256"]);
        metadata.tls_client_certificate_bound_access_tokens = true;
        metadata.mtls_endpoint_aliases = Some(MtlsEndpointAliases {
            token_endpoint: Some(Endpoint::parse("https://localhost:8444/token").unwrap()),
            ..MtlsEndpointAliases::default()
        });
        insta::assert_snapshot!(serde_json::to_string_pretty(&metadata).unwrap(), @r#"
        {
          "issuer": "https://localhost:8443",
          "token_endpoint": "https://localhost:8443/token",
          "jwks_uri": "https://localhost:8443/jwks",
          "response_types_supported": [],
          "grant_types_supported": [
            "client_credentials"
          ],
          "token_endpoint_auth_methods_supported": [
            "private_key_jwt",
            "spiffe_wit"
          ],
          "token_endpoint_auth_signing_alg_values_supported": [
            "ES256"
          ],
          "tls_client_certificate_bound_access_tokens": true,
          "mtls_endpoint_aliases": {
            "token_endpoint": "https://localhost:8444/token"
          }
        }
        "#);
        let text = serde_json::to_string(&metadata).unwrap();
        assert_eq!(Metadata::parse(&text, &issuer()), Ok(metadata));
    }

    #[test]
    fn rfc8414_2_members_of_other_texts() {
        let mut metadata = Metadata::new(issuer(), endpoint("/token"));
        metadata.extensions.pushed_authorization_request_endpoint = Some(endpoint("/par"));
        metadata.extensions.require_pushed_authorization_requests = true;
        metadata.extensions.response_modes_supported = vec!["query".to_owned()];
        metadata.extensions.client_id_metadata_document_supported = true;
        metadata.mtls_endpoint_aliases = Some(MtlsEndpointAliases {
            device_authorization_endpoint: Some(endpoint("/device")),
            ..MtlsEndpointAliases::default()
        });
        let text = serde_json::to_string(&metadata).unwrap();
        assert_eq!(
            text,
            r#"{"issuer":"https://localhost:8443","token_endpoint":"https://localhost:8443/token","response_types_supported":[],"mtls_endpoint_aliases":{"device_authorization_endpoint":"https://localhost:8443/device"},"response_modes_supported":["query"],"pushed_authorization_request_endpoint":"https://localhost:8443/par","require_pushed_authorization_requests":true,"client_id_metadata_document_supported":true}"#
        );
        assert_eq!(Metadata::parse(&text, &issuer()), Ok(metadata));
        let foreign = text.replace("https://localhost:8443/par", "javascript:alert(1)");
        assert!(Metadata::parse(&foreign, &issuer()).is_err());
    }

    #[test]
    fn rfc8414_3_3_document_must_be_of_its_issuer() {
        let of = |issuer: &str| {
            format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://a.example/t","x":1}}"#)
        };
        assert!(Metadata::parse(&of("https://localhost:8443"), &issuer()).is_ok());
        let found = Issuer::parse("https://localhost:8443/").unwrap();
        let wrong = MetadataError::WrongIssuer { found, expected: issuer() };
        assert_eq!(Metadata::parse(&of("https://localhost:8443/"), &issuer()), Err(wrong));
        for text in [
            of("http://localhost:8443"),
            of("https://localhost:8443").replace("https://a.example/t", "javascript:alert(1)"),
            of("https://localhost:8443").replace(r#""x":1"#, r#""issuer":"https://b.example""#),
            r#"{"issuer":"https://localhost:8443"}"#.to_owned(),
        ] {
            let refused = Metadata::parse(&text, &issuer());
            assert!(matches!(refused, Err(MetadataError::Json(_))), "{text}");
        }
        let long = format!("{}{}", of("https://localhost:8443"), " ".repeat(70_000));
        assert!(matches!(Metadata::parse(&long, &issuer()), Err(MetadataError::TooLong { .. })));
    }

    /// Defect: an endpoint that a browser or a client runs instead of calling.
    #[test]
    fn rfc6749_3_2_endpoints_are_https() {
        assert!(Endpoint::parse("https://a.example/t?x=y").is_ok());
        let scheme = |scheme: &str| NotAnEndpoint::Scheme { scheme: scheme.to_owned() };
        for (text, expect) in [
            ("javascript:alert(1)", scheme("javascript")),
            ("http://a.example/t", scheme("http")),
            ("file:///etc/passwd", scheme("file")),
            ("/t", NotAnEndpoint::NotAUrl),
            ("https://a.example/t#x", NotAnEndpoint::Fragment),
            ("https://a@b.example/t", NotAnEndpoint::UserInfo),
            ("https://:a@b.example/t", NotAnEndpoint::UserInfo),
            ("https:/a.example/t", NotAnEndpoint::NotCanonical),
            (" https://a.example/t", NotAnEndpoint::NotCanonical),
            ("https://a.example/t x", NotAnEndpoint::NotCanonical),
        ] {
            assert_eq!(Endpoint::parse(text), Err(expect), "{text}");
        }
        let long = format!("https://a.example/{}", "a".repeat(3_000));
        assert!(matches!(Endpoint::parse(&long), Err(NotAnEndpoint::TooLong { .. })));
    }
}
