//! Servers below ours: what they ask by bytes, and what our own client asks.

use std::sync::Arc;

use env::{Keys, Purpose, Superior, SuperiorFault, SuperiorKey, SuperiorOrder};
use flow::sign::{ALGORITHM, CERTIFICATE_ALGORITHM};
use identifier::Kind;
use link::{Address, ShownAbove, Upstream};
use provisioning::Act;
use rustls::sign::CertifiedKey;
use spiffe::SpiffeId;
use time::{Span, UnixTime};
use tonic::Code;
use x509::Certificate;

use super::agent::{GET_BUNDLE, GET_ENTRIES, Site};
use super::frames::{Frames, Message, bytes, number};
use crate::domain::{Authority, order, request, request_for};
use crate::world::{TestClock, TestKeys, random};

const NEW_CA: &str = "spire.api.server.svid.v1.SVID/NewDownstreamX509CA";
const PUBLISH_JWT: &str = "spire.api.server.bundle.v1.Bundle/PublishJWTAuthority";
const PUBLISH_WIT: &str = "spire.api.server.bundle.v1.Bundle/PublishWITAuthority";
const DOMAIN: &str = "spiffe://td.example";
const BELOW: &str = "spiffe://td.example/service/below";
const HOUR: u64 = 3_600;

/// A site with a server below, a service that is none, and their SVIDs.
async fn site() -> (Site, CertifiedKey, CertifiedKey) {
    let site = Site::start().await;
    for (name, downstream) in [("below", true), ("plain", false)] {
        site.service(name, |entry| (entry.kind, entry.downstream) = (Kind::Service, downstream))
            .await;
    }
    let below = site.domain.svid(BELOW).await;
    let plain = site.domain.svid("spiffe://td.example/service/plain").await;
    (site, below, plain)
}

/// `NewDownstreamX509CARequest`.
fn ca(csr: &[u8], seconds: u64) -> Vec<u8> {
    [bytes(1, csr), number(2, seconds)].concat()
}

/// A request to publish a key; both have it in the same place.
fn publication(kid: &str, spki: &[u8], until: u64) -> Vec<u8> {
    bytes(1, [bytes(1, spki), bytes(2, kid), number(3, until)].concat())
}

fn now(site: &Site) -> u64 {
    env::Clock::now(&site.domain.world.clock).seconds()
}

