//! Hosts that are cut off, and what goes with them.

use env::rows::TrustRow;
use env::{AssignedCredential, IssueKind, IssueOrder, Keys, PeerFault, Peers, Purpose, World};
use flow::call::Delegate;
use flow::nodes::{self, Moved, Refusal};
use flow::{agents, authorities, delegate, issue};
use identifier::AgentName;
use jose::Algorithm;
use monitoring::{Event, Outcome};
use provisioning::{Act, Epoch, NodeAct, State};
use testkit::Host;
use testkit::fixture::{Domain, certificate_request, files_but, process, registration, story};
use testkit::{Boxed, boxed};
use wimse::WorkloadId;

/// Whom a host's certificate names, and its epoch.
fn shown(host: &Host) -> (WorkloadId, Option<u64>) {
    let leaf = x509::Certificate::parse(&host.link().shown().0[0]).unwrap();
    (WorkloadId::parse(&leaf.uri_names()[0]).unwrap(), leaf.epoch())
}

async fn act(domain: &Domain, id: &WorkloadId, act: NodeAct) -> Result<Moved, Refusal> {
    let server = domain.server.world();
    let done = nodes::act(&*server, &domain.operator(), id, act, "a test".to_owned()).await;
    let done = done.unwrap();
    let record = domain.server.journal().find(done.audit_id().unwrap()).unwrap();
    assert_eq!((record.event, record.action), (Event::NodeLifecycle, format!("node.{act}")));
    assert_eq!(record.resource, Some(id.to_string()));
    assert_eq!(record.outcome == Outcome::Refused, done.value().is_err());
    done.into_value()
}

fn order(name: &str) -> IssueOrder {
    let agent = WorkloadId::parse(&format!("spiffe://demo.example/agent/{name}")).unwrap();
    let kind = IssueKind::X509 { request: certificate_request() };
    IssueOrder { agent, process: process(&format!("/opt/{name}")), kind }
}

/// The epoch of what was issued, and whether it still counts for this agent.
async fn lives(domain: &Domain, name: &str, issued: &AssignedCredential) -> bool {
    let AssignedCredential::X509 { chain } = issued else { panic!("another kind") };
    let epoch = x509::Certificate::parse(&chain[0]).unwrap().epoch();
    let name = AgentName::parse(name).unwrap();
    let agent = agents::show(&*domain.server.world(), &name).await.unwrap().unwrap();
    agent.lifecycle.admits(epoch.map(Epoch)).is_ok()
}

/// req: PROV-06 (part), OBS-10 (part)
#[test]
fn s8_a_revoked_node_takes_along_what_was_issued_to_its_agents() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        for name in ["clerk", "other"] {
            domain.register(registration(name, &[])).await;
        }
        let (node, _) = shown(&domain.node);
        let issued = domain.node.world().peers().issue(order("clerk")).await.unwrap();
        let here = nodes::hosted(&*domain.server.world(), &node, 9).await.unwrap();
        assert_eq!(here.len(), 1);
        assert_eq!(here[0].agent, "spiffe://demo.example/agent/clerk");
        // A renewal writes nothing: the row lasts.
        domain.node.world().peers().issue(order("clerk")).await.unwrap();
        assert_eq!(nodes::hosted(&*domain.server.world(), &node, 9).await.unwrap(), here);

        let moved = act(&domain, &node, NodeAct::Suspend).await.unwrap();
        assert_eq!((moved.node.lifecycle.state, moved.ended.len()), (State::Suspended, 0));
        assert!(lives(&domain, "clerk", &issued).await, "its agents are not to blame");
        for fault in [
            domain.renew(&domain.node).await.unwrap_err(),
            domain.node.world().peers().issue(order("clerk")).await.map(drop).unwrap_err(),
            domain.feed(&domain.node).await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(fault, PeerFault::Refused { .. }), "{fault}");
        }

        let moved = act(&domain, &node, NodeAct::Revoke).await.unwrap();
        assert_eq!(moved.ended, ["spiffe://demo.example/agent/clerk"]);
        assert!(!lives(&domain, "clerk", &issued).await);
        assert_eq!(nodes::hosted(&*domain.server.world(), &node, 9).await.unwrap(), []);
        let cut: Vec<_> = domain.server.journal().records();
        let cut = cut.iter().find(|record| record.action == "agent.cut").unwrap();
        assert_eq!(cut.agent.as_deref(), Some("spiffe://demo.example/agent/clerk"));
        let refused = act(&domain, &node, NodeAct::Resume).await.unwrap_err();
        assert_eq!(refused.check(), "provisioning::NodeTransition");
        let unknown = WorkloadId::parse("spiffe://demo.example/aims/node/x/y").unwrap();
        let refused = act(&domain, &unknown, NodeAct::Revoke).await.unwrap_err();
        assert_eq!(refused, Refusal::Unknown(unknown));
    });
}

