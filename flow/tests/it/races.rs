//! Many at once, in orders that come from the seed: of what there is one, one gets it.

use attestation::mechanism::Role;
use attestation::unix::Process;
use env::rows::DomainEpoch;
use env::{Purpose, World};
use flow::call::End;
use flow::workload::{wit, x509};
use flow::{agents, join};
use identifier::AgentName;
use provisioning::Act;
use registry::{AgentRecord, NodeRecord};
use testkit::fixture::{
    Domain, GATEWAY, attempt, by_wit, credentials, exchange, files_but, process, registration,
    story, tool_call,
};
use testkit::{Boxed, Seed, Sim, boxed};
use time::Span;

const CLERK: &str = "spiffe://demo.example/agent/clerk";
const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const MANY: usize = 100;

/// SPIRE's join token was used twice (docs/past-defects.md 23).
/// req: ATT-02 (part)
#[test]
fn s7_of_many_joins_with_one_token_one_succeeds() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let life = Span::from_seconds(60);
        let shown = flow::join_token::create(&*server, &operator, Role::Node, None, life).await;
        let token = shown.unwrap().into_value().expose().to_owned();
        let attempts: Vec<_> =
            (0..MANY).map(|_| attempt("join_token", Role::Node, token.as_bytes())).collect();
        let joins = attempts.iter().map(|attempt| boxed(join::join(&*server, attempt, None)));
        let ends = sim.all(joins.collect()).await;
        let mut joined = 0;
        for end in ends {
            let join::End::Decided(recorded) = end.unwrap() else { panic!("a stranger") };
            match recorded.into_value() {
                Ok(_) => joined += 1,
                Err(refusal) => assert_eq!(refusal.check(), "attestation::TokenUsed"),
            }
        }
        assert_eq!(joined, 1);
        assert_eq!(server.store().every::<NodeRecord>().len(), 3);
    });
}

/// req: AUTHN-05 (part)
#[test]
fn s9_2_3_of_many_uses_of_one_proof_one_is_served() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &["payments"])).await;
        let clerk = domain.party("/opt/clerk").await;
        let by_wit = by_wit(&clerk, credentials(TOOLS, "invoices.pay"), domain.now());
        let asks = (0..MANY).map(|_| boxed(domain.ask(by_wit.clone()))).collect();
        let mut given: Vec<_> = sim.all(asks).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(given.len(), 1);
        let token = given.remove(0).access_token;
        let call = tool_call(&clerk, &token, "invoices", "pay_invoice", domain.now());
        let calls = (0..MANY).map(|_| boxed(domain.call(call.clone()))).collect();
        let ends = sim.all(calls).await;
        let served = ends.iter().filter(|end| matches!(end, Ok(End::Forwarded(..)))).count();
        let refused = ends.iter().filter(|end| match end {
            Ok(End::Refused(recorded)) => recorded.value().refusal == gateway::Refusal::Replayed,
            _ => false,
        });
        assert_eq!((served, refused.count()), (1, MANY - 1));
        assert_eq!(domain.upstream.forwards().len(), 1);
    });
}

/// req: ID-03 (part)
#[test]
fn s5_of_many_registrations_of_one_name_one_succeeds() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let register = |_| boxed(agents::register(&*server, &operator, registration("clerk", &[])));
        let ends = sim.all((0..MANY).map(register).collect()).await;
        let ends: Vec<_> = ends.into_iter().map(|end| end.unwrap().into_value()).collect();
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
        let taken = ends.iter().filter_map(|end| end.as_ref().err());
        assert!(taken.clone().all(|refusal| refusal.check() == "identifier::Assign"));
        assert_eq!((taken.count(), server.store().every::<AgentRecord>().len()), (MANY - 1, 1));
    });
}

