//! Agents that policy keeps: applying a set brings their records to what it says.

use flow::agents::show;
use flow::apply_policy::{AgentRefusal, Does, Plan, Refusal, WITHDRAWN, apply, plan};
use identifier::{AgentName, Kind};
use monitoring::{Event, Outcome};
use policy::Files;
use provisioning::{Act, State};
use registry::AgentRecord;
use testkit::fixture::{Domain, by_wit, credentials, files, files_but, registration, story};

const FILE: &str = "agents/clerk.toml";
const CLERK: &str = "spiffe://demo.example/agent/clerk";

/// The file of the agent `clerk`.
fn file(owner: &str, path: &str) -> String {
    format!(
        "name = \"clerk\"\nkind = \"agent\"\nowner = \"{owner}\"\nkeys = \"handed\"\n\
         client = {{ callable = true }}\n[rule]\nselectors = [\"unix:path:{path}\"]\n"
    )
}

fn with(text: &str) -> Files {
    files_but(&[(FILE, text)])
}

async fn applied(domain: &Domain, files: Files) -> Result<Plan, Refusal> {
    let (server, operator) = (domain.server.world(), domain.operator());
    let planned = plan(&*server, files.clone()).await.unwrap();
    let end = apply(&*server, &operator, files, "a story".to_owned(), None).await.unwrap();
    let record = domain.server.journal().find(end.audit_id().unwrap()).unwrap();
    assert_eq!(record.event, Event::PolicyApplied, "the first record is the operator's");
    let refusal = end.value().as_ref().err();
    assert_eq!(record.why.map(|why| why.check), refusal.map(|why| why.check().to_owned()));
    domain.sync().await;
    let done = end.into_value();
    let steps = |plan: &Plan| plan.agents.clone();
    assert_eq!(planned.as_ref().map(steps), done.as_ref().map(steps), "the plan tells it");
    done
}

async fn does(domain: &Domain, files: Files) -> Vec<Does> {
    let plan = applied(domain, files).await.unwrap();
    assert!(plan.agents.iter().all(|step| step.agent.as_str() == CLERK), "{:?}", plan.agents);
    plan.agents.iter().map(|step| step.does).collect()
}

async fn clerk(domain: &Domain) -> AgentRecord {
    let name = AgentName::parse("clerk").unwrap();
    show(&*domain.server.world(), &name).await.unwrap().unwrap()
}

/// req: POL-01 (part), ID-04 (part)
#[test]
fn an_agent_of_policy_is_registered_changed_and_renewed_under_one_identifier() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        assert_eq!(does(&domain, with(&file("team-a", "/opt/clerk"))).await, [Does::Register]);
        let registered = clerk(&domain).await;
        let old = domain.party("/opt/clerk").await;
        let asks = |party| by_wit(party, credentials(CLERK, ""), domain.now());
        domain.token(asks(&old)).await;

        assert_eq!(does(&domain, with(&file("team-a", "/opt/clerk"))).await, []);
        assert_eq!(does(&domain, with(&file("team-b", "/opt/clerk"))).await, [Does::Change]);
        assert_eq!(clerk(&domain).await.entry.owner, "team-b");
        domain.token(asks(&old)).await;

        assert_eq!(does(&domain, with(&file("team-b", "/opt/clerk-2"))).await, [Does::Renew]);
        domain.ask(asks(&old)).await.unwrap_err();
        assert!(domain.try_party("/opt/clerk").await.unwrap().is_err(), "the path of before");
        let new = domain.party("/opt/clerk-2").await;
        domain.token(asks(&new)).await;
        assert_eq!(clerk(&domain).await.id, registered.id);
    });
}

/// A file that is gone stops its agent, and one that comes back lets it go on, with nothing of what
/// was issued before.
///
/// req: POL-01 (part), PROV-06 (part)
#[test]
fn an_agent_that_policy_keeps_no_longer_is_suspended() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let kept = with(&file("team-a", "/opt/clerk"));
        does(&domain, kept.clone()).await;
        let old = domain.party("/opt/clerk").await;
        let asks = |party| by_wit(party, credentials(CLERK, ""), domain.now());
        assert_eq!(does(&domain, files()).await, [Does::Suspend]);
        let found = clerk(&domain).await.lifecycle;
        assert_eq!((found.state, found.reason.as_str()), (State::Suspended, WITHDRAWN));
        domain.ask(asks(&old)).await.unwrap_err();
        assert_eq!(does(&domain, files()).await, [], "once");
        assert_eq!(does(&domain, kept).await, [Does::Resume]);
        domain.ask(asks(&old)).await.unwrap_err();
        let new = domain.party("/opt/clerk").await;
        domain.token(asks(&new)).await;
        let moved = domain.server.journal().records().into_iter().filter(|record| {
            record.event == Event::AgentLifecycle && record.agent.as_deref() == Some(CLERK)
        });
        let moved: Vec<_> = moved
            .map(|record| {
                assert_eq!(record.operator.as_deref(), Some("uid:1000"));
                assert!(record.policy.is_some() && record.outcome != Outcome::Refused);
                record.action
            })
            .collect();
        assert_eq!(moved, ["agent.suspend", "agent.resume"]);
    });
}

