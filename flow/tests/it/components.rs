//! Nodes and gateways towards the server: renewal, leave to sign, the feed.

use env::rows::{DomainEpoch, Holding, InForce};
use env::{Keys, PeerFault, Peers, Purpose, RenewOrder, Seq, World};
use flow::{delegate, feed, renew};
use jose::Algorithm;
use monitoring::Event;
use provisioning::{Act, NotInForce};
use registry::AgentRecord;
use testkit::fixture::{Domain, certificate_request, registration, story};
use testkit::{Host, Sim};
use time::Span;
use wimse::WorkloadId;

use crate::issue::suspend_node;

/// Whom a host's certificate names, and its epoch.
fn shown(host: &Host) -> (WorkloadId, Option<u64>) {
    let leaf = x509::Certificate::parse(&host.link().shown().0[0]).unwrap();
    (WorkloadId::parse(&leaf.uri_names()[0]).unwrap(), leaf.epoch())
}

fn stranger() -> WorkloadId {
    WorkloadId::parse("spiffe://demo.example/aims/node/join_token/x").unwrap()
}

fn check_recorded(domain: &Domain, event: Event, check: &str) {
    let last = domain.server.journal().last().unwrap();
    assert_eq!((last.event, last.why.unwrap().check.as_str()), (event, check));
}

/// req: PROV-02 (part), CRED-11 (part), PROV-07 (part)
#[test]
fn s8_a_component_renews_with_a_new_key_or_not_at_all() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let (node, epoch) = shown(&domain.node);
        let request = certificate_request();
        let ask = async |id: &WorkloadId, epoch, request: &[u8]| {
            let order = RenewOrder { request: request.to_vec() };
            let end = renew::renew(&*server, id, epoch, order).await.unwrap().into_value();
            if let Err(refusal) = &end {
                check_recorded(&domain, Event::NodeRenewed, refusal.check());
            }
            end.map(|renewed| renewed.chain)
        };
        let chain = ask(&node, epoch, &request).await.unwrap();
        assert_eq!(x509::Certificate::parse(&chain[0]).unwrap().uri_names(), [node.to_string()]);
        assert_eq!(ask(&node, epoch, &request).await, Err(renew::Refusal::SameKey));
        let unknown = renew::Refusal::Unknown(stranger());
        assert_eq!(ask(&stranger(), epoch, &request).await, Err(unknown));
        let garbled = ask(&node, epoch, &request[..40]).await.unwrap_err();
        assert!(matches!(garbled, renew::Refusal::Request(_)), "{garbled}");
        let fresh = certificate_request();
        let old = ask(&node, Some(0), &fresh).await.unwrap_err();
        assert!(matches!(old, renew::Refusal::NotInForce(NotInForce::Epoch { .. })), "{old}");
        suspend_node(&domain, &node);
        let ended = ask(&node, epoch, &fresh).await.unwrap_err();
        assert!(matches!(ended, renew::Refusal::NotInForce(NotInForce::State { .. })), "{ended}");
    });
}

/// req: AUTHZ-12 (part)
#[test]
fn s10_4_only_a_gateway_in_force_may_sign_transaction_tokens() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let keys = domain.gateway.keys();
        let (_, public) = keys.generate(Purpose::Component, Algorithm::Es256).await.unwrap();
        let ask = async |(id, epoch): (WorkloadId, Option<u64>)| {
            let end = delegate::delegate(&*server, &id, epoch, public.to_jwk()).await.unwrap();
            if let Err(refusal) = end.value() {
                check_recorded(&domain, Event::KeyRotated, refusal.check());
            }
            end.into_value()
        };
        let (node, gateway) = (shown(&domain.node), shown(&domain.gateway));
        let not_a_gateway = delegate::Refusal::NotAGateway(node.0.clone());
        assert_eq!(ask(node).await.unwrap_err(), not_a_gateway);
        let unknown = delegate::Refusal::NotAGateway(stranger());
        assert_eq!(ask((stranger(), Some(9))).await.unwrap_err(), unknown);
        let given = ask(gateway.clone()).await.unwrap();
        let ring = domain.ring(Purpose::TxnToken);
        let key = ring.keys.iter().find(|key| key.kid == given.kid).unwrap();
        assert_eq!(key.holder.as_deref(), Some(gateway.0.as_str()));
        let taken = delegate::Refusal::Taken(given.kid.as_str().to_owned());
        assert_eq!(ask(gateway.clone()).await.unwrap_err(), taken);
        suspend_node(&domain, &gateway.0);
        assert_eq!(ask(gateway).await.unwrap_err().check(), "delegate::NotInForce");
    });
}

/// A gateway that starts again and again takes no signing key away from the server.
#[test]
fn s10_4_a_gateway_that_restarts_often_keeps_others_signing() {
    let sim = Sim::new(testkit::Seed(1));
    sim.run(async {
        let domain = Domain::start(&sim).await;
        for _ in 0..20 {
            domain.restart_gateway();
            domain.sync().await;
        }
        let ring = domain.ring(Purpose::TxnToken);
        assert!(ring.signer(domain.now()).is_some());
        assert!(ring.keys.len() <= credential::authority::KEYS_MAX);
    });
}

