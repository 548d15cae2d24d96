//! oauth-spiffe-client-auth §3.3: a WIT and a fresh statement signed with its key.

use authentication::spiffe_wit::{Facts, Refusal, authenticate};
use authentication::{Method, Once, Proved, Who};
use jose::{Audience, NoKey, NumericDate, Refused};
use oauth::ClientId;
use oauth::client_attestation_pop::{ClientAttestationPop, ClientAttestationPopClaims, PopRefused};
use provisioning::Epoch;
use time::{Span, UnixTime};
use wimse::WitError;

use crate::parties::{
    AGENT, HOUR, ISSUER, NOW, SECOND, SKEW, agent_id, anchors, authority, client, issuer, jti,
    sign, stranger, wit, workload,
};

const MAX_AGE: Span = Span::from_seconds(60);

fn claims() -> ClientAttestationPopClaims {
    ClientAttestationPopClaims {
        aud: Audience::one(ISSUER),
        jti: jti("jti-1"),
        iat: NumericDate::from_time(NOW),
        challenge: None,
        exp: None,
        nbf: None,
    }
}

fn present(
    wit: &str,
    pop: &str,
    client_id: Option<&ClientId>,
    now: UnixTime,
) -> Result<Proved, Refusal> {
    let (anchors, issuer) = (anchors(), issuer());
    let facts = Facts { anchors: &anchors, issuer: &issuer, now, skew: SKEW, max_age: MAX_AGE };
    authenticate(wit, pop, client_id, &facts)
}

fn of(claims: &ClientAttestationPopClaims, now: UnixTime) -> Result<Proved, Refusal> {
    let pop = sign::<ClientAttestationPop>(claims, &workload(), false);
    present(&wit(&authority()), &pop, Some(&client(AGENT)), now)
}

/// req: AUTHZ-07 (part), AUTHZ-23 (part), CRED-01 (part)
#[test]
fn s10_3_2_a_wit_and_its_key_authenticate_the_workload() {
    let Proved { caller, once } = of(&claims(), NOW).unwrap();
    assert_eq!(caller.who(), &Who::Workload(agent_id()));
    assert_eq!((caller.client_id(), caller.method()), (AGENT, Method::SpiffeWit));
    assert_eq!((caller.issued(), caller.expires()), (Some(Epoch(7)), NOW.plus(HOUR)));
    assert_eq!(caller.key(), Some(&workload().public().thumbprint()));
    let value = format!("{}.jti-1", workload().public().thumbprint());
    let (space, until) = (format!("{ISSUER} attestation pop"), NOW.plus(MAX_AGE).plus(SKEW));
    assert_eq!(once, Some(Once { space, value, until }), "once, under the key");
}

/// A proof is remembered for as long as it would be taken.
/// req: AUTHN-05 (part)
#[test]
fn s9_2_3_a_proof_is_remembered_until_it_is_too_old() {
    let until = of(&claims(), NOW).unwrap().once.unwrap().until;
    let mut now = NOW;
    while of(&claims(), now).is_ok() {
        assert!(now <= until, "accepted at {now}, forgotten after {until}");
        now = now.plus(SECOND);
    }
    assert!(now > NOW.plus(MAX_AGE));
}

/// req: AUTHN-05 (part), AUTHZ-23 (part)
#[test]
fn s10_3_2_a_proof_for_another_server_or_client_is_refused() {
    let (good, pop) =
        (wit(&authority()), sign::<ClientAttestationPop>(&claims(), &workload(), false));
    assert_eq!(present(&good, &pop, None, NOW).err(), Some(Refusal::NoClientId));
    let (client_id, id) = ("spiffe://demo.example/agent/b".to_owned(), agent_id());
    let refused = present(&good, &pop, Some(&client(&client_id)), NOW).err();
    assert_eq!(refused, Some(Refusal::OtherClient { client_id, id }));
    for found in [
        Audience::one("https://other.example"),
        Audience::Several(vec![ISSUER.to_owned(), "https://other.example".to_owned()]),
    ] {
        let expected = ISSUER.to_owned();
        let other = ClientAttestationPopClaims { aud: found.clone(), ..claims() };
        let refused = PopRefused::WrongAudience { found, expected };
        assert_eq!(of(&other, NOW).err(), Some(Refusal::Pop(refused)));
    }
    let (iat, now) = (NOW, NOW.plus(MAX_AGE).plus(SECOND));
    let refused = Refusal::Pop(PopRefused::TooOld { iat, now, max_age: MAX_AGE });
    assert_eq!(of(&claims(), now).err(), Some(refused));
}

/// req: CRED-01 (part), CRED-05 (part)
#[test]
fn s10_3_2_who_has_not_the_key_is_refused() {
    let (good, agent) = (wit(&authority()), client(AGENT));
    let pop = |key: &jose::PrivateKey| sign::<ClientAttestationPop>(&claims(), key, false);
    // A stolen WIT.
    let refused = present(&good, &pop(&stranger()), Some(&agent), NOW).err();
    assert_eq!(refused, Some(Refusal::PopRefused(Refused::Signature)));
    let iat = NOW.plus(SKEW).plus(SECOND);
    let early = ClientAttestationPopClaims { iat: NumericDate::from_time(iat), ..claims() };
    let refused = Refusal::PopRefused(Refused::IssuedInFuture { iat, now: NOW });
    assert_eq!(of(&early, NOW).err(), Some(refused));
    // A WIT that the authority of another domain made.
    let forged = present(&wit(&stranger()), &pop(&workload()), Some(&agent), NOW).err();
    assert_eq!(forged, Some(Refusal::Wit(WitError::Refused(Refused::Signature))));
    let (exp, now) = (NOW.plus(HOUR), NOW.plus(HOUR).plus(SKEW));
    let expired = present(&good, &pop(&workload()), Some(&agent), now).err();
    assert_eq!(expired, Some(Refusal::Wit(WitError::Refused(Refused::Expired { exp, now }))));
    let none = wimse::TrustAnchors::new();
    let issuer = issuer();
    let facts = Facts { anchors: &none, issuer: &issuer, now: NOW, skew: SKEW, max_age: MAX_AGE };
    let unknown = authenticate(&good, &pop(&workload()), Some(&agent), &facts).err();
    let no_key = Refused::NoKey(NoKey::UnknownIssuer);
    assert_eq!(unknown, Some(Refusal::Wit(WitError::Refused(no_key))));
    // The WIT itself in place of the proof: another kind of token.
    let twice = present(&good, &good, Some(&agent), NOW).err();
    assert!(matches!(twice, Some(Refusal::PopMalformed(_))), "{twice:?}");
}
