//! draft-ietf-oauth-attestation-based-client-auth: an attester's word, and the proof of a key.

use authentication::attested_client::{Facts, Proof, Refusal, attester, authenticate};
use authentication::{Method, Proved};
use jose::{Audience, KeySet, NumericDate, PrivateKey};
use oauth::attestation_client::{AttestationRefused, ClientAttestation, ClientAttestationClaims};
use oauth::client_attestation_pop::{ClientAttestationPop, ClientAttestationPopClaims, PopRefused};
use oauth::confirmation::Confirmation;
use time::{Span, UnixTime};

use crate::parties::{
    HOUR, ISSUER, NOW, SECOND, SKEW, authority, client, issuer, jti, kid, sign, stranger, workload,
};

const ID: &str = "client-1";
const MAX_AGE: Span = Span::from_seconds(120);

fn attestation(id: &str, signer: &PrivateKey) -> String {
    let claims = ClientAttestationClaims {
        sub: client(id),
        exp: NumericDate::from_time(NOW.plus(HOUR)),
        cnf: Confirmation::Jwk(Box::new(workload().public().to_jwk())),
        iat: None,
        nbf: None,
        iss: Some("https://attester.example".to_owned()),
    };
    sign::<ClientAttestation>(&claims, signer, true)
}

fn pop(audience: &str, at: UnixTime, signer: &PrivateKey) -> String {
    let claims = ClientAttestationPopClaims {
        aud: Audience::one(audience.to_owned()),
        jti: jti("pop-1"),
        iat: NumericDate::from_time(at),
        challenge: None,
        exp: None,
        nbf: None,
    };
    sign::<ClientAttestationPop>(&claims, signer, false)
}

fn ask(attestation: &str, pop: &str, id: &str, now: UnixTime) -> Result<Proved, Refusal> {
    let keys = KeySet::new(vec![authority().public().to_jwk().with_kid(kid("key-1"))]).unwrap();
    let issuer = issuer();
    let facts = Facts { issuer: &issuer, now, skew: SKEW, max_age: MAX_AGE, challenges: None };
    authenticate((attestation, Proof::Jwt(pop)), &client(id), &keys, facts)
}

/// req: AUTHN-01 (part)
#[test]
fn s7_an_instance_that_is_vouched_for_and_proves_its_key_is_the_client() {
    let (attested, proof) = (attestation(ID, &authority()), pop(ISSUER, NOW, &workload()));
    assert_eq!(attester(&attested).unwrap().as_deref(), Some("https://attester.example"));
    let proved = ask(&attested, &proof, ID, NOW).unwrap();
    assert_eq!((proved.caller.client_id(), proved.caller.method()), (ID, Method::Attestation));
    let key = workload().public().thumbprint();
    assert_eq!(proved.caller.key(), Some(&key));
    let once = proved.once.unwrap();
    assert_eq!(once.value, format!("{key}.pop-1"));
}

/// req: AUTHN-01 (part)
#[test]
fn s7_whatever_is_wrong_authenticates_nobody() {
    let good = || (attestation(ID, &authority()), pop(ISSUER, NOW, &workload()));
    let (attested, proof) = good();
    let refused = |attested: &str, proof: &str, id: &str, now: UnixTime| {
        ask(attested, proof, id, now).map(|_| ()).unwrap_err()
    };
    assert!(matches!(refused(&attestation(ID, &stranger()), &proof, ID, NOW), Refusal::Refused(_)));
    assert!(matches!(
        refused(&attested, &pop(ISSUER, NOW, &stranger()), ID, NOW),
        Refusal::PopRefused(_)
    ));
    assert!(matches!(
        refused(&attested, &proof, "client-2", NOW),
        Refusal::Attestation(AttestationRefused::WrongClient { .. })
    ));
    assert!(matches!(
        refused(&attested, &pop("https://other.example", NOW, &workload()), ID, NOW),
        Refusal::Pop(PopRefused::WrongAudience { .. })
    ));
    let late = NOW.plus(MAX_AGE).plus(SECOND);
    assert!(matches!(
        refused(&attested, &proof, ID, late),
        Refusal::Pop(PopRefused::TooOld { .. })
    ));
    let over = NOW.plus(HOUR).plus(SKEW).plus(SECOND);
    assert!(matches!(
        refused(&attested, &pop(ISSUER, over, &workload()), ID, over),
        Refusal::Refused(_)
    ));
    // One in place of the other.
    assert!(matches!(refused(&proof, &proof, ID, NOW), Refusal::Malformed(_)));
    assert!(matches!(refused(&attested, &attested, ID, NOW), Refusal::PopMalformed(_)));
}
