//! Pushed requests and request objects.

use access::token::asker::Asker;
use authorization::interaction::{Over, Pushed};
use consent::push::{self, End};
use consent::{Begun, PageFault, Settled, Shown};
use env::World;
use jose::{Algorithm, KeySet, PrivateKey, SigningInput};
use monitoring::{Event, Outcome};
use oauth::form::Form;
use oauth::pushed::PushedResponse;
use oauth::request_object::{RequestObject, RequestObjectClaims};
use registry::{ClientRecord, ClientState, Metadata};
use serde_json::{Value, json};
use testkit::boxed;
use testkit::fixture::{DpopKey, GATEWAY, ISSUER, by_key, credentials, story};

use crate::house::{BACK, CHALLENGE, CLIENT, House, browser, invoices, part, query, told};

const MANY: usize = 100;

pub(crate) fn key() -> PrivateKey {
    let made = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws_lc_rs::rand::SystemRandom::new(),
    );
    PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap()
}

fn keys(key: &PrivateKey) -> KeySet {
    KeySet::new(vec![key.public().to_jwk()]).unwrap()
}

/// A house whose client has this key.
async fn open(sim: &testkit::Sim, key: &PrivateKey) -> House {
    let house = House::open(sim).await;
    house.client(|client| with_key(client, key));
    house
}

/// Lets the client prove itself by this key, and sign with it.
pub(crate) fn with_key(client: &mut ClientRecord, key: &PrivateKey) {
    let mut members = client.metadata.members().clone();
    members.insert("token_endpoint_auth_method".to_owned(), "private_key_jwt".into());
    members.insert("jwks".to_owned(), serde_json::to_value(keys(key)).unwrap());
    members.remove("spiffe_id");
    *client = client.with_metadata(Metadata::new(&members).unwrap());
}

pub(crate) async fn push(house: &House, key: &PrivateKey, jti: &str, body: &str) -> End {
    let now = house.domain.now();
    let proof = by_key(CLIENT, key, jti, credentials("https://a.example", "x"), now);
    let asker = Asker {
        client: proof.client,
        attestation: None,
        dpop: Vec::new(),
        path: "/par".to_owned(),
        certificates: Vec::new(),
        source: "192.0.2.1".to_owned(),
    };
    push::push(&*house.world(), &house.shares, asker, Form::parse(body.as_bytes()).unwrap())
        .await
        .unwrap()
}

/// A request that is pushed with a DPoP proof.
pub(crate) async fn push_with(
    house: &House,
    key: &PrivateKey,
    jti: &str,
    body: &str,
    dpop: Vec<u8>,
) -> End {
    let proof = by_key(CLIENT, key, jti, credentials("https://a.example", "x"), house.domain.now());
    let asker = Asker {
        client: proof.client,
        attestation: None,
        dpop: vec![dpop],
        path: "/par".to_owned(),
        certificates: Vec::new(),
        source: "192.0.2.1".to_owned(),
    };
    push::push(&*house.world(), &house.shares, asker, Form::parse(body.as_bytes()).unwrap())
        .await
        .unwrap()
}

/// RFC 9449 §10.1: the proof stands for `dpop_jkt`; where both are there, both say the same.
///
/// req: AUTHZ-10 (part)
#[test]
fn rfc9449_10_1_a_proof_stands_for_the_key_of_the_request() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        let (dpop, other) = (DpopKey::new(&house.domain), DpopKey::new(&house.domain));
        let url = format!("{ISSUER}/par");
        let proof = |of: &DpopKey| of.proof(("POST", &url), None, None, house.domain.now());
        let refusal = |end: End| match end {
            End::Decided(recorded) => recorded.into_value().err().map(|refusal| refusal.check()),
            other => panic!("{other:?}"),
        };
        let plain = invoices("invoices.read");
        let stored = || {
            let all = house.world().store().every::<Pushed>();
            all.iter().map(|one| one.parameters.clone()).collect::<Vec<_>>()
        };
        assert_eq!(refusal(push_with(&house, &key, "1", &plain, proof(&dpop)).await), None);
        let named = format!("dpop_jkt={}", dpop.thumbprint());
        assert!(stored().iter().all(|one| one.contains(&named)), "{:?}", stored());
        let same = format!("{plain}&{named}");
        assert_eq!(refusal(push_with(&house, &key, "2", &same, proof(&dpop)).await), None);
        let end = push_with(&house, &key, "3", &same, proof(&other)).await;
        assert_eq!(refusal(end), Some("push::OtherKey"));
        // A proof for somewhere else, and one that was shown before, prove nothing.
        let elsewhere =
            dpop.proof(("POST", &format!("{ISSUER}/token")), None, None, house.domain.now());
        let end = push_with(&house, &key, "4", &plain, elsewhere).await;
        assert_eq!(refusal(end), Some("push::Dpop"));
        let once = proof(&dpop);
        assert_eq!(refusal(push_with(&house, &key, "5", &plain, once.clone()).await), None);
        let end = push_with(&house, &key, "6", &plain, once).await;
        assert_eq!(refusal(end), Some("push::DpopReplayed"));
    });
}