/// req: PROV-06 (part)
#[test]
fn s8_resuming_brings_back_the_node_and_not_what_it_had() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let (node, epoch) = shown(&domain.node);
        act(&domain, &node, NodeAct::Suspend).await.unwrap();
        let moved = act(&domain, &node, NodeAct::Resume).await.unwrap();
        assert_eq!(moved.node.lifecycle.state, State::Active);
        assert!(moved.node.lifecycle.admits(epoch.map(Epoch)).is_err());
        assert!(matches!(domain.renew(&domain.node).await, Err(PeerFault::Refused { .. })));
        // A host that joined once may by another token, or once it is forgotten.
        let moved = act(&domain, &node, NodeAct::Forget).await.unwrap();
        assert!(moved.node.forgotten);
        act(&domain, &node, NodeAct::Revoke).await.unwrap();
        let back = act(&domain, &node, NodeAct::Forget).await.unwrap();
        assert_eq!(back.node.lifecycle.state, State::Active);
    });
}

/// req: OBS-10 (part), AUTHZ-12 (part)
#[test]
fn s8_the_keys_of_a_gateway_that_is_cut_off_leave_the_key_set() {
    for how in [NodeAct::Suspend, NodeAct::Revoke, NodeAct::Forget] {
        story(move |sim| async move {
            let domain = Domain::start(&sim).await;
            let (gateway, epoch) = shown(&domain.gateway);
            let keys = domain.gateway.keys();
            let (_, public) = keys.generate(Purpose::Component, Algorithm::Es256).await.unwrap();
            let server = domain.server.world();
            let given = delegate::delegate(&*server, &gateway, epoch, public.to_jwk()).await;
            given.unwrap().into_value().unwrap();
            let held = || {
                let ring = domain.ring(Purpose::TxnToken);
                ring.keys.iter().filter(|key| key.holder.is_some()).count()
            };
            assert!(held() >= 1);
            act(&domain, &gateway, how).await.unwrap();
            assert_eq!(held(), 0, "{how}");
            assert!(domain.ring(Purpose::TxnToken).signer(domain.now()).is_some());
        });
    }
}

/// req: CRED-11 (part), OBS-04 (part)
#[test]
fn s6_a_gateway_whose_key_was_revoked_gets_another_at_once() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (gateway, _) = shown(&domain.gateway);
        let (world, gateway_id) = (domain.gateway.world(), gateway.to_string());
        let own = Delegate::default();
        own.renew(&*world).await.unwrap();
        let held = || {
            let ring = domain.ring(Purpose::TxnToken);
            let of = |key: &&credential::AuthorityKey| key.holder.as_deref() == Some(&*gateway_id);
            ring.keys.iter().filter(of).map(|key| key.kid.clone()).collect::<Vec<_>>()
        };
        let before = held();
        let kid = before.last().unwrap().clone();
        // Nobody told of it yet: that says nothing.
        own.heard(&*world).await.unwrap();
        assert_eq!(held(), before);
        domain.sync().await;
        own.heard(&*world).await.unwrap();
        assert_eq!(held(), before);
        let (server, operator) = (domain.server.world(), domain.operator());
        let act = authorities::Act::Revoke;
        let done = authorities::act(&*server, &operator, &kid, act, "a test".to_owned()).await;
        done.unwrap().into_value().unwrap();
        domain.sync().await;
        own.heard(&*world).await.unwrap();
        let after = held();
        assert!(!after.contains(&kid));
        assert_eq!(after.len(), before.len());
    });
}

