//! How an agent of SPIRE joins, gets SVIDs for its workloads, and renews.

use attestation::mechanism::Role;
use attestation::x509pop::Evidence;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use env::Clock;
use monitoring::Event;
use registry::AgentRecord;
use serde_json::{Value, json};
use spiffe::{BundleSet, TrustDomain, X509Svid, verify_jwt_svid};
use time::Span;
use tonic::{Code, Status};
use x509::{Certificate, Purpose};

use super::agent::{
    ATTEST, GET_BUNDLE, Joined, NEW_JWT, POST_STATUS, RENEW, SYNC_ENTRIES, Site, attempt, csr_for,
    id, jwt, one_x509, reason, renewal,
};
use super::frames::{Frames, Message, bytes, number};
use crate::domain::{Domain, request, token_order};
use crate::world::{TestClock, random};

/// The whole way of an agent, as its bytes.
/// req: ATT-02 (part), PROV-01 (part), PROV-02 (part), CRED-02 (part), CRED-03 (part)
#[tokio::test]
async fn s7_a_spire_agent_joins_and_gets_svids_for_its_workloads() {
    let site = Site::start().await;
    let worker = site.service("worker", |_| {}).await;
    let token = site.domain.token(Role::SpireAgent, "host-9").await;
    let (handle, csr) = request(&site.keys).await;

    // It looks for the server by its SPIFFE ID, and has no certificate yet.
    let stranger = site.stranger().await;
    let now = site.domain.world.clock.now();
    let shown = X509Svid::verify(&stranger.server, &site.trust().await, Purpose::Server, now);
    assert_eq!(shown.unwrap().spiffe_id().as_str(), "spiffe://td.example/spire/server");
    let mut call = stranger.begin(ATTEST).await;
    call.say(&attempt("join_token", token.as_bytes(), &csr));
    let answer = call.next().await.unwrap().unwrap();
    assert_eq!(answer.fields(), [1], "a result, no challenge");
    let joined = site.joined(&answer, handle);
    assert_eq!(joined.id, "spiffe://td.example/spire/agent/join_token/host-9");
    assert!(!joined.reattestable);
    assert_eq!(call.next().await.unwrap(), None);

    // On the same connection it asks for the bundle.
    check_bundle(&stranger.call(GET_BUNDLE, Vec::new()).await.unwrap(), &site.trust().await);
    let agent = Frames::open(&site.address, Some(joined.certified.clone())).await;
    let version = [number(1, 0), bytes(2, "1.15.3")].concat();
    assert!(agent.call(POST_STATUS, version).await.unwrap().fields().is_empty());
    check_entry(&agent, &joined, &worker).await;
    check_svids(&agent, &site, &worker.id.to_string()).await;

    // Everything is recorded, with whose word it was.
    for issued in site.records(Event::CredentialIssued) {
        assert_eq!(issued.attestation["mechanism"], "spire-agent");
        assert_eq!(issued.attestation["selectors"], "as the spire agent says");
        assert_eq!(issued.transport.as_deref(), Some(joined.id.as_str()));
    }
    assert_eq!(site.records(Event::CredentialIssued).len(), 2);
}

fn check_bundle(bundle: &Message, trust: &BundleSet) {
    let own = trust.get(&TrustDomain::parse("td.example").unwrap()).unwrap();
    assert_eq!(bundle.text(1), "td.example");
    let authorities: Vec<_> = bundle.messages(2).iter().map(|one| one.bytes(1)).collect();
    let expect: Vec<_> = own.x509_authorities().iter().map(|one| one.der().to_vec()).collect();
    assert_eq!(authorities, expect);
    let keys: Vec<_> = bundle.messages(3).iter().map(|key| (key.bytes(1), key.text(2))).collect();
    let expect = own.jwt_keys().iter();
    let expect: Vec<_> =
        expect.map(|key| (key.key.spki_der().to_vec(), key.kid.as_str().to_owned())).collect();
    assert_eq!(keys, expect);
    assert_eq!(
        (bundle.number(4), bundle.number(5)),
        (own.refresh_hint().seconds(), own.sequence().unwrap())
    );
}

