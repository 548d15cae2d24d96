//! oauth-spiffe-client-auth §3.1: a JWT-SVID as client assertion.

use authentication::spiffe_jwt::{Refusal, authenticate};
use authentication::{Caller, Method, Who};
use jose::{Audience, NoKey, NumericDate, Refused};
use oauth::ClientId;
use provisioning::Epoch;
use spiffe::{JwtSvid, JwtSvidClaims, JwtSvidError, SpiffeId};
use time::{Span, UnixTime};

use crate::parties::{
    AGENT, ISSUER, NOW, SKEW, agent, agent_id, authority, bundles, client, issuer, sign, stranger,
};

const LIFE: Span = Span::from_seconds(300);

fn claims() -> JwtSvidClaims {
    JwtSvidClaims {
        sub: agent(),
        aud: Audience::one(ISSUER),
        exp: NumericDate::from_time(NOW.plus(LIFE)),
        nbf: None,
        iat: Some(NumericDate::from_time(NOW)),
        jti: None,
        iss: None,
        aims_epoch: Some(7),
        aims_attributes: None,
    }
}

fn present(text: &str, client_id: Option<&ClientId>, now: UnixTime) -> Result<Caller, Refusal> {
    authenticate(text, client_id, &issuer(), bundles().spiffe(), now, SKEW)
}

fn of(claims: &JwtSvidClaims) -> Result<(), Refusal> {
    let text = sign::<JwtSvid>(claims, &authority(), true);
    present(&text, Some(&client(AGENT)), NOW).map(|_| ())
}

/// req: AUTHZ-07 (part), AUTHZ-23 (part)
#[test]
fn s10_3_2_a_jwt_svid_authenticates_the_workload_it_names() {
    let text = sign::<JwtSvid>(&claims(), &authority(), true);
    let caller = present(&text, Some(&client(AGENT)), NOW).unwrap();
    assert_eq!(caller.who(), &Who::Workload(agent_id()));
    assert_eq!((caller.client_id(), caller.method()), (AGENT, Method::SpiffeJwt));
    assert_eq!((caller.issued(), caller.expires()), (Some(Epoch(7)), NOW.plus(LIFE)));
    assert_eq!((caller.key(), caller.transport()), (None, None), "a bearer proves no key");
    let unmarked = JwtSvidClaims { aims_epoch: None, ..claims() };
    let text = sign::<JwtSvid>(&unmarked, &authority(), true);
    assert_eq!(present(&text, Some(&client(AGENT)), NOW).unwrap().issued(), None);
}

/// req: AUTHN-05 (part), AUTHZ-23 (part)
#[test]
fn s10_3_2_another_client_or_audience_is_refused() {
    let text = sign::<JwtSvid>(&claims(), &authority(), true);
    assert_eq!(present(&text, None, NOW).err(), Some(Refusal::NoClientId));
    for named in ["spiffe://demo.example/agent/b", "client-1", "spiffe://demo.example/agent"] {
        let refused = present(&text, Some(&client(named)), NOW).err();
        let client_id = named.to_owned();
        assert_eq!(refused, Some(Refusal::OtherClient { client_id, id: agent_id() }));
    }
    let several = Audience::Several(vec![ISSUER.to_owned(), "https://other.example".to_owned()]);
    assert_eq!(of(&JwtSvidClaims { aud: several, ..claims() }), Err(Refusal::SeveralAudiences));
    let other = Audience::one("https://other.example");
    let refused = Refusal::Svid(JwtSvidError::Audience { found: other.clone() });
    assert_eq!(of(&JwtSvidClaims { aud: other, ..claims() }), Err(refused));
}

/// req: CRED-05 (part), AUTHN-05 (part)
#[test]
fn s10_3_2_a_jwt_svid_that_does_not_hold_is_refused() {
    let held = |text: &str, now| match present(text, Some(&client(AGENT)), now).map(|_| ()) {
        Err(Refusal::Svid(JwtSvidError::Refused(refused))) => refused,
        other => panic!("{other:?}"),
    };
    let text = sign::<JwtSvid>(&claims(), &authority(), true);
    let (exp, now) = (NOW.plus(LIFE), NOW.plus(LIFE).plus(SKEW));
    assert_eq!(held(&text, now), Refused::Expired { exp, now });
    // The authority of another trust domain vouches for ours.
    let forged = sign::<JwtSvid>(&claims(), &stranger(), true);
    assert_eq!(held(&forged, NOW), Refused::Signature);
    let foreign = SpiffeId::parse("spiffe://unknown.example/agent/a").unwrap();
    let foreign = sign::<JwtSvid>(&JwtSvidClaims { sub: foreign, ..claims() }, &authority(), true);
    assert_eq!(held(&foreign, NOW), Refused::NoKey(NoKey::UnknownIssuer));
    let root = JwtSvidClaims { sub: SpiffeId::parse("spiffe://demo.example").unwrap(), ..claims() };
    let no_path = Refusal::Svid(JwtSvidError::NoPath(root.sub.clone()));
    assert_eq!(of(&root), Err(no_path));
    let noise = present("a.b.c", Some(&client(AGENT)), NOW).err();
    assert!(matches!(noise, Some(Refusal::Svid(JwtSvidError::Malformed(_)))), "{noise:?}");
}
