//! Operators and the registry.

use attestation::{Selector, Selectors};
use flow::agents::{Refusal, act, list, register};
use identifier::{AgentName, AssignRefusal};
use monitoring::{Event, Outcome};
use provisioning::{Act, State, TransitionRefusal};
use registry::Registration;
use testkit::fixture::{Domain, files_but, process, registration, story};

/// The refusal, recorded under its name and with who asked.
async fn refused(domain: &Domain, entry: Registration) -> Refusal {
    let (server, operator) = (domain.server.world(), domain.operator());
    let end = register(&*server, &operator, entry).await.unwrap();
    check_recorded(domain, end.audit_id(), end.value().as_ref().unwrap_err());
    end.into_value().unwrap_err()
}

fn check_recorded(domain: &Domain, id: Option<monitoring::RecordId>, refusal: &Refusal) {
    let record = domain.server.journal().find(id.unwrap()).unwrap();
    assert_eq!((record.outcome, record.operator.as_deref()), (Outcome::Refused, Some("uid:1000")));
    assert_eq!(record.why.unwrap().check, refusal.check());
}

/// req: ID-03, ID-06 (part), ID-01 (part)
#[test]
fn s5_a_name_and_its_identifier_are_given_once_for_ever() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let first = domain.register(registration("clerk", &[])).await;
        assert_eq!(first.id.as_str(), "spiffe://demo.example/agent/clerk");
        domain.act("clerk", Act::Retire).await;
        sim.sleep(time::Span::from_seconds(90 * 86_400)).await;
        for kind in [identifier::Kind::Agent, identifier::Kind::Service] {
            let mut again = registration("clerk", &[]);
            again.kind = kind;
            let refusal = refused(&domain, again).await;
            let (name, since) = (AgentName::parse("clerk").unwrap(), first.registered);
            let taken = AssignRefusal::Taken { name, id: first.id.clone(), since };
            assert_eq!(refusal, taken.into());
        }
    });
}

/// req: ATT-07 (part), ID-03 (part)
#[test]
fn s7_a_registration_stands_by_its_rule_and_its_class() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let changed = |change: fn(&mut Registration)| {
            let mut entry = registration("clerk", &[]);
            change(&mut entry);
            entry
        };
        let uid = |entry: &mut Registration| {
            entry.rule.selectors =
                Selectors::new([Selector::parse("unix:uid:7").unwrap()]).unwrap();
        };
        for (entry, check) in [
            (changed(|entry| entry.owner.clear()), "registry::Registration"),
            (
                changed(|entry| entry.rule.selectors = Selectors::default()),
                "registry::Registration",
            ),
            (changed(|entry| entry.rule.class = "odd".to_owned()), "attestation::Class"),
            (changed(uid), "attestation::Weak"),
        ] {
            assert_eq!(refused(&domain, entry).await.check(), check);
        }
        let odd = refused(&domain, changed(|entry| entry.rule.class = "odd".to_owned())).await;
        let known = "quiet, standard".to_owned();
        assert_eq!(odd, Refusal::Class { name: "odd".to_owned(), known });
        let weak = refused(&domain, changed(uid)).await;
        let (class, name) = ("standard".to_owned(), "unix:path".to_owned());
        assert_eq!(weak, Refusal::Weak { class, name });
        let (none, next) = list(&*domain.server.world(), None, 10).await.unwrap();
        assert_eq!((none.len(), next), (0, None), "nothing half done");
    });
}

/// One process, one agent: a second record on the same program would stop the first at once.
///
/// req: ATT-01 (part)
#[test]
fn s7_a_rule_that_another_one_contains_is_refused_by_name() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let on_clerks = |name: &str, more: &[&str]| {
            let mut entry = registration(name, &[]);
            let all = ["unix:path:/opt/clerk"].iter().chain(more);
            let all = all.map(|text| Selector::parse(text).unwrap());
            entry.rule.selectors = Selectors::new(all).unwrap();
            entry
        };
        let script = ["unix:argv_script:path:/opt/a.py"];
        for (entry, why) in [
            (on_clerks("second", &[]), "the rules of `second` and `clerk` are the same"),
            (on_clerks("second", &script), "each process of `second` is one of `clerk`, too"),
        ] {
            let refusal = refused(&domain, entry).await;
            assert_eq!(refusal.check(), "registry::Overlap");
            let all = format!("{why}, and a process that several records match gets no identity");
            assert_eq!(refusal.to_string(), all);
        }
        domain.attest(process("/opt/clerk"), true).await.unwrap().into_value().unwrap();
        // Once the broader one is out of the way, scripts tell as many apart as there are.
        domain.act("clerk", Act::Suspend).await;
        domain.register(on_clerks("second", &script)).await;
        let third = on_clerks("third", &["unix:argv_script:path:/opt/b.py"]);
        domain.register(third).await;
        let broad = refused(&domain, on_clerks("fourth", &[])).await;
        assert!(broad.to_string().starts_with("each process of `second` is one of `fourth`"));
    });
}

