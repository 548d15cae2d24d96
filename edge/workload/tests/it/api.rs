//! What the methods answer, and with which status.

use std::pin::pin;

use tonic::Code;
use workload::client::{CallError, Client};
use workload::server::Profiles;
use workload::{AUDIENCE_BYTES_MAX, AUDIENCES_MAX, Denied, SecretText};

use crate::world::{AGENT, DOMAIN, OTHER_DOMAIN, World, call, domain, first, id, next, soon};

const PATHS: [&str; 7] = [
    "/SpiffeWorkloadAPI/FetchX509SVID",
    "/SpiffeWorkloadAPI/FetchX509Bundles",
    "/SpiffeWorkloadAPI/FetchJWTSVID",
    "/SpiffeWorkloadAPI/FetchJWTBundles",
    "/SpiffeWorkloadAPI/ValidateJWTSVID",
    "/SpiffeWorkloadAPI/FetchWITSVID",
    "/SpiffeWorkloadAPI/FetchWITBundles",
];
const STREAMS: [&str; 5] = [PATHS[0], PATHS[1], PATHS[3], PATHS[5], PATHS[6]];
const HEADER: (&str, &str) = ("workload.spiffe.io", "true");

fn denied(message: &str) -> CallError {
    CallError::Denied { message: message.to_owned() }
}

/// req: PROV-08 (part)
#[tokio::test]
async fn workload_endpoint_3_the_header_is_there_once_and_true() {
    let world = World::new();
    let channel = world.channel().await;
    let check = async |path, headers: &[(&'static str, &'static str)], passes: bool| {
        let found = call(channel.clone(), path, headers).await;
        let refused = found.is_err_and(|status| {
            status.code() == Code::InvalidArgument && status.message().contains(HEADER.0)
        });
        assert_eq!(refused, !passes, "{path} {headers:?}");
    };
    for path in PATHS {
        check(path, &[], false).await;
        check(path, &[(HEADER.0, "false")], false).await;
        check(path, &[(HEADER.0, "True")], false).await;
        check(path, &[(HEADER.0, "")], false).await;
        check(path, &[(HEADER.0, "true, true")], false).await;
        check(path, &[HEADER, HEADER], false).await;
        check(path, &[HEADER, (HEADER.0, "false")], false).await;
        check(path, &[HEADER], true).await;
    }
    for path in STREAMS {
        assert!(call(channel.clone(), path, &[HEADER]).await.is_ok(), "{path}");
    }
}

/// req: PROV-08 (part)
#[tokio::test]
async fn workload_api_4_3_the_first_answer_comes_at_once_and_the_next_on_change() {
    let world = World::new();
    let mut answers = pin!(world.client().await.x509().await.unwrap());
    let answer = next(&mut answers).await.unwrap().unwrap();
    let svid = &answer.svids[0];
    assert_eq!(svid.spiffe_id, id(&format!("{AGENT}/0")));
    assert_eq!((svid.chain.as_slice(), svid.key.expose()), ([1; 10].as_slice(), [7].as_slice()));
    assert_eq!((svid.bundle.as_slice(), svid.hint.as_deref()), ([8].as_slice(), None));
    assert_eq!(
        (answer.crl, answer.federated[&domain(OTHER_DOMAIN)].as_slice()),
        (vec![vec![6]], &[9][..])
    );

    let waits = tokio::time::timeout(std::time::Duration::from_millis(100), next(&mut answers));
    assert!(waits.await.is_err(), "nothing changed");

    world.change(|now| {
        now.generation = 2;
        now.svids = 2;
        now.federated = false;
    });
    let answer = next(&mut answers).await.unwrap().unwrap();
    assert_eq!(answer.svids.len(), 2);
    assert_eq!(answer.svids[0].chain, [2; 10]);
    assert!(answer.federated.is_empty(), "what an answer lacks is withdrawn");
}

/// req: PROV-08 (part)
#[tokio::test]
async fn workload_api_5_2_1_a_withdrawn_identity_ends_the_stream_with_permission_denied() {
    let world = World::new();
    let client = world.client().await;
    let mut answers = pin!(client.x509().await.unwrap());
    assert!(next(&mut answers).await.unwrap().is_ok());
    world.withdraw();
    assert_eq!(next(&mut answers).await.unwrap().err(), Some(denied("withdrawn")));
    assert!(next(&mut answers).await.is_none());
    assert_eq!(first(client.x509().await).await.err(), Some(denied("withdrawn")));
    assert_eq!(client.jwt(&["a"], None).await.err(), Some(denied("withdrawn")));
    assert_eq!(first(client.wit(None).await).await.err(), Some(denied("withdrawn")));
}

