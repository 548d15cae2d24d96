//! What an agent of SPIRE does not get.

use monitoring::Event;
use provisioning::{Act, KeyHolding};
use tonic::Code;
use wimse::WorkloadId;

use super::agent::{
    GET_ENTRIES, NEW_JWT, NEW_X509, POST_STATUS, RENEW, SYNC_ENTRIES, Site, csr_for, jwt, one_x509,
    reason, renewal, wanted,
};
use super::frames::{Frames, bytes};
use crate::domain::request;
use crate::world::TestKeys;

const WORKER: &str = "spiffe://td.example/agent/worker";

const NOT_FOUND: u64 = 5;
const INVALID: u64 = 3;
const DENIED: u64 = 7;

/// Entry, request, code of the answer, words of it, and the check that is recorded.
type Case = (&'static str, Vec<u8>, u64, &'static str, Option<&'static str>);

/// One check a case.
async fn cases() -> Vec<Case> {
    let of = async |name: &str| csr_for(&format!("spiffe://td.example/agent/{name}")).await;
    let mut tampered = of("worker").await;
    *tampered.last_mut().unwrap() ^= 1;
    let server = csr_for("spiffe://td.example/spire/server").await;
    let unproved = ("the request is not proved", Some("issue::Request"));
    vec![
        ("nobody", of("nobody").await, NOT_FOUND, "no entry of that id", Some("spire::NoEntry")),
        ("NOT A NAME", of("x").await, NOT_FOUND, "no entry of that id", Some("spire::NoEntry")),
        (
            "elsewhere",
            of("elsewhere").await,
            DENIED,
            "does not allow the node",
            Some("provisioning::Node"),
        ),
        (
            "other-class",
            of("other-class").await,
            DENIED,
            "takes no spire agent's word for `standard`",
            Some("issue::Claimed"),
        ),
        ("kept", of("kept").await, DENIED, "holds no keys", Some("issue::KeysKept")),
        ("bearer", of("bearer").await, DENIED, "no `x509` credential", Some("provisioning::Kind")),
        ("stopped", of("stopped").await, DENIED, "suspended", Some("provisioning::NotInForce")),
        (
            "worker",
            of("stopped").await,
            INVALID,
            "asks for `spiffe://td.example/agent/stopped`",
            Some("issue::OtherName"),
        ),
        ("worker", server, INVALID, "asks for", Some("issue::OtherName")),
        ("worker", tampered, INVALID, unproved.0, unproved.1),
        ("worker", b"no request".to_vec(), INVALID, unproved.0, unproved.1),
        ("worker", Vec::new(), INVALID, "no `csr`", None),
        ("", of("worker").await, INVALID, "no `entry_id`", None),
        ("worker", vec![1; 20_000], INVALID, "`csr` has 20000 bytes", None),
    ]
}

/// A site with one record for each case, and an agent.
async fn site() -> (Site, Frames) {
    let site = Site::start().await;
    let (joined, agent) = site.agent("host-9").await;
    let elsewhere = WorkloadId::parse(&joined.id.replace("host-9", "host-8")).unwrap();
    site.service("worker", |_| {}).await;
    site.service("elsewhere", |entry| entry.rule.nodes = vec![elsewhere]).await;
    site.service("other-class", |entry| entry.rule.class = "standard".to_owned()).await;
    site.service("kept", |entry| entry.keys = Some(KeyHolding::Kept)).await;
    site.service("bearer", |entry| entry.rule.class = "bearer".to_owned()).await;
    site.service("stopped", |_| {}).await;
    site.domain.act("stopped", Act::Suspend).await;
    (site, agent)
}

/// req: PROV-03 (part), PROV-07 (part), SEC-04 (part)
#[tokio::test]
async fn s8_what_an_agent_may_not_have_is_refused_by_its_own_check() {
    let (site, agent) = site().await;
    for (entry, csr, code, says, check) in cases().await {
        let before = site.domain.world.store.records().len();
        let (found, said, svid) = one_x509(&agent, entry, &csr).await.unwrap();
        assert_eq!((found, svid.fields()), (code, vec![]), "{entry}: {said}");
        assert!(said.contains(says), "{entry}: {said}");
        let records = site.domain.world.store.records();
        // That the evidence was appraised is a record beside the decision.
        let decided = records[before..].iter().filter(|one| one.event == Event::CredentialIssued);
        let recorded: Vec<_> = decided.map(|one| one.why.clone().unwrap().check).collect();
        assert_eq!(recorded, check.into_iter().collect::<Vec<_>>(), "{entry}");
    }
}

#[tokio::test]
async fn s8_what_is_wrong_with_one_is_no_matter_of_the_others() {
    let (_site, agent) = site().await;
    let (_, csr) = request(&TestKeys::default()).await;
    let batch = ["nobody", "worker", "kept"].map(|entry| wanted(entry, &csr));
    let results = agent.call(NEW_X509, batch.concat()).await.unwrap().messages(1);
    let codes: Vec<_> = results.iter().map(|one| one.message(1).number(1)).collect();
    // A request without a name is for the record's.
    assert_eq!(codes, [NOT_FOUND, 0, DENIED]);
}

#[tokio::test]
async fn s8_jwt_svids_are_refused_alike() {
    let site = Site::start().await;
    let (_, agent) = site.agent("host-9").await;
    site.service("worker", |_| {}).await;
    site.service("kept", |entry| entry.keys = Some(KeyHolding::Kept)).await;
    let (long, many) = ("a".repeat(10_000), vec!["https://a.example"; 200]);
    for (request, code, says) in [
        (jwt("nobody", &["https://a.example"]), Code::NotFound, "no entry"),
        (jwt("kept", &["https://a.example"]), Code::PermissionDenied, "holds no keys"),
        (jwt("worker", &[]), Code::InvalidArgument, "no `audience`"),
        (jwt("worker", &[""]), Code::InvalidArgument, "no `audience`"),
        (jwt("worker", &[&long]), Code::InvalidArgument, "`audience` has 10000 bytes"),
        (jwt("worker", &many), Code::InvalidArgument, "200 `audience`"),
        (jwt("", &["https://a.example"]), Code::InvalidArgument, "no `entry_id`"),
    ] {
        let status = agent.call(NEW_JWT, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
        if code == Code::PermissionDenied {
            assert_eq!(reason(&status), 0, "the agent itself is well");
        }
    }
    let empty = agent.call(NEW_X509, Vec::new()).await.unwrap_err();
    assert_eq!(empty.message(), "no `params`");
    let many: Vec<_> = std::iter::repeat_n(wanted("worker", b"x"), 501).collect();
    let many = agent.call(NEW_X509, many.concat()).await.unwrap_err();
    assert_eq!(many.message(), "501 `params`, at most 500 are read");
    let version = agent.call(POST_STATUS, bytes(2, "v".repeat(256))).await.unwrap_err();
    assert_eq!(version.code(), Code::InvalidArgument);
}

/// The agent is told what to do by the reasons of SPIRE.
/// req: PROV-06 (part)
#[tokio::test]
async fn s8_an_agent_that_does_not_stand_is_told_what_to_do() {
    let site = Site::start().await;
    site.service("worker", |_| {}).await;
    let csr = csr_for(WORKER).await;
    let reasons = async |agent: &Frames| {
        let (_, new) = request(&TestKeys::default()).await;
        let mut reasons = Vec::new();
        for (path, message) in [
            (RENEW, renewal(&new)),
            (POST_STATUS, Vec::new()),
            (NEW_X509, wanted("worker", &csr)),
            (NEW_JWT, jwt("worker", &["https://a.example"])),
        ] {
            reasons.push(reason(&agent.call(path, message).await.unwrap_err()));
        }
        reasons
    };
    let sync = async |agent: &Frames| {
        let mut call = agent.begin(SYNC_ENTRIES).await;
        call.say(&[]);
        call.next().await.map(Option::unwrap)
    };

    // Suspended: it has nothing to measure for, keeps asking, and comes back by attesting anew.
    let (joined, agent) = site.agent("host-1").await;
    site.act(&joined, Act::Suspend, 2).await;
    assert_eq!(reasons(&agent).await, [0; 4]);
    assert!(sync(&agent).await.unwrap().fields().is_empty());
    site.domain.counted("spire::Suspended").await;
    site.act(&joined, Act::Resume, 2).await;
    assert_eq!(reasons(&agent).await, [3; 4], "AGENT_NOT_ACTIVE");
    assert_eq!(reason(&sync(&agent).await.unwrap_err()), 3);

    // Revoked: it ends.
    let (joined, agent) = site.agent("host-2").await;
    site.act(&joined, Act::Revoke, 3).await;
    assert_eq!(reasons(&agent).await, [4; 4], "AGENT_BANNED");
    assert_eq!(reason(&sync(&agent).await.unwrap_err()), 4);
    let list = agent.call(GET_ENTRIES, Vec::new()).await.unwrap_err();
    assert_eq!(reason(&list), 4);

    // Nobody knows it.
    let unknown = site.domain.svid("spiffe://td.example/spire/agent/join_token/host-3").await;
    let agent = Frames::open(&site.address, Some(unknown)).await;
    assert_eq!(reasons(&agent).await, [2; 4], "AGENT_NOT_ATTESTED");

    // Its certificate ended.
    let (joined, _) = site.agent("host-4").await;
    site.domain.world.clock.forward(1_000_000);
    let agent = Frames::open(&site.address, Some(joined.certified)).await;
    assert_eq!(reasons(&agent).await, [1; 4], "AGENT_EXPIRED");
}

/// req: AUTHN-01 (part)
#[tokio::test]
async fn s9_1_only_spire_agents_get_answers() {
    let site = Site::start().await;
    let node = site.domain.host(attestation::mechanism::Role::Node, "host-1").await;
    let (joined, _) = site.agent("host-9").await;
    for (own, code, says) in [
        (None, Code::Unauthenticated, "no client certificate"),
        (Some(node.certified.clone()), Code::PermissionDenied, "is no spire agent"),
        (Some(site.domain.svid(WORKER).await), Code::PermissionDenied, "is no spire agent"),
        (
            Some(site.domain.svid("spiffe://td.example/spire/agent").await),
            Code::PermissionDenied,
            "is no spire agent",
        ),
        (
            Some(site.domain.svid("spiffe://td.example/spire/agents/x").await),
            Code::PermissionDenied,
            "is no spire agent",
        ),
    ] {
        let frames = Frames::open(&site.address, own).await;
        let status = frames.call(GET_ENTRIES, Vec::new()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
        assert!(status.details().is_empty());
    }
    // And it is no node of ours: what it says of a process is no measurement.
    let mut raw = crate::raw::Raw::open(&site.domain.address, Some(joined.certified)).await;
    let (_, csr) = request(&TestKeys::default()).await;
    let status = raw.calls.renew(crate::wire::RenewRequest { csr }).await.unwrap_err();
    assert!(status.message().contains("neither a node nor a gateway"), "{status:?}");
    let frames = site.stranger().await;
    for path in ["aims.node.v1.Node/Renew", "spire.api.server.svid.v1.SVID/MintX509SVID", "x"] {
        let status = frames.call(path, Vec::new()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
}
