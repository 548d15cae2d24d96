//! Renewals that fail: seen long before anything ends, told once, and survived as long as is stated.

use std::collections::BTreeMap;

use credential::Purpose;
use env::rows::Holding;
use env::{Clock, World};
use flow::watch::{self, Seen};
use flow::workload::{Attested, x509};
use monitoring::Event;
use provisioning::alarm::AlarmKind;
use provisioning::renewal::{Heard, Trouble};
use testkit::fixture::{Domain, process, registration, story};
use time::{Span, UnixTime};

const STEP: Span = Span::from_seconds(10);

async fn seen(domain: &Domain, heard: &BTreeMap<String, Heard>) -> Seen {
    watch::look(&*domain.server.world(), heard).await.unwrap()
}

/// When what the node holds for the clerk ends.
async fn ends(domain: &Domain) -> UnixTime {
    let world = domain.node.world();
    let id = "spiffe://demo.example/agent/clerk";
    let held = flow::facts::one::<_, Holding>(&*world, id).await.unwrap().unwrap();
    held.x509.as_ref().unwrap().until
}

async fn clerk(domain: &Domain) -> Attested {
    domain.register(registration("clerk", &[])).await;
    domain.attest(process("/opt/clerk"), true).await.unwrap().into_value().unwrap()
}

/// The budget is measured: whenever the server goes away, that much is left, and not much more.
/// req: PROV-09 (part)
#[test]
fn s8_what_is_held_outlives_every_outage_within_the_stated_budget() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let attested = clerk(&domain).await;
        let world = domain.node.world();
        let budget = seen(&domain, &BTreeMap::new()).await.outage;
        x509(&*world, &attested).await.unwrap().unwrap();
        let (mut worst, mut own) = (Span::from_seconds(86_400), domain.now());
        let life = budget.x509_svid.millis() * 2;
        for _ in 0..life * 3 / STEP.millis() {
            sim.sleep(STEP).await;
            if domain.now() >= own.plus(budget.component) {
                domain.renew(&domain.node).await.unwrap();
                own = domain.now();
            }
            worst = worst.min(ends(&domain).await.since(domain.now()));
            x509(&*world, &attested).await.unwrap().unwrap();
        }
        let (least, most) = (budget.x509_svid.millis(), budget.x509_svid.millis() + life / 10);
        let worst = worst.millis() + STEP.millis();
        assert!((least..=most).contains(&worst), "{least} {worst} {most}");

        // The worst moment: the server goes as a renewal is due, and comes back as the budget ends.
        let mut begun = domain.now();
        domain.renew(&domain.node).await.unwrap();
        let first = ends(&domain).await;
        while first.since(domain.now()) > budget.x509_svid {
            sim.sleep(STEP).await;
            begun = domain.now();
        }
        domain.node.link().cut(true);
        while domain.now() < begun.plus(budget.x509_svid).minus(STEP) {
            let answer = x509(&*world, &attested).await.unwrap().unwrap();
            assert!(!answer.chain.is_empty() && domain.now() < ends(&domain).await);
            sim.sleep(STEP).await;
        }
        let troubles = watch::troubles(&*world).await.unwrap();
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert_eq!(troubles[0].subject, "spiffe://demo.example/agent/clerk (x509)");
        assert!(troubles[0].since <= begun.plus(Span::from_seconds(120)), "at the first failure");
        domain.node.link().cut(false);
        x509(&*world, &attested).await.unwrap().unwrap();
        assert!(ends(&domain).await > first);
        assert_eq!(watch::troubles(&*world).await.unwrap(), []);

        // Beyond it something ends, and nothing is made up.
        domain.node.link().cut(true);
        while domain.now() < ends(&domain).await {
            sim.sleep(Span::from_seconds(60)).await;
        }
        assert!(x509(&*world, &attested).await.is_err());
    });
}

