//! What happens if the store fails here, *and wrote anyway*: whoever is told of a failure can ask
//! again and finds out which it was, and nothing was released meanwhile.

use attestation::mechanism::Role;
use env::World;
use env::rows::{DomainEpoch, InForce};
use flow::{agents, apply_policy, join, token};
use gateway::Refusal;
use identifier::AgentName;
use monitoring::{Event, Record};
use provisioning::{Act, State};
use registry::AgentRecord;
use testkit::fixture::{
    Domain, GATEWAY, attempt, by_wit, code_request, credentials, files_but, refresh_request,
    registration, story, tool_call,
};
use testkit::{Fault, Host, StoreRates};
use time::Span;

use crate::grants::House;

const TOOLS: &str = "https://gateway.demo.example:8446/invoices";

/// Where a write can fail, and how.
const FAILURES: [(Place, Fault); 4] = [
    (Place::Store, Fault::Lost),
    (Place::Store, Fault::WrittenAnyway),
    (Place::Journal, Fault::Lost),
    (Place::Journal, Fault::WrittenAnyway),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Store,
    Journal,
}

fn fail(host: &Host, (place, fault): (Place, Fault), after: usize) {
    match place {
        Place::Store => host.faults().after(after, fault),
        Place::Journal => host.journal().faults().after(after, fault),
    }
}

/// Whether the change of a failed write is there once the next write that changes rows is through:
/// what waited for the journal is finished then.
fn is_made((place, fault): (Place, Fault)) -> bool {
    place == Place::Journal || fault == Fault::WrittenAnyway
}

/// req: ID-03 (part)
#[test]
fn s5_a_registration_that_failed_was_made_or_not() {
    for failure in FAILURES {
        story(|sim| async move {
            let domain = Domain::start(&sim).await;
            let (server, operator) = (domain.server.world(), domain.operator());
            let register =
                async || agents::register(&*server, &operator, registration("clerk", &[])).await;
            fail(&domain.server, failure, 0);
            assert!(register().await.is_err());
            // Another change comes to the end of what waited.
            domain.register(registration("other", &[])).await;
            let again = register().await.unwrap().into_value().map_err(|one| one.check());
            let taken = is_made(failure).then_some("identifier::Assign");
            assert_eq!(again.err(), taken, "{failure:?}");
            let rows = server.store().every::<AgentRecord>().len();
            let told = domain.server.journal().of(Event::AgentRegistered);
            let done = told.iter().filter(|record| record.why.is_none()).count();
            assert_eq!((rows, done), (2, 2), "{failure:?}: each row has its record");
        });
    }
}

/// req: OBS-04 (part)
#[test]
fn s11_a_suspension_that_failed_was_made_or_not() {
    for failure in FAILURES {
        story(|sim| async move {
            let domain = Domain::start(&sim).await;
            domain.register(registration("clerk", &[])).await;
            let (server, operator) = (domain.server.world(), domain.operator());
            let name = AgentName::parse("clerk").unwrap();
            fail(&domain.server, failure, 0);
            let failed = agents::act(&*server, &operator, &name, Act::Suspend, "x".into()).await;
            assert!(failed.is_err());
            domain.register(registration("other", &[])).await;
            let agent = agents::show(&*server, &name).await.unwrap().unwrap();
            let expect = if is_made(failure) { (State::Suspended, 2) } else { (State::Active, 1) };
            let epoch = server.store().single::<DomainEpoch>(DomainEpoch::ID).unwrap().epoch.0;
            assert_eq!((agent.lifecycle.state, epoch), expect, "{failure:?}");
        });
    }
}

/// Whoever was told of a failure is not served a second time: the code was used, or it was not.
/// req: AUTHZ-09 (part)
#[test]
fn rfc6749_4_1_2_a_redemption_that_failed_was_made_or_not() {
    for failure in FAILURES {
        story(|sim| async move {
            let house = House::open(&sim, true).await;
            let (domain, server) = (&house.domain, house.domain.server.world());
            // Secrets that are made at the first use are there.
            house.redeem().await;
            let before = domain.server.journal().len();
            let code = domain.code(&house.grant, |_| ());
            fail(&domain.server, failure, 0);
            let call = house.asks(code_request(&code));
            assert!(token::answer(&*server, call).await.is_err());
            domain.register(registration("other", &[])).await;
            let again = domain.ask(house.asks(code_request(&code))).await;
            let used = is_made(failure).then_some("grants::CodeUsed");
            assert_eq!(again.err().map(|refusal| refusal.check()), used, "{failure:?}");
            let told = domain.server.journal().after(before);
            let given = |one: &&Record| one.event == Event::TokenIssued && one.why.is_none();
            assert_eq!(told.iter().filter(given).count(), 1, "{failure:?}: one token in all");
        });
    }
}

