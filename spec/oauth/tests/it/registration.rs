//! Registrations of clients of every kind, and documents that clients name themselves by.

use oauth::ClientId;
use oauth::attestation_client::{
    AttestationRefused, ChallengeResponse, ClientAttestation, dpop_combined, instance_key,
};
use oauth::client_metadata::ClientMetadataError;
use oauth::error::ErrorCode;
use oauth::introspection::{Introspection, SignedIntrospection, SignedIntrospectionClaims};
use oauth::metadata_document::{ClientIdUrl, DocumentRefused, NotAClientIdUrl, may_be_issued};
use oauth::redirect_uri::NotARedirectUri;
use oauth::registration::{
    ApplicationType, ClientAuthMethod, DeliveryMode, Keys, Registered, Registration,
    SoftwareStatement, error_code, with_statement,
};
use oauth::token_request::GrantType;
use serde_json::json;

use crate::*;

fn jwks() -> Value {
    json!({"keys": [serde_json::to_value(key().public().to_jwk()).unwrap()]})
}

/// The example of RFC 7591 §3.1 with what other texts add.
fn whole() -> Value {
    json!({
        "redirect_uris": ["https://client.example.org/callback", "com.example.app:/cb"],
        "client_name": "My Example Client", "client_name#ja-Jpan-JP": "クライアント名",
        "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(),
        "logo_uri": "https://client.example.org/logo.png", "example_extension_parameter": 1,
        "grant_types": ["authorization_code", "refresh_token", "urn:openid:params:grant-type:ciba"],
        "response_types": ["code"], "application_type": "native", "scope": "openid read",
        "contacts": ["a@client.example.org"], "dpop_bound_access_tokens": true,
        "require_pushed_authorization_requests": true, "software_statement": "a.b.c",
        "backchannel_token_delivery_mode": "ping", "subject_type": "pairwise",
        "backchannel_client_notification_endpoint": "https://client.example.org/cb",
        "backchannel_user_code_parameter": true, "id_token_signed_response_alg": "ES256",
        "authorization_details_types": ["payment_initiation"], "default_max_age": 300,
        "post_logout_redirect_uris": ["https://client.example.org/out"],
        "backchannel_logout_uri": "https://client.example.org/bcl"
    })
}

/// req: AUTHZ-22 (part)
#[test]
fn rfc7591_2_every_member_is_read() {
    let read = Registration::parse(&whole().to_string()).unwrap();
    assert_eq!(read.redirect_uris.len(), 2);
    assert_eq!(read.token_endpoint_auth_method, ClientAuthMethod::PrivateKeyJwt);
    assert!(matches!(&read.keys, Some(Keys::Here(set)) if set.keys().len() == 1));
    assert_eq!(read.grant_types.len(), 3);
    assert!(read.takes_code && read.dpop_bound_access_tokens);
    assert_eq!(read.application_type, ApplicationType::Native);
    assert_eq!(read.backchannel_token_delivery_mode, Some(DeliveryMode::Ping));
    assert_eq!(read.default_max_age, Some(300));
    assert_eq!(read.software_statement.unwrap().as_str(), "a.b.c");
    assert_eq!(read.post_logout_redirect_uris.len(), 1);
    // RFC 7591 §2: what is meant where nothing is said.
    let least = r#"{"redirect_uris":["https://client.example.org/callback"]}"#;
    let least = Registration::parse(least).unwrap();
    assert_eq!(least.token_endpoint_auth_method, ClientAuthMethod::SecretBasic);
    assert_eq!(least.grant_types, [GrantType::AuthorizationCode]);
    assert!(least.takes_code && least.token_endpoint_auth_method.is_symmetric());
    for (name, method) in ClientAuthMethod::ALL {
        assert_eq!((ClientAuthMethod::parse(name), method.as_str()), (Some(*method), *name));
    }
}