/// req: PROV-09 (part)
#[test]
fn s8_what_begins_to_go_wrong_is_recorded_once_and_what_is_mended_too() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let leaf = x509::Certificate::parse(&domain.node.link().shown().0[0]).unwrap();
        let node = leaf.uri_names()[0].clone();
        let told = || {
            let of = domain.server.journal().of(Event::Alarm);
            of.into_iter()
                .map(|record| (record.action, record.facts["kind"].clone()))
                .collect::<Vec<_>>()
        };
        let kinds = |seen: &Seen| seen.alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>();
        let heard = |at, troubles: &[Trouble]| {
            BTreeMap::from([(node.clone(), Heard { at, troubles: troubles.to_vec() })])
        };
        let since = domain.now();
        let fine = heard(since, &[]);
        assert_eq!(kinds(&seen(&domain, &fine).await), []);
        assert_eq!(told(), []);
        sim.sleep(Span::from_seconds(61)).await;
        for _ in 0..3 {
            assert_eq!(kinds(&seen(&domain, &fine).await), [AlarmKind::NodeSilent]);
        }
        assert_eq!(told(), [("alarm.enter".to_owned(), "node_silent".into())]);
        let last = domain.server.journal().last().unwrap();
        assert_eq!((last.resource.as_deref(), last.why.is_some()), (Some(node.as_str()), true));

        // It is heard again, and tells what fails there.
        let until = domain.now().plus(Span::from_seconds(1_000));
        let why = "no route".to_owned();
        let trouble =
            Trouble { subject: "spiffe://demo.example/agent/a".into(), since, until, why };
        let failing = heard(domain.now(), std::slice::from_ref(&trouble));
        let now_seen = seen(&domain, &failing).await;
        assert_eq!(kinds(&now_seen), [AlarmKind::RenewalFailing]);
        assert_eq!(now_seen.alarms[0].ends, Some(until));
        let well = heard(domain.now(), &[]);
        assert_eq!(kinds(&seen(&domain, &well).await), []);
        let story: Vec<_> = told().into_iter().map(|(action, _)| action).collect();
        assert_eq!(story, ["alarm.enter", "alarm.enter", "alarm.leave", "alarm.leave"]);

        // Who does not renew is late while a third of the life is left, and nobody's alarm once
        // there is nothing to be saved.
        let life = now_seen.outage.component.millis() * 2;
        let (late, end) = (Span::from_millis(life / 8 * 5), Span::from_millis(life));
        while server.clock().now() < since.plus(late) {
            sim.sleep(Span::from_seconds(30)).await;
        }
        let found = seen(&domain, &BTreeMap::new()).await;
        assert!(kinds(&found).contains(&AlarmKind::NodeLate), "{found:?}");
        let left = found.alarms[0].ends.unwrap().since(domain.now());
        assert!(left.millis() > life / 3, "{left:?}");
        while server.clock().now() < since.plus(end) {
            sim.sleep(Span::from_seconds(60)).await;
        }
        assert!(!kinds(&seen(&domain, &BTreeMap::new()).await).contains(&AlarmKind::NodeLate));
    });
}

/// The first key of a ring has no time in which it was announced: its successor is due all the same
/// long before it ends.
/// req: PROV-09 (part)
#[test]
fn s8_the_first_key_without_a_successor_is_told_of_in_time() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let first = (*domain.ring(Purpose::Wit)).clone();
        let schedule = credential::policy::Lifetimes::default().schedule(Purpose::Wit);
        let until = first.signer(domain.now()).unwrap().signs_until;
        let due = until.minus(schedule.ahead);
        assert_eq!(first.make_at(&schedule, domain.now()), due);
        let overdue = async || {
            let alarms = seen(&domain, &BTreeMap::new()).await.alarms;
            let of_ring = alarms.into_iter().filter(|one| one.kind == AlarmKind::KeyOverdue);
            of_ring.map(|one| (one.subject, one.since, one.ends)).collect::<Vec<_>>()
        };
        sim.sleep(due.plus(Span::from_seconds(119)).since(domain.now())).await;
        assert_eq!(overdue().await, []);
        sim.sleep(Span::from_seconds(2)).await;
        let wit = ("wit".to_owned(), due, Some(until));
        assert!(overdue().await.contains(&wit), "{:?}", overdue().await);
        assert!(domain.now() < until);
        flow::rotate::step(&*server, &[]).await.unwrap();
        assert!(!overdue().await.contains(&wit));
    });
}

/// What ends is not remembered for ever, and what stands is.
#[test]
fn s8_a_host_that_came_and_went_is_forgotten() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let leaf = x509::Certificate::parse(&domain.node.link().shown().0[0]).unwrap();
        let (node, at) = (leaf.uri_names()[0].clone(), domain.now());
        let gone = "spiffe://demo.example/aims/node/gitlab_ci/77/9".to_owned();
        let heard = || Heard { at, troubles: Vec::new() };
        let both = BTreeMap::from([(node.clone(), heard()), (gone.clone(), heard())]);
        assert_eq!(seen(&domain, &both).await.gone, std::slice::from_ref(&gone));
        let life = credential::policy::Lifetimes::default().component;
        sim.sleep(life).await;
        let mut all = vec![gone, node];
        all.sort();
        assert_eq!(seen(&domain, &both).await.gone, all);
    });
}

