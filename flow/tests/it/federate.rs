//! Federation with another trust domain: relations begin, are kept and end (SPIFFE Federation).

use credential::federation::{Keeper, Standing, Terms};
use env::rows::TrustRow;
use env::{Clock, Purpose};
use flow::apply_policy::{apply, plan};
use flow::federate::{self, Came, Due, NotFetched, Refusal, Shown};
use flow::{boot, publish, rotate};
use monitoring::{Event, Outcome};
use spiffe::federation::{EndpointUrl, GivenBundle, Profile};
use spiffe::{Bundle, SpiffeId, TrustDomain, X509Svid};
use testkit::Sim;
use testkit::fixture::{Domain, files, files_but, site, story};
use testkit::{Host, SimWorld};
use time::Span;

const OTHER: &str = "other.example";
const URL: &str = "https://bundles.example/other";

/// The server of another trust domain.
async fn peer(sim: &Sim) -> Host {
    let host = Host::start(sim, "server", &site());
    let files = files_but(&[("domain.toml", "trust_domain = \"other.example\"")]);
    let ready = boot::ready(&*host.world(), files, &["localhost".to_owned()]).await;
    ready.unwrap().unwrap();
    host
}

fn other() -> TrustDomain {
    TrustDomain::parse(OTHER).unwrap()
}

fn web() -> Terms {
    Terms {
        trust_domain: other(),
        profile: Profile::HttpsWeb,
        url: EndpointUrl::parse(URL).unwrap(),
        endpoint_id: None,
        bundle: None,
        wit: true,
    }
}

async fn served(peer: &Host) -> String {
    publish::bundle(&*peer.world(), true).await.unwrap().to_string()
}

/// What a host believes of the other trust domain.
async fn believed(host: &Host) -> Option<Bundle> {
    let row = flow::facts::one::<_, TrustRow>(&*host.world(), TrustRow::ID).await.unwrap();
    row.unwrap().bundles.spiffe().get(&other()).cloned()
}

async fn due(domain: &Domain) -> Option<Due> {
    let mut agenda = federate::agenda(&*domain.server.world()).await.unwrap();
    assert!(agenda.due.len() <= 1);
    agenda.due.pop()
}

async fn shown(domain: &Domain) -> Option<Shown> {
    let mut all = federate::list(&*domain.server.world()).await.unwrap();
    assert!(all.len() <= 1);
    all.pop()
}

async fn add(domain: &Domain, terms: Terms) -> Result<(), Refusal> {
    let (server, operator) = (domain.server.world(), domain.operator());
    let end = federate::add(&*server, &operator, terms).await.unwrap();
    let record = domain.server.journal().find(end.audit_id().unwrap()).unwrap();
    assert_eq!((record.event, record.action.as_str()), {
        (Event::FederationChanged, "federation.add")
    });
    let refusal = end.value().as_ref().err().map(|why| why.check().to_owned());
    assert_eq!(record.why.map(|why| why.check), refusal);
    end.into_value().map(|_| ())
}

async fn remove(domain: &Domain) -> Result<(), Refusal> {
    let (server, operator) = (domain.server.world(), domain.operator());
    let end = federate::remove(&*server, &operator, &other()).await.unwrap();
    assert!(end.audit_id().is_some());
    end.into_value().map(|_| ())
}

async fn took(world: &SimWorld, due: &Due, answer: &str) -> Came {
    federate::took(world, due, Ok(answer)).await.unwrap()
}

/// Fetches what is due and hands it in.
async fn fetch(domain: &Domain, answer: &str) -> Came {
    let due = due(domain).await.expect("it is due");
    took(&domain.server.world(), &due, answer).await
}

async fn wait_for_next(domain: &Domain) {
    let agenda = federate::agenda(&*domain.server.world()).await.unwrap();
    let pause = agenda.next.unwrap().since(domain.now());
    domain.sim.sleep(pause).await;
}