/// Each revocation has a number of its own.
/// req: OBS-04 (part)
#[test]
fn s11_revocations_at_once_raise_the_epoch_one_by_one() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let names: Vec<_> = (0..8).map(|n| format!("agent-{n}")).collect();
        for name in &names {
            domain.register(registration(name, &[])).await;
        }
        let acts = names.iter().map(|name| boxed(domain.act_unheard(name, Act::Suspend))).collect();
        let moved = sim.all(acts).await;
        let mut epochs: Vec<_> = moved.iter().map(|agent| agent.lifecycle.dead_before.0).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, (2..=9).collect::<Vec<_>>());
        let row = domain.server.world().store().single::<DomainEpoch>(DomainEpoch::ID);
        assert_eq!(row.unwrap().epoch.0, 9);
    });
}

/// req: POL-01 (part)
#[test]
fn s12_of_many_sets_planned_against_one_version_one_is_applied() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let told = flow::apply_policy::plan(&*server, files_but(&[])).await.unwrap().unwrap();
        let set = |n: usize| {
            let rule = format!("@id(\"r{n}\") permit(principal, action, resource);");
            files_but(&[("access/main.cedar", &rule)])
        };
        let applies = (0..10).map(|n| {
            let (reason, from) = (n.to_string(), told.from.clone());
            boxed(flow::apply_policy::apply(&*server, &operator, set(n), reason, from))
        });
        let ends = sim.all(applies.collect()).await;
        let done = ends.iter().filter(|end| end.as_ref().is_ok_and(|one| one.value().is_ok()));
        assert_eq!(done.count(), 1);
    });
}

/// Whatever comes first, once the suspension is known nothing of before works.
/// req: OBS-04 (part), OBS-10 (part)
#[test]
fn s11_a_token_that_is_issued_while_its_agent_is_suspended_is_dead() {
    for seed in 0..40 {
        let sim = Sim::new(Seed(seed));
        sim.run(async {
            let domain = Domain::start(&sim).await;
            domain.register(registration("clerk", &["invoices"])).await;
            domain.register(registration("other", &[])).await;
            let (clerk, other) =
                (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
            let task = by_wit(&other, credentials(CLERK, "invoices.read"), domain.now());
            let task = domain.token(task).await;
            let asked = by_wit(&clerk, exchange(&task, TOOLS, ""), domain.now());
            let asking = boxed(async { domain.ask(asked).await.ok().map(|one| one.access_token) });
            let acting = boxed(async {
                domain.act_unheard("clerk", Act::Suspend).await;
                domain.act_unheard("clerk", Act::Resume).await;
                None
            });
            let token = sim.all(vec![asking, acting]).await.remove(0);
            domain.sync().await;
            let Some(token) = token else { return };
            let record = domain.read(&token).unwrap();
            let new = domain.party("/opt/clerk").await;
            let call = tool_call(&new, &token, "invoices", "list_invoices", domain.now());
            let refusal = domain.refusal_of(call).await.map(|one| one.check());
            assert_eq!(refusal, Some("gateway::NotInForce"), "seed {seed}, {:?}", record.epoch());
        });
    }
}

/// Streams of one agent at once: each gets an identity, one is kept, and no key is left over.
/// req: PROV-04 (part)
#[test]
fn s8_streams_of_one_agent_share_what_is_kept() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let node = domain.node.world();
        let attested = domain.attest(process("/opt/clerk"), true).await.unwrap();
        let attested = attested.into_value().unwrap();
        let streams = (0..10).map(|_| boxed(flow::workload::wit(&*node, &attested)));
        for end in sim.all(streams.collect()).await {
            let answer = end.unwrap().unwrap();
            assert_eq!(answer.id.to_string(), CLERK);
        }
        let keys = domain.node.keys().handles();
        let left = keys.iter().filter(|handle| handle.purpose == Purpose::Workload).count();
        assert_eq!(left, 1, "{keys:?}");
        let name = AgentName::parse("clerk").unwrap();
        assert!(agents::show(&*domain.server.world(), &name).await.unwrap().is_some());
        assert!(GATEWAY.len() < TOOLS.len());
    });
}

