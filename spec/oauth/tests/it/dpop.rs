//! Proofs of possession.

use jose::{Algorithm, NotAHash, Thumbprint};
use oauth::dpop::{Expected, Freshness, NonceKey, Proof, ProofRefused, Proven, same_key, target};
use oauth::{NotATokenText, TokenText};
use serde_json::json;

use crate::*;

/// RFC 9449 §4.1, §7.1 and §6.1.
const TOKEN_PROOF: &str = include_str!("../../vectors/rfc9449/4_1-token-request.jwt");
const RESOURCE_PROOF: &str = include_str!("../../vectors/rfc9449/7_1-resource-request.jwt");
const ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

const CLOCK: Freshness<'_> =
    Freshness::Clock { max_age: Span::from_seconds(60), skew: Span::from_seconds(5) };

fn thumbprint(text: &str) -> Result<Thumbprint, NotAHash> {
    Thumbprint::parse(text)
}

fn read(text: &str) -> Result<Proof, ProofRefused> {
    Proof::of_field([text.trim().as_bytes()], &[Algorithm::Es256, Algorithm::EdDsa])
}

/// req: AUTHZ-10 (part)
#[test]
fn rfc9449_4_3_published_proofs_verify() {
    let expected = Expected {
        method: "POST",
        uri: "https://server.example.com/token",
        freshness: CLOCK,
        access_token: None,
    };
    let now = UnixTime::from_seconds(1_562_262_616);
    let proven = read(TOKEN_PROOF).unwrap().verify(&expected, now).unwrap();
    assert_eq!(proven.thumbprint().to_base64url(), JKT);
    assert_eq!(proven.jti().as_str(), "-BwC3ESc6acc2lTc");
    assert_eq!(proven.remember_until(), now.plus(Span::from_seconds(60)));
    assert_eq!(same_key(&proven, &thumbprint(JKT).unwrap()), Ok(()));
    let other = thumbprint("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").unwrap();
    assert!(same_key(&proven, &other).is_err());

    let (token, jkt) = (TokenText::parse(ACCESS_TOKEN).unwrap(), thumbprint(JKT).unwrap());
    let expected = Expected {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        freshness: CLOCK,
        access_token: Some((&token, &jkt)),
    };
    let now = UnixTime::from_seconds(1_562_262_618);
    assert!(read(RESOURCE_PROOF).unwrap().verify(&expected, now).is_ok());
    // The tampered twin.
    let (rest, signature) = RESOURCE_PROOF.trim().rsplit_once('.').unwrap();
    let twin = format!("{rest}.{}", signature.replacen('2', "3", 1));
    let refused = read(&twin).unwrap().verify(&expected, now).unwrap_err();
    assert_eq!(refused, ProofRefused::Refused(jose::Refused::Signature));
}

fn jwk() -> Value {
    serde_json::to_value(key().public().to_jwk()).unwrap()
}

fn signed(header: &Value, claims: &Value) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let input = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    format!("{input}.{}", encode(key().sign(input.as_bytes()).as_bytes()))
}

fn header() -> Value {
    json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk()})
}

fn claims() -> Value {
    json!({"jti": "j", "htm": "GET", "htu": "https://r.example/a", "iat": 1000})
}

fn verified(changes: Value, freshness: Freshness<'_>) -> Result<Proven, ProofRefused> {
    let text = signed(&header(), &changed(&claims(), &changes));
    let (token, jkt) = (TokenText::parse("at").unwrap(), key().public().thumbprint());
    let access_token = changes.get("ath").is_some().then_some((&token, &jkt));
    let uri = "https://r.example/a";
    let expected = Expected { method: "GET", uri, freshness, access_token };
    read(&text)?.verify(&expected, NOW)
}

/// A proof of the key of these tests.
pub(crate) fn proven_by_key() -> Proven {
    verified(json!({}), CLOCK).unwrap()
}

#[test]
fn rfc9449_4_3_each_refusal() {
    let at = UnixTime::from_seconds;
    let ath = jose::TokenHash::of("at").to_base64url();
    let other = jose::TokenHash::of("bt").to_base64url();
    for (changes, expect) in [
        (json!({}), None),
        (json!({"htu": "HTTPS://R.example:443/%61?q#f"}), None),
        (json!({"iat": 1005}), None),
        (json!({"iat": 940}), None),
        (json!({"ath": ath}), None),
        (
            json!({"htm": "get"}),
            Some(ProofRefused::Method { found: "get".into(), expected: "GET".into() }),
        ),
        (
            json!({"htu": "https://r.example/a/"}),
            Some(ProofRefused::Uri {
                found: "https://r.example/a/".into(),
                expected: "https://r.example/a".into(),
            }),
        ),
        (json!({"iat": 1006}), Some(ProofRefused::NotFresh { iat: at(1_006), now: NOW })),
        (json!({"iat": 939}), Some(ProofRefused::NotFresh { iat: at(939), now: NOW })),
        (json!({"ath": null}), Some(ProofRefused::NoTokenHash)),
        (json!({"ath": other}), Some(ProofRefused::TokenHash)),
    ] {
        assert_eq!(verified(changes.clone(), CLOCK).err(), expect, "{changes}");
    }
    for (changes, what) in [
        (json!({"jti": null}), "missing field `jti`"),
        (json!({"htm": null}), "missing field `htm`"),
        (json!({"htu": null}), "missing field `htu`"),
        (json!({"iat": null}), "missing field `iat`"),
        (json!({"jti": "j".repeat(257)}), "token id of 257 bytes"),
        (json!({"exp": 999}), "expired"),
    ] {
        let refused = verified(changes.clone(), CLOCK).unwrap_err().to_string();
        assert!(refused.contains(what), "{changes}: {refused}");
    }
}