#[tokio::test]
async fn workload_api_5_2_1_an_answer_without_an_identity_is_permission_denied() {
    let world = World::new();
    let client = world.client().await;
    world.change(|now| now.svids = 0);
    assert_eq!(first(client.x509().await).await.err(), Some(denied("no identity")));
    assert_eq!(first(client.wit(None).await).await.err(), Some(denied("no identity")));
    assert_eq!(client.jwt(&["a"], None).await.err(), Some(denied("no identity")));
}

#[tokio::test]
async fn workload_endpoint_6_each_refusal_has_its_code() {
    let world = World::new();
    let client = world.client().await;
    let check = async |refusal: Denied, expect: CallError, retry: bool| {
        world.change(|now| now.denied = Some(refusal));
        let found = first(client.x509_bundles().await).await.err();
        assert_eq!(found.as_ref(), Some(&expect));
        assert_eq!(found.is_some_and(|error| error.may_retry()), retry);
    };
    let message = || "why".to_owned();
    check(Denied::NoIdentity(message()), CallError::Denied { message: message() }, true).await;
    check(Denied::Invalid(message()), CallError::Invalid { message: message() }, false).await;
    let unavailable = CallError::Unavailable { message: message() };
    check(Denied::Unavailable(message()), unavailable, true).await;
    world.change(|now| (now.denied, now.bytes) = (None, 0));
    let incomplete = CallError::Failed {
        code: Code::Internal as i32,
        message: "the answer is incomplete".to_owned(),
    };
    assert_eq!(first(client.x509().await).await.err(), Some(incomplete));
}

#[tokio::test]
async fn workload_api_4_6_bundles_are_keyed_by_trust_domain() {
    let world = World::new();
    let client = world.client().await;
    let x509 = first(client.x509_bundles().await).await.unwrap();
    assert_eq!(x509.bundles[&domain(DOMAIN)], [1]);
    let expect = "{\"keys\":[],\"generation\":1}";
    assert_eq!(first(client.jwt_bundles().await).await.unwrap()[&domain(DOMAIN)], expect);
    let mut wit = pin!(client.wit_bundles().await.unwrap());
    assert_eq!(next(&mut wit).await.unwrap().unwrap()[&domain(DOMAIN)], expect);
    world.change(|now| now.generation = 2);
    assert_ne!(next(&mut wit).await.unwrap().unwrap()[&domain(DOMAIN)], expect);
}

/// req: PROV-08 (part)
#[tokio::test]
async fn workload_api_6_2_1_a_jwt_svid_is_for_an_audience() {
    let world = World::new();
    let client = world.client().await;
    let svids = client.jwt(&["https://tool.example", "b"], None).await.unwrap();
    assert_eq!(svids[0].token.expose(), "https://tool.example+b");
    assert_eq!(svids[0].spiffe_id, id(AGENT));
    let other = id("spiffe://example.org/other");
    let named = client.jwt(&["a"], Some(&other)).await.unwrap();
    assert_eq!(named[0].spiffe_id, other);

    let check = async |audiences: &[&str], expect: &str| {
        let invalid = CallError::Invalid { message: expect.to_owned() };
        assert_eq!(client.jwt(audiences, None).await.err(), Some(invalid));
    };
    let long = "a".repeat(AUDIENCE_BYTES_MAX + 1);
    check(&[], "the message lacks a usable `audience`").await;
    check(&["a", ""], "the message lacks a usable `audience`").await;
    check(&["a"; AUDIENCES_MAX + 1], "17 audiences, at most 16 are taken").await;
    check(&[&long], "an audience is longer than 2048 bytes").await;
    assert!(client.jwt(&["a"; AUDIENCES_MAX], None).await.is_ok());
    assert!(client.jwt(&[&long[1..]], None).await.is_ok());
}

#[tokio::test]
async fn workload_api_6_2_3_a_jwt_svid_is_validated_for_an_audience() {
    let world = World::new();
    let client = world.client().await;
    let token = |text: &str| SecretText::new(text.to_owned());
    let valid = client.validate_jwt("me", &token("good")).await.unwrap();
    assert_eq!((valid.spiffe_id, &valid.claims["aud"]), (id(AGENT), &"me".into()));
    let check = async |audience: &str, text: &str, expect: &str| {
        let found = client.validate_jwt(audience, &token(text)).await.err();
        assert_eq!(found, Some(CallError::Invalid { message: expect.to_owned() }));
    };
    check("me", "bad", "not valid").await;
    check("", "good", "the message lacks a usable `audience`").await;
    check("me", "", "the message lacks a usable `svid`").await;
    let long = "a".repeat(AUDIENCE_BYTES_MAX + 1);
    check(&long, "good", "an audience is longer than 2048 bytes").await;
}