/// The successor of a refresh token whose answer was lost is the one that is given again.
/// req: AUTHZ-09 (part)
#[test]
fn rfc9700_4_14_2_a_rotation_that_failed_was_made_or_not() {
    for failure in FAILURES {
        story(|sim| async move {
            let house = House::open(&sim, true).await;
            let (domain, server) = (&house.domain, house.domain.server.world());
            let old = house.redeem().await.refresh_token.unwrap();
            fail(&domain.server, failure, 0);
            let call = house.asks(refresh_request(&old, &format!("{GATEWAY}/notices"), ""));
            assert!(token::answer(&*server, call).await.is_err());
            domain.register(registration("other", &[])).await;
            let two = house.refresh(&old).await.unwrap().refresh_token.unwrap();
            assert_eq!(house.refresh(&old).await.unwrap().refresh_token, Some(two.clone()));
            let held = house.held();
            assert_eq!((held.refresh.unwrap().generation, held.ended), (2, None), "{failure:?}");
            assert!(house.refresh(&two).await.is_ok());
        });
    }
}

/// A row that another writes first is read and decided again.
#[test]
fn s11_an_act_that_is_overtaken_is_decided_again() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        for _ in 0..5 {
            domain.server.faults().next(Fault::Overtaken);
        }
        let moved = domain.act("clerk", Act::Suspend).await;
        assert_eq!((moved.lifecycle.state, moved.lifecycle.dead_before.0), (State::Suspended, 2));
        let storm = StoreRates { overtaken: 1_000, ..StoreRates::default() };
        domain.server.faults().set_rates(storm);
        let (server, operator) = (domain.server.world(), domain.operator());
        let name = AgentName::parse("clerk").unwrap();
        let end = agents::act(&*server, &operator, &name, Act::Resume, "x".into()).await;
        assert_eq!(end.unwrap_err().part, "store", "it gives up in the end");
    });
}

/// req: ATT-02 (part)
#[test]
fn s7_a_join_that_failed_used_its_token_up_or_not() {
    for failure in FAILURES {
        story(|sim| async move {
            let domain = Domain::start(&sim).await;
            let (server, operator) = (domain.server.world(), domain.operator());
            let life = Span::from_seconds(60);
            let shown = flow::join_token::create(&*server, &operator, Role::Node, None, life).await;
            let token = shown.unwrap().into_value().expose().to_owned();
            let fresh = || attempt("join_token", Role::Node, token.as_bytes());
            fail(&domain.server, failure, 0);
            assert!(join::join(&*server, &fresh(), None).await.is_err());
            domain.register(registration("other", &[])).await;
            let end = join::join(&*server, &fresh(), None).await.unwrap();
            let join::End::Decided(recorded) = end else { panic!("a stranger") };
            let used = is_made(failure).then_some("attestation::TokenUsed");
            assert_eq!(recorded.value().as_ref().err().map(join::Refusal::check), used);
        });
    }
}

/// A token whose record failed is not given out, and the proof is used up at most.
/// req: OBS-05 (part), AUTHN-05 (part)
#[test]
fn s10_a_token_whose_record_failed_is_not_released() {
    for failure in FAILURES {
        story(|sim| async move {
            let domain = Domain::start(&sim).await;
            domain.register(registration("clerk", &[])).await;
            let clerk = domain.party("/opt/clerk").await;
            let call = by_wit(&clerk, credentials(TOOLS, ""), domain.now());
            fail(&domain.server, failure, 0);
            let failed = flow::token::answer(&*domain.server.world(), call.clone()).await;
            assert!(failed.is_err());
            let again = domain.ask(call).await;
            let replayed = failure != (Place::Store, Fault::Lost);
            assert_eq!(again.is_err(), replayed, "{failure:?}");
            domain.token(by_wit(&clerk, credentials(TOOLS, ""), domain.now())).await;
        });
    }
}

