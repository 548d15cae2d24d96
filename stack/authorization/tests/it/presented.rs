//! Tokens of ours that are presented, and those that count for nothing.

use authorization::presented::{Presented, Refusal};
use credential::Purpose;
use jose::{Algorithm, Audience, KeyId, Malformed, NoKey, Refused, SigningInput};
use oauth::Issuer;
use oauth::access_token::{AccessToken, AccessTokenClaims, NotForResource};
use oauth::confirmation::{CertificateThumbprint, Confirmation};
use oauth::txn_token::{NotInDomain, TxnToken, TxnTokenClaims};
use time::{Span, UnixTime};

use crate::facts::{
    AGENT, DOMAIN, LEDGER, NOW, access, access_claims, at, issuer, key, other_key, ring, scope,
    sealed, sign, txn, txn_claims, workload,
};

const SKEW: Span = Span::from_seconds(5);

fn as_access(text: &str, now: UnixTime) -> Result<(), Refusal> {
    let ring = ring(Purpose::AccessToken);
    Presented::access_token(text, &ring, &issuer(), now, SKEW).map(|_| ())
}

fn as_txn(text: &str, now: UnixTime) -> Result<(), Refusal> {
    Presented::txn_token(text, &ring(Purpose::TxnToken), DOMAIN, now, SKEW).map(|_| ())
}

fn access_text(claims: &AccessTokenClaims) -> String {
    sign::<AccessToken>(claims, &key())
}

fn txn_text(claims: &TxnTokenClaims) -> String {
    sign::<TxnToken>(claims, &key())
}

/// req: AUTHZ-03 (part), CRED-05 (part)
#[test]
fn s10_2_a_token_holds_until_it_ends() {
    let (access, txn) = (access_text(&access_claims()), txn_text(&txn_claims()));
    let last = |end: u64| at(end).time().plus(Span::from_millis(4_999));
    assert_eq!(as_access(&access, last(200)), Ok(()));
    assert_eq!(as_txn(&txn, last(50)), Ok(()));
    let expired = |exp: u64| {
        let (exp, now) = (at(exp).time(), at(exp).time().plus(SKEW));
        (now, Err(Refusal::Refused(Refused::Expired { exp, now })))
    };
    let (now, refused) = expired(200);
    assert_eq!(as_access(&access, now), refused);
    let (now, refused) = expired(50);
    assert_eq!(as_txn(&txn, now), refused);
}

/// req: AUTHZ-03 (part), AUTHZ-09 (part)
#[test]
fn s10_2_a_token_of_another_issuer_or_for_several_is_refused() {
    let found = Issuer::parse("https://other.example").unwrap();
    let foreign = AccessTokenClaims { iss: found.clone(), ..access_claims() };
    let wrong = NotForResource::WrongIssuer { found, expected: issuer() };
    assert_eq!(as_access(&access_text(&foreign), NOW), Err(Refusal::NotForResource(wrong)));
    for aud in [vec![AGENT.to_owned(), LEDGER.to_owned()], Vec::new()] {
        let several = AccessTokenClaims { aud: Audience::Several(aud), ..access_claims() };
        let refused = as_access(&access_text(&several), NOW);
        let expect = matches!(refused, Err(Refusal::SeveralAudiences | Refusal::Malformed(_)));
        assert!(expect, "{refused:?}");
    }
}

/// A transaction token is no access token, and the other way round; nor is a client's assertion.
/// req: AUTHZ-12 (part), AUTHZ-03 (part)
#[test]
fn s10_4_one_kind_of_token_is_not_taken_for_another() {
    let wrong = |found: &str, expected| {
        Err(Refusal::Malformed(Malformed::WrongType { found: found.to_owned(), expected }))
    };
    let txn = as_access(&txn_text(&txn_claims()), NOW);
    assert_eq!(txn, wrong("txntoken+jwt", &["at+jwt"]));
    let access = as_txn(&access_text(&access_claims()), NOW);
    assert_eq!(access, wrong("at+jwt", &["txntoken+jwt"]));
    for noise in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert!(matches!(as_access(noise, NOW), Err(Refusal::Malformed(_))), "{noise}");
        assert!(matches!(as_txn(noise, NOW), Err(Refusal::Malformed(_))), "{noise}");
    }
}

