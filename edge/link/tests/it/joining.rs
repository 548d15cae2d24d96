//! How a host becomes one of ours, and how it does not.

use attestation::mechanism::Role;
use attestation::x509pop;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use env::{Clock, PeerFault};
use link::JoinOrder;
use monitoring::Event;
use tokio_stream::StreamExt;
use tonic::Code;
use wimse::{Bundles, Wic};
use x509::{Certificate, Purpose};

use crate::domain::{Domain, request, token_order};
use crate::raw::Raw;
use crate::wire;
use crate::world::{TestClock, TestKeys, random};

fn refusal<T: std::fmt::Debug>(result: Result<T, PeerFault>) -> (String, String) {
    match result.unwrap_err() {
        PeerFault::Refused { check, message } => (check, message),
        PeerFault::Unavailable(why) => panic!("{why}"),
    }
}

/// req: AUTHN-01 (part)
/// req: PROV-01 (part)
#[tokio::test]
async fn s7_a_host_joins_by_token_and_gets_an_svid() {
    let domain = Domain::start().await;
    let token = domain.token(Role::Gateway, "edge-1").await;
    let (keys, clock) = (TestKeys::default(), TestClock::default());
    let (_, csr) = request(&keys).await;
    let joined = domain.join(token_order(Role::Gateway, &token, csr), &clock).await.unwrap();
    assert_eq!(joined.id.as_str(), "spiffe://td.example/aims/gateway/join_token/edge-1");
    let mut bundles = Bundles::new();
    bundles.insert(joined.id.origin(), joined.bundle.clone());
    let chain: Vec<_> = joined.chain.iter().map(|der| Certificate::parse(der).unwrap()).collect();
    let wic = Wic::verify(&chain, &bundles, Purpose::Client, clock.now()).unwrap();
    assert_eq!(wic.workload_id(), &joined.id);
}

/// Past defect 23: a join token used twice.
#[tokio::test]
async fn s7_a_join_token_serves_once_also_when_used_twice_at_the_same_time() {
    let domain = Domain::start().await;
    let token = domain.token(Role::Node, "host-1").await;
    let clock = TestClock::default();
    let attempt = || async {
        let (_, csr) = request(&TestKeys::default()).await;
        domain.join(token_order(Role::Node, &token, csr), &clock).await
    };
    let tries = tokio::join!(attempt(), attempt(), attempt(), attempt());
    let tries = [tries.0, tries.1, tries.2, tries.3];
    let (won, lost): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for one in lost {
        assert_eq!(refusal(one).0, "attestation::TokenUsed");
    }
    let (check, message) = refusal(attempt().await);
    assert_eq!(check, "attestation::TokenUsed");
    assert!(message.contains("used at"), "{message}");
    let recorded = domain.world.store.records();
    let recorded = recorded.iter().filter(|record| record.event == Event::NodeAttested).count();
    assert_eq!(recorded, 5);
}

#[tokio::test]
async fn s7_a_stranger_is_told_nothing_and_counted() {
    let domain = Domain::start().await;
    let check = async |order: JoinOrder, counted: &str| {
        let (check, message) = refusal(domain.join(order, &TestClock::default()).await);
        assert_eq!(check, "link::PermissionDenied");
        assert_eq!(message, "the attempt to join was refused; ask the operator");
        domain.counted(counted).await;
    };
    let (_, csr) = request(&TestKeys::default()).await;
    let unknown = token_order(Role::Node, "no-such-token", csr.clone());
    check(unknown.clone(), "attestation::TokenUnknown").await;
    let mechanism = "carrier_pigeon".to_owned();
    check(JoinOrder { mechanism, ..unknown }, "attestation::Evidence").await;
    let token = domain.token(Role::Node, "host-1").await;
    let unproved = token_order(Role::Node, &token, b"no request".to_vec());
    check(unproved, "join::Request").await;
    let records = domain.world.store.records();
    assert!(records.iter().all(|record| record.event != Event::NodeAttested));
}