/// req: GW-01 (part), OBS-05 (part), AUTHN-05 (part)
#[test]
fn s5_1_a_call_whose_record_failed_is_not_forwarded() {
    for failure in FAILURES {
        story(|sim| async move {
            let domain = Domain::start(&sim).await;
            domain.register(registration("clerk", &["payments"])).await;
            let clerk = domain.party("/opt/clerk").await;
            let asked = by_wit(&clerk, credentials(TOOLS, "invoices.pay"), domain.now());
            let token = domain.token(asked).await;
            let call = || tool_call(&clerk, &token, "invoices", "pay_invoice", domain.now());
            let first = call();
            fail(&domain.gateway, failure, 0);
            assert!(domain.call(first.clone()).await.is_err());
            assert_eq!(domain.upstream.forwards().len(), 0, "{failure:?}");
            let again = domain.refusal_of(first).await;
            let replayed = failure != (Place::Store, Fault::Lost);
            assert_eq!(again, replayed.then_some(Refusal::Replayed), "{failure:?}");
            let sent = domain.upstream.forwards().len();
            // The end of a call is recorded, too, before its answer is released.
            fail(&domain.gateway, failure, 1);
            assert!(domain.call(call()).await.is_err());
            assert_eq!(domain.upstream.forwards().len(), sent + 1);
            let decided = domain.gateway.journal().of(Event::CallDecided);
            let permitted = decided.iter().filter(|record| record.why.is_none()).count();
            assert!(permitted >= domain.upstream.forwards().len());
        });
    }
}

/// req: POL-01 (part)
#[test]
fn s12_a_set_whose_commit_failed_is_in_force_or_not() {
    for failure in FAILURES {
        story(|sim| async move {
            let domain = Domain::start(&sim).await;
            let (server, operator) = (domain.server.world(), domain.operator());
            let rule = r#"@id("all") permit(principal, action, resource);"#;
            let files = files_but(&[("access/main.cedar", rule)]);
            let wanted = files.version();
            fail(&domain.server, failure, 0);
            let failed = apply_policy::apply(&*server, &operator, files, "x".into(), None).await;
            assert!(failed.is_err());
            domain.register(registration("other", &[])).await;
            let row = server.store().single::<InForce>(InForce::ID).unwrap();
            assert_eq!(*row.set.version() == wanted, is_made(failure), "{failure:?}");
        });
    }
}

/// Facts that cannot be read decide nothing, and nothing is recorded as decided.
/// req: GW-01 (part)
#[test]
fn s5_1_nothing_is_decided_on_facts_that_do_not_read() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &["invoices"])).await;
        let clerk = domain.party("/opt/clerk").await;
        let asked = by_wit(&clerk, credentials(TOOLS, "invoices.read"), domain.now());
        let token = domain.token(asked.clone()).await;
        let before = (domain.server.journal().len(), domain.gateway.journal().len());
        let unread = StoreRates { unread: 1_000, ..StoreRates::default() };
        domain.server.faults().set_rates(unread);
        domain.gateway.faults().set_rates(unread);
        assert!(flow::token::answer(&*domain.server.world(), asked).await.is_err());
        let call = tool_call(&clerk, &token, "invoices", "list_invoices", domain.now());
        assert!(domain.call(call).await.is_err());
        let after = (domain.server.journal().len(), domain.gateway.journal().len());
        assert_eq!(before, after);
    });
}

/// A key that does not answer signs nothing, and nothing is recorded as issued.
#[test]
fn s10_a_key_that_does_not_answer_issues_nothing() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let clerk = domain.party("/opt/clerk").await;
        let call = by_wit(&clerk, credentials(TOOLS, ""), domain.now());
        let before = domain.server.journal().len();
        domain.server.keys().set_unavailable(1_000);
        let failed = flow::token::answer(&*domain.server.world(), call.clone()).await;
        assert_eq!(failed.unwrap_err().part, "keys");
        assert_eq!(domain.server.journal().len(), before);
        domain.server.keys().set_unavailable(0);
        domain.token(call).await;
    });
}