#[test]
fn rfc7591_3_2_2_each_refusal_names_its_member() {
    let missing = |member| ClientMetadataError::Missing { member };
    let form = |member| ClientMetadataError::Form { member };
    let value = |member, found: &str| ClientMetadataError::Value { member, found: found.into() };
    let redirect = |entry, reason| {
        let member = "redirect_uris";
        ClientMetadataError::Redirect { member, entry, reason }
    };
    let (uri, metadata) = (ErrorCode::InvalidRedirectUri, ErrorCode::InvalidClientMetadata);
    for (changes, expect, code) in [
        (json!({"redirect_uris": null}), missing("redirect_uris"), uri),
        (
            json!({"redirect_uris": ["https://a.example/", "http://sketchy.example.com/"]}),
            redirect(2, NotARedirectUri::Cleartext { host: "sketchy.example.com".to_owned() }),
            uri,
        ),
        (
            json!({"redirect_uris": ["javascript:alert(1)"]}),
            redirect(1, NotARedirectUri::Scheme { scheme: "javascript".to_owned() }),
            uri,
        ),
        (json!({"redirect_uris": [7]}), form("redirect_uris"), uri),
        (json!({"redirect_uris": "https://a.example/"}), form("redirect_uris"), uri),
        (json!({"response_types": []}), missing("response_types"), metadata),
        (json!({"response_types": ["token"]}), value("response_types", "token"), metadata),
        (
            json!({"grant_types": ["refresh_token"], "response_types": ["code"]}),
            missing("grant_types"),
            metadata,
        ),
        (json!({"grant_types": ["password"]}), value("grant_types", "password"), metadata),
        (json!({"jwks": null}), missing("jwks"), metadata),
        (
            json!({"jwks_uri": "https://client.example.org/keys"}),
            ClientMetadataError::Unsupported { member: "jwks_uri" },
            metadata,
        ),
        (json!({"jwks_uri": "http://169.254.169.254/"}), form("jwks_uri"), metadata),
        (json!({"logo_uri": "javascript:alert(1)"}), form("logo_uri"), metadata),
        (
            json!({"software_statement": "\n"}),
            form("software_statement"),
            ErrorCode::InvalidSoftwareStatement,
        ),
        (
            json!({"token_endpoint_auth_method": "tls_client_auth"}),
            missing("tls_client_auth_subject_dn"),
            metadata,
        ),
        (
            json!({"tls_client_auth_san_dns": "a", "tls_client_auth_san_uri": "b"}),
            ClientMetadataError::Unsupported { member: "tls_client_auth_san_uri" },
            metadata,
        ),
        (json!({"token_endpoint_auth_method": "spiffe_jwt"}), missing("spiffe_id"), metadata),
        (
            json!({"backchannel_token_delivery_mode": null}),
            missing("backchannel_token_delivery_mode"),
            metadata,
        ),
        (
            json!({"backchannel_client_notification_endpoint": null}),
            missing("backchannel_client_notification_endpoint"),
            metadata,
        ),
        (json!({"dpop_bound_access_tokens": "true"}), form("dpop_bound_access_tokens"), metadata),
        (
            json!({"id_token_signed_response_alg": "none"}),
            value("id_token_signed_response_alg", "none"),
            metadata,
        ),
        (json!({"default_max_age": -1}), form("default_max_age"), metadata),
    ] {
        let text = changed(&whole(), &changes).to_string();
        let refused = Registration::parse(&text).unwrap_err();
        assert_eq!(refused, expect, "{changes}");
        assert_eq!(error_code(&refused), code, "{changes}");
    }
}

#[test]
fn rfc7591_3_1_1_what_a_statement_says_wins() {
    let statement = proven::<SoftwareStatement>(&json!({
        "iss": "https://s.example", "client_name": "Vouched", "client_secret": "s"
    }));
    let request = whole().as_object().unwrap().clone();
    let merged = with_statement(request, statement.claims());
    let read = Registration::of_members(&merged).unwrap();
    assert_eq!(read.client_name.as_deref(), Some("Vouched"));
    assert!(!merged.contains_key("client_secret"));
    let text = r#"{"client_id":"s6BhdRkqt3","registration_access_token":"reg-23410913","registration_client_uri":"https://s.example/c","grant_types":["authorization_code"]}"#;
    let answer: Registered = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    assert!(!format!("{answer:?}").contains("reg-234"));
}

