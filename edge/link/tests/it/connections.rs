//! Who is at each end of a connection, at each request (AUTHN-01, AUTHN-12).

use std::sync::Arc;
use std::time::Duration;

use attestation::mechanism::Role;
use env::rows::TrustRow;
use env::{Clock, PeerFault, Peers, RenewOrder};
use link::{Link, Presented};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, version};
use tokio::io::AsyncReadExt;
use tonic::{Code, Status};
use wimse::{Bundles, WorkloadId};

use crate::domain::{Authority, Domain, request};
use crate::raw::{Raw, config, handshake};
use crate::wire;
use crate::world::{TestClock, TestKeys};

async fn renew(raw: &mut Raw) -> Result<(), Status> {
    let (_, csr) = request(&TestKeys::default()).await;
    raw.calls.renew(wire::RenewRequest { csr }).await.map(|_| ())
}

async fn refused(domain: &Domain, own: Option<CertifiedKey>) -> Status {
    renew(&mut Raw::open(&domain.address, own).await).await.unwrap_err()
}

/// req: AUTHN-01 (part)
#[tokio::test]
async fn s9_1_only_components_of_ours_get_answers() {
    let domain = Domain::start().await;
    let stranger = Authority::new("td.example", &domain.world.clock).await;
    let neighbour = Authority::new("neighbour.example", &domain.world.clock).await;
    let own = domain.trust_row().await;
    let mut bundles = own.bundles.clone();
    bundles.insert(neighbour.domain.clone(), neighbour.bundle());
    domain.write(&TrustRow { own: own.own.clone(), bundles }).await;
    let node = "spiffe://td.example/aims/node/join_token/a";
    let theirs = "spiffe://neighbour.example/aims/node/join_token/a";
    let unknown = "spiffe://elsewhere.example/aims/node/join_token/a";
    for (own, code, message, counted) in [
        (None, Code::Unauthenticated, "no client certificate", "link::NoCertificate"),
        (Some(stranger.svid(node).await.0), Code::Unauthenticated, "signature", "link::Svid"),
        (
            Some(stranger.svid(unknown).await.0),
            Code::Unauthenticated,
            "no bundle of the trust domain",
            "link::Svid",
        ),
        (
            Some(neighbour.svid(theirs).await.0),
            Code::PermissionDenied,
            "another trust domain",
            "link::Foreign",
        ),
        (
            Some(domain.svid("spiffe://td.example/agent/a").await),
            Code::PermissionDenied,
            "neither a node nor a gateway",
            "link::NotAComponent",
        ),
        (
            Some(domain.svid("spiffe://td.example/aims/server").await),
            Code::PermissionDenied,
            "neither a node nor a gateway",
            "link::NotAComponent",
        ),
        (
            Some(domain.svid("spiffe://td.example/aims/node").await),
            Code::PermissionDenied,
            "neither a node nor a gateway",
            "link::NotAComponent",
        ),
    ] {
        let status = refused(&domain, own).await;
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(message), "{status:?}");
        domain.counted(counted).await;
    }
    let host = domain.host(Role::Node, "host-1").await;
    assert!(renew(&mut Raw::open(&domain.address, Some(host.certified)).await).await.is_ok());
}

/// req: AUTHN-01 (part)
#[tokio::test]
async fn s9_1_the_server_is_exactly_the_one_expected() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let clock = host.world.clock.clone();
    let other = Authority::new("td.example", &clock).await;
    let mut wrong = Bundles::new();
    wrong.insert(other.domain.clone(), other.bundle());
    let check = async |server: &str, trust: Bundles, expect: &str| {
        let (server, clock) = (WorkloadId::parse(server).unwrap(), clock.clone());
        let presented = host.presented.clone();
        let link = Link::new(domain.address(), server, presented, trust, move || clock.now());
        let (_, request) = request(&TestKeys::default()).await;
        match link.renew(RenewOrder { request }).await {
            Err(PeerFault::Unavailable(fault)) => {
                assert!(fault.why.contains(expect), "{fault}");
            }
            other => panic!("{other:?}"),
        }
    };
    let right = domain.trust().await;
    let server = "spiffe://td.example/aims/server";
    check("spiffe://td.example/aims/server-2", right.clone(), "expected").await;
    check(server, wrong, "signature").await;
    check(server, Bundles::new(), "no bundle").await;
    clock.forward(2 * 3_600);
    check(server, right, "expired").await;
}