/// The one entry there is, member by member.
async fn check_entry(agent: &Frames, joined: &Joined, worker: &AgentRecord) {
    // `SyncAuthorizedEntries`: the mask first, and all entries come at once.
    let mut sync = agent.begin(SYNC_ENTRIES).await;
    sync.say(&bytes(1, [number(2, 1), number(4, 1), number(11, 1)].concat()));
    let entries = sync.next().await.unwrap().unwrap();
    assert_eq!(entries.fields(), [2], "entries alone");
    let [entry] = entries.messages(2).try_into().unwrap();
    assert_eq!(entry.fields(), [1, 2, 3, 4, 5, 11, 13, 15]);
    assert_eq!(entry.text(1), "worker");
    assert_eq!(
        (id(&entry.message(2)), id(&entry.message(3))),
        (worker.id.to_string(), joined.id.clone())
    );
    let selectors =
        entry.messages(4).iter().map(|one| (one.text(1), one.text(2))).collect::<Vec<_>>();
    let expect = [("unix", "path:/opt/service"), ("unix", "uid:1000")];
    assert_eq!(selectors, expect.map(|(kind, value)| (kind.to_owned(), value.to_owned())));
    assert_eq!((entry.number(5), entry.number(13)), (3_600, 300));
    // Past defect 25: neither `admin` nor `downstream`, which nothing here sets, nor may lose.
    assert_eq!((entry.number(7), entry.number(8)), (0, 0));
    assert!(entry.number(11) > 0 && entry.number(15) == worker.registered.seconds());
    sync.end();
    assert_eq!(sync.next().await.unwrap(), None);
}

async fn check_svids(agent: &Frames, site: &Site, worker: &str) {
    let trust = site.trust().await;
    let csr = csr_for("spiffe://td.example/agent/worker").await;
    let (code, said, svid) = one_x509(agent, "worker", &csr).await.unwrap();
    assert_eq!((code, said.as_str()), (0, "OK"));
    let chain: Vec<_> = svid.all(1).iter().map(|der| Certificate::parse(der).unwrap()).collect();
    let now = site.domain.world.clock.now();
    let verified = X509Svid::verify(&chain, &trust, Purpose::Client, now).unwrap();
    assert_eq!(verified.spiffe_id().to_string(), worker);
    assert_eq!(id(&svid.message(2)), worker);
    assert_eq!(svid.number(3), chain[0].not_after().seconds());

    let answer = agent.call(NEW_JWT, jwt("worker", &["https://tool.example"])).await.unwrap();
    let svid = answer.message(1);
    let skew = Span::from_seconds(5);
    let token = verify_jwt_svid(&svid.text(1), &trust, &["https://tool.example"], now, skew);
    assert_eq!(token.unwrap().spiffe_id().to_string(), worker);
    assert_eq!(id(&svid.message(2)), worker);
    assert_eq!(svid.number(3) - svid.number(4), 300, "expires_at and issued_at");
}

/// req: PROV-02 (part)
#[tokio::test]
async fn s8_an_agent_that_joined_by_a_token_renews_with_a_new_key() {
    let site = Site::start().await;
    let (joined, agent) = site.agent("host-9").await;
    let (handle, csr) = request(&site.keys).await;
    let svid = agent.call(RENEW, renewal(&csr)).await.unwrap().message(1);
    let leaf = Certificate::parse(&svid.bytes(1)).unwrap();
    assert_eq!(leaf.uri_names(), std::slice::from_ref(&joined.id));
    assert_eq!(svid.number(3), leaf.not_after().seconds());
    assert_ne!(handle, joined.handle);
    let next = site.keys.certified(svid.all(1), &handle);
    let next = Frames::open(&site.address, Some(next)).await;
    next.call(POST_STATUS, Vec::new()).await.unwrap();
    // The same key again; no request at all; one that proves nothing.
    for (request, says) in [
        (renewal(&csr), "the key is that of the credential before"),
        (Vec::new(), "no `params`"),
        (renewal(b""), "no `csr`"),
        (renewal(b"no request"), "the request is not proved"),
    ] {
        let status = next.call(RENEW, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
    }
}

/// Past defect 23: a join token used twice.
#[tokio::test]
async fn s7_a_join_token_serves_one_agent_once() {
    let site = Site::start().await;
    let token = site.domain.token(Role::SpireAgent, "host-9").await;
    let attest = || site.attest("join_token", token.as_bytes());
    let tries = tokio::join!(attest(), attest(), attest());
    let (won, lost): (Vec<_>, Vec<_>) =
        [tries.0, tries.1, tries.2].into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 2));
    for lost in lost.into_iter().chain([attest().await]) {
        let status = lost.err().unwrap();
        assert_eq!(reason(&status), 0);
        assert!(status.message().contains("used at"), "{status:?}");
    }
}

#[tokio::test]
async fn s7_a_token_is_for_one_api() {
    let site = Site::start().await;
    let nodes = site.domain.token(Role::Node, "host-1").await;
    let status = site.attest("join_token", nodes.as_bytes()).await.err().unwrap();
    assert_eq!(status.message(), "the join token lets a node join");
    let agents = site.domain.token(Role::SpireAgent, "host-9").await;
    let (_, csr) = request(&site.keys).await;
    let order = token_order(Role::Node, &agents, csr);
    let refused = site.domain.join(order, &TestClock::default()).await.unwrap_err();
    assert!(refused.to_string().contains("lets a spire-agent join"), "{refused}");
    // Neither used it up.
    site.attest("join_token", agents.as_bytes()).await.unwrap();
}

