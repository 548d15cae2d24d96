//! Registrations.

use jose::JwkError;
use jose::json::NotStrict;
use oauth::client_metadata::{AuthMethod, ClientMetadata, ClientMetadataError, SpiffeIdPattern};
use serde_json::json;
use spiffe::SpiffeId;

use crate::*;

fn public_key() -> Value {
    key().public().to_jwk().to_value()
}

fn registration() -> Value {
    json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "client_name": "Report writer",
        "scope": "read write",
        "jwks": {"keys": [public_key()]},
    })
}

/// req: AUTHZ-22 (part)
#[test]
fn rfc7591_2_registration() {
    let text = changed(
        &registration(),
        &json!({"software_id": "x", "contacts": ["a@b"], "redirect_uris": [],
            "tls_client_certificate_bound_access_tokens": false}),
    );
    let metadata = ClientMetadata::parse(&text.to_string()).unwrap();
    assert_eq!(metadata.token_endpoint_auth_method, AuthMethod::PrivateKeyJwt);
    assert_eq!(metadata.jwks.as_ref().unwrap().keys().len(), 1);
    let written = serde_json::to_value(&metadata).unwrap();
    assert_eq!(written, registration());
    assert_eq!(serde_json::from_value::<ClientMetadata>(written).unwrap(), metadata);

    let spiffe = json!({"token_endpoint_auth_method": "spiffe_wit",
        "grant_types": ["client_credentials"], "spiffe_id": "spiffe://example.org/client/*"});
    let metadata = ClientMetadata::parse(&spiffe.to_string()).unwrap();
    assert_eq!(metadata.spiffe_id.as_ref().unwrap().to_string(), "spiffe://example.org/client/*");
    assert_eq!(serde_json::to_value(&metadata).unwrap(), spiffe);
}