/// req: OBS-04 (part)
#[test]
fn s11_the_feed_tells_each_component_what_it_must_know_and_no_more() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let mut elsewhere = registration("elsewhere", &[]);
        elsewhere.rule.nodes = vec![stranger()];
        domain.register(registration("clerk", &[])).await;
        domain.register(elsewhere).await;
        let agents = |host: &Host| {
            let known = host.world().store().every::<AgentRecord>();
            known.iter().map(|agent| agent.entry.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(agents(&domain.node), ["clerk"]);
        assert_eq!(agents(&domain.gateway), ["clerk", "elsewhere"]);
        let purposes = |host: &Host| {
            let rings = host.world().store().every::<credential::KeyRing>();
            rings.iter().map(|ring| ring.purpose).collect::<Vec<_>>()
        };
        assert_eq!(purposes(&domain.node), []);
        assert_eq!(purposes(&domain.gateway), [Purpose::AccessToken, Purpose::TxnToken]);
        assert!(domain.node.world().store().single::<InForce>(InForce::ID).is_some());
        assert_eq!(domain.node.world().store().every::<Holding>().len(), 0);
        assert_eq!(domain.feed(&domain.node).await, Ok(false), "a heartbeat");
        domain.act("clerk", Act::Suspend).await;
        let epoch = domain.gateway.world().store().single::<DomainEpoch>(DomainEpoch::ID);
        assert_eq!(epoch.unwrap().epoch.0, 2);
    });
}

/// req: PROV-06 (part)
#[test]
fn s8_a_component_that_is_not_in_force_is_not_fed() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let unknown = feed::next(&*server, &stranger(), Some(1), Seq(0)).await.unwrap();
        assert_eq!(unknown.unwrap_err(), feed::Refusal::Unknown(stranger()));
        let (node, epoch) = shown(&domain.node);
        assert!(feed::next(&*server, &node, epoch, Seq(0)).await.unwrap().unwrap().anew);
        let old = feed::next(&*server, &node, None, Seq(0)).await.unwrap();
        assert!(matches!(old, Err(feed::Refusal::NotInForce(NotInForce::Epoch { .. }))));
        suspend_node(&domain, &node);
        let ended = feed::next(&*server, &node, epoch, Seq(0)).await.unwrap();
        assert!(matches!(ended, Err(feed::Refusal::NotInForce(NotInForce::State { .. }))));
        // Its own requests end as well: it hears why.
        let order = RenewOrder { request: certificate_request() };
        let fault = domain.node.world().peers().renew(order).await.unwrap_err();
        assert!(matches!(fault, PeerFault::Refused { check, .. } if check == "renew::NotInForce"));
    });
}

/// Whoever asks with a certificate that ended is nobody.
/// req: AUTHN-01 (part)
#[test]
fn s9_1_a_component_whose_certificate_ended_gets_no_answer() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        sim.sleep(Span::from_seconds(3_700)).await;
        assert!(matches!(domain.feed(&domain.node).await, Err(PeerFault::Unavailable(_))));
        let role = attestation::mechanism::Role::Node;
        domain.join(&domain.node, role, "host-1").await.unwrap();
        domain.feed(&domain.node).await.unwrap();
    });
}

/// What a node no longer may host is forgotten there.
#[test]
fn s8_an_agent_that_moved_to_other_nodes_is_forgotten() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let mut agent = domain.register(registration("clerk", &[])).await;
        assert_eq!(domain.node.world().store().every::<AgentRecord>().len(), 1);
        agent.entry.rule.nodes = vec![stranger()];
        domain.server.world().store().put(&agent);
        domain.sync().await;
        assert_eq!(domain.node.world().store().every::<AgentRecord>().len(), 0);
    });
}

/// A feed that begins anew says all there is: what it does not tell is no longer there.
#[test]
fn s11_a_feed_that_begins_anew_replaces_what_was_known() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        domain.register(registration("other", &[])).await;
        let (server, gateway) = (domain.server.world(), domain.gateway.world());
        let (id, epoch) = shown(&domain.gateway);
        let mut all = feed::next(&*server, &id, epoch, Seq(0)).await.unwrap().unwrap();
        assert!(all.anew);
        all.rows.retain(|row| !row.id.ends_with("/other"));
        feed::apply(&*gateway, all).await.unwrap();
        let known = gateway.store().every::<AgentRecord>();
        let names: Vec<_> = known.iter().map(|agent| agent.entry.name.to_string()).collect();
        assert_eq!(names, ["clerk"]);
    });
}

/// Whoever waits for news is not woken by a heartbeat.
///
/// req: OBS-04 (part)
#[test]
fn s12_a_heartbeat_is_no_news_and_a_row_is() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let node = domain.node.world();
        let told = feed::told(&*node).await.unwrap();
        for _ in 0..3 {
            sim.sleep(Span::from_seconds(1)).await;
            domain.sync().await;
            assert_eq!(feed::told(&*node).await.unwrap(), told);
        }
        domain.register(registration("clerk", &[])).await;
        feed::news(&*node, told).await.unwrap();
        let registered = feed::told(&*node).await.unwrap();
        domain.act("clerk", Act::Suspend).await;
        feed::news(&*node, registered).await.unwrap();
        assert!(told < registered && registered < feed::told(&*node).await.unwrap());
    });
}
