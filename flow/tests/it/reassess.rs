//! Looking again: a result that gets worse ends what was issued on it, as its class says.

use attestation::class::Grade;
use env::rows::ResultRow;
use env::{AssignedCredential, IssueKind, IssueOrder, Key, Store, World};
use flow::apply_policy;
use flow::evidence::{self, Order};
use flow::issue::{Refusal, issue};
use flow::reassess::{self, Which};
use identifier::AgentName;
use monitoring::Event;
use provisioning::{Act, Epoch, IssueRefusal, Lifecycle, State};
use registry::AgentRecord;
use testkit::fixture::{Domain, certificate_request, files_but, process, registration, story};
use testkit::{Fault, Sim};
use time::Span;
use wimse::WorkloadId;

const CLERK: &str = "spiffe://demo.example/agent/clerk";

/// Policy with one class, and whatever it demands beside the process.
fn attestation(class: &str) -> String {
    format!(
        "[node.join_token]\n[class.standard]\ndemands = [\"unix:path\"]\n\
         issues = [\"x509\", \"wit\", \"jwt\"]\n{class}\n\
         [class.quiet]\ndemands = []\nissues = [\"x509\"]\n"
    )
}

struct Office {
    domain: Domain,
    node: WorkloadId,
    epoch: Option<u64>,
}

impl Office {
    async fn open(sim: &Sim, class: &str) -> Self {
        let attestation = attestation(class);
        let files = files_but(&[("attestation.toml", attestation.as_str())]);
        let domain = Domain::start_with(sim, files).await;
        domain.register(registration("clerk", &[])).await;
        let chain = domain.node.link().shown().0;
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        let node = WorkloadId::parse(&leaf.uri_names()[0]).unwrap();
        Self { domain, node, epoch: leaf.epoch() }
    }

    async fn issue(&self) -> Result<AssignedCredential, Refusal> {
        let order = IssueOrder {
            agent: WorkloadId::parse(CLERK).unwrap(),
            process: process("/opt/clerk"),
            kind: IssueKind::X509 { request: certificate_request() },
        };
        let server = self.domain.server.world();
        issue(&*server, &self.node, self.epoch, order).await.unwrap().into_value()
    }

    async fn apply(&self, class: &str) {
        let attestation = attestation(class);
        let files = files_but(&[("attestation.toml", attestation.as_str())]);
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let reason = "a story".to_owned();
        let applied = apply_policy::apply(&*server, &operator, files, reason, None).await;
        applied.unwrap().into_value().unwrap();
    }

    async fn look(&self, which: Which) -> usize {
        reassess::step(&*self.domain.server.world(), &which).await.unwrap()
    }

    async fn life(&self) -> Lifecycle {
        let server = self.domain.server.world();
        let rows = server.store().snapshot(&[Key::of::<AgentRecord>(CLERK)]).await.unwrap();
        rows.get::<AgentRecord>(CLERK).unwrap().unwrap().lifecycle.clone()
    }

    async fn result(&self) -> ResultRow {
        let server = self.domain.server.world();
        let found = evidence::results(&*server, CLERK).await.unwrap();
        (*found[0]).clone()
    }
}

const BY_TPM: &str = "[[class.standard.attested]]\nof = [\"host.tpm_devid\"]\n";

/// req: ATT-01 (part), ATT-07 (part), PROV-11 (part), OBS-10 (part)
#[test]
fn s7_what_was_issued_on_a_result_that_fell_is_dead() {
    story(|sim| async move {
        let office = Office::open(&sim, "").await;
        office.issue().await.unwrap();
        let before = office.life().await;
        assert_eq!(office.result().await.grade, Some(Grade::Full));
        // Nothing changed: nothing happens.
        assert_eq!(office.look(Which::All).await, 0);
        // Policy wants a host that this one is not.
        office.apply(BY_TPM).await;
        assert_eq!(office.look(Which::All).await, 1);
        let after = office.life().await;
        assert_eq!(after.state, State::Active);
        let first = Some(before.dead_before);
        assert!(before.admits(first).is_ok() && after.admits(first).is_err());
        let told = office.domain.server.journal().of(Event::AgentLifecycle);
        assert_eq!(told.last().unwrap().action, "agent.end");
        let reason = told.last().unwrap().facts["reason"].clone();
        assert_eq!(reason, "its attestation fell from `full` to `none`");
        // Once is enough.
        assert_eq!(office.look(Which::All).await, 0);
        assert_eq!(office.life().await, after);
        // And it gets nothing more, until policy is content with what there is.
        let refused = office.issue().await.unwrap_err();
        assert_eq!(refused.check(), "attestation::Demand");
        office.apply("").await;
        office.issue().await.unwrap();
        assert_eq!(office.look(Which::All).await, 0);
    });
}

/// req: ATT-07 (part), PROV-11 (part)
#[test]
fn s7_policy_says_what_becomes_of_who_falls() {
    story(|sim| async move {
        let keep = Office::open(&sim, "fall = \"keep\"").await;
        keep.issue().await.unwrap();
        let before = keep.life().await;
        keep.apply(&format!("fall = \"keep\"\n{BY_TPM}")).await;
        assert_eq!(keep.look(Which::All).await, 1);
        assert_eq!(keep.life().await, before);
    });
    story(|sim| async move {
        let suspend = Office::open(&sim, "fall = \"suspend\"").await;
        suspend.issue().await.unwrap();
        suspend.apply(&format!("fall = \"suspend\"\n{BY_TPM}")).await;
        assert_eq!(suspend.look(Which::All).await, 1);
        let life = suspend.life().await;
        assert_eq!(life.state, State::Suspended);
        assert_eq!(life.reason, "its attestation fell from `full` to `none`");
        assert!(matches!(suspend.issue().await, Err(Refusal::Issue(IssueRefusal::NotInForce(_)))));
    });
}

