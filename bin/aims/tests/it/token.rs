//! `aims token inspect` without a server: keys from files.

use std::fs;
use std::path::Path;

use jose::{Algorithm, Audience, KeyId, NumericDate, PrivateKey, SigningInput};
use oauth::access_token::{AccessToken, AccessTokenClaims};
use oauth::{ClientId, Issuer, LineageId, ScopeSet, SubjectText, TokenId};

use crate::{aims, aims_fed};

/// RFC 7517 Appendix A.2.
const KEY: &str = r#"{"kty":"EC","crv":"P-256",
 "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
 "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
 "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
/// The year 2100, in seconds.
const FAR: u64 = 4_102_444_800;

/// An access token of the key above.
fn token(exp: u64) -> String {
    let agent = "spiffe://demo.example/agent/researcher";
    let claims = AccessTokenClaims {
        iss: Issuer::parse("https://as.example").unwrap(),
        exp: NumericDate::from_seconds(exp),
        aud: Audience::one("https://tool.example"),
        sub: SubjectText::parse("spiffe://demo.example/service/nightly").unwrap(),
        client_id: ClientId::parse(agent).unwrap(),
        iat: NumericDate::from_seconds(1_700_000_000),
        nbf: None,
        jti: TokenId::parse("t-1").unwrap(),
        scope: ScopeSet::parse("files:read").unwrap(),
        act: None,
        may_act: None,
        cnf: None,
        txn: None,
        auth_time: None,
        acr: None,
        amr: None,
        aims_root: LineageId::parse("root-1").unwrap(),
        aims_parent: None,
        aims_above: Vec::new(),
        authorization_details: None,
        aims_attestation: None,
        status: None,
        aims_epoch: 3,
    };
    let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
    let kid = KeyId::parse("k1").unwrap();
    let input = SigningInput::<AccessToken>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

fn keys(folder: &Path) {
    let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
    let mut jwk = key.public().to_jwk().to_value();
    jwk["kid"] = "k1".into();
    let set = serde_json::json!({ "keys": [jwk] });
    fs::write(folder.join("jwks.json"), set.to_string()).unwrap();
}

/// What does not change from day to day: years are not counted.
fn without_distance(text: &str) -> String {
    let cut = |line: &str| match line.split_once("Z (") {
        Some((instant, _)) => format!("{instant}Z (…)"),
        None => line.to_owned(),
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_token_that_verifies_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let arguments = ["token", "inspect", "--jwks", "jwks.json", "--issuer", "https://as.example"];
    let ended = aims_fed(folder.path(), &arguments, &format!("{}\n", token(FAR)));
    insta::assert_snapshot!(without_distance(&ended.shown(folder.path())), @r#"
    exit 0
    --- stdout
    this is   an access token (RFC 9068)
    verified  yes, with the keys of jwks.json

    header
      alg  ES256
           — how it is signed
      kid  k1
           — which key signed it
      typ  at+jwt
           — what kind of token it is

    claims
      iss         https://as.example
                  — who issued it
      exp         2100-01-01T00:00:00Z (…)
                  — from then on it is refused
      aud         https://tool.example
                  — whom it is for: others refuse it
      sub         spiffe://demo.example/service/nightly
                  — on whose behalf it is used
      client_id   spiffe://demo.example/agent/researcher
                  — who got it: the agent that acts
      iat         2023-11-14T22:13:20Z (…)
                  — when it was issued
      jti         t-1
                  — its own id: records call it by this
      scope       files:read
                  — what it allows, at most
      aims_root   root-1
                  — what the whole lineage began with: `aims audit trace` takes it
      aims_epoch  3
                  — the revocations so far, when it was issued
    --- stderr
    "#);
}

#[test]
fn a_token_that_does_not_verify_is_shown_as_such() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let good = token(FAR);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let swapped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{swapped}{}", signature.get(1..).unwrap());
    let base = ["token", "inspect", "--jwks", "jwks.json"];
    for (text, more, why) in [
        (forged.as_str(), &[][..], "the signature does not verify"),
        (&token(1_700_000_300), &[], "expired at 2023-11-14T22:18:20"),
        (&good, &["--audience", "https://other.example"], "it is not for `https://other.example`"),
        (&good, &["--issuer", "https://other.example"], "it is of `https://as.example`, not of"),
    ] {
        let arguments = [&base[..], more].concat();
        let ended = aims_fed(folder.path(), &arguments, text);
        assert_eq!(ended.code, 1, "{why}: {}", ended.err);
        assert!(
            ended.out.contains("verified  NO, so nothing below can be relied on"),
            "{}",
            ended.out
        );
        assert!(ended.out.contains(why), "{why}: {}", ended.out);
        assert!(ended.out.contains("spiffe://demo.example/agent/researcher"), "{why}");
        let json = [&arguments[..], &["--output", "json"]].concat();
        let told = aims_fed(folder.path(), &json, text);
        let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!(told["verified"], false, "{why}");
        assert!(told["why"].as_str().unwrap().contains(why), "{why}");
    }
}

#[test]
fn a_token_of_another_kind_is_not_verified_by_the_wrong_keys() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    // A JWT-SVID needs a bundle: keys of the issuer do not count for it.
    let header = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0";
    let claims = "eyJzdWIiOiJzcGlmZmU6Ly9hL2IiLCJhdWQiOiJ4IiwiZXhwIjo0MTAyNDQ0ODAwfQ";
    let text = format!("{header}.{claims}.AAAA");
    let bundle = r#"{ "keys": [] }"#;
    fs::write(folder.path().join("bundle.json"), bundle).unwrap();
    let arguments = ["token", "inspect", "--jwks", "jwks.json", "--bundle", "bundle.json"];
    let ended = aims_fed(folder.path(), &arguments, &text);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.contains("this is   a JWT-SVID"), "{}", ended.out);
    assert!(ended.out.contains("verified  NO"), "{}", ended.out);
}

#[test]
fn nothing_in_a_token_steers_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    // {"typ":"wpt+jwt"} and {"aud":"<ESC>[2J"}
    let text = "eyJ0eXAiOiJ3cHQrand0In0.eyJhdWQiOiJcdTAwMWJbMkoifQ.AA";
    let ended = aims_fed(folder.path(), &["token", "inspect"], text);
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("a proof of possession (WPT)"), "{}", ended.out);
    assert!(!ended.out.contains('\u{1b}') && ended.out.contains("\\u{1b}[2J"), "{}", ended.out);
}

#[test]
fn a_file_is_read_like_stdin() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    fs::write(folder.path().join("token.jwt"), token(FAR)).unwrap();
    let ended = aims(folder.path(), &["token", "inspect", "token.jwt", "--jwks", "jwks.json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
}
