//! Documents about an agent decide what it gets: brought, appraised when it is measured, and again
//! when policy learns more.

use env::{AssignedCredential, IssueKind, IssueOrder};
use flow::apply_policy;
use flow::evidence::{self, Order};
use flow::issue::{Refusal, issue};
use flow::reassess::{self, Which};
use identifier::AgentName;
use monitoring::Event;
use testkit::Sim;
use testkit::documents::{Binding, Signer, Word, advisory, binding, bom, word};
use testkit::fixture::{Domain, certificate_request, files_but, process, registration, story};
use time::Span;
use wimse::WorkloadId;

const CLERK: &str = "spiffe://demo.example/agent/clerk";
/// What runs, as the fixture's node measures it.
fn measured() -> String {
    "ab".repeat(32)
}

struct Desk {
    domain: Domain,
    node: WorkloadId,
    epoch: Option<u64>,
    signer: Signer,
}

impl Desk {
    /// A domain whose policy is `tables` of the signer's keys.
    async fn open(sim: &Sim, tables: fn(&Signer) -> String) -> Self {
        let signer = Signer::new("one").unwrap();
        let text = tables(&signer);
        let files = files_but(&[("attestation.toml", text.as_str())]);
        let domain = Domain::start_with(sim, files).await;
        domain.register(registration("clerk", &[])).await;
        let chain = domain.node.link().shown().0;
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        let node = WorkloadId::parse(&leaf.uri_names()[0]).unwrap();
        Self { domain, node, epoch: leaf.epoch(), signer }
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

    async fn bring(&self, kind: &str, document: Vec<u8>) {
        let order = Order::Add { kind: kind.to_owned(), document };
        let name = AgentName::parse("clerk").unwrap();
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let done = evidence::change(&*server, &operator, &name, order).await.unwrap();
        done.into_value().unwrap();
    }

    async fn apply(&self, tables: &str) {
        let files = files_but(&[("attestation.toml", tables)]);
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let reason = "a story".to_owned();
        let applied = apply_policy::apply(&*server, &operator, files, reason, None).await;
        applied.unwrap().into_value().unwrap();
    }

    async fn told(&self, part: &str) -> String {
        let server = self.domain.server.world();
        evidence::results(&*server, CLERK).await.unwrap()[0].told[part].clone()
    }

    fn word(&self, operator: &str) -> Vec<u8> {
        let claims = word(operator, CLERK, &measured(), self.domain.now()).unwrap();
        self.signer.token::<Word>(&claims)
    }
}

const CLASSES: &str = "[node.join_token]\n[class.quiet]\ndemands = []\nissues = [\"x509\"]\n\
                       [class.standard]\ndemands = [\"unix:path\"]\nissues = [\"x509\", \"wit\"]\n";

fn by_operator(signer: &Signer) -> String {
    format!(
        "{CLASSES}[[class.standard.attested]]\nof = [\"operator\"]\n\
         facts = [\"operator:name:ops\"]\n\
         [[evidence.operator.operators]]\nname = \"ops\"\nkeys = '''{}'''\n\
         agents = [\"spiffe://demo.example/agent/*\"]\n",
        signer.keys()
    )
}

/// req: ATT-06
#[test]
fn s7_an_operators_word_counts_once_and_as_long_as_it_holds() {
    story(|sim| async move {
        let desk = Desk::open(&sim, by_operator).await;
        assert_eq!(desk.issue().await.unwrap_err().check(), "attestation::Demand");
        desk.bring("operator", desk.word("ops")).await;
        desk.issue().await.unwrap();
        assert_eq!(desk.told("operator").await, "affirming (instance-identity 2)");
        let made = desk.domain.server.journal().of(Event::EvidenceAppraised);
        assert_eq!(made.last().unwrap().used.len(), 1, "its value is taken");
        // The same document again is the same word; another one with its value is none.
        desk.bring("operator", desk.word("ops")).await;
        sim.sleep(Span::from_seconds(2)).await;
        desk.bring("operator", desk.word("ops")).await;
        assert_eq!(desk.issue().await.unwrap_err().check(), "attestation::Contraindicated");
        assert!(desk.told("operator").await.contains("was accepted before"));
        // What was issued on the one before ends, too.
        let server = desk.domain.server.world();
        assert_eq!(reassess::step(&*server, &Which::Fallen).await.unwrap(), 1);
        assert_eq!(reassess::step(&*server, &Which::Fallen).await.unwrap(), 0);
        let made = desk.domain.server.journal().of(Event::EvidenceAppraised).len();
        assert!(desk.issue().await.is_err());
        let again = desk.domain.server.journal().of(Event::EvidenceAppraised).len();
        assert_eq!(again, made, "it is known, and not appraised anew");
    });
    story(|sim| async move {
        let desk = Desk::open(&sim, by_operator).await;
        desk.bring("operator", desk.word("ops")).await;
        desk.issue().await.unwrap();
        let server = desk.domain.server.world();
        let before = desk.domain.now();
        // Nobody asks, and it ends all the same what was issued on it.
        sim.sleep(Span::from_seconds(400)).await;
        let due = Which::Due { after: before, before: desk.domain.now() };
        assert_eq!(reassess::step(&*server, &due).await.unwrap(), 1);
        let ended = desk.domain.server.journal().of(Event::AgentLifecycle);
        assert_eq!(ended.last().unwrap().action, "agent.end");
        assert_eq!(desk.issue().await.unwrap_err().check(), "attestation::Demand");
    });
    story(|sim| async move {
        // Somebody whom policy does not name.
        let desk = Desk::open(&sim, by_operator).await;
        desk.bring("operator", desk.word("mallory")).await;
        assert!(desk.issue().await.is_err());
    });
}

/// req: ATT-06 (part)
#[test]
fn s7_a_document_that_comes_back_is_the_one_that_it_was() {
    story(|sim| async move {
        let desk = Desk::open(&sim, by_operator).await;
        let word = desk.word("ops");
        desk.bring("operator", word.clone()).await;
        desk.issue().await.unwrap();
        let take_away = async || {
            let name = AgentName::parse("clerk").unwrap();
            let (server, operator) = (desk.domain.server.world(), desk.domain.operator());
            let order = Order::Remove { kind: "operator".to_owned() };
            let done = evidence::change(&*server, &operator, &name, order).await.unwrap();
            done.into_value().unwrap();
        };
        take_away().await;
        assert_eq!(desk.issue().await.unwrap_err().check(), "attestation::Demand");
        desk.bring("operator", word.clone()).await;
        desk.issue().await.unwrap();
        // As well after another one in its place.
        sim.sleep(Span::from_seconds(2)).await;
        desk.bring("operator", desk.word("mallory")).await;
        assert!(desk.issue().await.is_err());
        desk.bring("operator", word.clone()).await;
        desk.issue().await.unwrap();
    });
}

fn by_bill(signer: &Signer) -> String {
    bills(signer, "[]", 9.0)
}

fn bills(signer: &Signer, advisories: &str, unacceptable: f64) -> String {
    format!(
        "{CLASSES}[class.standard.warned]\nissues = [\"x509\"]\nlifetime_max = 120\n\
         [evidence.aibom]\nadvisories = '''{advisories}'''\n\
         unacceptable_from = {unacceptable:.1}\n\
         [[evidence.aibom.signers]]\nname = \"maker\"\nkeys = '''{}'''\n",
        signer.keys()
    )
}

/// req: ATT-05 (part), ATT-09
#[test]
fn s7_a_component_that_becomes_known_as_vulnerable_takes_what_was_issued() {
    story(|sim| async move {
        let desk = Desk::open(&sim, by_bill).await;
        let statement =
            desk.signer.statement(&measured(), "https://cyclonedx.org/bom", &bom(&measured()));
        desk.bring("aibom", statement).await;
        let life = |credential: AssignedCredential| {
            let AssignedCredential::X509 { chain } = credential else { panic!("another kind") };
            let leaf = x509::Certificate::parse(&chain[0]).unwrap();
            leaf.not_after().since(desk.domain.now()).seconds()
        };
        let before = life(desk.issue().await.unwrap());
        let server = desk.domain.server.world();
        // An advisory comes: a warning shortens.
        let known = format!("[{}]", advisory());
        desk.apply(&bills(&desk.signer, &known, 10.0)).await;
        reassess::step(&*server, &Which::All).await.unwrap();
        let after = life(desk.issue().await.unwrap());
        assert!(after <= 120 && after <= before, "{before} {after}");
        assert!(
            desk.told("aibom").await.contains("configuration 32"),
            "{}",
            desk.told("aibom").await
        );
        // And one that policy does not accept ends.
        desk.apply(&bills(&desk.signer, &known, 0.0)).await;
        assert_eq!(reassess::step(&*server, &Which::All).await.unwrap(), 1);
        assert_eq!(desk.issue().await.unwrap_err().check(), "attestation::Contraindicated");
    });
}

/// req: ATT-05 (part), ATT-09 (part)
#[test]
fn s7_a_bill_of_another_package_or_maker_refuses() {
    story(|sim| async move {
        let desk = Desk::open(&sim, by_bill).await;
        let other = "cd".repeat(32);
        let bill = |signer: &Signer, sha256: &str| {
            signer.statement(sha256, "https://cyclonedx.org/bom", &bom(sha256))
        };
        let stranger = Signer::new("two").unwrap();
        let other = bill(&desk.signer, &other);
        let foreign = bill(&stranger, &measured());
        for (document, step) in [(other, "binding: "), (foreign, "signature: ")] {
            desk.bring("aibom", document).await;
            assert_eq!(desk.issue().await.unwrap_err().check(), "attestation::Contraindicated");
            let told = desk.told("aibom").await;
            assert!(told.contains(step), "{told}");
        }
        // Another bit in it.
        let mut bent = bill(&desk.signer, &measured());
        let middle = bent.len() / 2;
        bent[middle] ^= 1;
        desk.bring("aibom", bent).await;
        let _ = desk.issue().await;
        assert!(!desk.told("aibom").await.starts_with("affirming"));
    });
}

fn by_binding(signer: &Signer) -> String {
    format!(
        "{CLASSES}[[evidence.binding.issuers]]\nissuer = \"https://idp.example\"\n\
         keys = '''{}'''\nusers = [\"alice\"]\nscope = \"*\"\n",
        signer.keys()
    )
}

/// A binding names the agent's key, and a key that the node makes anew each hour is none that
/// somebody could have bound before.
/// req: ATT-11 (part)
#[test]
fn s7_a_binding_counts_for_nothing_where_no_key_is_known() {
    story(|sim| async move {
        let desk = Desk::open(&sim, by_binding).await;
        let now = desk.domain.now();
        let key = desk.signer.public();
        let claims = binding("https://idp.example", CLERK, key, "alice", now).unwrap();
        desk.bring("binding", desk.signer.token::<Binding>(&claims)).await;
        desk.issue().await.unwrap();
        let told = desk.told("binding").await;
        assert!(told.starts_with("none") && told.contains("is not known"), "{told}");
    });
}
