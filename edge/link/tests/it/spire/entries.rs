//! Which records an agent sees, in pages, and when it sees them anew.

use credential::KeyRing;
use env::Purpose;
use env::rows::TrustRow;
use flow::agents::Operator;
use flow::authorities::Act;
use provisioning::{Act as Life, KeyHolding};
use wimse::WorkloadId;

use super::agent::{GET_BUNDLE, GET_ENTRIES, GET_FEDERATED, SYNC_ENTRIES, Site};
use super::frames::{Frames, Message, bytes};
use crate::domain::{Authority, row};

async fn entries(agent: &Frames) -> Vec<Message> {
    agent.call(GET_ENTRIES, Vec::new()).await.unwrap().messages(1)
}

async fn names(agent: &Frames) -> Vec<String> {
    entries(agent).await.iter().map(|entry| entry.text(1)).collect()
}

/// req: PROV-03 (part), SEC-04 (part)
#[tokio::test]
async fn s7_an_agent_sees_what_policy_and_record_let_it_measure() {
    let site = Site::start().await;
    let (joined, agent) = site.agent("host-9").await;
    assert_eq!(names(&agent).await, [""; 0]);
    let here = WorkloadId::parse(&joined.id).unwrap();
    let elsewhere = WorkloadId::parse(&joined.id.replace("host-9", "host-8")).unwrap();
    site.service("anywhere", |_| {}).await;
    site.service("here", |entry| entry.rule.nodes = vec![here]).await;
    site.service("elsewhere", |entry| entry.rule.nodes = vec![elsewhere]).await;
    site.service("other-class", |entry| entry.rule.class = "standard".to_owned()).await;
    site.service("kept", |entry| entry.keys = Some(KeyHolding::Kept)).await;
    site.service("agent-by-default", |entry| entry.keys = None).await;
    site.service("bearer", |entry| entry.rule.class = "bearer".to_owned()).await;
    site.service("stopped", |_| {}).await;
    assert_eq!(names(&agent).await, ["anywhere", "bearer", "here", "stopped"]);
    site.domain.act("stopped", Life::Suspend).await;
    assert_eq!(names(&agent).await, ["anywhere", "bearer", "here"]);
    // Without X.509-SVIDs to be had, none is asked for ahead.
    let found = entries(&agent).await;
    assert_eq!(found.iter().map(|one| one.message(16).number(1)).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!((found[1].number(5), found[1].number(13)), (0, 300));
}

#[tokio::test]
async fn s8_a_revision_is_another_when_the_entry_is() {
    let site = Site::start().await;
    let (_, agent) = site.agent("host-9").await;
    site.service("worker", |_| {}).await;
    let look = async || {
        let [entry] = entries(&agent).await.try_into().unwrap();
        (entry.number(11), entry.all(6))
    };
    let first = look().await;
    assert_eq!(look().await, first);
    site.domain.act("worker", Life::Suspend).await;
    site.domain.act("worker", Life::Resume).await;
    let second = look().await;
    assert!(second.0 > first.0, "{second:?} after {first:?}");
    let neighbour = Authority::new("neighbour.example", &site.domain.world.clock).await;
    let own = site.domain.trust_row().await;
    let joined = own.with(neighbour.domain.clone(), neighbour.bundle());
    site.domain.write::<TrustRow>(&joined).await;
    let third = look().await;
    assert_ne!(third.0, second.0);
    assert_eq!(third.1, [b"neighbour.example".to_vec()]);
    assert!(i64::try_from(third.0).is_ok());

    let ask = async |domain: &str| agent.call(GET_FEDERATED, bytes(1, domain)).await;
    let theirs = ask("neighbour.example").await.unwrap();
    assert_eq!(theirs.text(1), "neighbour.example");
    let authority = neighbour.bundle().x509_authorities()[0].der().to_vec();
    assert_eq!(theirs.messages(2).iter().map(|one| one.bytes(1)).collect::<Vec<_>>(), [authority]);
    assert_eq!(ask("elsewhere.example").await.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(ask("Not A Domain").await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let stranger = site.stranger().await.call(GET_FEDERATED, bytes(1, "neighbour.example")).await;
    assert_eq!(stranger.unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn s8_many_entries_come_as_revisions_first_and_then_as_they_are_asked_for() {
    let site = Site::start().await;
    let (_, agent) = site.agent("host-9").await;
    for at in 0..3 {
        // Each has half a mebibyte of selectors.
        let name = format!("large-{at}");
        site.service(&name, |entry| {
            let long = "p".repeat(2_000);
            let all = (0..250).map(|at| format!("unix:path:/{at}/{long}"));
            let all = all.map(|text| attestation::Selector::parse(&text).unwrap());
            entry.rule.selectors = attestation::Selectors::new(all).unwrap();
        })
        .await;
    }
    let mut sync = agent.begin(SYNC_ENTRIES).await;
    sync.say(&[]);
    let revisions = sync.next().await.unwrap().unwrap();
    assert_eq!(revisions.fields(), [1], "revisions, and no more of them");
    let ids: Vec<_> = revisions.messages(1).iter().map(|one| one.text(1)).collect();
    assert_eq!(ids, ["large-0", "large-1", "large-2"]);
    assert!(revisions.messages(1).iter().all(|one| one.number(2) > 0 && one.number(3) > 0));
    let ask = |ids: &[&str]| ids.iter().map(|id| bytes(2, id)).collect::<Vec<_>>().concat();
    sync.say(&ask(&["large-2", "nobody", "large-0", "large-1"]));
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = sync.next().await.unwrap().unwrap();
        found.extend(page.messages(2).iter().map(|entry| entry.text(1)));
        pages += 1;
        if page.number(3) == 0 {
            break;
        }
    }
    assert_eq!((found, pages), (vec!["large-2".into(), "large-0".into(), "large-1".into()], 2));
    sync.say(&ask(&["nobody"]));
    assert_eq!(sync.next().await.unwrap().unwrap(), Message::default());
    let many: Vec<_> = std::iter::repeat_n("large-0", 501).collect();
    sync.say(&ask(&many));
    let status = sync.next().await.unwrap_err();
    assert_eq!(status.message(), "501 `ids`, at most 500 are read");
}

#[tokio::test]
async fn s8_more_than_a_page_of_revisions_says_so() {
    let site = Site::start().await;
    let (_, agent) = site.agent("host-9").await;
    for at in 0..501 {
        site.service(&format!("worker-{at}"), |_| {}).await;
    }
    let mut sync = agent.begin(SYNC_ENTRIES).await;
    sync.say(&[]);
    let first = sync.next().await.unwrap().unwrap();
    let second = sync.next().await.unwrap().unwrap();
    let counts = [first.messages(1).len(), second.messages(1).len()];
    assert_eq!((counts, first.number(3), second.number(3)), ([500, 1], 1, 0));
}

/// req: CRED-11 (part)
#[tokio::test]
async fn s8_keys_that_sign_no_longer_are_marked_in_the_bundle() {
    let site = Site::start().await;
    let marks = async || {
        let bundle = site.stranger().await.call(GET_BUNDLE, Vec::new()).await.unwrap();
        let of = |field, mark| {
            bundle.messages(field).iter().map(|key| key.number(mark)).collect::<Vec<_>>()
        };
        (of(2, 2), of(3, 4), of(6, 4))
    };
    assert_eq!(marks().await, (vec![0], vec![0], vec![0]));
    let world = &*site.domain.world;
    for purpose in [Purpose::X509Authority, Purpose::JwtSvid] {
        let ring = row::<_, KeyRing>(world, purpose.name()).await.unwrap();
        let kid = ring.signer(env::Clock::now(&world.clock)).unwrap().kid.clone();
        let (operator, taint) = (Operator("test".to_owned()), Act::Taint { urgent: true });
        let done = flow::authorities::act(world, &operator, &kid, taint, "test".to_owned()).await;
        done.unwrap().into_value().unwrap();
    }
    // The one that took its place is not.
    let (mut x509, mut jwt, wit) = marks().await;
    x509.sort_unstable();
    jwt.sort_unstable();
    assert_eq!((x509, jwt, wit), (vec![0, 1], vec![0, 1], vec![0]));
}
