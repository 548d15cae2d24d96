//! What anyone may read.

use std::sync::atomic::Ordering;

use http::{Request, StatusCode};
use serde_json::json;

use crate::browser::Served;

/// req: AUTHZ-22 (part)
#[expect(clippy::too_many_lines, reason = "one document, whole")]
#[tokio::test]
async fn rfc8414_3_2_metadata_is_published_as_it_is() {
    let served = Served::start().await;
    let reply = served.get("/.well-known/oauth-authorization-server").await;
    insta::assert_snapshot!(reply.shown(), @r#"
    200 OK
    content-type: application/json
    cache-control: public, max-age=60
    access-control-allow-origin: *
    access-control-expose-headers: aims-audit-id, dpop-nonce, retry-after, www-authenticate
    x-content-type-options: nosniff

    {
      "issuer": "https://localhost:8443",
      "authorization_endpoint": "https://localhost:8443/authorize",
      "token_endpoint": "https://localhost:8443/token",
      "jwks_uri": "https://localhost:8443/jwks",
      "introspection_endpoint": "https://localhost:8443/introspect",
      "revocation_endpoint": "https://localhost:8443/revoke",
      "scopes_supported": [
        "invoices.read",
        "read",
        "openid",
        "profile",
        "email",
        "offline_access"
      ],
      "response_types_supported": [
        "code"
      ],
      "grant_types_supported": [
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:openid:params:grant-type:ciba"
      ],
      "token_endpoint_auth_methods_supported": [
        "spiffe_jwt",
        "spiffe_x509",
        "spiffe_wit",
        "private_key_jwt",
        "self_signed_tls_client_auth",
        "none"
      ],
      "token_endpoint_auth_signing_alg_values_supported": [
        "ES256",
        "ES384",
        "EdDSA",
        "PS256",
        "PS384",
        "RS256"
      ],
      "code_challenge_methods_supported": [
        "S256"
      ],
      "dpop_signing_alg_values_supported": [
        "ES256",
        "ES384",
        "EdDSA",
        "PS256",
        "RS256"
      ],
      "client_attestation_signing_alg_values_supported": [
        "RS256",
        "ES256",
        "ES384",
        "PS256",
        "PS384"
      ],
      "client_attestation_pop_signing_alg_values_supported": [
        "RS256",
        "ES256",
        "ES384",
        "PS256",
        "PS384"
      ],
      "authorization_response_iss_parameter_supported": true,
      "tls_client_certificate_bound_access_tokens": true,
      "mtls_endpoint_aliases": {
        "token_endpoint": "https://localhost:8444/token",
        "introspection_endpoint": "https://localhost:8444/introspect",
        "revocation_endpoint": "https://localhost:8444/revoke",
        "pushed_authorization_request_endpoint": "https://localhost:8444/par",
        "device_authorization_endpoint": "https://localhost:8444/device_authorization",
        "backchannel_authentication_endpoint": "https://localhost:8444/bc-authorize",
        "userinfo_endpoint": "https://localhost:8444/userinfo"
      },
      "protected_resources": [
        "https://localhost:8446/invoices",
        "https://open.example"
      ],
      "response_modes_supported": [
        "query",
        "fragment",
        "form_post",
        "query.jwt",
        "fragment.jwt",
        "form_post.jwt",
        "jwt"
      ],
      "revocation_endpoint_auth_methods_supported": [
        "spiffe_jwt",
        "spiffe_x509",
        "spiffe_wit",
        "private_key_jwt",
        "self_signed_tls_client_auth",
        "none"
      ],
      "revocation_endpoint_auth_signing_alg_values_supported": [
        "ES256",
        "ES384",
        "EdDSA",
        "PS256",
        "PS384",
        "RS256"
      ],
      "introspection_endpoint_auth_methods_supported": [
        "spiffe_jwt",
        "spiffe_x509",
        "spiffe_wit",
        "private_key_jwt",
        "self_signed_tls_client_auth"
      ],
      "introspection_endpoint_auth_signing_alg_values_supported": [
        "ES256",
        "ES384",
        "EdDSA",
        "PS256",
        "PS384",
        "RS256"
      ],
      "pushed_authorization_request_endpoint": "https://localhost:8443/par",
      "request_object_signing_alg_values_supported": [
        "ES256",
        "ES384",
        "EdDSA",
        "PS256",
        "RS256"
      ],
      "request_parameter_supported": true,
      "acr_values_supported": [
        "urn:aims:acr:code",
        "urn:aims:acr:federated",
        "phr",
        "phrh"
      ],
      "authorization_signing_alg_values_supported": [
        "ES256"
      ],
      "device_authorization_endpoint": "https://localhost:8443/device_authorization",
      "backchannel_authentication_endpoint": "https://localhost:8443/bc-authorize",
      "backchannel_token_delivery_modes_supported": [
        "poll",
        "ping",
        "push"
      ],
      "backchannel_authentication_request_signing_alg_values_supported": [
        "ES256",
        "PS256",
        "EdDSA"
      ],
      "backchannel_user_code_parameter_supported": true,
      "introspection_signing_alg_values_supported": [
        "ES256"
      ],
      "aims_txn_token_jwks_uri": "https://localhost:8443/txn-token/jwks",
      "transaction_authorization_endpoint": "https://localhost:8443/transaction-authorization"
    }
    "#);
}

/// What clients find that know OpenID Connect alone: all of the other document, and more.
///
/// req: AUTHZ-22 (part)
#[tokio::test]
async fn openid_discovery_3_the_provider_is_found_by_its_own_name() {
    let served = Served::start().await;
    let document = served.get("/.well-known/openid-configuration").await.json();
    let text = document.to_string();
    let issuer = oauth::Issuer::parse("https://localhost:8443").unwrap();
    openid::discovery::Discovery::parse(&text, &issuer).unwrap();
    let other = served.get("/.well-known/oauth-authorization-server").await.json();
    for (name, value) in other.as_object().unwrap() {
        assert_eq!(&document[name], value, "{name}");
    }
    // §3: "REQUIRED", and what it says of those that are optional.
    for (name, value) in [
        ("subject_types_supported", json!(["public"])),
        ("id_token_signing_alg_values_supported", json!(["ES256"])),
        ("userinfo_endpoint", json!("https://localhost:8443/userinfo")),
        ("request_uri_parameter_supported", json!(false)),
        ("claim_types_supported", json!(["normal"])),
        ("prompt_values_supported", json!(["none", "login", "consent", "select_account"])),
        ("end_session_endpoint", json!("https://localhost:8443/end-session")),
        ("backchannel_logout_supported", json!(true)),
        ("backchannel_logout_session_supported", json!(true)),
    ] {
        assert_eq!(document[name], value, "{name}");
    }
    let has =
        |name: &str, value: &str| document[name].as_array().unwrap().iter().any(|one| one == value);
    assert!(has("scopes_supported", "openid") && has("claims_supported", "sub"));
    // Nobody issues JWT-SVIDs to relying parties here.
    for path in ["/svid/.well-known/openid-configuration", "/keys", "/svid/keys"] {
        assert_eq!(served.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn rfc7517_5_keys_are_public_ones_with_their_ids() {
    let served = Served::start().await;
    let reply = served.get("/jwks").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let keys = reply.json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3, "of access tokens, ID tokens, assertions");
    for key in keys {
        assert!(key["kid"].is_string() && key["d"].is_null(), "{key}");
        assert_eq!(key["alg"], "ES256");
    }
}

/// req: CRED-12 (part)
#[tokio::test]
async fn federation_5_2_1_the_bundle_is_served_without_client_authentication() {
    let served = Served::start().await;
    let reply = served.get("/bundle").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let text = String::from_utf8(reply.body).unwrap();
    let bundle = spiffe::Bundle::parse(&text).unwrap();
    assert_eq!(bundle.x509_authorities().len(), 1);
    assert_eq!((bundle.jwt_keys().len(), bundle.wit_keys().len()), (1, 1));
}

#[tokio::test]
async fn tlog_tiles_checkpoints_change_and_tiles_never_do() {
    let served = Served::start().await;
    insta::assert_snapshot!(served.get("/log/server/checkpoint").await.shown(), @r#"
    200 OK
    content-type: text/plain; charset=utf-8
    cache-control: no-cache
    access-control-allow-origin: *
    access-control-expose-headers: aims-audit-id, dpop-nonce, retry-after, www-authenticate
    x-content-type-options: nosniff

    a note
    "#);
    insta::assert_snapshot!(served.get("/log/server/tile/0/x001/067").await.shown(), @r#"
    200 OK
    content-type: application/octet-stream
    cache-control: public, max-age=31536000, immutable
    access-control-allow-origin: *
    access-control-expose-headers: aims-audit-id, dpop-nonce, retry-after, www-authenticate
    x-content-type-options: nosniff

    hashes
    "#);
    for path in [
        "/log/other/checkpoint",
        "/log/server/tile/0/x001/068",
        "/log/server/tile/..%2f..%2fkeys",
        "/log/server/keys",
        &format!("/log/server/tile/{}", "0".repeat(200)),
    ] {
        assert_eq!(served.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn ready_says_what_is_missing() {
    let served = Served::start().await;
    insta::assert_snapshot!(served.get("/ready").await.shown(), @r#"
    200 OK
    content-type: application/json
    cache-control: no-store
    x-content-type-options: nosniff

    {
      "ready": true
    }
    "#);
    served.doors.ready.store(false, Ordering::SeqCst);
    insta::assert_snapshot!(served.get("/ready").await.shown(), @r#"
    503 Service Unavailable
    content-type: application/json
    retry-after: 1
    cache-control: no-store
    x-content-type-options: nosniff

    {
      "ready": false,
      "why": "keys are being made"
    }
    "#);
    served.doors.ready.store(true, Ordering::SeqCst);
    served.world.set_down(true);
    let reply = served.get("/ready").await;
    assert_eq!(reply.json()["why"], "the state cannot be read");
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    served.world.set_down(false);
    assert_eq!(served.get("/ready").await.status, StatusCode::OK);
}

/// What the store said is for operators alone.
#[tokio::test]
async fn documents_are_unavailable_when_the_store_is() {
    let served = Served::start().await;
    served.world.set_down(true);
    for path in ["/.well-known/oauth-authorization-server", "/jwks", "/bundle"] {
        let reply = served.get(path).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(reply.header("retry-after"), Some("1"), "{path}");
        assert!(!String::from_utf8(reply.body).unwrap().contains("inner detail"), "{path}");
    }
}

#[tokio::test]
async fn metrics_count_requests_tokens_and_refusals() {
    let served = Served::start().await;
    served.get("/ready").await;
    served.get("/nothing").await;
    served.form(&[("grant_type", "password")]).await;
    let reply = served.get("/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4"));
    insta::assert_snapshot!(String::from_utf8(reply.body).unwrap(), @r#"
    # HELP aims_http_requests_total Requests answered, by route and status.
    # TYPE aims_http_requests_total counter
    aims_http_requests_total{route="/ready",status="200"} 1
    aims_http_requests_total{route="/token",status="400"} 1
    aims_http_requests_total{route="other",status="404"} 1
    # HELP aims_token_requests_total Requests to the token endpoint, by outcome and error.
    # TYPE aims_token_requests_total counter
    aims_token_requests_total{outcome="refused",error="unsupported_grant_type"} 1
    # HELP aims_unread_total Requests and connections that were not read, by check.
    # TYPE aims_unread_total counter
    aims_unread_total{check="not_found"} 1
    aims_unread_total{check="request"} 1
    # HELP aims_connections Open connections.
    # TYPE aims_connections gauge
    aims_connections 1
    # HELP aims_durable_commits_total Commits that were acknowledged.
    # TYPE aims_durable_commits_total counter
    aims_durable_commits_total 5
    # HELP aims_log_entries Durable entries of each audit log.
    # TYPE aims_log_entries gauge
    aims_log_entries{log="server"} 7
    "#);
}

#[tokio::test]
async fn rfc9110_15_5_what_is_not_there_is_told_in_json() {
    let served = Served::start().await;
    insta::assert_snapshot!(served.get("/nothing").await.shown(), @r#"
    404 Not Found
    content-type: application/json
    cache-control: no-store
    x-content-type-options: nosniff

    {
      "error": "not_found",
      "error_description": "nothing is at this path"
    }
    "#);
    let post = Request::post("/jwks").body(Vec::new()).unwrap();
    insta::assert_snapshot!(served.send(post).await.shown(), @r#"
    405 Method Not Allowed
    content-type: application/json
    cache-control: no-store
    allow: GET,HEAD,OPTIONS
    x-content-type-options: nosniff

    {
      "error": "invalid_request",
      "error_description": "the path does not have this method"
    }
    "#);
    let get = served.get("/token").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(get.header("allow").unwrap().contains("POST"));
    assert_eq!(served.refusals(), ["not_found", "method", "method"]);
    let sources = served.refused.lock().unwrap().clone();
    assert!(sources.iter().all(|(source, _)| *source == served.local()));
    // RFC 9110 §9.3.2: HEAD is GET without the content.
    let head = served.send(Request::head("/jwks").body(Vec::new()).unwrap()).await;
    assert_eq!(head.status, StatusCode::OK);
}

#[tokio::test]
async fn oauth21_3_2_pages_may_read_but_never_with_credentials() {
    let served = Served::start().await;
    let preflight = |path: &str| {
        let request = Request::options(path).header("origin", "https://page.example");
        request.header("access-control-request-method", "GET").body(Vec::new()).unwrap()
    };
    for (path, methods) in [
        ("/token", "POST"),
        ("/jwks", "GET"),
        ("/bundle", "GET"),
        ("/.well-known/oauth-authorization-server", "GET"),
        ("/log/server/checkpoint", "GET"),
    ] {
        let reply = served.send(preflight(path)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(reply.header("access-control-allow-methods"), Some(methods), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), None, "{path}");
    }
    let refused = served.form(&[("grant_type", "password")]).await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    for path in ["/ready", "/metrics"] {
        assert_eq!(served.get(path).await.header("access-control-allow-origin"), None, "{path}");
        let status = served.send(preflight(path)).await.status;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
