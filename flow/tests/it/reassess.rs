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
use rats::{Claim, Vector};
use registry::{AgentRecord, NodeRecord};
use testkit::fixture::{Domain, certificate_request, files_but, process, registration, story};
use testkit::{Fault, Seed, Sim, boxed};
use time::{Span, UnixTime};
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
        self.issue_to(&"ab".repeat(32), IssueKind::X509 { request: certificate_request() }).await
    }

    /// The same for a process of this digest.
    async fn issue_to(&self, sha256: &str, kind: IssueKind) -> Result<AssignedCredential, Refusal> {
        let measured = process("/opt/clerk");
        let order = IssueOrder {
            agent: WorkloadId::parse(CLERK).unwrap(),
            process: attestation::unix::Process { sha256: Some(sha256.to_owned()), ..measured },
            kind,
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

    /// What its host showed counts so, and until then.
    fn host_is(&self, vector: Vector, counts: Option<UnixTime>) {
        let server = self.domain.server.world();
        let host = server.store().single::<NodeRecord>(&self.node.to_string()).unwrap();
        server.store().put(&NodeRecord { vector, counts, ..(*host).clone() });
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

const BY_HOST: &str = "[[class.standard.attested]]\nof = [\"host\"]\n";

/// Evidence of a host that had an end, as an attestation result of another verifier has.
/// req: PROV-11 (part), ATT-04 (part)
#[test]
fn s7_what_a_host_showed_counts_until_its_end() {
    story(|sim| async move {
        let office = Office::open(&sim, BY_HOST).await;
        let end = office.domain.now().plus(Span::from_seconds(300));
        office.host_is(Vector::NONE.with(Claim::Hardware, 2), Some(end));
        office.issue().await.unwrap();
        assert_eq!(office.result().await.until, end);
        let before = office.life().await.dead_before;
        sim.sleep(Span::from_seconds(301)).await;
        let due =
            Which::Due { after: end.minus(Span::from_seconds(1)), before: office.domain.now() };
        assert_eq!(office.look(due).await, 1);
        assert!(office.life().await.dead_before > before);
        assert_eq!(office.issue().await.unwrap_err().check(), "attestation::Demand");
        assert!(office.result().await.told["host"].contains("it ended at"));
    });
}

/// req: PROV-11 (part), OBS-10 (part)
#[test]
fn s7_a_host_that_is_trusted_less_takes_what_was_issued_there() {
    story(|sim| async move {
        let office = Office::open(&sim, BY_HOST).await;
        office.issue().await.unwrap();
        office.host_is(Vector::NONE.with(Claim::Hardware, 97), None);
        // The job hears of it by the row of the host.
        let server = office.domain.server.world();
        let page = server.store().changes(&[env::Table::Nodes], env::Seq(0), 100).await.unwrap();
        let heard = page.rows.iter().filter_map(|row| reassess::concerned(row));
        let host = Which::Host(office.node.to_string());
        assert!(heard.clone().any(|which| which == host));
        assert_eq!(office.look(Which::Host("spiffe://demo.example/other".to_owned())).await, 0);
        assert_eq!(office.look(host).await, 1);
    });
}

/// One program is named by the record, the other by nobody: what becomes of the second is nothing
/// to the first.
/// req: PROV-11 (part)
#[test]
fn s7_two_programs_of_an_agent_have_results_of_their_own() {
    story(|sim| async move {
        let affirmed = "[[class.standard.attested]]\nof = [\"host\"]\n\
                        [class.standard.warned]\nissues = []\n";
        let office = Office::open(&sim, affirmed).await;
        let server = office.domain.server.world();
        let agent = server.store().single::<AgentRecord>(CLERK).unwrap();
        let mut agent = (*agent).clone();
        let known = "ab".repeat(32);
        let rule = ["unix:path:/opt/clerk".to_owned(), format!("unix:sha256:{known}")];
        let rule = rule.iter().map(|text| attestation::Selector::parse(text).unwrap());
        agent.entry.rule.selectors = attestation::Selectors::new(rule).unwrap();
        server.store().put(&agent);
        office.issue().await.unwrap();
        let before = office.life().await;
        // The rule names one digest: the other program is no process of the agent at all.
        let path = attestation::Selector::parse("unix:path:/opt/clerk").unwrap();
        agent.entry.rule.selectors = attestation::Selectors::new([path]).unwrap();
        server.store().put(&agent);
        let kind = IssueKind::X509 { request: certificate_request() };
        let other = office.issue_to(&"cd".repeat(32), kind).await.unwrap_err();
        assert_eq!(other.check(), "provisioning::Kind");
        assert_eq!(evidence::results(&*server, CLERK).await.unwrap().len(), 2);
        assert_eq!(office.look(Which::Fallen).await, 0);
        assert_eq!(office.life().await, before);
    });
}

/// What policy gives no more ends by the epoch, as what is suspended does.
/// req: PROV-11 (part), PROV-06 (part), OBS-10 (part)
#[test]
fn s8_a_kind_or_a_life_that_policy_takes_back_ends_what_was_issued() {
    let wit = || IssueKind::Wit { request: certificate_request() };
    let policy = |issues: &str, rest: &str| {
        format!(
            "[node.join_token]\n[class.standard]\ndemands = [\"unix:path\"]\n\
             issues = {issues}\n{rest}\n[class.quiet]\ndemands = []\nissues = [\"x509\"]\n"
        )
    };
    let check = |issues: &'static str, rest: &'static str, reason: &'static str| {
        story(move |sim| async move {
            let office = Office::open(&sim, "lifetime_max = 1800").await;
            office.issue().await.unwrap();
            office.issue_to(&"ab".repeat(32), wit()).await.unwrap();
            let before = office.life().await.dead_before;
            let text = policy(issues, rest);
            let (server, operator) = (office.domain.server.world(), office.domain.operator());
            let files = files_but(&[("attestation.toml", text.as_str())]);
            let done = apply_policy::apply(&*server, &operator, files, String::new(), None).await;
            done.unwrap().into_value().unwrap();
            let fell = usize::from(!reason.is_empty());
            assert_eq!(office.look(Which::All).await, fell, "{issues} {rest}");
            let ends = office.life().await.dead_before > before;
            assert_eq!(ends, fell == 1 && !rest.contains("keep"), "{issues} {rest}");
            assert_eq!(office.life().await.state, State::Active);
            if fell == 1 {
                let told = office.domain.server.journal().of(Event::AgentLifecycle);
                assert_eq!(told.last().unwrap().facts["reason"], reason);
            }
            // Once is enough.
            assert_eq!(office.look(Which::All).await, 0);
        });
    };
    let (both, no_wit) = ("[\"x509\", \"wit\"]", "[\"x509\"]");
    let gone = "policy issues no `wit` any more";
    check(both, "lifetime_max = 1800", "");
    // More is no fall, and what was never given takes nothing with it.
    check(both, "", "");
    check(no_wit, "lifetime_max = 1800", gone);
    check(no_wit, "lifetime_max = 1800\nfall = \"suspend\"", gone);
    check(no_wit, "lifetime_max = 1800\nfall = \"keep\"", gone);
    check(both, "lifetime_max = 600", "policy gives `wit` 600 s, and it had 1800 s");
}

/// A change of policy, and the look at results that it wakes, while credentials are being issued:
/// nothing that was let out outlives it.
/// req: PROV-11 (part), OBS-10 (part)
#[test]
fn s7_nothing_issued_meanwhile_outlives_a_change_of_policy() {
    for seed in 1..=24 {
        let sim = Sim::new(Seed(seed));
        sim.run(meanwhile(sim.clone()));
    }
}

async fn meanwhile(sim: Sim) {
    let office = Office::open(&sim, "").await;
    let issued = std::sync::Mutex::new(None);
    let issuing = async { *issued.lock().unwrap() = office.issue().await.ok() };
    let changing = async {
        office.apply(BY_TPM).await;
        office.look(Which::All).await;
    };
    sim.all(vec![boxed(issuing), boxed(changing)]).await;
    let Some(AssignedCredential::X509 { chain }) = issued.into_inner().unwrap() else { return };
    let leaf = x509::Certificate::parse(&chain[0]).unwrap();
    let epoch = leaf.epoch().map(Epoch);
    assert!(office.life().await.admits(epoch).is_err(), "a credential outlives the policy");
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