/// A hundred agents are stopped at one moment: all of them are, each under an epoch of its own.
///
/// req: OBS-04 (part)
#[test]
fn s11_many_suspensions_at_once_all_take_place() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let names: Vec<_> = (0..MANY).map(|n| format!("agent-{n}")).collect();
        for name in &names {
            domain.register(registration(name, &[])).await;
        }
        let server = domain.server.world();
        let before = server.store().single::<DomainEpoch>(DomainEpoch::ID).unwrap().epoch.0;
        let acts = names.iter().map(|name| boxed(domain.act_unheard(name, Act::Suspend)));
        let moved = sim.all(acts.collect()).await;
        let mut epochs: Vec<_> = moved.iter().map(|one| one.lifecycle.dead_before.0).collect();
        epochs.sort_unstable();
        let last = before + u64::try_from(MANY).unwrap();
        assert_eq!(epochs, (before + 1..=last).collect::<Vec<_>>());
    });
}

/// Short-lived agents come and go by the hundred: each is served at once, several at a time, and
/// what is kept of them afterwards does not grow with how many there were.
/// req: PROV-04
#[test]
fn s8_agents_that_start_and_end_leave_nothing_behind() {
    const ROUNDS: usize = 12;
    const AT_ONCE: usize = 8;
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        for number in 0..AT_ONCE {
            domain.register(registration(&format!("job{number}"), &[])).await;
        }
        let (node, server) = (domain.node.world(), domain.server.world());
        let mut kept = Vec::new();
        for round in 0..ROUNDS {
            let mut starting: Vec<Boxed<'_, ()>> = Vec::new();
            for number in 0..AT_ONCE {
                let (domain, node) = (&domain, &node);
                // Another process each time: they end as soon as they have what they need.
                let pid = i32::try_from(1_000 + round * AT_ONCE + number).unwrap();
                let process = Process { pid, ..process(&format!("/opt/job{number}")) };
                starting.push(boxed(async move {
                    let attested = domain.attest(process, true).await.unwrap().into_value();
                    let attested = attested.unwrap();
                    let begun = domain.now();
                    x509(&**node, &attested).await.unwrap().unwrap();
                    wit(&**node, &attested).await.unwrap().unwrap();
                    let took = domain.now().since(begun);
                    assert!(took < Span::from_seconds(2), "{took:?}");
                }));
            }
            sim.all(starting).await;
            let hosted = server.store().every::<env::rows::Hosted>().len();
            let holdings = node.store().every::<env::rows::Holding>().len();
            kept.push((node.keys().handles().len(), hosted, holdings));
            sim.sleep(Span::from_seconds(30)).await;
            domain.sync().await;
        }
        assert!(kept.iter().all(|now| *now == kept[0]), "{kept:?}");
        assert_eq!((kept[0].1, kept[0].2), (AT_ONCE, AT_ONCE), "one row an agent, not a process");
        // Those that are new each time: registered, served, retired, and gone from the node.
        let before = node.keys().handles().len();
        for round in 0..ROUNDS {
            let name = format!("once{round}");
            domain.register(registration(&name, &[])).await;
            let process = process(&format!("/opt/{name}"));
            let attested = domain.attest(process.clone(), true).await.unwrap().into_value();
            x509(&*node, &attested.unwrap()).await.unwrap().unwrap();
            domain.act(&name, Act::Retire).await;
            let gone = domain.attest(process, true).await.unwrap().into_value();
            assert_eq!(gone.unwrap_err().check(), "workload::NotInForce");
        }
        // Their keys, and those of what ended by itself, do not fill the key store.
        assert!(node.keys().handles().len() > before);
        flow::workload::sweep(&*node).await.unwrap();
        assert_eq!(node.keys().handles().len(), before);
        let longest = credential::policy::Lifetimes::default();
        sim.sleep(longest.x509_svid.max(longest.wit)).await;
        assert_eq!(flow::workload::sweep(&*node).await.unwrap(), AT_ONCE);
        assert_eq!(node.store().every::<env::rows::Holding>().len(), 0);
        assert_eq!(flow::workload::sweep(&*node).await.unwrap(), 0);
    });
}