/// req: CRED-12 (part)
#[test]
fn s6_a_relation_is_established_maintained_and_terminated() {
    story(|sim| async move {
        let (domain, peer) = (Domain::start(&sim).await, peer(&sim).await);
        assert!(federate::agenda(&*domain.server.world()).await.unwrap().due.is_empty());
        add(&domain, web()).await.unwrap();
        assert_eq!(shown(&domain).await.unwrap().relation.standing(), Standing::Waiting);
        assert_eq!(believed(&domain.server).await, None, "nothing before it answered");

        let first = served(&peer).await;
        assert_eq!(fetch(&domain, &first).await, Came::Changed);
        let ours = Bundle::parse(&publish_own(&domain).await).unwrap();
        for host in [&domain.server, &domain.node, &domain.gateway] {
            domain.sync().await;
            assert_eq!(believed(host).await, Some(Bundle::parse(&first).unwrap()));
        }
        let told = shown(&domain).await.unwrap();
        assert_eq!((told.relation.standing(), told.keys), (Standing::Good, Some([1, 1, 1])));
        assert!(due(&domain).await.is_none(), "it waits as long as the bundle says");

        // The same again is no news; and no record.
        wait_for_next(&domain).await;
        let records = domain.server.journal().len();
        assert_eq!(fetch(&domain, &first).await, Came::Same);
        assert_eq!(domain.server.journal().len(), records);

        // A key that the other side adds is believed here after the next look, before its first use.
        let mut second = first.clone();
        while second == first {
            sim.sleep(Span::from_seconds(1_500)).await;
            for server in [peer.world(), domain.server.world()] {
                rotate::step(&*server, &["localhost".to_owned()]).await.unwrap();
            }
            for host in [&domain.node, &domain.gateway] {
                domain.renew(host).await.unwrap();
            }
            second = served(&peer).await;
        }
        // SPIFFE Federation §4.1: "new keys MUST be published at the bundle endpoint prior to the
        // keys being used to issue SVIDs."
        let ring = flow::feed::ring(&*peer.world(), Purpose::Wit).await.unwrap().unwrap();
        let newest = ring.keys.iter().map(|key| key.signs_from).max().unwrap();
        assert!(newest.since(peer.clock().now()) >= Span::from_seconds(3 * 300));
        assert_ne!(first, second);
        assert_eq!(fetch(&domain, &second).await, Came::Changed);
        domain.sync().await;
        let newest = Bundle::parse(&second).unwrap();
        assert_eq!(believed(&domain.node).await.as_ref(), Some(&newest));

        // The old one again: refused, and nothing is lost.
        wait_for_next(&domain).await;
        assert_eq!(fetch(&domain, &first).await, Came::Failed);
        let told = shown(&domain).await.unwrap().relation;
        assert_eq!(told.standing(), Standing::Failing);
        assert_eq!(told.fault.unwrap().check, "federation::Older");
        assert_eq!(believed(&domain.server).await.as_ref(), Some(&newest));

        // Our own keys change, and what others are trusted by stays; and the other way round.
        rotate::step(&*domain.server.world(), &["localhost".to_owned()]).await.unwrap();
        assert_eq!(believed(&domain.server).await.as_ref(), Some(&newest));
        assert_ne!(Bundle::parse(&publish_own(&domain).await).unwrap(), ours, "they did change");

        remove(&domain).await.unwrap();
        assert_eq!(believed(&domain.server).await, None);
        domain.sync().await;
        for host in [&domain.node, &domain.gateway] {
            assert_eq!(believed(host).await, None);
        }
        assert!(shown(&domain).await.is_none());
        assert_eq!(remove(&domain).await, Err(Refusal::Unknown { domain: other() }));
    });
}

async fn publish_own(domain: &Domain) -> String {
    publish::bundle(&*domain.server.world(), true).await.unwrap().to_string()
}