/// req: ATT-12 (part)
/// req: ATT-02 (part)
#[tokio::test]
async fn s7_a_challenge_is_answered_in_the_same_stream() {
    let domain = Domain::start().await;
    let clock = TestClock::default();
    let (_, handle, leaf, keys) =
        domain.manufacturer.svid("spiffe://manufacturer.example/device/7").await;
    let evidence = x509pop::Evidence { certificates: vec![STANDARD.encode(&leaf)] };
    let evidence = serde_json::to_vec(&evidence).unwrap();
    let (handle, evidence) = (&handle, &evidence);
    let attempt = async |forged: bool| {
        let (_, csr) = request(&TestKeys::default()).await;
        let mechanism = "x509pop".to_owned();
        let evidence = evidence.clone();
        let order = JoinOrder { mechanism, role: Role::Node, evidence, request: csr };
        let answer = |challenge: Vec<u8>| async move {
            let challenge: x509pop::Challenge = serde_json::from_slice(&challenge).unwrap();
            let ours: [u8; 32] = random();
            let theirs = STANDARD.decode(challenge.nonce).unwrap();
            let said = if forged { b"else".to_vec() } else { [theirs.as_slice(), &ours].concat() };
            let signature = keys.private(handle).sign(&said);
            let signature = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
            let (nonce, signature) = (STANDARD.encode(ours), STANDARD.encode(signature));
            Ok(serde_json::to_vec(&x509pop::Response { nonce, signature }).unwrap())
        };
        let (address, trust) = (domain.address(), domain.trust().await);
        let server = Domain::server_id();
        link::join(&address, &server, trust, clock.now(), order, answer).await
    };
    let joined = attempt(false).await.unwrap();
    assert!(joined.id.path().starts_with("/aims/node/x509pop/"), "{}", joined.id);
    // A certificate is public: who has not its key is a stranger.
    assert_eq!(refusal(attempt(true).await).0, "link::PermissionDenied");
    domain.counted("attestation::Signature").await;
}

#[tokio::test]
async fn attempts_are_read_in_turn_bounded_and_rationed() {
    let domain = Domain::start().await;
    let mut raw = Raw::open(&domain.address, None).await;
    let mut said = async |said: Vec<wire::join_request::Said>| {
        let said = said.into_iter().map(|said| wire::JoinRequest { said: Some(said) });
        let said: Vec<_> = said.collect();
        let mut answers = raw.calls.join(tokio_stream::iter(said)).await?.into_inner();
        answers.next().await.unwrap()
    };
    use wire::join_request::Said;
    let attempt = |bytes| wire::Attempt {
        mechanism: "join_token".to_owned(),
        role: wire::Role::Node.into(),
        evidence: vec![0; bytes],
        csr: vec![1],
    };
    let (long, longer) = (attempt(70_000), attempt(200_000));
    for (sent, expect, message) in [
        (vec![Said::Response(vec![1])], Code::InvalidArgument, "`response` is not said now"),
        (vec![Said::Attempt(long)], Code::InvalidArgument, "`evidence` has 70000 bytes"),
        (vec![Said::Attempt(longer)], Code::OutOfRange, "too large"),
        (vec![], Code::InvalidArgument, "no `said`"),
    ] {
        let status = said(sent).await.unwrap_err();
        assert_eq!(status.code(), expect, "{status:?}");
        assert!(status.message().contains(message), "{status:?}");
    }
    domain.counted("link::Malformed").await;
    let mut codes = Vec::new();
    for _ in 0..2_000 {
        let code = said(vec![Said::Attempt(attempt(9))]).await.unwrap_err().code();
        codes.push(code);
        if code == Code::ResourceExhausted {
            break;
        }
    }
    assert_eq!(codes.last(), Some(&Code::ResourceExhausted), "{}", codes.len());
    assert!(codes.len() > 200, "{}", codes.len());
    domain.counted("link::Rate").await;
}
