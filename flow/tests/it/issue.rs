//! Issuing to workloads: the node, the evidence, the record, the policy and the request decide.

use attestation::unix::Process;
use env::{AssignedCredential, IssueKind, IssueOrder};
use flow::issue::{Refusal, issue};
use monitoring::{Event, Outcome};
use provisioning::{Act, IssueRefusal};
use registry::{NodeRecord, Registration};
use testkit::Sim;
use testkit::fixture::{
    Domain, attempt, certificate_request, files_but, process, registration, story,
};
use wimse::WorkloadId;
use x509::DnsName;

const CLERK: &str = "spiffe://demo.example/agent/clerk";

struct Mill {
    domain: Domain,
    node: WorkloadId,
    epoch: Option<u64>,
}

impl Mill {
    async fn open(sim: &Sim) -> Self {
        let domain = Domain::start(sim).await;
        domain.register(registration("clerk", &[])).await;
        let chain = domain.node.link().shown().0;
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        let node = WorkloadId::parse(&leaf.uri_names()[0]).unwrap();
        Self { domain, node, epoch: leaf.epoch() }
    }

    fn order(&self) -> IssueOrder {
        order(CLERK, process("/opt/clerk"), IssueKind::X509 { request: certificate_request() })
    }

    async fn issue(&self, order: IssueOrder) -> Result<AssignedCredential, Refusal> {
        self.issue_to(&self.node, self.epoch, order).await
    }

    /// What is issued or refused is recorded as that.
    async fn issue_to(
        &self,
        node: &WorkloadId,
        epoch: Option<u64>,
        order: IssueOrder,
    ) -> Result<AssignedCredential, Refusal> {
        let server = self.domain.server.world();
        let end = issue(&*server, node, epoch, order).await.unwrap();
        let record = self.domain.server.journal().find(end.audit_id().unwrap()).unwrap();
        assert_eq!(record.event, Event::CredentialIssued);
        match end.value() {
            Ok(_) => assert_eq!((record.outcome, record.why), (Outcome::Permitted, None)),
            Err(refusal) => {
                let why = record.why.unwrap();
                assert_eq!(
                    (why.check.as_str(), why.message),
                    (refusal.check(), refusal.to_string())
                );
            }
        }
        end.into_value()
    }

    async fn refused(&self, order: IssueOrder) -> Refusal {
        self.issue(order).await.unwrap_err()
    }
}

fn order(agent: &str, process: Process, kind: IssueKind) -> IssueOrder {
    IssueOrder { agent: WorkloadId::parse(agent).unwrap(), process, kind }
}

/// req: CRED-02 (part), CRED-03 (part), CRED-04 (part), PROV-05 (part)
#[test]
fn s6_one_agent_holds_three_kinds_under_one_identifier() {
    story(|sim| async move {
        let mill = Mill::open(&sim).await;
        let AssignedCredential::X509 { chain } = mill.issue(mill.order()).await.unwrap() else {
            panic!("another kind")
        };
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        assert_eq!((leaf.uri_names(), leaf.epoch()), (&[CLERK.to_owned()][..], mill.epoch));
        let request = certificate_request();
        let wit = IssueOrder { kind: IssueKind::Wit { request }, ..mill.order() };
        assert!(matches!(mill.issue(wit).await, Ok(AssignedCredential::Wit { .. })));
        let kind = IssueKind::Jwt { audiences: vec!["https://a.example".to_owned()] };
        let jwt = mill.issue(IssueOrder { kind, ..mill.order() }).await;
        let Ok(AssignedCredential::Jwt { expires, .. }) = jwt else { panic!("{jwt:?}") };
        // CRED-03: bearer, so minutes.
        assert_eq!(expires.since(mill.domain.now()).seconds(), 300);
    });
}

/// req: CRED-02 (part)
#[test]
fn wimse_creds_6_1_a_certificate_has_the_names_of_hosts_of_the_record() {
    story(|sim| async move {
        let mill = Mill::open(&sim).await;
        let names = ["api.clerk.example", "clerk.example"];
        let named = Registration {
            dns_names: names.iter().map(|name| DnsName::parse(name).unwrap()).collect(),
            ..registration("named", &[])
        };
        mill.domain.register(named).await;
        let agent = WorkloadId::parse("spiffe://demo.example/agent/named").unwrap();
        let order = IssueOrder { agent, process: process("/opt/named"), ..mill.order() };
        let AssignedCredential::X509 { chain } = mill.issue(order).await.unwrap() else {
            panic!("another kind")
        };
        let leaf = x509::Certificate::parse(&chain[0]).unwrap();
        assert_eq!(leaf.dns_names(), names);
        assert_eq!(leaf.uri_names(), ["spiffe://demo.example/agent/named"]);
    });
}