/// req: CRED-12 (part)
#[test]
fn s7_3_a_bundle_vouches_for_its_own_trust_domain_alone() {
    story(|sim| async move {
        let (domain, peer) = (Domain::start(&sim).await, peer(&sim).await);
        add(&domain, web()).await.unwrap();
        fetch(&domain, &served(&peer).await).await;
        let row = flow::facts::one::<_, TrustRow>(&*domain.server.world(), TrustRow::ID).await;
        let bundles = row.unwrap().unwrap().bundles.spiffe().clone();
        let leaf = async |world: &SimWorld| {
            let identity = boot::server_identity(world, &[], &[]).await.unwrap();
            let der = identity.chain.first().unwrap().as_bytes().to_vec();
            vec![x509::Certificate::parse(&der).unwrap()]
        };
        let foreign = leaf(&peer.world()).await;
        let verified = |chain: &[x509::Certificate], bundles: &spiffe::BundleSet| {
            X509Svid::verify(chain, bundles, x509::Purpose::Server, domain.now())
        };
        let id = verified(&foreign, &bundles).unwrap();
        assert_eq!(id.spiffe_id().to_string(), "spiffe://other.example/aims/server");
        // The other authority's certificates are nothing under the name of our own.
        let mut swapped = spiffe::BundleSet::new();
        let (own, theirs) = (bundles.get(&TrustDomain::parse("demo.example").unwrap()), other());
        swapped.insert(theirs, own.unwrap().clone());
        verified(&foreign, &swapped).unwrap_err();
        verified(&leaf(&domain.server.world()).await, &swapped).unwrap_err();
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_recorded() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let own = TrustDomain::parse("demo.example").unwrap();
        let refused = add(&domain, Terms { trust_domain: own, ..web() }).await;
        assert!(matches!(refused, Err(Refusal::Terms(_))), "{refused:?}");
        let refused = add(&domain, Terms { profile: Profile::HttpsSpiffe, ..web() }).await;
        assert!(matches!(refused, Err(Refusal::Terms(_))), "{refused:?}");
        add(&domain, web()).await.unwrap();
        assert_eq!(add(&domain, web()).await, Err(Refusal::Exists { domain: other() }));
    });
}

#[test]
fn an_answer_counts_only_for_the_relation_that_was_asked_for() {
    story(|sim| async move {
        let (domain, peer) = (Domain::start(&sim).await, peer(&sim).await);
        let answer = served(&peer).await;
        add(&domain, web()).await.unwrap();
        let asked = due(&domain).await.unwrap();
        let server = domain.server.world();
        remove(&domain).await.unwrap();
        assert_eq!(took(&server, &asked, &answer).await, Came::Overtaken);
        add(&domain, Terms { url: EndpointUrl::parse("https://x.example/").unwrap(), ..web() })
            .await
            .unwrap();
        assert_eq!(took(&server, &asked, &answer).await, Came::Overtaken);
        assert_eq!(believed(&domain.server).await, None);
        // Two servers that asked at once: the second answer is too late.
        let asked = due(&domain).await.unwrap();
        assert_eq!(took(&server, &asked, &answer).await, Came::Changed);
        assert_eq!(took(&server, &asked, &answer).await, Came::Overtaken);
    });
}

#[test]
fn s6_2_failures_wait_longer_and_are_recorded_as_they_begin_and_end() {
    story(|sim| async move {
        let (domain, peer) = (Domain::start(&sim).await, peer(&sim).await);
        add(&domain, web()).await.unwrap();
        let server = domain.server.world();
        let fail = async |check: &str| {
            let why = NotFetched { check: check.to_owned(), message: "it is so".to_owned() };
            let asked = due(&domain).await.unwrap();
            let before = domain.server.journal().len();
            let came = federate::took(&*server, &asked, Err(&why)).await.unwrap();
            assert_eq!(came, Came::Failed);
            let agenda = federate::agenda(&*server).await.unwrap();
            let pause = agenda.next.unwrap().since(domain.now());
            domain.sim.sleep(pause).await;
            (pause.seconds(), domain.server.journal().len() - before)
        };
        let mut recorded = Vec::new();
        for (check, least, most) in
            [("fetch::Name", 54, 60), ("fetch::Name", 108, 120), ("fetch::Status", 216, 240)]
        {
            let (pause, records) = fail(check).await;
            assert!((least..=most).contains(&pause), "{check}: {pause}");
            recorded.push(records);
        }
        assert_eq!(recorded, [1, 0, 1]);
        // An operator need not wait.
        let operator = domain.operator();
        federate::refresh(&*server, &operator, &other()).await.unwrap().into_value().unwrap();
        assert_eq!(fetch(&domain, &served(&peer).await).await, Came::Changed);
        let last = domain.server.journal().records().pop().unwrap();
        assert_eq!((last.action.as_str(), last.outcome), ("federation.fetch", Outcome::Done));
        let unknown = TrustDomain::parse("nobody.example").unwrap();
        let refused = federate::refresh(&*server, &operator, &unknown).await.unwrap();
        assert_eq!(refused.into_value(), Err(Refusal::Unknown { domain: unknown }));
    });
}