#[test]
fn rfc7592_2_2_an_update_is_of_its_client() {
    let client = ClientId::parse("s6BhdRkqt3").unwrap();
    let whole = changed(&whole(), &json!({"client_id": "s6BhdRkqt3"}));
    let update = |changes: Value| {
        Registration::parse_update(&changed(&whole, &changes).to_string(), &client)
    };
    assert!(update(json!({})).is_ok());
    let nothing = whole.to_string().replacen('{', r#"{"client_uri":null,"#, 1);
    assert_eq!(Registration::parse_update(&nothing, &client).unwrap().client_uri, None);
    let unsupported = |member| ClientMetadataError::Unsupported { member };
    let other = ClientMetadataError::Value { member: "client_id", found: "b".to_owned() };
    for (changes, expect) in [
        (json!({"client_id": null}), ClientMetadataError::Missing { member: "client_id" }),
        (json!({"client_id": "b"}), other),
        (json!({"registration_access_token": "t"}), unsupported("registration_access_token")),
        (json!({"client_id_issued_at": 1}), unsupported("client_id_issued_at")),
        (json!({"redirect_uris": null}), ClientMetadataError::Missing { member: "redirect_uris" }),
    ] {
        assert_eq!(update(changes.clone()), Err(expect), "{changes}");
    }
}

/// req: AUTHZ-22 (part)
#[test]
fn cimd_3_which_urls_name_a_client() {
    for text in [
        "https://client.example.com/client.json",
        "https://client.example.com",
        "https://client.example.com/",
        "https://client.example.com?x",
        "https://client.example.com:8443/a/b?c=d",
        "https://[::1]:8443/a",
    ] {
        assert_eq!(ClientIdUrl::parse(text).unwrap().as_str(), text);
    }
    for (text, expect) in [
        ("http://client.example.com/", NotAClientIdUrl::Scheme),
        ("HTTPS://client.example.com/", NotAClientIdUrl::Scheme),
        ("https:/client.example.com/", NotAClientIdUrl::Scheme),
        ("https://client.example.com/#a", NotAClientIdUrl::Fragment),
        ("https://a@client.example.com/", NotAClientIdUrl::UserInfo),
        ("https://a:b@c@client.example.com/", NotAClientIdUrl::UserInfo),
        ("https://client.example.com/a/../b", NotAClientIdUrl::DotSegment),
        ("https://client.example.com/a/.%2E/b", NotAClientIdUrl::DotSegment),
        ("https://client.example.com/%2e", NotAClientIdUrl::DotSegment),
        ("https://client.example.com\\@evil.example/", NotAClientIdUrl::Character),
        ("https://client.example.com/a b", NotAClientIdUrl::Character),
        ("https://client.example.com/\t", NotAClientIdUrl::Character),
        ("https://cli\u{e9}nt.example.com/", NotAClientIdUrl::Character),
        ("https://Client.example.com/", NotAClientIdUrl::Host),
        ("https://2130706433/", NotAClientIdUrl::Host),
        ("https://client.example.com:/", NotAClientIdUrl::Host),
        ("https:///a", NotAClientIdUrl::Host),
        ("https://", NotAClientIdUrl::Host),
    ] {
        assert_eq!(ClientIdUrl::parse(text), Err(expect), "{text}");
    }
    let long = format!("https://client.example.com/{}", "a".repeat(2_048));
    assert!(matches!(ClientIdUrl::parse(&long), Err(NotAClientIdUrl::TooLong { .. })));
    assert!(may_be_issued("spiffe://a/b") && !may_be_issued("Https://a") && may_be_issued("a"));
}

#[test]
fn cimd_4_1_documents_are_of_their_url() {
    let url = ClientIdUrl::parse("https://client.example.com/client.json").unwrap();
    let document = json!({
        "client_id": url.as_str(), "client_name": "A",
        "redirect_uris": ["http://127.0.0.1/cb", "https://client.example.com/cb"],
    });
    let read = |changes: Value| url.document(&changed(&document, &changes).to_string());
    let metadata = read(json!({})).unwrap();
    assert_eq!(metadata.token_endpoint_auth_method, ClientAuthMethod::None);
    let confidential = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks()});
    assert!(read(confidential).is_ok());
    let wrong = |found: Option<&str>| DocumentRefused::WrongClient {
        found: found.map(str::to_owned),
        expected: url.as_str().to_owned(),
    };
    let secret = |member| ClientMetadataError::Secret { member }.into();
    let other = "https://client.example.com:443/client.json";
    let private: Value = serde_json::from_str(KEY).unwrap();
    for (changes, expect) in [
        (json!({"client_id": null}), wrong(None)),
        (json!({"client_id": other}), wrong(Some(other))),
        (json!({"client_secret": "s"}), secret("client_secret")),
        (json!({"client_secret_expires_at": 0}), secret("client_secret_expires_at")),
        (
            json!({"token_endpoint_auth_method": "client_secret_post"}),
            secret("token_endpoint_auth_method"),
        ),
    ] {
        assert_eq!(read(changes.clone()), Err(expect), "{changes}");
    }
    // -02: a private key inside `jwks` makes the document invalid.
    let refused = read(json!({"jwks": {"keys": [private]}})).unwrap_err();
    assert!(matches!(
        refused,
        DocumentRefused::Metadata(ClientMetadataError::Key { index: 0, .. })
    ));
    let long = format!("{}{}", document, " ".repeat(6_000));
    assert!(matches!(url.document(&long), Err(DocumentRefused::TooLong { .. })));
    assert_eq!(url.host(), "client.example.com");
}