/// req: AUTHZ-03 (part)
#[test]
fn s10_2_only_our_keys_make_our_tokens() {
    let refused = |refused| Err(Refusal::Refused(refused));
    let forged = sign::<AccessToken>(&access_claims(), &other_key());
    assert_eq!(as_access(&forged, NOW), refused(Refused::Signature));
    let forged = sign::<TxnToken>(&txn_claims(), &other_key());
    assert_eq!(as_txn(&forged, NOW), refused(Refused::Signature));
    let named = |kid: Option<&KeyId>, algorithm| {
        let input = SigningInput::<AccessToken>::new(algorithm, kid, &access_claims());
        as_access(&sealed(input.unwrap(), &key()), NOW)
    };
    let kid = KeyId::parse("key-2").unwrap();
    let unknown = NoKey::UnknownKeyId { kid: kid.clone() };
    assert_eq!(named(Some(&kid), Algorithm::Es256), refused(Refused::NoKey(unknown)));
    assert_eq!(named(None, Algorithm::Es256), refused(Refused::NoKey(NoKey::KeyIdRequired)));
    let algorithm = Algorithm::Rs256;
    let other = Refused::AlgorithmNotAccepted { algorithm };
    assert_eq!(named(Some(&crate::facts::kid()), algorithm), refused(other));
    // A key that is no longer published verifies nothing, though the token has not ended.
    let mut ring = ring(Purpose::AccessToken);
    ring.keys[0].kept_until = NOW;
    let text = access_text(&access_claims());
    let gone = Presented::access_token(&text, &ring, &issuer(), NOW, SKEW).err();
    let no_key = Refused::NoKey(NoKey::UnknownKeyId { kid: crate::facts::kid() });
    assert_eq!(gone, Some(Refusal::Refused(no_key)));
}

/// req: AUTHZ-12 (part)
#[test]
fn s10_4_a_transaction_token_stays_in_its_domain_and_has_a_purpose() {
    let found = Audience::one("other.example");
    let foreign = TxnTokenClaims { aud: found.clone(), ..txn_claims() };
    let wrong = NotInDomain::WrongDomain { found, expected: DOMAIN.to_owned() };
    assert_eq!(as_txn(&txn_text(&foreign), NOW), Err(Refusal::NotInDomain(wrong)));
    let idle = TxnTokenClaims { scope: scope(""), ..txn_claims() };
    let refused = Err(Refusal::NotInDomain(NotInDomain::NoPurpose));
    assert_eq!(as_txn(&txn_text(&idle), NOW), refused);
}

/// Defect: a resource whose audience check is optional.
/// req: AUTHZ-08 (part), GW-01 (part)
#[test]
fn s10_3_3_audience_must_name_the_resource() {
    let token = access(&AccessTokenClaims { aud: Audience::one(LEDGER), ..access_claims() });
    assert_eq!(token.is_for(LEDGER), Ok(()));
    for other in [AGENT, "https://gateway.example/ledger/", "https://gateway.example/ledge", ""] {
        let (found, expected) = (LEDGER.to_owned(), other.to_owned());
        assert_eq!(token.is_for(other), Err(Refusal::OtherAudience { found, expected }));
    }
}

/// req: AUTHZ-10 (part)
#[test]
fn rfc8705_3_1_a_token_may_be_bound_to_a_certificate() {
    let thumbprint = CertificateThumbprint::from_bytes([7; 32]);
    let bound =
        AccessTokenClaims { cnf: Some(Confirmation::Certificate(thumbprint)), ..access_claims() };
    assert_eq!(access(&bound).certificate(), Some([7; 32]));
    assert_eq!(access(&access_claims()).certificate(), None);
}

#[test]
fn s10_4_a_transaction_token_is_shown_to_the_workloads_of_the_domain() {
    let (agent, client) = (workload(AGENT, 4), crate::facts::registered("client-1"));
    assert!(txn(&txn_claims()).was_shown_to(&agent));
    assert!(!txn(&txn_claims()).was_shown_to(&client));
    assert!(!access(&access_claims()).was_shown_to(&agent));
}