/// What an operator did to an agent stands, whatever policy says.
///
/// req: POL-01 (part), PROV-06 (part)
#[test]
fn policy_wakes_nobody_whom_an_operator_stopped() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let kept = with(&file("team-a", "/opt/clerk"));
        does(&domain, kept.clone()).await;
        domain.act("clerk", Act::Suspend).await;
        assert_eq!(does(&domain, with(&file("team-b", "/opt/clerk"))).await, [Does::Change]);
        assert_eq!(clerk(&domain).await.lifecycle.state, State::Suspended);
        assert_eq!(does(&domain, files()).await, [], "it is stopped already");
        assert_eq!(does(&domain, kept.clone()).await, [Does::Change]);
        assert_eq!(clerk(&domain).await.lifecycle.state, State::Suspended);
        // Ended, it stays ended, and holds no other change back.
        domain.act("clerk", Act::Revoke).await;
        assert_eq!(does(&domain, with(&file("team-c", "/opt/clerk"))).await, []);
        assert_eq!(clerk(&domain).await.lifecycle.state, State::Revoked);
        assert_eq!(does(&domain, files()).await, []);
        let Err(Refusal::Agent(AgentRefusal::Ended { name, state, .. })) =
            applied(&domain, kept).await
        else {
            panic!("an identifier was given out again")
        };
        assert_eq!((name.as_str(), state), ("clerk", State::Revoked));
    });
}

/// An agent that an operator registered may be taken over as it is; not under another kind, and
/// then nothing of the set comes into force.
///
/// req: POL-01 (part), ID-03 (part)
#[test]
fn policy_takes_over_whom_an_operator_registered() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let registered = domain.register(registration("clerk", &["read"])).await;
        let other = file("team-a", "/opt/clerk").replace("\"agent\"", "\"service\"");
        let refusal = applied(&domain, with(&other)).await.unwrap_err();
        let (name, id) = (AgentName::parse("clerk").unwrap(), registered.id.clone());
        let kind = AgentRefusal::Kind { name, id, kind: Kind::Service };
        assert_eq!(refusal, Refusal::Agent(kind));
        assert_eq!(clerk(&domain).await, registered);
        assert_eq!(does(&domain, with(&file("team-a", "/opt/clerk"))).await, [Does::Change]);
        let taken = clerk(&domain).await;
        assert!(taken.entry.capabilities.is_empty());
        assert_eq!((taken.id, taken.registered), (registered.id, registered.registered));
    });
}

/// A record of policy that would stop one that an operator registered, and the other way round.
#[test]
fn s7_an_agent_of_policy_whose_rule_another_one_contains_is_refused_by_name() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("other", &[])).await;
        let Err(Refusal::Agent(AgentRefusal::Overlap { name, overlap })) =
            applied(&domain, with(&file("team-a", "/opt/other"))).await
        else {
            panic!("applied")
        };
        assert_eq!((name.as_str(), overlap.are_equal), ("clerk", true));
        // A rule that changes is compared anew; what stays as it was is not.
        does(&domain, with(&file("team-a", "/opt/clerk"))).await;
        let moved = applied(&domain, with(&file("team-a", "/opt/other"))).await;
        assert!(matches!(moved, Err(Refusal::Agent(AgentRefusal::Overlap { .. }))));
        assert_eq!(does(&domain, with(&file("team-b", "/opt/clerk"))).await, [Does::Change]);
        // Withdrawn, it makes room; it does not come back into what was taken meanwhile.
        does(&domain, files()).await;
        let mut third = registration("third", &[]);
        third.rule.selectors = registration("clerk", &[]).rule.selectors;
        domain.register(third).await;
        let again = applied(&domain, with(&file("team-b", "/opt/clerk"))).await;
        assert!(matches!(again, Err(Refusal::Agent(AgentRefusal::Overlap { .. }))));
        domain.act("third", Act::Retire).await;
        assert_eq!(does(&domain, with(&file("team-b", "/opt/clerk"))).await, [Does::Resume]);
    });
}