pub(crate) fn kept(end: End) -> PushedResponse {
    match end {
        End::Decided(recorded) => recorded.into_value().unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn refused(end: End) -> push::Refusal {
    match end {
        End::Decided(recorded) => recorded.into_value().unwrap_err(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn by_reference(response: &PushedResponse) -> String {
    format!("client_id={CLIENT}&request_uri={}", response.request_uri.as_str())
}

/// req: AUTHZ-10 (part)
#[test]
fn rfc9126_4_a_pushed_request_serves_once() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let pushed = kept(push(&house, &key, "j1", &invoices("invoices.read")).await);
        assert_eq!(pushed.expires_in, 90);
        let records = house.domain.server.journal().of(Event::AuthorizationRequested);
        assert_eq!(records.last().unwrap().outcome, Outcome::Permitted);
        assert_eq!(records.last().unwrap().agent.as_deref(), Some(CLIENT));
        let row = house.world().store().every::<Pushed>();
        assert!(!serde_json::to_string(&*row[0]).unwrap().contains(pushed.request_uri.as_str()));
        let query = by_reference(&pushed);
        // Loaded twice, as by a browser that begins anew: one answer.
        let (one, two) = (house.begun(&here, &query).await, house.begun(&here, &query).await);
        let asking = house.asking(&here, &one).await;
        // What stands outside does not count.
        assert_eq!(asking.targets[0].scope_set().to_string(), "invoices.read");
        // It had to be begun in time, not answered in time.
        house.forth(91);
        let settled = house.answer(&here, &one, Some(asking.whole()), asking.seen()).await;
        assert!(matches!(settled, Settled::Reply(_)), "{settled:?}");
        let shown = house.show(&here, &two).await;
        assert!(matches!(shown, Shown::Over(Over::Answered { .. })), "{shown:?}");
        let fault = house.begin(&here, &query).await;
        assert!(matches!(fault, Begun::Page(PageFault::Pushed(_))), "{fault:?}");
    });
}

/// Defect: after a no in one tab the other said that something was allowed.
#[test]
fn rfc9126_7_3_what_was_refused_in_one_tab_is_refused_in_the_other() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let pushed = kept(push(&house, &key, "j1", &invoices("invoices.read")).await);
        let query = by_reference(&pushed);
        let (one, two) = (house.begun(&here, &query).await, house.begun(&here, &query).await);
        let asking = house.asking(&here, &one).await;
        // Both at once: one is heard, and both say the same.
        let settled = sim
            .all(vec![
                boxed(house.answer(&here, &one, None, asking.seen())),
                boxed(house.answer(&here, &two, None, asking.seen())),
            ])
            .await;
        let over = settled.iter().filter(|one| matches!(one, Settled::Over(_))).count();
        assert_eq!(over, 1, "{settled:?}");
        for one in &settled {
            let said = !matches!(one, Settled::Over(Over::Answered { allowed: true, .. }));
            assert!(said, "{one:?}");
        }
        for name in [one, two] {
            let shown = house.show(&here, &name).await;
            let Shown::Over(Over::Answered { allowed, .. }) = shown else { panic!("{shown:?}") };
            assert!(!allowed);
        }
    });
}

#[test]
fn rfc9126_2_2_a_reference_is_of_one_client_and_ends() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        house.client(|client| client.client_id = "client-other".to_owned());
        house.client(|client| with_key(client, &key));
        let here = browser("a", None);
        let pushed = kept(push(&house, &key, "j1", &invoices("invoices.read")).await);
        let other = by_reference(&pushed).replace(CLIENT, "client-other");
        let fault = house.begin(&here, &other).await;
        let Begun::Page(fault) = fault else { panic!("{fault:?}") };
        assert!(fault.to_string().contains("of another client"), "{fault}");
        house.forth(90);
        let Begun::Page(fault) = house.begin(&here, &by_reference(&pushed)).await else {
            panic!("not refused")
        };
        assert!(fault.to_string().contains("expired"), "{fault}");
    });
}

/// RFC 9126 §2.1: "Validate the pushed request as it would an authorization request".
#[test]
fn rfc9126_2_1_what_is_pushed_is_looked_at_at_once() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        let plain = query("&scope=openid");
        let cases = [
            (plain.replace("S256", "plain"), "invalid_request", "authorize::Request"),
            (plain.replace(BACK, "https://evil.example"), "invalid_request", "authorize::Redirect"),
            (query("&scope=nothing"), "invalid_scope", "authorize::Request"),
            (format!("{plain}&request_uri=urn:a:b"), "invalid_request", "authorize::Parameter"),
            (plain.replace(CLIENT, "client-other"), "invalid_request", "push::OtherClient"),
        ];
        for (at, (body, error, check)) in cases.into_iter().enumerate() {
            let refusal = refused(push(&house, &key, &format!("j{at}"), &body).await);
            assert_eq!((refusal.code().as_str(), refusal.check()), (error, check), "{refusal}");
            let record = house.domain.server.journal().last().unwrap();
            assert_eq!(record.why.unwrap().check, check);
        }
        // The proof of the client is no part of what it asks, and serves once.
        kept(push(&house, &key, "again", &format!("{plain}&client_assertion=a.b.c")).await);
        assert!(!house.world().store().every::<Pushed>()[0].parameters.contains("assertion"));
        let refusal = refused(push(&house, &key, "again", &plain).await);
        assert_eq!(refusal, push::Refusal::Replayed);
        // Whoever has another key has proved nothing.
        let end = push(&house, &self::key(), "j9", &plain).await;
        assert!(matches!(end, End::Stranger(_)), "{end:?}");
    });
}