/// req: PROV-10 (part)
#[tokio::test]
async fn workload_api_7_2_1_a_wit_svid_comes_with_its_key_and_is_renewed() {
    let world = World::new();
    let client = world.client().await;
    let mut answers = pin!(client.wit(None).await.unwrap());
    let svid = next(&mut answers).await.unwrap().unwrap().svids.remove(0);
    assert_eq!((svid.spiffe_id, svid.token.expose()), (id(AGENT), "wit 1"));
    assert_eq!(svid.key.expose(), "{\"kty\":\"EC\"}");
    world.change(|now| now.generation = 2);
    let svid = next(&mut answers).await.unwrap().unwrap().svids.remove(0);
    assert_eq!(svid.token.expose(), "wit 2");
    let other = id("spiffe://example.org/other");
    let named = first(client.wit(Some(&other)).await).await.unwrap();
    assert_eq!(named.svids[0].spiffe_id, other);
}

/// req: PROV-10 (part)
#[tokio::test]
async fn workload_api_7_a_profile_that_is_off_is_unimplemented() {
    let check = async |profiles: Profiles| {
        let world = World::with(profiles, true);
        let client = world.client().await;
        let message = "the profile is switched off".to_owned();
        let off = CallError::Unimplemented { message };
        assert!(!off.may_retry());
        let expect = |on: bool| (!on).then_some(&off);
        let token = SecretText::new("good".to_owned());
        let x509 = first(client.x509().await).await.err();
        assert_eq!(x509.as_ref(), expect(profiles.x509));
        let bundles = first(client.x509_bundles().await).await.err();
        assert_eq!(bundles.as_ref(), expect(profiles.x509));
        assert_eq!(client.jwt(&["a"], None).await.err().as_ref(), expect(profiles.jwt));
        let bundles = first(client.jwt_bundles().await).await.err();
        assert_eq!(bundles.as_ref(), expect(profiles.jwt));
        let validated = client.validate_jwt("a", &token).await.err();
        assert_eq!(validated.as_ref(), expect(profiles.jwt));
        assert_eq!(first(client.wit(None).await).await.err().as_ref(), expect(profiles.wit));
        let bundles = first(client.wit_bundles().await).await.err();
        assert_eq!(bundles.as_ref(), expect(profiles.wit));
    };
    check(Profiles::ALL).await;
    check(Profiles { wit: false, ..Profiles::ALL }).await;
    check(Profiles { x509: false, ..Profiles::ALL }).await;
    check(Profiles { jwt: false, ..Profiles::ALL }).await;
}

#[tokio::test]
async fn workload_api_5_2_1_a_hint_is_sent_once() {
    let world = World::new();
    let client = world.client().await;
    world.change(|now| (now.svids, now.hints) = (3, vec!["internal", "external", "internal"]));
    let svids = first(client.x509().await).await.unwrap().svids;
    let hints: Vec<_> = svids.iter().map(|svid| svid.hint.as_deref()).collect();
    assert_eq!(hints, [Some("internal"), Some("external"), None], "no identity is lost by it");
    let svids = first(client.wit(None).await).await.unwrap().svids;
    let hints: Vec<_> = svids.iter().map(|svid| svid.hint.as_deref()).collect();
    assert_eq!(hints, [Some("internal"), Some("external"), None]);
}

#[tokio::test]
async fn workload_endpoint_5_what_a_process_opened_ends_with_it() {
    let world = World::new();
    let client = world.client().await;
    let mut answers = pin!(client.x509().await.unwrap());
    assert!(next(&mut answers).await.unwrap().is_ok());
    let waiting = client.clone();
    let waits = tokio::spawn(async move {
        waiting.validate_jwt("a", &SecretText::new("wait".to_owned())).await.err()
    });
    world.exit();
    let exited = denied("the process that connected has exited");
    assert_eq!(next(&mut answers).await.unwrap().err(), Some(exited.clone()));
    assert!(next(&mut answers).await.is_none());
    assert_eq!(soon(waits).await.unwrap(), Some(exited.clone()));
    assert_eq!(client.jwt(&["a"], None).await.err(), Some(exited.clone()));
    assert_eq!(first(client.x509().await).await.err(), Some(exited));
}

#[tokio::test]
async fn workload_endpoint_5_a_process_that_cannot_be_told_gets_nothing() {
    let world = World::with(Profiles::ALL, false);
    match soon(Client::connect(&world.address())).await {
        Ok(client) => {
            let refused = client.jwt(&["a"], None).await.err();
            assert!(refused.is_some_and(|error| !matches!(error, CallError::Denied { .. })));
        }
        Err(error) => assert!(error.may_retry()),
    }
}