/// What `x509pop` of SPIRE answers, with the key of the certificate or another message.
async fn x509pop(
    site: &Site,
    leaf: &[u8],
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<Joined, Status> {
    let evidence = Evidence { certificates: vec![STANDARD.encode(leaf)] };
    let (handle, csr) = request(&site.keys).await;
    let mut call = site.stranger().await.begin(ATTEST).await;
    call.say(&attempt("x509pop", &serde_json::to_vec(&evidence).unwrap(), &csr));
    let challenge = call.next().await?.unwrap();
    assert_eq!(challenge.fields(), [2]);
    let challenge: Value = serde_json::from_slice(&challenge.bytes(2)).unwrap();
    let theirs = STANDARD.decode(challenge["ecdsa_signature"]["nonce"].as_str().unwrap()).unwrap();
    let ours: [u8; 32] = random();
    let signature = sign(&[theirs.as_slice(), &ours].concat());
    let (r, s) = signature.split_at(32);
    let answer = json!({ "rsa_signature": null, "ecdsa_signature": {
        "nonce": STANDARD.encode(ours), "r": STANDARD.encode(r), "s": STANDARD.encode(s),
    } });
    call.say(&bytes(2, answer.to_string()));
    let answer = call.next().await?.unwrap();
    Ok(site.joined(&answer, handle))
}

/// req: ATT-02 (part), PROV-03 (part)
#[tokio::test]
async fn s7_an_agent_with_a_certificate_attests_again_instead_of_renewing() {
    let site = Site::start().await;
    let vendor = &site.domain.manufacturer;
    let (_, handle, leaf, keys) = vendor.svid("spiffe://manufacturer.example/device/7").await;
    let sign = |message: &[u8]| keys.private(&handle).sign(message).as_bytes().to_vec();
    let first = x509pop(&site, &leaf, sign).await.unwrap();
    assert!(first.reattestable && first.id.starts_with("spiffe://td.example/spire/agent/x509pop/"));
    let agent = Frames::open(&site.address, Some(first.certified.clone())).await;
    let (_, csr) = request(&site.keys).await;
    let status = agent.call(RENEW, renewal(&csr)).await.unwrap_err();
    assert_eq!(reason(&status), 5, "AGENT_MUST_REATTEST");
    let again = x509pop(&site, &leaf, sign).await.unwrap();
    assert_eq!(again.id, first.id);
    let forged = x509pop(&site, &leaf, |_| sign(b"else")).await.err().unwrap();
    // A certificate is public: who has not its key is a stranger, and is told no more.
    assert_eq!(forged.message(), "the attempt to join was refused; ask the operator");
}

#[tokio::test]
async fn s7_attempts_are_read_in_turn_and_bounded() {
    let site = Site::start().await;
    let (_, csr) = request(&site.keys).await;
    let long = attempt("join_token", &[b'a'; 70_000], &csr);
    let longer = attempt("join_token", &[b'a'; 200_000], &csr);
    for (said, code, says) in [
        (bytes(2, "answer"), Code::InvalidArgument, "`challenge_response` is not said now"),
        (Vec::new(), Code::InvalidArgument, "no `step`"),
        (bytes(1, bytes(2, bytes(1, &csr))), Code::InvalidArgument, "no `data`"),
        (attempt("", b"token", &csr), Code::InvalidArgument, "no `type`"),
        (attempt("join_token", b"token", b""), Code::InvalidArgument, "no `csr`"),
        (long, Code::InvalidArgument, "`payload` has 70000 bytes"),
        (longer, Code::OutOfRange, "too large"),
        (vec![0xff; 9], Code::Internal, "decode"),
    ] {
        let mut call = site.stranger().await.begin(ATTEST).await;
        call.say(&said);
        let status = call.next().await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
    }
    site.domain.counted("link::Malformed").await;
    for (kind, payload, counted) in [
        ("join_token", "no-such-token", "attestation::TokenUnknown"),
        ("carrier_pigeon", "token", "attestation::Evidence"),
    ] {
        let status = site.attest(kind, payload.as_bytes()).await.err().unwrap();
        assert_eq!(status.message(), "the attempt to join was refused; ask the operator");
        assert_eq!(reason(&status), 0);
        site.domain.counted(counted).await;
    }
    assert_eq!(site.records(Event::NodeAttested).len(), 0);
    assert_eq!(Domain::server_id().path(), "/aims/server");
}
