//! Access tokens and transaction tokens.

use jose::{Audience, Unverified};
use oauth::Issuer;
use oauth::access_token::{AccessToken, AccessTokenClaims, NotForResource, for_resource};
use oauth::client_assertion::ClientAssertion;
use oauth::client_attestation_pop::ClientAttestationPop;
use oauth::txn_token::{NotInDomain, TxnToken, in_domain};
use serde_json::json;

use crate::*;

const AUDIENCE: &str = "https://localhost:8446/tools";

fn issuer() -> Issuer {
    Issuer::parse("https://localhost:8443").unwrap()
}

fn access() -> Value {
    json!({
        "iss": "https://localhost:8443",
        "exp": 1300,
        "aud": AUDIENCE,
        "sub": "user@example.com",
        "client_id": "spiffe://example.org/agent",
        "iat": 1000,
        "jti": "t-1",
        "scope": "read write",
        "act": {"sub": "spiffe://example.org/agent"},
        "cnf": {"jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
        "aims_root": "r-1",
        "aims_parent": "t-0",
        "aims_epoch": 7,
    })
}

fn transaction() -> Value {
    json!({
        "iat": 1000,
        "aud": "example.org",
        "exp": 1060,
        "txn": "97053963-771d-49cc-a4e3-20aad399c312",
        "sub": "d084sdrt234fsaw34tr23t",
        "req_wl": "spiffe://example.org/gateway",
        "rctx": {"req_ip": "69.151.72.123", "authn": "face"},
        "scope": "trade.stocks",
        "tctx": {"action": "BUY", "ticker": "MSFT", "customer_type": {"geo": "US"}},
        "jti": "x-1",
        "aims_root": "r-1",
        "aims_epoch": 7,
    })
}

/// req: AUTHZ-02 (part)
/// req: AUTHZ-03 (part)
#[test]
fn rfc9068_2_2_claims() {
    let token = proven::<AccessToken>(&access());
    let claims = token.claims();
    assert_eq!(claims.client_id.as_str(), "spiffe://example.org/agent");
    assert_eq!(claims.sub.as_str(), "user@example.com");
    assert_eq!(claims.aims_epoch, 7);
    assert_eq!(serde_json::to_value(claims).unwrap(), access());
    assert_eq!(&round_trip::<AccessToken>(claims), claims);

    for required in
        ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "aims_root", "aims_epoch"]
    {
        let text = forge(Some("at+jwt"), &changed(&access(), &json!({ required: null })));
        let refused = verify::<AccessToken>(&text).unwrap_err();
        assert!(refused.contains(&format!("missing field `{required}`")), "{refused}");
    }
    for (member, value) in [
        ("iss", json!("http://localhost:8443")),
        ("exp", json!("1300")),
        ("aud", json!([])),
        ("sub", json!("")),
        ("client_id", json!("a\nb")),
        ("scope", json!(["read"])),
        ("act", json!({})),
        ("may_act", json!({"client_id": "a"})),
        ("cnf", json!({})),
        ("cnf", json!({"kid": "a"})),
        ("aims_epoch", json!("7")),
        ("aims_parent", json!(1)),
    ] {
        let text = forge(Some("at+jwt"), &changed(&access(), &json!({ member: value })));
        assert!(verify::<AccessToken>(&text).is_err(), "{member} {value}");
    }
}

/// req: AUTHZ-08 (part)
#[test]
fn rfc9068_4_issuer_and_audience_must_be_those_expected() {
    let check = |changes: Value| {
        let token = proven::<AccessToken>(&changed(&access(), &changes));
        for_resource(token, &issuer(), AUDIENCE).map(|checked| checked.claims().jti.to_string())
    };
    assert_eq!(check(json!({})), Ok("t-1".to_owned()));
    assert_eq!(check(json!({"aud": [AUDIENCE]})), Ok("t-1".to_owned()));
    let wrong = |found| Err(NotForResource::WrongAudience { found, expected: AUDIENCE.to_owned() });
    for found in [
        Audience::one("https://localhost:8446/tools/"),
        Audience::one("https://localhost:8446/TOOLS"),
        Audience::one("https://localhost:8443"),
        Audience::Several(vec![AUDIENCE.to_owned(), "https://other.example".to_owned()]),
        Audience::Several(vec![AUDIENCE.to_owned(), AUDIENCE.to_owned()]),
    ] {
        assert_eq!(check(json!({ "aud": found })), wrong(found));
    }
    let found = Issuer::parse("https://localhost:8443/").unwrap();
    let expected = issuer();
    assert_eq!(
        check(json!({"iss": "https://localhost:8443/"})),
        Err(NotForResource::WrongIssuer { found, expected })
    );
}