/// req: ATT-01 (part), PROV-03 (part), PROV-07 (part)
#[test]
fn s7_evidence_record_and_request_decide() {
    story(|sim| async move {
        let mill = Mill::open(&sim).await;
        let elsewhere = IssueOrder { process: process("/opt/clerk2"), ..mill.order() };
        let missing = vec!["unix:path:/opt/clerk".to_owned()];
        assert_eq!(mill.refused(elsewhere).await, IssueRefusal::Evidence { missing }.into());
        let many = Process { supplementary: (0..1_100).collect(), ..process("/opt/clerk") };
        let many = IssueOrder { process: many, ..mill.order() };
        assert_eq!(mill.refused(many).await.check(), "issue::Evidence");
        let nobody =
            order("spiffe://demo.example/agent/nobody", process("/opt/x"), mill.order().kind);
        let agent = nobody.agent.clone();
        assert_eq!(mill.refused(nobody).await, Refusal::Unknown(agent));
        let mut request = certificate_request();
        let last = request.len() - 1;
        request[last] ^= 1;
        for kind in [IssueKind::X509 { request: request.clone() }, IssueKind::Wit { request }] {
            let unproved = IssueOrder { kind, ..mill.order() };
            assert_eq!(mill.refused(unproved).await.check(), "issue::Request");
        }
        let kind = IssueKind::Wit { request: ed25519_request() };
        let unfit = IssueOrder { kind, ..mill.order() };
        assert_eq!(mill.refused(unfit).await.check(), "issue::Key");
        let kind = IssueKind::Jwt { audiences: Vec::new() };
        let to_nobody = IssueOrder { kind, ..mill.order() };
        assert_eq!(mill.refused(to_nobody).await.check(), "issue::Order");
    });
}

/// WIT-SVID §2.1 takes no EdDSA keys.
fn ed25519_request() -> Vec<u8> {
    let made = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8v1(
        &aws_lc_rs::rand::SystemRandom::new(),
    );
    let key = jose::PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap();
    let template = x509::RequestTemplate {
        subject: x509::Name::empty(),
        spki_der: key.public().spki_der().to_vec(),
        uri_names: Vec::new(),
        dns_names: Vec::new(),
    };
    let unsigned = template.to_be_signed(x509::SignatureAlgorithm::Ed25519).unwrap();
    let signature = key.sign(unsigned.bytes());
    unsigned.attach(signature.as_bytes())
}

/// req: PROV-06 (part), OBS-10 (part)
#[test]
fn s8_nothing_is_issued_to_who_is_not_in_force() {
    story(|sim| async move {
        let mill = Mill::open(&sim).await;
        let stranger = WorkloadId::parse("spiffe://demo.example/aims/node/join_token/x").unwrap();
        let refusal = mill.issue_to(&stranger, mill.epoch, mill.order()).await.unwrap_err();
        assert_eq!(refusal, Refusal::Node("it is not in the registry".to_owned()));
        mill.domain.act("clerk", Act::Suspend).await;
        assert_eq!(mill.refused(mill.order()).await.check(), "provisioning::NotInForce");
        mill.domain.act("clerk", Act::Resume).await;
        mill.issue(mill.order()).await.unwrap();
        suspend_node(&mill.domain, &mill.node);
        let refusal = mill.refused(mill.order()).await;
        assert!(refusal.to_string().contains("suspended"), "{refusal}");
        assert_eq!(refusal.check(), "issue::Node");
    });
}

/// No flow does this yet: the row is written as one would.
pub(crate) fn suspend_node(domain: &Domain, id: &WorkloadId) {
    let store = domain.server.world();
    let store = env::World::store(&*store);
    let nodes = store.every::<NodeRecord>();
    let mut node = (*nodes.into_iter().find(|node| node.id == *id).unwrap()).clone();
    let (epoch, now) = (node.lifecycle.dead_before.next(), domain.now());
    node.lifecycle = node.lifecycle.after(Act::Suspend, epoch, "lost".to_owned(), now).unwrap();
    store.put(&node);
}

/// req: ATT-07 (part), CRED-06 (part)
#[test]
fn s7_policy_says_who_may_host_and_what_a_class_gets() {
    story(|sim| async move {
        let mill = Mill::open(&sim).await;
        let mut bound = registration("bound", &[]);
        bound.rule.nodes =
            vec![WorkloadId::parse("spiffe://demo.example/aims/node/join_token/host-2").unwrap()];
        mill.domain.register(bound).await;
        let elsewhere =
            order("spiffe://demo.example/agent/bound", process("/opt/bound"), mill.order().kind);
        let node = mill.node.clone();
        assert_eq!(mill.refused(elsewhere).await, IssueRefusal::Node { node }.into());
        let mut quiet = registration("quiet", &[]);
        quiet.rule.class = "quiet".to_owned();
        mill.domain.register(quiet).await;
        let kind = IssueKind::Wit { request: certificate_request() };
        let wit = order("spiffe://demo.example/agent/quiet", process("/opt/quiet"), kind);
        assert_eq!(mill.refused(wit).await, IssueRefusal::Kind { kind: "wit" }.into());
        // Policy changes after the registration: what a class demands, and the classes themselves.
        let attestation = |class: &str| {
            format!(
                "[node.join_token]\n[class.{class}]\ndemands = [\"unix:sha256\"]\nissues = [\"x509\"]\n"
            )
        };
        apply(&mill.domain, &attestation("standard")).await;
        let name = "unix:sha256".to_owned();
        assert_eq!(mill.refused(mill.order()).await, IssueRefusal::RuleTooWeak { name }.into());
        apply(&mill.domain, &attestation("other")).await;
        let refusal = mill.refused(mill.order()).await;
        let why = "policy has no risk class `standard`".to_owned();
        assert_eq!(refusal, Refusal::Order(why));
        assert!(!attempt("join_token", attestation::mechanism::Role::Node, b"").request.is_empty());
    });
}

async fn apply(domain: &Domain, attestation: &str) {
    let files = files_but(&[("attestation.toml", attestation)]);
    let (server, operator) = (domain.server.world(), domain.operator());
    let reason = "a story".to_owned();
    let applied = flow::apply_policy::apply(&*server, &operator, files, reason, None).await;
    applied.unwrap().into_value().unwrap();
}