/// Agents of SPIRE give a process all that matches, where their class says so.
#[test]
fn s7_records_for_agents_of_spire_may_overlap() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let of_spire = files_but(&[(
            "attestation.toml",
            "[node.join_token]\n[class.standard]\ndemands = [\"unix:path\"]\n\
             issues = [\"x509\"]\nspire_agents = true\n",
        )]);
        let (server, operator) = (domain.server.world(), domain.operator());
        let why = "of spire".to_owned();
        let applied = flow::apply_policy::apply(&*server, &operator, of_spire, why, None).await;
        applied.unwrap().into_value().unwrap();
        domain.register(registration("clerk", &[])).await;
        let mut second = registration("second", &[]);
        second.rule.selectors = registration("clerk", &[]).rule.selectors;
        domain.register(second).await;
        // Their attestors may tell what ours do not; a value that is none is none for them, too.
        let with = |name: &str, selector: &str| {
            let mut entry = registration(name, &[]);
            let all = entry.rule.selectors.iter().cloned();
            let all = all.chain([Selector::parse(selector).unwrap()]);
            entry.rule.selectors = Selectors::new(all).unwrap();
            entry
        };
        domain.register(with("third", "slurm:job_id:7")).await;
        let refusal = refused(&domain, with("fourth", "unix:uid:root")).await;
        assert_eq!(refusal.check(), "registry::Registration");
    });
}

/// A rule with a selector that nobody tells would match nothing, and say so to no one.
///
/// req: ATT-02 (part)
#[test]
fn s7_a_selector_that_no_attestor_tells_is_refused() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        for selector in
            ["unix:uuid:0", "unix:uid:root", "unix:sha256:aa", "unix:path:bin/x", "unx:uid:0"]
        {
            let mut entry = registration("clerk", &[]);
            let all = entry.rule.selectors.iter().cloned();
            let all = all.chain([Selector::parse(selector).unwrap()]);
            entry.rule.selectors = Selectors::new(all).unwrap();
            let refusal = refused(&domain, entry).await;
            assert_eq!(refusal.check(), "registry::Registration");
            assert!(refusal.to_string().contains(&format!("`{selector}`")), "{refusal}");
        }
        let mut enrolled = registration("clerk", &[]);
        let all = ["unix:path:/opt/clerk", "x509pop:ca:fingerprint:aa", "provenance:builder:b"];
        let all = all.map(|text| Selector::parse(text).unwrap());
        enrolled.rule.selectors = Selectors::new(all).unwrap();
        domain.register(enrolled).await;
    });
}

/// req: PROV-06 (part)
#[test]
fn s8_a_life_goes_its_way_and_no_other() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let order = async |name: &str, order| {
            let (name, reason) = (AgentName::parse(name).unwrap(), "why".to_owned());
            act(&*server, &operator, &name, order, reason).await.unwrap()
        };
        let nobody = order("nobody", Act::Suspend).await;
        let unknown = Refusal::Unknown { name: "nobody".to_owned() };
        check_recorded(&domain, nobody.audit_id(), &unknown);
        assert_eq!(nobody.into_value().unwrap_err(), unknown);
        let early = order("clerk", Act::Resume).await;
        check_recorded(&domain, early.audit_id(), early.value().as_ref().unwrap_err());
        let Refusal::Transition(TransitionRefusal { state, act, .. }) =
            early.into_value().unwrap_err()
        else {
            panic!("another refusal")
        };
        assert_eq!((state, act), (State::Active, Act::Resume));
        let mut epochs = Vec::new();
        for each in [Act::Suspend, Act::Resume, Act::Revoke] {
            let moved = order("clerk", each).await.into_value().unwrap();
            epochs.push(moved.lifecycle.dead_before.0);
        }
        assert_eq!(epochs, [2, 2, 3]);
        for each in Act::ALL {
            assert!(order("clerk", each).await.into_value().is_err(), "{each}");
        }
        let told = domain.server.journal().of(Event::AgentLifecycle);
        let done = told.iter().filter(|record| record.outcome == Outcome::Done).count();
        assert_eq!((told.len(), done), (9, 3));
    });
}

#[test]
fn s3_3_records_are_listed_in_pages() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        for name in ["a", "b", "c"] {
            domain.register(registration(name, &[])).await;
        }
        let server = domain.server.world();
        let (first, next) = list(&*server, None, 2).await.unwrap();
        let (rest, end) = list(&*server, next.as_deref(), 2).await.unwrap();
        let names: Vec<_> =
            first.iter().chain(&rest).map(|agent| agent.entry.name.to_string()).collect();
        assert_eq!((names, end), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], None));
    });
}