#[test]
fn rfc9449_4_2_each_header_that_is_refused() {
    let whole = signed(&header(), &claims());
    let one = [whole.as_bytes(), whole.as_bytes()];
    let refused = Proof::of_field(one, &[Algorithm::EdDsa]).unwrap_err();
    assert_eq!(refused, ProofRefused::Field(NotATokenText::Repeated));
    let refused = Proof::of_field([whole.as_bytes()], &[Algorithm::Es256]).unwrap_err();
    assert_eq!(refused, ProofRefused::Algorithm { algorithm: Algorithm::EdDsa });
    let private: Value = serde_json::from_str(KEY).unwrap();
    for (changes, what) in [
        (json!({"typ": "JWT"}), "token of type `JWT`"),
        (json!({"typ": null}), "no `typ`"),
        (json!({"alg": "none"}), "algorithm `none`"),
        (json!({"alg": "HS256"}), "algorithm `HS256`"),
        (json!({"jwk": null}), "without `jwk`"),
        (json!({"jwk": private}), "`jwk` of a proof"),
        (json!({"jwk": {"kty": "oct", "k": "AQAB"}}), "`jwk` of a proof"),
        (json!({"jwk": "x"}), "`jwk` of a proof"),
        (json!({"crit": ["b64"]}), "`crit`"),
    ] {
        let refused = read(&signed(&changed(&header(), &changes), &claims())).unwrap_err();
        assert!(refused.to_string().contains(what), "{changes}: {refused}");
        assert!(!refused.asks_for_nonce());
    }
}

/// Defect: a proof of another key beside a stolen token.
#[test]
fn rfc9449_4_3_the_key_is_the_tokens() {
    let text = signed(
        &header(),
        &changed(
            &claims(),
            &json!({
                "ath": jose::TokenHash::of("at").to_base64url()
            }),
        ),
    );
    let (token, jkt) = (TokenText::parse("at").unwrap(), thumbprint(JKT).unwrap());
    let expected = Expected {
        method: "GET",
        uri: "https://r.example/a",
        freshness: CLOCK,
        access_token: Some((&token, &jkt)),
    };
    let refused = read(&text).unwrap().verify(&expected, NOW).unwrap_err();
    let found = key().public().thumbprint();
    assert_eq!(refused, ProofRefused::Key { found, expected: jkt });
}

#[test]
fn rfc9449_8_nonces_tell_their_time() {
    let (key, other) = (NonceKey::of(&[1; 32]), NonceKey::of(&[2; 32]));
    let freshness = Freshness::Nonce { key: &key, max_age: Span::from_seconds(60) };
    let at = UnixTime::from_seconds;
    let nonce = key.nonce(NOW);
    // RFC 9449 §8.1: "nonce = 1*NQCHAR"
    assert!(nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
    // The clock of the client does not count.
    assert!(verified(json!({"nonce": nonce, "iat": 1}), freshness).is_ok());
    assert!(verified(json!({"nonce": key.nonce(at(940))}), freshness).is_ok());
    let cut = nonce.get(..nonce.len() - 4).unwrap();
    for (nonce, expect) in [
        (json!(null), ProofRefused::NoNonce),
        (json!(other.nonce(NOW)), ProofRefused::Nonce),
        (json!(cut), ProofRefused::Nonce),
        (json!(format!("{nonce}AAAA")), ProofRefused::Nonce),
        (json!("eyJ7S_zG.eyJH0-Z.HX4w-7v"), ProofRefused::Nonce),
        (json!(""), ProofRefused::Nonce),
        (json!("n".repeat(1_000)), ProofRefused::Nonce),
        (json!(key.nonce(at(939))), ProofRefused::OldNonce { given: at(939), now: NOW }),
        (json!(key.nonce(at(1_061))), ProofRefused::OldNonce { given: at(1_061), now: NOW }),
    ] {
        let refused = verified(json!({"nonce": nonce}), freshness).unwrap_err();
        assert!(refused.asks_for_nonce());
        assert_eq!(refused, expect, "{nonce}");
    }
}

/// Defect: a replay key of a URI that can be written in two ways.
#[test]
fn rfc9449_4_3_one_spelling_of_a_uri() {
    for (uri, expect) in [
        ("https://r.example", Some("https://r.example/")),
        ("https://r.example/a?b#c", Some("https://r.example/a")),
        ("HTTPS://R.Example:443/a", Some("https://r.example/a")),
        ("http://r.example:80/", Some("http://r.example/")),
        ("https://r.example:8443/", Some("https://r.example:8443/")),
        ("https://r.example/a/./b/../c", Some("https://r.example/a/c")),
        ("https://r.example/%7Ea%2fb%c3%a9", Some("https://r.example/~a%2Fb%C3%A9")),
        ("https://r.example/%zz", None),
        ("https://r.example/%2", None),
        ("https://a@r.example/", None),
        ("https://r.example/a b", None),
        ("https:\\\\r.example/", None),
        ("https:r.example", None),
        ("ftp://r.example/", None),
        ("/a", None),
        ("", None),
    ] {
        assert_eq!(target(uri).as_deref(), expect, "{uri}");
    }
}