/// docs/past-defects.md, family 1.
#[test]
fn of_many_answers_to_one_pushed_request_one_is_served() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let pushed = kept(push(&house, &key, "j1", &invoices("invoices.read")).await);
        let mut names = Vec::new();
        for _ in 0..MANY {
            names.push(house.begun(&here, &by_reference(&pushed)).await);
        }
        let asking = house.asking(&here, &names[0]).await;
        let answers = names
            .iter()
            .map(|name| boxed(house.answer(&here, name, Some(asking.whole()), asking.seen())));
        let settled = sim.all(answers.collect()).await;
        let replies = settled.iter().filter(|one| matches!(one, Settled::Reply(_))).count();
        assert_eq!((replies, house.grants().len(), house.codes().len()), (1, 1, 1));
    });
}

fn object(key: &PrivateKey, more: &Value) -> String {
    let mut claims = json!({
        "client_id": CLIENT, "iss": CLIENT, "aud": ISSUER, "response_type": "code",
        "redirect_uri": BACK, "state": "inside", "code_challenge": CHALLENGE,
        "code_challenge_method": "S256", "scope": "invoices.read",
        "resource": format!("{GATEWAY}/invoices"),
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let claims: RequestObjectClaims = serde_json::from_value(claims).unwrap();
    let input = SigningInput::<RequestObject>::new(Algorithm::Es256, None, &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

/// RFC 9101 §6.3: "MUST only use the parameters in the Request Object".
///
/// req: AUTHZ-10 (part)
#[test]
fn rfc9101_6_3_what_the_client_signed_is_what_counts() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        let cookie = house.sign_in(&browser("a", None), "ada").await;
        let here = browser("a", Some(&cookie));
        let signed = object(&key, &json!({}));
        let outside = format!("client_id={CLIENT}&scope=invoices.pay&state=out&request={signed}");
        let name = house.begun(&here, &outside).await;
        let asking = house.asking(&here, &name).await;
        assert_eq!(asking.targets[0].scope_set().to_string(), "invoices.read");
        let location = house.allow(&here, &outside).await;
        assert_eq!(part(&location, "state"), Some("inside"));
        let now = house.domain.now().seconds();
        for (object, says) in [
            (object(&self::key(), &json!({})), "authorize::Object"),
            (object(&key, &json!({ "aud": "https://other.example" })), "authorize::Object"),
            (object(&key, &json!({ "exp": now - 60 })), "authorize::Object"),
            (object(&key, &json!({ "client_id": "client-other" })), "authorize::Object"),
            (format!("{}A", object(&key, &json!({}))), "authorize::Object"),
        ] {
            let begun = house.begin(&here, &format!("client_id={CLIENT}&request={object}")).await;
            let Begun::Page(fault) = begun else { panic!("{begun:?}") };
            assert_eq!(fault.check(), says, "{fault}");
        }
        // Demanded by the client: FAPI 2.0 Message Signing §5.3.1 then, and nothing unsigned.
        house.client(|client| {
            with_key(client, &key);
            client.redirects.as_mut().unwrap().require_signed = true;
        });
        let (location, _) = told(house.begin(&here, &invoices("invoices.read")).await);
        assert_eq!(part(&location, "error"), Some("invalid_request"));
        let begun = house.begin(&here, &format!("client_id={CLIENT}&request={signed}")).await;
        assert!(matches!(begun, Begun::Page(PageFault::Object(_))), "{begun:?}");
        let whole = object(&key, &json!({ "nbf": now, "exp": now + 60 }));
        house.begun(&here, &format!("client_id={CLIENT}&request={whole}")).await;
        let pushed = kept(push(&house, &key, "j1", &format!("request={whole}")).await);
        house.begun(&here, &by_reference(&pushed)).await;
    });
}

/// docs/past-defects.md 8.
#[test]
fn past_defect_08_a_disabled_client_pushes_nothing() {
    story(|sim| async move {
        let key = key();
        let house = open(&sim, &key).await;
        house.client(|client| {
            with_key(client, &key);
            client.state = ClientState::Disabled;
        });
        let refusal = refused(push(&house, &key, "j1", &invoices("invoices.read")).await);
        assert_eq!(refusal.check(), "authorize::Client", "{refusal}");
        assert!(house.world().store().every::<Pushed>().is_empty());
    });
}
