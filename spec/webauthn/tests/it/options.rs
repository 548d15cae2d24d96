//! What a browser is asked, whole.

use serde_json::json;
use testkit::passkeys::Signs;
use webauthn::{
    Algorithm, Challenge, CreationOptions, Descriptor, Hint, NotAUser, RequestOptions, User,
    UserHandle,
};

use crate::Site;

const CHALLENGE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

/// req: AUTHN-11 (part)
#[test]
fn s5_4_creation_asks_for_a_discoverable_credential_and_a_verified_user() {
    let site = Site::new();
    let (passkey, record) = site.registered(Signs::EdDsa);
    let options = CreationOptions {
        relying_party: &site.relying_party,
        user: &site.user,
        challenge: &site.challenge,
        algorithms: &Algorithm::ALL,
        exclude: &[record.descriptor()],
        hints: &[Hint::ClientDevice, Hint::Hybrid, Hint::SecurityKey],
    };
    let id = webauthn::CredentialId::of(passkey.id()).unwrap().to_base64url();
    let expect = json!({
        "rp": {"id": "example.org", "name": "AIMS"},
        "user": {
            "id": "dXNlciAxIG9mIHRoZSB0ZXN0cw",
            "name": "ada@example.org",
            "displayName": "Ada",
        },
        "challenge": CHALLENGE,
        "pubKeyCredParams": [
            {"type": "public-key", "alg": -7},
            {"type": "public-key", "alg": -8},
            {"type": "public-key", "alg": -257},
        ],
        "timeout": 300_000,
        "excludeCredentials": [
            {"type": "public-key", "id": id, "transports": ["hybrid", "internal"]},
        ],
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": true,
            "userVerification": "required",
        },
        "hints": ["client-device", "hybrid", "security-key"],
        "attestation": "none",
    });
    assert_eq!(options.to_json(), expect);
}

/// req: AUTHN-11 (part)
#[test]
fn s5_5_a_request_asks_for_a_verified_user() {
    let site = Site::new();
    let id = webauthn::CredentialId::of(b"abc").unwrap();
    let allow = [Descriptor { id, transports: Vec::new() }];
    let options = RequestOptions {
        relying_party: &site.relying_party,
        challenge: &Challenge::of([7; 32]),
        allow: &allow,
        hints: &[],
    };
    let expect = json!({
        "challenge": CHALLENGE,
        "timeout": 300_000,
        "rpId": "example.org",
        "allowCredentials": [{"type": "public-key", "id": "YWJj"}],
        "userVerification": "required",
        "hints": [],
    });
    assert_eq!(options.to_json(), expect);
}

#[test]
fn s5_4_3_a_user_has_a_handle_and_names_that_can_be_shown() {
    for bytes in [0, 65] {
        assert!(UserHandle::of(&vec![1; bytes]).is_err(), "{bytes}");
    }
    let of = |name: &str, display: &str| {
        User::new(UserHandle::of(&[1; 64]).unwrap(), name, display).map(drop)
    };
    assert_eq!(of("ada", ""), Ok(()));
    let long = "a".repeat(65);
    for (name, display) in [
        ("", "Ada"),
        ("a\u{0}", "Ada"),
        ("ada", " "),
        (&long, ""),
        ("a", &long),
        ("a\u{2800}", ""),
        ("ada", "Ada\u{202e}"),
    ] {
        assert_eq!(of(name, display), Err(NotAUser), "{name:?} {display:?}");
    }
}