/// Whatever comes first: nothing that a revoked node gets lives.
/// req: PROV-06 (part), OBS-10 (part)
#[test]
fn s8_what_is_issued_while_a_node_is_revoked_dies_with_it() {
    for seed in 0..40 {
        let sim = testkit::Sim::new(testkit::Seed(seed));
        sim.run(async {
            let domain = Domain::start(&sim).await;
            for number in 0..6 {
                domain.register(registration(&format!("a{number}"), &[])).await;
            }
            let (node, epoch) = shown(&domain.node);
            let server = domain.server.world();
            let mut both: Vec<Boxed<'_, Option<(String, AssignedCredential)>>> = Vec::new();
            for number in 0..6 {
                let (server, node, name) = (&server, &node, format!("a{number}"));
                both.push(boxed(async move {
                    let end = issue::issue(&**server, node, epoch, order(&name)).await;
                    end.ok()?.into_value().ok().map(|issued| (name, issued))
                }));
                if number == 2 {
                    let domain = &domain;
                    both.push(boxed(async move {
                        act(domain, node, NodeAct::Revoke).await.unwrap();
                        None
                    }));
                }
            }
            for (name, issued) in sim.all(both).await.into_iter().flatten() {
                assert!(!lives(&domain, &name, &issued).await, "seed {seed}: {name}");
            }
        });
    }
}

/// An order against a host of many agents that stops half-way is carried on with by whoever looks
/// next, not at the next start alone.
/// req: PROV-06 (part), OBS-10 (part)
#[test]
fn s8_a_revocation_that_stopped_half_way_is_carried_on_with() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        for name in ["clerk", "other"] {
            domain.register(registration(name, &[])).await;
        }
        let (node, _) = shown(&domain.node);
        let server = domain.server.world();
        let clerk = domain.node.world().peers().issue(order("clerk")).await.unwrap();
        let rows = nodes::hosted(&*server, &node, 9).await.unwrap();
        let other = domain.node.world().peers().issue(order("other")).await.unwrap();
        let all = nodes::hosted(&*server, &node, 9).await.unwrap();
        act(&domain, &node, NodeAct::Revoke).await.unwrap();
        assert!(!lives(&domain, "clerk", &clerk).await);
        // What a stop between two commits leaves: the host is revoked, an agent of it is not cut.
        let left = all.iter().find(|row| !rows.contains(row)).unwrap();
        let world = domain.server.world();
        let other_was = agents::show(&*world, &AgentName::parse("other").unwrap()).await.unwrap();
        let epoch = other_was.unwrap().lifecycle.dead_before;
        world.store().put(left);
        flow::watch::look(&*world, &std::collections::BTreeMap::new()).await.unwrap();
        assert_eq!(nodes::hosted(&*world, &node, 9).await.unwrap(), []);
        let other_is = agents::show(&*world, &AgentName::parse("other").unwrap()).await.unwrap();
        assert!(other_is.unwrap().lifecycle.dead_before > epoch);
        assert!(!lives(&domain, "other", &other).await);
    });
}

/// One class; `class` is what it demands beside the process.
fn attestation(class: &str) -> policy::Files {
    let text = format!(
        "[node.join_token]\n[class.standard]\ndemands = [\"unix:path\"]\n\
         issues = [\"x509\", \"wit\", \"jwt\"]\n{class}\n"
    );
    files_but(&[("attestation.toml", text.as_str())])
}