/// req: PROV-11 (part)
#[test]
fn s7_what_policy_would_not_issue_today_is_ended() {
    story(|sim| async move {
        let office = Office::open(&sim, "").await;
        office.issue().await.unwrap();
        let text = "[node.join_token]\n[class.standard]\ndemands = [\"unix:sha256\"]\n\
                    issues = [\"x509\"]\n[class.quiet]\ndemands = []\nissues = [\"x509\"]\n";
        let (server, operator) = (office.domain.server.world(), office.domain.operator());
        let (files, reason) = (files_but(&[("attestation.toml", text)]), "a story".to_owned());
        let applied = apply_policy::apply(&*server, &operator, files, reason, None).await;
        applied.unwrap().into_value().unwrap();
        assert_eq!(office.look(Which::All).await, 1);
    });
}

/// Another commit that comes first, a suspension of somebody else, puts nothing off.
/// req: OBS-10 (part)
#[test]
fn s7_what_fell_is_ended_although_another_commit_came_first() {
    story(|sim| async move {
        let office = Office::open(&sim, "").await;
        office.issue().await.unwrap();
        let before = office.life().await.dead_before;
        office.apply(BY_TPM).await;
        office.domain.server.faults().next(Fault::Overtaken);
        assert_eq!(office.look(Which::All).await, 1);
        assert!(office.life().await.dead_before > before);
    });
}

/// Whoever lets an agent go on that was suspended when its result got worse is not overruled by that.
#[test]
fn s7_what_a_suspension_ended_already_is_not_ended_again() {
    story(|sim| async move {
        let office = Office::open(&sim, "fall = \"suspend\"").await;
        office.issue().await.unwrap();
        office.domain.act("clerk", Act::Suspend).await;
        office.apply(&format!("fall = \"suspend\"\n{BY_TPM}")).await;
        assert_eq!(office.look(Which::All).await, 0);
        office.domain.act("clerk", Act::Resume).await;
        assert_eq!(office.look(Which::All).await, 0);
        assert_eq!(office.look(Which::Fallen).await, 0);
        assert_eq!(office.life().await.state, State::Active);
    });
}

/// req: ATT-07 (part), PROV-11 (part)
#[test]
fn s7_a_warning_shortens_and_leaves_fewer_kinds() {
    story(|sim| async move {
        let office = Office::open(&sim, "").await;
        office.issue().await.unwrap();
        // The rule names a path, not what lies there: a warning, once policy minds.
        office.apply("[class.standard.warned]\nissues = [\"x509\"]\nlifetime_max = 60\n").await;
        assert_eq!(office.look(Which::All).await, 1);
        assert!(office.life().await.dead_before > Epoch(1));
        let AssignedCredential::X509 { chain } = office.issue().await.unwrap() else { panic!() };
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        assert_eq!(leaf.not_after().since(office.domain.now()), Span::from_seconds(60));
        assert_eq!(office.result().await.grade, Some(Grade::Warned));
        office.apply("[class.standard.warned]\nissues = []\n").await;
        let refused = office.issue().await.unwrap_err();
        assert_eq!(refused, IssueRefusal::Kind { kind: "x509" }.into());
    });
}

/// req: ATT-04 (part)
#[test]
fn s7_a_result_is_made_once_while_nothing_of_it_changes() {
    story(|sim| async move {
        let office = Office::open(&sim, "reassess = 900").await;
        office.issue().await.unwrap();
        let first = office.result().await;
        office.issue().await.unwrap();
        assert_eq!(office.result().await, first);
        // Its time is up: the same again, made anew.
        sim.sleep(Span::from_seconds(901)).await;
        office.issue().await.unwrap();
        let second = office.result().await;
        assert_ne!(second.digest, first.digest);
        assert_eq!((second.basis, second.summary), (first.basis, first.summary));
        let made = office.domain.server.journal().of(Event::EvidenceAppraised);
        assert_eq!(made.len(), 2);
    });
}

#[test]
fn s7_documents_are_brought_for_agents_and_kinds_that_there_are() {
    story(|sim| async move {
        let office = Office::open(&sim, "").await;
        let change = async |name: &str, order: Order| {
            let name = AgentName::parse(name).unwrap();
            let (server, operator) = (office.domain.server.world(), office.domain.operator());
            let done = evidence::change(&*server, &operator, &name, order).await.unwrap();
            done.into_value().map_err(|refusal| refusal.check())
        };
        let add = |kind: &str| Order::Add { kind: kind.to_owned(), document: vec![1] };
        assert_eq!(change("nobody", add("aibom")).await, Err("registry::Unknown"));
        assert_eq!(change("clerk", add("horoscope")).await, Err("evidence::Kind"));
        let remove = Order::Remove { kind: "aibom".to_owned() };
        assert_eq!(change("clerk", remove).await, Err("evidence::NoDocument"));
        let told = office.domain.server.journal().of(Event::EvidenceChanged);
        assert_eq!(told.len(), 3);
    });
}
