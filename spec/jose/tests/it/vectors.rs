//! Published examples.

use jose::{Jwk, KeyId, PublicKey, SigningInput, TokenHash, Unverified};
use time::{Span, UnixTime};

use crate::*;

/// 2011, before the examples of RFC 7515 expire.
const THEN: UnixTime = UnixTime::from_seconds(1_300_819_379);

#[test]
fn rfc7515_a_2_rs256_verifies() {
    let key = PublicKey::from_jwk(&Jwk::from_value(&published_jwk("rfc7515_a_2")).unwrap());
    let token = Unverified::<Plain>::parse(&published_token("rfc7515_a_2")).unwrap();
    let verified = token.verify(&key.unwrap(), ALL, THEN, Span::ZERO).unwrap();
    assert_eq!(verified.claims().iss.as_deref(), Some("joe"));
    assert_eq!(verified.algorithm(), Algorithm::Rs256);
    assert_eq!(verified.expires(), Some(UnixTime::from_seconds(1_300_819_380)));
}

#[test]
fn rfc7515_a_2_rs256_signature_is_reproduced() {
    let token = published_token("rfc7515_a_2");
    let (input, signature) = token.rsplit_once('.').unwrap();
    let made = published_key("rfc7515_a_2").sign(input.as_bytes());
    assert_eq!(encode(made.as_bytes()), signature);
}

#[test]
fn rfc7515_a_3_es256_verifies() {
    let key = PublicKey::from_jwk(&Jwk::from_value(&published_jwk("rfc7515_a_3")).unwrap());
    let token = Unverified::<Plain>::parse(&published_token("rfc7515_a_3")).unwrap();
    let verified = token.verify(&key.unwrap(), &[Algorithm::Es256], THEN, Span::ZERO).unwrap();
    assert_eq!(verified.claims().iss.as_deref(), Some("joe"));
}

/// Their payloads are no claims: the signature alone is checked.
#[test]
fn rfc7515_a_4_and_rfc8037_a_5_signatures_verify() {
    for (name, algorithm) in [("rfc7515_a_4", Algorithm::Es512), ("rfc8037_a_4", Algorithm::EdDsa)]
    {
        let key = PublicKey::from_jwk(&Jwk::from_value(&published_jwk(name)).unwrap()).unwrap();
        let token = published_token(name);
        let (input, signature) = token.rsplit_once('.').unwrap();
        let check = |input: &str| key.verify(algorithm, input.as_bytes(), &decode(signature));
        assert_eq!(check(input), Ok(()), "{name}");
        assert!(check(&input[1..]).is_err(), "{name}");
    }
}

#[test]
fn rfc8037_a_4_signature_is_reproduced() {
    let token = published_token("rfc8037_a_4");
    let (input, signature) = token.rsplit_once('.').unwrap();
    let made = published_key("rfc8037_a_4").sign(input.as_bytes());
    assert_eq!(encode(made.as_bytes()), signature);
}

#[test]
fn rfc7638_3_1_and_rfc8037_a_3_thumbprints() {
    for name in ["rfc7638_3_1", "rfc8037_a_4"] {
        let jwk = Jwk::from_value(&published_jwk(name)).unwrap();
        let expected = published(name)["thumbprint"].as_str().unwrap().to_owned();
        assert_eq!(jwk.thumbprint().to_base64url(), expected);
        assert_eq!(PublicKey::from_jwk(&jwk).unwrap().thumbprint().to_string(), expected);
    }
}

/// req: CRED-04 (part)
#[test]
fn wimse_workload_creds_5_1_wit_verifies() {
    let text = published_token("wit");
    let issuer = Jwk::from_value(&published_jwk("wit")).unwrap();
    let keys = jose::KeySet::new(vec![issuer]).unwrap();
    let now = UnixTime::from_seconds(1_745_509_000);
    let token = Unverified::<Wit>::parse(&text).unwrap();
    assert_eq!(token.hint(), "wimse://example.com/specific-workload");
    let wit = token.verify(&keys, &[Algorithm::Es256], now, Span::ZERO).unwrap();
    assert_eq!(wit.kid().map(KeyId::as_str), Some("June 5"));
    assert_eq!(wit.token_hash(), TokenHash::of(&text));
    assert_eq!(wit.token_hash().to_base64url(), published("wit")["token_hash"]);

    // The key of the WIT verifies the proof token of draft-ietf-wimse-wpt §2.
    assert_eq!(wit.claims().cnf.jwk.alg(), Some(Algorithm::EdDsa));
    let proof_key = PublicKey::from_jwk(&wit.claims().cnf.jwk).unwrap();
    let proof = published_token("wpt");
    let (input, signature) = proof.rsplit_once('.').unwrap();
    let verdict = proof_key.verify(Algorithm::EdDsa, input.as_bytes(), &decode(signature));
    assert_eq!(verdict, Ok(()));
}

/// The octets of the example come from claims in their order.
#[test]
fn wimse_workload_creds_5_1_wit_is_reproduced_up_to_its_signature() {
    let text = published_token("wit");
    let (input, _) = text.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    let kid = KeyId::parse("June 5").unwrap();
    let claims: WitClaims = serde_json::from_slice(&decode(payload)).unwrap();
    let made = SigningInput::<Wit>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let (made_header, made_payload) =
        std::str::from_utf8(made.bytes()).unwrap().split_once('.').unwrap();
    assert_eq!(made_header, header);
    let value = |text: &str| serde_json::from_slice::<Value>(&decode(text)).unwrap();
    assert_eq!(value(made_payload), value(payload));
}