/// req: CRED-02 (part), CRED-12 (part)
#[tokio::test]
async fn s6_a_server_below_gets_an_authority_and_others_are_told_why_not() {
    let (site, below, plain) = site().await;
    let (_, csr) = request_for(&site.keys, &[DOMAIN]).await;
    let server = Frames::open(&site.address, Some(below.clone())).await;
    let answer = server.call(NEW_CA, ca(&csr, HOUR)).await.unwrap();
    let chain = answer.all(1);
    let made = Certificate::parse(&chain[0]).unwrap();
    assert_eq!((chain.len(), made.path_len()), (1, Some(0)));
    assert_eq!(made.uri_names(), [DOMAIN]);
    assert_eq!(made.not_after().seconds(), now(&site) + HOUR);
    let bundle = site.stranger().await.call(GET_BUNDLE, Vec::new()).await.unwrap();
    let roots: Vec<_> = bundle.messages(2).iter().map(|root| root.bytes(1)).collect();
    assert_eq!(answer.all(2), roots);
    // Zero leaves it to us.
    let answer = server.call(NEW_CA, ca(&csr, 0)).await.unwrap();
    let made = Certificate::parse(&answer.all(1)[0]).unwrap();
    assert_eq!(made.not_after().seconds(), now(&site) + 24 * HOUR);

    let mut tampered = csr.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let (_, other) = request_for(&site.keys, &["spiffe://other.example"]).await;
    let plain = Frames::open(&site.address, Some(plain)).await;
    let agent = site.agent("host-1").await.1;
    let stranger = site.stranger().await;
    for (who, asked, code, says) in [
        (&plain, ca(&csr, HOUR), Code::PermissionDenied, "is no downstream server"),
        (&agent, ca(&csr, HOUR), Code::PermissionDenied, "is no downstream server"),
        (&stranger, ca(&csr, HOUR), Code::Unauthenticated, "no client certificate"),
        (&server, ca(&tampered, HOUR), Code::InvalidArgument, "the request is not proved"),
        (&server, ca(&other, HOUR), Code::InvalidArgument, "asks for `spiffe://other.example`"),
        (&server, ca(&[], HOUR), Code::InvalidArgument, "no `csr`"),
        (&server, ca(&csr, u64::MAX), Code::InvalidArgument, "`preferred_ttl` is negative"),
    ] {
        let status = who.call(NEW_CA, asked).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
    }
    // A server below is no agent.
    let status = server.call(GET_ENTRIES, Vec::new()).await.unwrap_err();
    assert!(status.message().contains("is no spire agent"), "{status:?}");
    site.domain.act("below", Act::Suspend).await;
    let status = server.call(NEW_CA, ca(&csr, HOUR)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
}

/// The same for its keys of JWT-SVIDs and WITs; the bundle says when they end, and no longer has
/// them once it is none.
/// req: CRED-12 (part), CRED-03 (part)
#[tokio::test]
async fn s6_keys_of_a_server_below_are_published_with_their_end() {
    let (site, below, plain) = site().await;
    let (until, keys) = (now(&site) + HOUR, TestKeys::default());
    let (_, public) = keys.generate(Purpose::JwtSvid, ALGORITHM).await.unwrap();
    let server = Frames::open(&site.address, Some(below)).await;
    let plain = Frames::open(&site.address, Some(plain)).await;
    let ends = |all: &[Message], kid: &str| {
        all.iter().find(|key| key.text(2) == kid).map(|key| key.number(3))
    };
    for (path, kid, field) in [(PUBLISH_JWT, "jwt-a", 3), (PUBLISH_WIT, "wit-a", 6)] {
        let asked = publication(kid, public.spki_der(), until);
        let status = plain.call(path, asked.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        let answer = server.call(path, asked).await.unwrap();
        assert_eq!(answer.messages(1).len(), 2, "{path}: ours and theirs");
        let bundle = site.stranger().await.call(GET_BUNDLE, Vec::new()).await.unwrap();
        assert_eq!(ends(&bundle.messages(field), kid), Some(until), "{path}");
        for (asked, says) in [
            (Vec::new(), "no `authority`"),
            (publication("", public.spki_der(), until), "no `key_id`"),
            (publication("b", b"no key", until), "the key is not used"),
            (publication("b", public.spki_der(), 0), "must end within"),
            (publication("b", &[1; 20_000], until), "`public_key` has 20000 bytes"),
        ] {
            let status = server.call(path, asked).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert!(status.message().contains(says), "{status:?}");
        }
    }
    site.domain.act("below", Act::Revoke).await;
    let bundle = site.stranger().await.call(GET_BUNDLE, Vec::new()).await.unwrap();
    assert_eq!((bundle.messages(3).len(), bundle.messages(6).len()), (1, 1));
}

/// A leaf below the authority that a server below got, as that one may sign it.
async fn leaf_below(site: &Site, below: &CertifiedKey, id: &str) -> CertifiedKey {
    let (handle, csr) = request(&site.keys).await;
    let server = Frames::open(&site.address, Some(below.clone())).await;
    let answer = server.call(NEW_CA, ca(&csr, HOUR)).await.unwrap();
    let authority = Certificate::parse(&answer.all(1)[0]).unwrap();
    let (own, public) = site.keys.generate(Purpose::Workload, ALGORITHM).await.unwrap();
    let order = order(id, &public, &authority, &site.domain.world.clock);
    let unsigned = credential::x509_svid::build(&order, CERTIFICATE_ALGORITHM).unwrap();
    let unsigned = unsigned.into_inner();
    let signature = site.keys.private(&handle).sign(unsigned.bytes());
    let signature = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
    let leaf = unsigned.attach(&signature).into_bytes();
    site.keys.certified(vec![leaf, authority.der().to_vec()], &own)
}

/// Past defects 25: what a server below certifies is believed by workloads, and is neither a
/// component of this server nor a server below it, whatever its name.
/// req: AUTHN-01 (part), AUTHN-12 (part)
#[tokio::test]
async fn s9_who_was_certified_by_a_server_below_is_nobody_here() {
    let (site, below, _) = site().await;
    let (joined, _) = site.agent("host-1").await;
    let (_, csr) = request_for(&site.keys, &[DOMAIN]).await;
    for (id, path, asked) in
        [(joined.id.as_str(), GET_ENTRIES, Vec::new()), (BELOW, NEW_CA, ca(&csr, HOUR))]
    {
        let leaf = leaf_below(&site, &below, id).await;
        let trust = site.trust().await;
        let chain: Vec<_> = leaf.cert.iter().map(|der| Certificate::parse(der).unwrap()).collect();
        let at = env::Clock::now(&site.domain.world.clock);
        spiffe::X509Svid::verify(&chain, &trust, x509::Purpose::Client, at).unwrap();
        let frames = Frames::open(&site.address, Some(leaf)).await;
        let status = frames.call(path, asked).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        assert!(status.message().contains("not of an authority of this server"), "{status:?}");
        site.domain.counted("link::Below").await;
    }
}

/// Our own client at that listener.
fn client(site: &Site, own: CertifiedKey, id: &str, trust: spiffe::BundleSet) -> Upstream {
    let shown = ShownAbove { own: Arc::new(own), id: SpiffeId::parse(id).unwrap(), trust };
    let source = move || {
        let shown = shown.clone();
        Box::pin(async move { Ok(shown) }) as std::pin::Pin<Box<_>>
    };
    let server = SpiffeId::parse("spiffe://td.example/spire/server").unwrap();
    let address = Address::parse(&site.address).unwrap();
    Upstream::new(address, server, Box::new(source), clock)
}

fn clock() -> UnixTime {
    env::Clock::now(&TestClock::default())
}

async fn sent(site: &Site) -> SuperiorOrder {
    let (_, request) = request_for(&site.keys, &[DOMAIN]).await;
    let now = env::Clock::now(&site.domain.world.clock);
    let origin = wimse::Origin::parse("spiffe://td.example").unwrap();
    let until = now.plus(Span::from_seconds(HOUR));
    SuperiorOrder { origin, request, random: random(), now, until, below: 0 }
}

/// req: CRED-12 (part), AUTHN-01 (part)
#[tokio::test]
async fn s6_our_client_asks_the_server_that_it_must_be() {
    let (site, below, plain) = site().await;
    let trust = site.trust().await;
    let upstream = client(&site, below.clone(), BELOW, trust.clone());
    let answer = upstream.certify(sent(&site).await).await.unwrap();
    let told = upstream.trust().await.unwrap();
    assert_eq!((answer.chain.len(), &answer.roots), (1, &told.roots));
    assert_eq!((told.tainted.len(), told.keys.len()), (0, 2));
    assert!(told.keys.iter().all(|key| key.until.is_some()));
    let keys = TestKeys::default();
    let (_, public) = keys.generate(Purpose::JwtSvid, ALGORITHM).await.unwrap();
    let until = Some(UnixTime::from_seconds(now(&site) + HOUR));
    for (purpose, kid) in [(Purpose::JwtSvid, "jwt-a"), (Purpose::Wit, "wit-a")] {
        let (kid, spki_der) = (kid.to_owned(), public.spki_der().to_vec());
        let key = SuperiorKey { purpose, kid, spki_der, until };
        upstream.announce(key.clone()).await.unwrap();
        assert!(upstream.trust().await.unwrap().keys.contains(&key), "{purpose:?}");
    }
    // One that is not registered as a server below, a server that is another, one that is not there.
    let refused = client(&site, plain, "spiffe://td.example/service/plain", trust.clone());
    let why = refused.certify(sent(&site).await).await.unwrap_err();
    assert!(matches!(&why, SuperiorFault::Refused(why) if why.contains("no downstream server")));
    let foreign = client(&site, below.clone(), "spiffe://other.example/a", trust.clone());
    let why = foreign.trust().await.unwrap_err();
    assert!(why.to_string().contains("is not of `td.example`"), "{why}");
    let other = Authority::new("td.example", &TestClock::default()).await;
    let mut others = spiffe::BundleSet::default();
    others.insert(other.domain.as_spiffe().unwrap(), other.bundle());
    let why = client(&site, below, BELOW, others).trust().await.unwrap_err();
    assert!(why.to_string().contains("the server's certificate"), "{why}");
}
