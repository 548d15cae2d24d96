//! The feed, from a change at the server to the row at a node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use attestation::mechanism::Role;
use env::rows::{Feed, TrustRow};
use env::{Change, Clock, Expect, PeerFault, Peers, RenewOrder, Store, Write};
use provisioning::{Act, State};

use crate::domain::{Authority, Domain, Host, eventually, request, row};
use crate::raw::Raw;
use crate::wire;

/// req: PROV-06 (part)
/// req: AUTHN-12 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s11_a_suspension_reaches_a_node_at_once() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let agent = domain.register("worker", 0).await.id.to_string();
    let _following = host.follow();
    host.knows(&agent, State::Active).await;
    let mut times = Vec::new();
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        domain.act("worker", Act::Suspend).await;
        host.knows(&agent, State::Suspended).await;
        times.push(begun.elapsed());
        domain.act("worker", Act::Resume).await;
        host.knows(&agent, State::Active).await;
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_millis(200), "{times:?}");
}

#[tokio::test]
async fn a_silent_feed_says_each_second_that_the_server_lives() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let _following = host.follow();
    let heard = async || row::<_, Feed>(&*host.world, Feed::ID).await.map(|feed| feed.heard);
    eventually(|| async { heard().await.is_some() }, "first word").await;
    let first = heard().await;
    eventually(|| async { heard().await > first }, "second word").await;
}

#[tokio::test]
async fn a_feed_goes_on_after_a_restart_of_the_server() {
    let mut domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let first = domain.register("first", 0).await.id.to_string();
    let _following = host.follow();
    host.knows(&first, State::Active).await;
    domain.stop().await;
    let (_, csr) = request(&host.world.keys).await;
    let down = host.link().renew(RenewOrder { request: csr }).await;
    assert!(matches!(down, Err(PeerFault::Unavailable(_))), "{down:?}");
    let second = domain.register("second", 0).await.id.to_string();
    domain.serve().await;
    host.knows(&second, State::Active).await;
    let answer = async || {
        let (_, csr) = request(&host.world.keys).await;
        host.link().renew(RenewOrder { request: csr }).await.is_ok()
    };
    eventually(|| async { answer().await }, "requests are answered again").await;
}

#[tokio::test]
async fn a_component_that_is_ahead_of_its_server_begins_anew() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let agent = domain.register("worker", 0).await;
    let gone = registry::AgentRecord {
        id: wimse::WorkloadId::parse("spiffe://td.example/agent/gone").unwrap(),
        ..agent.clone()
    };
    let heard = host.world.clock.now();
    let writes = vec![
        Write::put(&Feed { heard, seq: 1_000_000 }, Expect::Any),
        Write::put(&gone, Expect::Any),
    ];
    let change = Change { writes, ..Change::default() };
    host.world.store.commit(change).await.unwrap();
    let _following = host.follow();
    host.knows(agent.id.as_str(), State::Active).await;
    let is_gone = || async { host.agent(gone.id.as_str()).await.is_none() };
    eventually(is_gone, "what the server does not have is forgotten").await;
    let feed = row::<_, Feed>(&*host.world, Feed::ID).await.unwrap();
    assert!(feed.seq < 1_000_000);
}

/// req: PROV-02 (part)
#[tokio::test]
async fn s8_a_feed_moves_to_the_new_credential_before_the_old_one_ends() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let agent = domain.register("worker", 0).await.id.to_string();
    let _following = host.follow();
    host.knows(&agent, State::Active).await;
    let forward = |seconds| {
        host.world.clock.forward(seconds);
        domain.world.clock.forward(seconds);
    };
    forward(1_800);
    let (handle, csr) = request(&host.world.keys).await;
    let renewed = host.link().renew(RenewOrder { request: csr }).await.unwrap();
    host.presented.replace(host.world.keys.certified(renewed.chain, &handle));
    domain.act("worker", Act::Suspend).await;
    host.knows(&agent, State::Suspended).await;
    // The first certificates of both sides are over now.
    domain.renew().await;
    forward(1_900);
    domain.act("worker", Act::Resume).await;
    host.knows(&agent, State::Active).await;
    assert!(host.link().token(vec![], vec![]).await.is_ok());
}

/// req: CRED-12 (part)
#[tokio::test]
async fn a_new_bundle_counts_inside_a_live_connection() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let following = host.follow();
    let known = async || row::<_, TrustRow>(&*host.world, TrustRow::ID).await;
    eventually(|| async { known().await.is_some() }, "the first bundle").await;
    assert!(host.link().token(vec![], vec![]).await.is_ok());
    // The node believes other bundles now: its server is a stranger to it.
    drop(following);
    let own = domain.trust_row().await.own.clone();
    let other = Authority::new("td.example", &host.world.clock).await;
    let writes = vec![Write::put(&TrustRow::of_own(own, other.bundle()), Expect::Any)];
    host.world.store.commit(Change { writes, ..Change::default() }).await.unwrap();
    let _following = host.follow();
    let fault = async || match host.link().token(vec![], vec![]).await {
        Err(PeerFault::Unavailable(fault)) => fault.why.contains("could not be reached"),
        _ => false,
    };
    eventually(|| async { fault().await }, "the server is not believed").await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_no_memory() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    domain.register("large", 200).await;
    let mut raw = Raw::open(&domain.address, Some(host.certified.clone())).await;
    let mut feed = raw.calls.feed(wire::FeedRequest { since: 0 }).await.unwrap().into_inner();
    let looks = || domain.world.store.looks.load(Ordering::SeqCst);
    eventually(|| async { looks() > 1 }, "the feed began").await;
    let before = looks();
    for _ in 0..25 {
        domain.act("large", Act::Suspend).await;
        domain.act("large", Act::Resume).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Fifty changes of 400 kB each; the server looked for a few of them and waits.
    assert!(looks() - before < 10, "{} looks", looks() - before);
    let (mut bytes, mut last) = (0, 0);
    let seq = domain.world.store.snapshot(&[]).await.unwrap().seq.0;
    while last < seq {
        let message = feed.message().await.unwrap().unwrap();
        bytes += message.rows.iter().map(|row| row.contents().len()).sum::<usize>();
        last = message.seq;
    }
    assert!(bytes < 4_000_000, "{bytes} bytes were kept for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_components_come_back_at_once() {
    let mut domain = Domain::start().await;
    let agent = domain.register("worker", 0).await.id.to_string();
    let mut hosts: Vec<Arc<Host>> = Vec::new();
    for at in 0..40 {
        hosts.push(Arc::new(domain.host(Role::Node, &format!("host-{at}")).await));
    }
    let following: Vec<_> = hosts.iter().map(|host| host.follow()).collect();
    for host in &hosts {
        host.knows(&agent, State::Active).await;
    }
    domain.stop().await;
    domain.act("worker", Act::Suspend).await;
    domain.serve().await;
    for host in &hosts {
        host.knows(&agent, State::Suspended).await;
    }
    drop(following);
}