/// req: AUTHZ-04 (part)
#[test]
fn rfc9701_5_a_signed_answer_is_no_access_token() {
    let claims = SignedIntrospectionClaims {
        iss: oauth::Issuer::parse("https://as.example.com").unwrap(),
        aud: jose::Audience::one("https://rs.example.com/resource"),
        iat: jose::NumericDate::from_seconds(900),
        token_introspection: Introspection { active: true, ..Introspection::default() },
    };
    assert_eq!(round_trip::<SignedIntrospection>(&claims), claims);
    let value = serde_json::to_value(&claims).unwrap();
    for typ in [None, Some("JWT"), Some("at+jwt")] {
        assert!(verify::<SignedIntrospection>(&forge(typ, &value)).is_err(), "{typ:?}");
    }
    for required in ["iss", "aud", "iat", "token_introspection"] {
        let without = changed(&value, &json!({ required: null }));
        let text = forge(Some("token-introspection+jwt"), &without);
        assert!(verify::<SignedIntrospection>(&text).is_err(), "{required}");
    }
}

/// req: AUTHZ-23 (part)
#[test]
fn attestation_4_vouches_for_the_key_of_one_client() {
    let jwk = serde_json::to_value(key().public().to_jwk()).unwrap();
    let claims = json!({"sub": "c", "exp": 1600, "cnf": {"jwk": jwk}});
    let client = ClientId::parse("c").unwrap();
    let of = |changes: Value| {
        instance_key(&proven::<ClientAttestation>(&changed(&claims, &changes)), &client)
    };
    let instance = of(json!({})).unwrap();
    assert_eq!(instance, *key().public());
    let found = ClientId::parse("d").unwrap();
    let wrong = AttestationRefused::WrongClient { found, expected: client.clone() };
    assert_eq!(of(json!({"sub": "d"})), Err(wrong));
    let jkt = json!({"cnf": {"jkt": key().public().thumbprint()}});
    assert_eq!(of(jkt), Err(AttestationRefused::NoKey));
    for changes in [
        json!({"sub": null}),
        json!({"exp": null}),
        json!({"cnf": null}),
        json!({"exp": 1000}),
        json!({"cnf": {"jwk": serde_json::from_str::<Value>(KEY).unwrap()}}),
    ] {
        let typ = Some("oauth-client-attestation+jwt");
        let text = forge(typ, &changed(&claims, &changes));
        assert!(verify::<ClientAttestation>(&text).is_err(), "{changes}");
    }
    let proven_key = crate::dpop::proven_by_key();
    assert_eq!(dpop_combined(&instance, &proven_key), Ok(()));
    let other =
        r#"{"kty":"OKP","crv":"Ed25519","x":"1CXXvflN_LVVsIsYXsUvB03JmlGWeCHqQVuouCF92bg"}"#;
    let other = jose::PublicKey::from_jwk(&jose::Jwk::parse(other).unwrap()).unwrap();
    assert_eq!(dpop_combined(&other, &proven_key), Err(AttestationRefused::OtherKey));
    let answer = r#"{"attestation_challenge":"AYjcyMzY3ZDhiNmJkNTZ"}"#;
    let read: ChallengeResponse = serde_json::from_str(answer).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), answer);
}