/// A life as it may go, and the three that end what was issued: a security event, the end of an
/// agent or of its host, and a key that is taken out of use.
/// req: PROV-06
#[test]
fn s8_a_life_is_followed_and_what_ends_it_revokes() {
    story(|sim| async move {
        let domain = Domain::start_with(&sim, attestation("")).await;
        for name in ["clerk", "other", "third"] {
            domain.register(registration(name, &[])).await;
        }
        let server = domain.server.world();
        let issued = async |name: &str| domain.node.world().peers().issue(order(name)).await;
        let state = async |name: &str| {
            let name = AgentName::parse(name).unwrap();
            agents::show(&*server, &name).await.unwrap().unwrap().lifecycle.state
        };
        // Issued, renewed, suspended, resumed.
        let first = issued("clerk").await.unwrap();
        let second = issued("clerk").await.unwrap();
        assert!(lives(&domain, "clerk", &first).await && lives(&domain, "clerk", &second).await);
        domain.act("clerk", Act::Suspend).await;
        assert_eq!(state("clerk").await, State::Suspended);
        issued("clerk").await.unwrap_err();
        domain.act("clerk", Act::Resume).await;
        assert!(!lives(&domain, "clerk", &first).await && !lives(&domain, "clerk", &second).await);
        let third = issued("clerk").await.unwrap();
        assert!(lives(&domain, "clerk", &third).await);

        // A security event: what the host and the process show is not good enough any longer.
        let demand = "[[class.standard.attested]]\nof = [\"host.tpm_devid\"]\n";
        let apply = async |class: &str| {
            let (operator, files) = (domain.operator(), attestation(class));
            let why = "a story".to_owned();
            let applied = flow::apply_policy::apply(&*server, &operator, files, why, None).await;
            applied.unwrap().into_value().unwrap();
            flow::reassess::step(&*server, &flow::reassess::Which::All).await.unwrap()
        };
        assert_eq!(apply(demand).await, 1);
        assert!(!lives(&domain, "clerk", &third).await);
        apply("").await;
        domain.sync().await;

        // A key that is taken out of use: what it signed verifies no longer.
        let AssignedCredential::X509 { chain } = issued("clerk").await.unwrap() else { panic!() };
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        let verifies = |chain: &[Vec<u8>]| {
            let chain: Vec<_> =
                chain.iter().map(|one| x509::Certificate::parse(one).unwrap()).collect();
            let trust = server.store().single::<TrustRow>(TrustRow::ID).unwrap();
            let now = domain.now();
            spiffe::X509Svid::verify(&chain, trust.bundles.spiffe(), x509::Purpose::Client, now)
                .is_ok()
        };
        assert!(verifies(&chain), "{}", leaf.not_after());
        let kid = domain.ring(Purpose::X509Authority).signer(domain.now()).unwrap().kid.clone();
        for act in [authorities::Act::Taint { urgent: true }, authorities::Act::Revoke] {
            let (operator, why) = (domain.operator(), "a story".to_owned());
            let done = authorities::act(&*server, &operator, &kid, act, why).await.unwrap();
            done.into_value().unwrap();
        }
        assert!(!verifies(&chain));

        // The end of an agent, for good, and of a host with what is on it.
        let before = issue::issue(&*server, &shown(&domain.node).0, None, order("other")).await;
        assert!(before.unwrap().into_value().is_err(), "without an epoch nothing is issued");
        let (node, epoch) = shown(&domain.node);
        let direct = async |name: &str| {
            let end = issue::issue(&*server, &node, epoch, order(name)).await.unwrap();
            end.into_value()
        };
        let other = direct("other").await.unwrap();
        domain.act_unheard("other", Act::Retire).await;
        assert_eq!(state("other").await, State::Retired);
        assert!(!lives(&domain, "other", &other).await);
        direct("other").await.unwrap_err();
        let third = direct("third").await.unwrap();
        act(&domain, &node, NodeAct::Revoke).await.unwrap();
        assert!(!lives(&domain, "third", &third).await);
        assert_eq!(state("third").await, State::Active, "an agent is not to blame for its host");
        domain.act_unheard("third", Act::Revoke).await;
        assert_eq!(state("third").await, State::Revoked);
    });
}