/// The whole of it: a server that goes away at the worst moment is retried with jitter, an alarm
/// is raised while most of the life is left, and the stated budget holds for each credential.
/// req: PROV-09
#[test]
fn s8_a_failing_renewal_is_retried_with_jitter_told_of_and_outlived() {
    const AGENTS: usize = 12;
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let mut agents = Vec::new();
        for number in 0..AGENTS {
            let name = format!("a{number}");
            domain.register(registration(&name, &[])).await;
            let path = format!("/opt/{name}");
            let attested = domain.attest(process(&path), true).await.unwrap().into_value();
            agents.push(attested.unwrap());
        }
        let world = domain.node.world();
        let budget = seen(&domain, &BTreeMap::new()).await.outage.x509_svid;
        let issued = domain.now();
        for agent in &agents {
            x509(&*world, agent).await.unwrap().unwrap();
        }
        // All are due, and then nobody answers.
        domain.renew(&domain.node).await.unwrap();
        sim.sleep(Span::from_seconds(budget.seconds())).await;
        domain.node.link().cut(true);
        let begun = domain.now();
        let mut again = std::collections::BTreeSet::new();
        for agent in &agents {
            let held = x509(&*world, agent).await.unwrap().unwrap();
            let pause = held.renew.since(domain.now());
            assert!(pause >= Span::from_seconds(3) && pause <= Span::from_seconds(4), "{pause:?}");
            again.insert(pause.millis() / 50);
        }
        assert!(again.len() > AGENTS / 3, "they all come back together: {again:?}");
        // The node tells, and the server raises the alarm half a minute later.
        sim.sleep(Span::from_seconds(30)).await;
        let troubles = watch::troubles(&*world).await.unwrap();
        assert_eq!(troubles.len(), AGENTS);
        let leaf = x509::Certificate::parse(&domain.node.link().shown().0[0]).unwrap();
        let heard = Heard { at: domain.now(), troubles };
        let heard = BTreeMap::from([(leaf.uri_names()[0].clone(), heard)]);
        let alarms = seen(&domain, &heard).await.alarms;
        let failing = alarms.iter().filter(|one| one.kind == AlarmKind::RenewalFailing);
        assert_eq!(failing.clone().count(), AGENTS);
        let life = Span::from_seconds(budget.seconds() * 2);
        for alarm in failing {
            let left = alarm.ends.unwrap().since(domain.now());
            assert!(left.millis() > life.millis() / 5 * 2, "long before expiry: {left:?}");
        }
        // As stated, whenever it began, each is held so long and renewed after it.
        while domain.now() < begun.plus(budget).minus(Span::from_seconds(60)) {
            sim.sleep(Span::from_seconds(50)).await;
            for agent in &agents {
                let held = x509(&*world, agent).await.unwrap().unwrap();
                let leaf = x509::Certificate::parse(&held.chain[0]).unwrap();
                assert!(domain.now() < leaf.not_after() && leaf.not_before() <= issued);
            }
        }
        domain.node.link().cut(false);
        domain.feed(&domain.node).await.unwrap();
        sim.sleep(Span::from_seconds(5)).await;
        for agent in &agents {
            let held = x509(&*world, agent).await.unwrap().unwrap();
            let leaf = x509::Certificate::parse(&held.chain[0]).unwrap();
            assert!(leaf.not_after() > begun.plus(budget), "renewed");
        }
        assert_eq!(watch::troubles(&*world).await.unwrap(), []);
    });
}

/// A ring that no client asked for yet has a key that signs later; nobody waits for it.
#[test]
fn s8_a_key_that_is_made_ahead_of_the_first_client_is_not_late() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let (purpose, why) = (Purpose::IdTokenRs256, "before the first client".to_owned());
        let made = flow::authorities::rotate(&*server, &operator, purpose, None, why).await;
        assert!(made.unwrap().into_value().unwrap().signer(domain.now()).is_none());
        let seen = seen(&domain, &BTreeMap::new()).await;
        assert_eq!(seen.alarms, []);
        assert!(seen.keys.iter().all(|(of, _)| *of != purpose));
    });
}