/// A domain of `wimse`: server and host show workload identity certificates to each other, each
/// verified by the anchors of that origin, whole identifier against whole identifier. The same
/// names under `spiffe` are nobody.
/// req: AUTHN-01 (part), CRED-02 (part)
#[tokio::test]
async fn wimse_mutual_tls_3_2_both_ends_are_verified_by_the_anchors_of_their_origin() {
    let domain = Domain::of("wimse").await;
    let host = domain.host(Role::Node, "host-1").await;
    assert_eq!(host.id.as_str(), "wimse://td.example/aims/node/join_token/host-1");
    let mut raw = Raw::open(&domain.address, Some(host.certified.clone())).await;
    assert!(renew(&mut raw).await.is_ok());
    // The host takes no other server for its own, and not by the anchors of another origin.
    let clock = host.world.clock.clone();
    let check = async |server: &str, trust: Bundles, expect: &str| {
        let (server, clock) = (WorkloadId::parse(server).unwrap(), clock.clone());
        let presented = host.presented.clone();
        let link = Link::new(domain.address(), server, presented, trust, move || clock.now());
        let (_, request) = request(&TestKeys::default()).await;
        match link.renew(RenewOrder { request }).await {
            Err(PeerFault::Unavailable(fault)) => assert!(fault.why.contains(expect), "{fault}"),
            other => panic!("{other:?}"),
        }
    };
    let own = domain.trust_row().await;
    let [server, spiffe] =
        ["wimse", "spiffe"].map(|scheme| format!("{scheme}://td.example/aims/server"));
    check(&spiffe, own.bundles.clone(), "is `wimse://td.example/aims/server`, expected").await;
    let mut other_scheme = Bundles::new();
    let bundle = own.bundles.get(&own.own).unwrap().clone();
    other_scheme.insert(spiffe::TrustDomain::parse("td.example").unwrap(), bundle);
    check(&server, other_scheme, "no bundle of the origin `wimse://td.example`").await;
    // The server: an SVID of the trust domain of its name, whose bundle it has from a relation.
    let neighbour = Authority::new("spiffe://td.example", &clock).await;
    domain.write(&own.with(neighbour.domain.clone(), neighbour.bundle())).await;
    let node = "aims/node/join_token/host-1";
    let forged = neighbour.svid(&format!("wimse://td.example/{node}")).await.0;
    let status = refused(&domain, Some(forged)).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let same_name = neighbour.svid(&format!("spiffe://td.example/{node}")).await.0;
    let status = refused(&domain, Some(same_name)).await;
    assert!(status.message().contains("of another trust domain"), "{status:?}");
    // The two before are the handshakes that the host gave up.
    assert!(domain.refused.lock().unwrap().ends_with(&["link::Svid", "link::Foreign"]));
}

/// req: AUTHN-12 (part)
/// req: CRED-05 (part)
#[tokio::test]
async fn s6_an_expired_certificate_is_refused_inside_a_live_connection() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let mut raw = Raw::open(&domain.address, Some(host.certified.clone())).await;
    assert!(renew(&mut raw).await.is_ok());
    domain.world.clock.forward(3_601);
    let status = renew(&mut raw).await.unwrap_err();
    // Either the request was refused, or the connection had ended already.
    assert!(
        status.message().contains("expired") || status.code() != Code::Unauthenticated,
        "{status:?}"
    );
    let closed = tokio::time::timeout(Duration::from_secs(10), raw.connection).await;
    assert!(closed.is_ok(), "the connection goes on");
    // A new one with the same certificate gets no further.
    let status = refused(&domain, Some(host.certified)).await;
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("expired"), "{status:?}");
}

/// req: AUTHN-12 (part)
#[tokio::test]
async fn s11_an_authority_that_is_no_longer_trusted_counts_no_more_inside_a_live_connection() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let mut raw = Raw::open(&domain.address, Some(host.certified)).await;
    assert!(renew(&mut raw).await.is_ok());
    let own = domain.trust_row().await.own.clone();
    let other = Authority::new("td.example", &domain.world.clock).await;
    domain.write(&TrustRow::of_own(own, other.bundle())).await;
    let status = renew(&mut raw).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}

/// req: AUTHN-12 (part)
/// req: PROV-06 (part)
#[tokio::test]
async fn s11_a_revoked_node_is_cut_off() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let mut raw = Raw::open(&domain.address, Some(host.certified.clone())).await;
    let mut feed = raw.calls.feed(wire::FeedRequest { since: 0 }).await.unwrap().into_inner();
    assert!(feed.message().await.unwrap().is_some());
    domain.revoke(&host).await;
    let end = loop {
        match feed.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::PermissionDenied, "{end:?}");
    let closed = tokio::time::timeout(Duration::from_secs(10), raw.connection).await;
    assert!(closed.is_ok(), "the connection goes on");
    let token = host.link().token(vec![], vec![]).await;
    assert!(
        matches!(token, Err(PeerFault::Refused { check, .. }) if check == "link::PermissionDenied")
    );
}

/// Past defect 24: a resumed session skips what was checked at its start.
#[tokio::test]
async fn no_session_is_resumed() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    // A client that keeps whatever it is given for resumption.
    let config = Arc::new(config(Some(host.certified), &version::TLS13));
    for _ in 0..3 {
        let mut tls = handshake(&domain.address, Arc::clone(&config)).await.unwrap();
        // Tickets would come now, before the settings of HTTP/2.
        let _ = tls.read(&mut [0; 1]).await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(tls.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn only_tls_1_3_is_spoken() {
    let domain = Domain::start().await;
    let old = handshake(&domain.address, Arc::new(config(None, &version::TLS12))).await;
    assert!(old.is_err());
    domain.counted("link::Handshake").await;
}

/// req: AUTHN-01 (part)
#[tokio::test]
async fn s9_1_a_certificate_without_its_key_is_nothing() {
    let domain = Domain::start().await;
    let host = domain.host(Role::Node, "host-1").await;
    let other = domain.svid("spiffe://td.example/agent/a").await;
    let stolen = CertifiedKey::new(host.certified.cert.clone(), other.key);
    let clock = TestClock::default();
    let link = Link::new(
        domain.address(),
        Domain::server_id(),
        Presented::new(stolen),
        domain.trust().await,
        move || clock.now(),
    );
    let (_, request) = request(&TestKeys::default()).await;
    let answer = link.renew(RenewOrder { request }).await;
    assert!(matches!(answer, Err(PeerFault::Unavailable(_))), "{answer:?}");
    domain.counted("link::Handshake").await;
}
