//! The requests of a component that is proved, over the link as a node and a gateway have it.

use attestation::mechanism::Role;
use attestation::unix::{PeerProof, Process};
use credential::TokenText;
use env::{AssignedCredential, IssueKind, IssueOrder, Keys, PeerFault, Peers, Purpose, RenewOrder};
use oauth::client_attestation_pop::ATTESTATION_FIELD;
use tonic::Code;
use wimse::WorkloadId;

use crate::domain::{Domain, request};
use crate::raw::Raw;
use crate::wire;
use crate::world::TestKeys;

fn check_of<T: std::fmt::Debug>(result: Result<T, PeerFault>) -> String {
    match result.unwrap_err() {
        PeerFault::Refused { check, .. } => check,
        PeerFault::Unavailable(why) => panic!("{why}"),
    }
}

fn order(agent: &WorkloadId, uid: u32, kind: IssueKind) -> IssueOrder {
    let process = Process {
        pid: 7,
        uid,
        gid: 100,
        user: Some("ada".to_owned()),
        group: None,
        supplementary: vec![4],
        path: Some("/opt/agent".to_owned()),
        sha256: Some("ab".repeat(32)),
        supplementary_names: Vec::new(),
        script: None,
        platform: attestation::Selectors::default(),
        peer: PeerProof::Pidfd,
    };
    IssueOrder { agent: agent.clone(), process, kind }
}

/// req: PROV-03 (part)
/// req: CRED-02 (part)
/// req: CRED-03 (part)
/// req: CRED-04 (part)
#[tokio::test]
async fn s8_a_node_gets_credentials_for_what_it_measured() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let agent = domain.register("agent", 0).await.id;
    let (_, csr) = request(&TestKeys::default()).await;
    let ask = async |uid, kind| host.link().issue(order(&agent, uid, kind)).await;
    let x509 = ask(1000, IssueKind::X509 { request: csr.clone() }).await.unwrap();
    assert!(matches!(x509, AssignedCredential::X509 { chain } if chain.len() == 1));
    let wit = ask(1000, IssueKind::Wit { request: csr.clone() }).await.unwrap();
    assert!(matches!(wit, AssignedCredential::Wit { token } if token.expose().contains('.')));
    let audiences = vec!["https://tool.example".to_owned()];
    let jwt = ask(1000, IssueKind::Jwt { audiences }).await.unwrap();
    let now = env::Clock::now(&host.world.clock);
    assert!(matches!(jwt, AssignedCredential::Jwt { expires, .. } if expires > now));
    let other = ask(1001, IssueKind::X509 { request: csr }).await;
    assert_eq!(check_of(other), "provisioning::Evidence");
}

/// req: PROV-02 (part)
/// req: CRED-11 (part)
#[tokio::test]
async fn s8_a_component_renews_with_a_new_key_and_goes_on_with_it() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let (handle, csr) = request(&host.world.keys).await;
    let renewed = host.link().renew(RenewOrder { request: csr.clone() }).await.unwrap();
    let again = host.link().renew(RenewOrder { request: csr.clone() }).await;
    assert_eq!(check_of(again), "renew::SameKey");
    let forward = |seconds| {
        host.world.clock.forward(seconds);
        domain.world.clock.forward(seconds);
    };
    // Half an hour before the first one ends there is a second one, which outlives it.
    forward(1_800);
    domain.renew().await;
    let (later, csr) = request(&host.world.keys).await;
    let second = host.link().renew(RenewOrder { request: csr }).await.unwrap();
    assert_ne!(second.chain, renewed.chain);
    assert_ne!(later, handle);
    host.presented.replace(host.world.keys.certified(second.chain, &later));
    forward(1_900);
    let (_, csr) = request(&host.world.keys).await;
    host.link().renew(RenewOrder { request: csr }).await.unwrap();
}

/// req: AUTHZ-12 (part)
#[tokio::test]
async fn s10_4_a_gateway_gets_leave_to_sign_and_a_node_does_not() {
    let domain = Domain::start().await;
    let node = domain.host(Role::Node, "host-1").await;
    let gateway = domain.host(Role::Gateway, "edge-1").await;
    let keys = TestKeys::default();
    let generated = keys.generate(Purpose::TxnToken, flow::sign::ALGORITHM).await;
    let public = generated.unwrap().1.to_jwk();
    assert_eq!(check_of(node.link().delegate(public.clone()).await), "delegate::NotAGateway");
    let leave = gateway.link().delegate(public.clone()).await.unwrap();
    assert_eq!(leave.kid.as_str(), public.thumbprint().to_base64url());
    assert_eq!(check_of(gateway.link().delegate(public).await), "delegate::Taken");
}

#[tokio::test]
async fn a_request_for_a_token_goes_to_the_token_endpoint_with_its_proofs() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let form = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
    let proof = || TokenText::new("proof");
    let answer = host
        .link()
        .token(form, vec![(ATTESTATION_FIELD, proof()), (oauth::dpop::FIELD, proof())])
        .await;
    let (status, body) = answer.unwrap();
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 202, "a field each");
    assert_eq!(body, format!("{} [(\"a\", \"1\"), (\"a\", \"2\")]", host.id));
    let other = host.link().token(vec![], vec![("cookie", proof())]).await;
    assert_eq!(check_of(other), "link::InvalidArgument");
}

#[tokio::test]
async fn messages_over_their_bounds_are_refused() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let (_, csr) = request(&TestKeys::default()).await;
    let mut raw = Raw::open(&domain.address, Some(host.certified.clone())).await;
    let mut renew = async |csr: Vec<u8>| {
        raw.calls
            .renew(wire::RenewRequest { csr })
            .await
            .map(|_| ())
            .map_err(|status| status.code())
    };
    assert_eq!(renew(vec![1; 17_000]).await, Err(Code::InvalidArgument));
    assert_eq!(renew(vec![1; 200_000]).await, Err(Code::OutOfRange));
    assert_eq!(renew(vec![]).await, Err(Code::InvalidArgument));
    // The connection lives on.
    assert_eq!(renew(csr).await, Ok(()));
    let over = host.link().renew(RenewOrder { request: vec![1; 200_000] }).await;
    assert_eq!(check_of(over), "link::OutOfRange");
}

#[tokio::test]
async fn nobody_is_above_a_server() {
    let fault = link::NoPeers.renew(RenewOrder { request: vec![1] }).await.unwrap_err();
    assert!(matches!(fault, PeerFault::Unavailable(_)), "{fault}");
}