/// req: CRED-12 (part)
#[test]
fn s5_2_2_4_the_first_bundle_checks_the_first_answer_and_the_newest_the_next() {
    story(|sim| async move {
        let (domain, peer) = (Domain::start(&sim).await, peer(&sim).await);
        let first = served(&peer).await;
        let terms = Terms {
            profile: Profile::HttpsSpiffe,
            endpoint_id: SpiffeId::parse("spiffe://other.example/aims/server").ok(),
            bundle: Some(GivenBundle::try_from(first.clone()).unwrap()),
            ..web()
        };
        add(&domain, terms).await.unwrap();
        let sequence = |due: &Due| due.endpoint.as_ref().unwrap().1.get(&other())?.sequence();
        let asked = due(&domain).await.unwrap();
        assert_eq!(sequence(&asked), Bundle::parse(&first).unwrap().sequence());
        let mut newer: serde_json::Value = serde_json::from_str(&first).unwrap();
        newer["spiffe_sequence"] = serde_json::json!(77);
        took(&domain.server.world(), &asked, &newer.to_string()).await;
        wait_for_next(&domain).await;
        assert_eq!(sequence(&due(&domain).await.unwrap()), Some(77));
        // After a restart too.
        domain.restart_server().await.unwrap();
        assert_eq!(sequence(&due(&domain).await.unwrap()), Some(77));
        assert_eq!(believed(&domain.server).await.unwrap().sequence(), Some(77));
    });
}

/// req: CRED-12 (part), POL-01 (part)
#[test]
fn policy_keeps_relations_as_code() {
    story(|sim| async move {
        let (domain, peer) = (Domain::start(&sim).await, peer(&sim).await);
        let (server, operator) = (domain.server.world(), domain.operator());
        let with = |url: &str| {
            let text =
                format!("trust_domain = \"{OTHER}\"\nprofile = \"https_web\"\nurl = \"{url}\"");
            files_but(&[("federation/other.toml", &text)])
        };
        let put = async |files: policy::Files| {
            let planned = plan(&*server, files.clone()).await.unwrap().unwrap();
            let why = "a story".to_owned();
            let done = apply(&*server, &operator, files, why, None).await.unwrap();
            assert_eq!(done.into_value().unwrap().changes, planned.changes);
            planned.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        // What an operator began policy takes over, with what is believed by it.
        add(&domain, web()).await.unwrap();
        fetch(&domain, &served(&peer).await).await;
        assert_eq!(put(with(URL)).await, ["+ federation other.example"]);
        assert_eq!(shown(&domain).await.unwrap().relation.keeper, Keeper::Policy);
        assert!(believed(&domain.server).await.is_some());
        assert_eq!(remove(&domain).await, Err(Refusal::Kept { domain: other() }));
        // Other terms begin it anew.
        assert_eq!(put(with("https://elsewhere.example/")).await, ["~ federation other.example"]);
        assert_eq!(believed(&domain.server).await, None);
        assert_eq!(fetch(&domain, &served(&peer).await).await, Came::Changed);
        // A file that is gone ends it at once.
        assert_eq!(put(files()).await, ["- federation other.example"]);
        assert_eq!(believed(&domain.server).await, None);
        assert!(shown(&domain).await.is_none());
        // What an operator keeps policy does not end.
        add(&domain, web()).await.unwrap();
        put(files()).await;
        assert_eq!(shown(&domain).await.unwrap().relation.keeper, Keeper::Operator);
    });
}