/// req: CRED-10 (part)
#[test]
fn rfc7591_3_2_2_each_refusal_names_its_member() {
    let missing = |member| ClientMetadataError::Missing { member };
    let form = |member| ClientMetadataError::Form { member };
    let unsupported = |member| ClientMetadataError::Unsupported { member };
    let value =
        |member, found: &str| ClientMetadataError::Value { member, found: found.to_owned() };
    for (changes, expect) in [
        (json!({"client_secret": "s"}), ClientMetadataError::Secret { member: "client_secret" }),
        (
            json!({"client_secret_expires_at": 0}),
            ClientMetadataError::Secret { member: "client_secret_expires_at" },
        ),
        (json!({"token_endpoint_auth_method": null}), missing("token_endpoint_auth_method")),
        (
            json!({"token_endpoint_auth_method": "client_secret_basic"}),
            value("token_endpoint_auth_method", "client_secret_basic"),
        ),
        (
            json!({"token_endpoint_auth_method": "none"}),
            value("token_endpoint_auth_method", "none"),
        ),
        (json!({"token_endpoint_auth_method": 1}), form("token_endpoint_auth_method")),
        (json!({"grant_types": null}), missing("grant_types")),
        (json!({"grant_types": []}), form("grant_types")),
        (json!({"grant_types": "client_credentials"}), form("grant_types")),
        (json!({"grant_types": [1]}), form("grant_types")),
        (
            json!({"grant_types": ["authorization_code"]}),
            value("grant_types", "authorization_code"),
        ),
        (json!({"grant_types": ["implicit"]}), value("grant_types", "implicit")),
        (json!({"redirect_uris": ["https://a.example"]}), unsupported("redirect_uris")),
        (json!({"response_types": ["code"]}), unsupported("response_types")),
        (json!({"jwks_uri": "https://a.example/jwks"}), unsupported("jwks_uri")),
        (json!({"software_statement": "eyJ"}), unsupported("software_statement")),
        (json!({"dpop_bound_access_tokens": true}), unsupported("dpop_bound_access_tokens")),
        (json!({"client_name": ""}), form("client_name")),
        (json!({"client_name": "a\u{7}"}), form("client_name")),
        // What is not seen, or turns what stands beside it.
        (json!({"client_name": "\u{202e}knaB"}), form("client_name")),
        (json!({"client_name": "\u{200b}\u{3164}"}), form("client_name")),
        (json!({"client_name": "  "}), form("client_name")),
        (json!({"client_name": "\u{2800}"}), form("client_name")),
        (json!({"client_name": "Led\u{34f}ger"}), form("client_name")),
        (json!({"client_name": "Ledger\u{fe0f}"}), form("client_name")),
        (json!({"client_name": "Ledger\u{e0041}"}), form("client_name")),
        (json!({"client_name": "n".repeat(257)}), form("client_name")),
        (json!({"scope": "a  b"}), form("scope")),
    ] {
        let text = changed(&registration(), &changes).to_string();
        assert_eq!(ClientMetadata::parse(&text), Err(expect), "{changes}");
    }
    let twice = registration().to_string().replacen('{', r#"{"scope":"admin","#, 1);
    let duplicate = NotStrict::DuplicateMember { name: "scope".to_owned() };
    assert_eq!(ClientMetadata::parse(&twice), Err(ClientMetadataError::Json(duplicate)));
    let long = format!("{}{}", registration(), " ".repeat(70_000));
    assert!(matches!(ClientMetadata::parse(&long), Err(ClientMetadataError::TooLong { .. })));
}

/// req: CRED-10 (part)
#[test]
fn rfc7591_2_credential_must_be_there_and_public() {
    let private: Value = serde_json::from_str(KEY).unwrap();
    let encryption = {
        let mut key = public_key();
        key["use"] = "enc".into();
        key
    };
    let missing = |member| ClientMetadataError::Missing { member };
    let form = |member| ClientMetadataError::Form { member };
    let key = |index, reason| ClientMetadataError::Key { index, reason };
    let spiffe = json!({"token_endpoint_auth_method": "spiffe_x509", "jwks": null});
    for (changes, expect) in [
        (json!({"jwks": null}), missing("jwks")),
        (json!({"jwks": []}), form("jwks")),
        (json!({"jwks": {"keys": []}}), ClientMetadataError::KeyCount { count: 0, max: 16 }),
        (
            json!({"jwks": {"keys": vec![public_key(); 17]}}),
            ClientMetadataError::KeyCount { count: 17, max: 16 },
        ),
        (
            json!({"jwks": {"keys": [public_key(), private]}}),
            key(1, JwkError::PrivateMember { name: "d" }),
        ),
        (json!({"jwks": {"keys": [encryption]}}), key(0, JwkError::NotForSignatures)),
        (spiffe.clone(), missing("spiffe_id")),
        (json!({"spiffe_id": "https://a.example"}), form("spiffe_id")),
        (json!({"spiffe_id": "spiffe://example.org"}), form("spiffe_id")),
        (json!({"spiffe_id": "spiffe://example.org/a*"}), form("spiffe_id")),
    ] {
        let text = changed(&registration(), &changes).to_string();
        assert_eq!(ClientMetadata::parse(&text), Err(expect), "{changes}");
    }
}

/// req: AUTHZ-23 (part)
#[test]
fn spiffe_client_auth_5_1_prefix_is_of_whole_segments() {
    for (pattern, id, expect) in [
        ("spiffe://example.org/client", "spiffe://example.org/client", true),
        ("spiffe://example.org/client", "spiffe://example.org/client/1", false),
        ("spiffe://example.org/client/*", "spiffe://example.org/client/123", true),
        ("spiffe://example.org/client/*", "spiffe://example.org/client/1/2", true),
        ("spiffe://example.org/client/*", "spiffe://example.org/client123", false),
        ("spiffe://example.org/client/*", "spiffe://example.org/client", false),
        ("spiffe://example.org/client/*", "spiffe://example.org.evil/client/1", false),
        ("spiffe://example.org/*", "spiffe://example.org/a", true),
        ("spiffe://example.org/*", "spiffe://example.organic/a", false),
        ("spiffe://example.org/*", "spiffe://example.org", false),
    ] {
        let parsed = SpiffeIdPattern::parse(pattern).unwrap();
        assert_eq!(parsed.matches(&SpiffeId::parse(id).unwrap()), expect, "{pattern} {id}");
    }
    for pattern in ["", "*", "/*", "spiffe://*", "spiffe://example.org/*/*", "spiffe://a/b/"] {
        assert_eq!(SpiffeIdPattern::parse(pattern), None, "{pattern}");
    }
}