/// req: AUTHZ-12 (part)
#[test]
fn txn_tokens_9_2_claims() {
    let token = proven::<TxnToken>(&transaction());
    let claims = token.claims();
    assert_eq!(claims.req_wl.as_str(), "spiffe://example.org/gateway");
    assert_eq!(serde_json::to_value(claims).unwrap(), transaction());
    assert_eq!(&round_trip::<TxnToken>(claims), claims);
    for required in
        ["iat", "aud", "exp", "txn", "sub", "scope", "req_wl", "jti", "aims_root", "aims_epoch"]
    {
        let text =
            forge(Some("txntoken+jwt"), &changed(&transaction(), &json!({ required: null })));
        let refused = verify::<TxnToken>(&text).unwrap_err();
        assert!(refused.contains(&format!("missing field `{required}`")), "{refused}");
    }
    for (member, value) in [("tctx", json!("x")), ("rctx", json!([])), ("req_wl", json!([]))] {
        let text = forge(Some("txntoken+jwt"), &changed(&transaction(), &json!({ member: value })));
        assert!(verify::<TxnToken>(&text).is_err(), "{member}");
    }
}

/// req: AUTHZ-12 (part)
#[test]
fn txn_tokens_12_2_domain_must_match() {
    let check = |changes: Value| {
        let token = proven::<TxnToken>(&changed(&transaction(), &changes));
        in_domain(token, "example.org").map(|checked| checked.claims().txn.to_string())
    };
    assert!(check(json!({})).is_ok());
    let wrong = |found| Err(NotInDomain::WrongDomain { found, expected: "example.org".to_owned() });
    for found in [
        Audience::one("other.example"),
        Audience::one("EXAMPLE.org"),
        Audience::Several(vec!["example.org".to_owned(), "other.example".to_owned()]),
    ] {
        assert_eq!(check(json!({ "aud": found })), wrong(found));
    }
    assert_eq!(check(json!({"scope": ""})), Err(NotInDomain::NoPurpose));
}

/// Each kind takes its own type and no other's: a transaction token is no access token.
/// req: AUTHZ-12 (part)
#[test]
fn rfc8725_3_12_kinds_exclude_each_other() {
    let everything = {
        let mut all = access();
        for (name, value) in transaction().as_object().unwrap() {
            all[name] = value.clone();
        }
        changed(&all, &json!({"iss": "https://localhost:8443", "sub": "https://localhost:8443"}))
    };
    fn takes<K: Kind>(text: &str) -> bool {
        Unverified::<K>::parse(text).is_ok()
    }
    for (typ, expect) in [
        (Some("at+jwt"), [true, false, false, false]),
        (Some("txntoken+jwt"), [false, true, false, false]),
        (Some("client-authentication+jwt"), [false, false, true, false]),
        (Some("oauth-client-attestation-pop+jwt"), [false, false, false, true]),
        (Some("JWT"), [false, false, true, false]),
        (None, [false, false, true, false]),
        (Some("wit+jwt"), [false; 4]),
        (Some("token-introspection+jwt"), [false; 4]),
    ] {
        let text = forge(typ, &everything);
        let got = [
            takes::<AccessToken>(&text),
            takes::<TxnToken>(&text),
            takes::<ClientAssertion>(&text),
            takes::<ClientAttestationPop>(&text),
        ];
        assert_eq!(got, expect, "{typ:?}");
    }
}

/// req: CRED-05 (part)
#[test]
fn rfc9068_4_expired_tokens_are_refused() {
    let refused =
        |typ: &str, claims: &Value| forge(Some(typ), &changed(claims, &json!({"exp": 1000})));
    let expired = "expired at 1970-01-01T00:16:40.000Z, now 1970-01-01T00:16:40.000Z";
    assert_eq!(verify::<AccessToken>(&refused("at+jwt", &access())).unwrap_err(), expired);
    let text = refused("txntoken+jwt", &transaction());
    assert_eq!(verify::<TxnToken>(&text).unwrap_err(), expired);
}

#[test]
fn chains_survive_a_token() {
    let chain = json!({"sub": "c", "act": {"sub": "b", "act": {"sub": "a"}}});
    let token = proven::<AccessToken>(&changed(&access(), &json!({"act": chain})));
    let claims: &AccessTokenClaims = token.claims();
    let act = claims.act.as_ref().unwrap();
    assert_eq!(act.iter().collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!(serde_json::to_value(&round_trip::<AccessToken>(claims).act).unwrap(), chain);
}
