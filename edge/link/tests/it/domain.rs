//! A trust domain: a served server, and hosts that joined it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestation::mechanism::Role;
use attestation::{Rule, Selector, Selectors};
use authorization::client::Facet;
use credential::x509_authority;
use env::rows::TrustRow;
use env::{Change, Clock, Entity, Expect, Handle, Key, Keys, Purpose, Store, Stored, World, Write};
use flow::agents::Operator;
use flow::sign::{ALGORITHM, CERTIFICATE_ALGORITHM};
use identifier::{AgentName, Kind};
use link::{Address, JoinOrder, Joined, Link, NoPeers, Presented, SpireWiring, Wiring};
use policy::Files;
use provisioning::{Act, Epoch};
use registry::{AgentRecord, NodeRecord, Registration};
use rustls::sign::CertifiedKey;
use spiffe::Bundle;
use time::Span;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wimse::{Bundles, Origin, WorkloadId};
use x509::{Certificate, CertificateDer, Name, RequestTemplate};

use crate::world::{TestClock, TestKeys, TestWorld, random};

const ACCESS: &str = "@id(\"none\")\nforbid(principal, action, resource);\n";
const DOMAIN: &str = "trust_domain = \"td.example\"\nscheme = \"{scheme}\"\n[nested]\nlevels = 1\n";
const ATTESTATION: &str = "[node.join_token]\nspire_agents = true\n\
                           [node.x509pop]\nspire_agents = true\nanchors = '''\n{anchors}'''\n\
                           [class.standard]\ndemands = []\nissues = [\"x509\", \"wit\", \"jwt\"]\n\
                           [class.spire]\ndemands = []\nissues = [\"x509\", \"jwt\"]\n\
                           spire_agents = true\n\
                           [class.bearer]\ndemands = []\nissues = [\"jwt\"]\nspire_agents = true\n";

/// An authority of X.509-SVIDs that is not one of a server's.
pub(crate) struct Authority {
    pub(crate) domain: Origin,
    certificate: Certificate,
    key: Handle,
    keys: TestKeys,
    clock: TestClock,
}

impl Authority {
    pub(crate) async fn new(domain: &str, clock: &TestClock) -> Self {
        let (domain, keys) = (origin(domain), TestKeys::default());
        let (key, public) = keys.generate(Purpose::X509Authority, ALGORITHM).await.unwrap();
        let role = x509_authority::Role::TrustDomain { origin: &domain, below: 0 };
        let until = clock.now().plus(Span::from_seconds(86_400));
        let unsigned = x509_authority::build(
            &role,
            public.spki_der(),
            random(),
            clock.now(),
            until,
            CERTIFICATE_ALGORITHM,
        );
        let unsigned = unsigned.unwrap().into_inner();
        let signature = keys.private(&key).sign(unsigned.bytes());
        let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
        let certificate = unsigned.attach(&der).parse().unwrap();
        Self { domain, certificate, key, keys, clock: clock.clone() }
    }

    pub(crate) fn pem(&self) -> String {
        CertificateDer::from_der(self.certificate.der().to_vec()).unwrap().to_pem()
    }

    pub(crate) fn bundle(&self) -> Bundle {
        let authorities = vec![self.certificate.clone()];
        Bundle::new(1, Span::from_seconds(60), authorities, vec![], vec![]).unwrap()
    }

    /// An SVID that it signs, its key, and the DER.
    pub(crate) async fn svid(&self, id: &str) -> (CertifiedKey, Handle, Vec<u8>, &TestKeys) {
        let (handle, public) = self.keys.generate(Purpose::Workload, ALGORITHM).await.unwrap();
        let authority = self.certificate.clone();
        let order = order(id, &public, &authority, &self.clock);
        let unsigned = credential::x509_svid::build(&order, CERTIFICATE_ALGORITHM).unwrap();
        let unsigned = unsigned.into_inner();
        let signature = self.keys.private(&self.key).sign(unsigned.bytes());
        let der = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
        let leaf = unsigned.attach(&der).into_bytes();
        (self.keys.certified(vec![leaf.clone()], &handle), handle, leaf, &self.keys)
    }
}

/// An origin, of SPIFFE where a name says no scheme.
fn origin(text: &str) -> Origin {
    let scheme = if text.contains("://") { "" } else { "spiffe://" };
    Origin::parse(&format!("{scheme}{text}")).unwrap()
}

/// CRED-07: a component's certificate says nothing beside who it is.
static NO_ATTRIBUTES: std::sync::LazyLock<spiffe::Attributes> =
    std::sync::LazyLock::new(spiffe::Attributes::default);

pub(crate) fn order<'a>(
    id: &str,
    public: &'a jose::PublicKey,
    authority: &'a Certificate,
    clock: &TestClock,
) -> credential::x509_svid::Order<'a> {
    let id: &'static WorkloadId = Box::leak(Box::new(WorkloadId::parse(id).unwrap()));
    credential::x509_svid::Order {
        id,
        spki_der: public.spki_der(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority,
        random: random(),
        now: clock.now(),
        life: Span::from_seconds(3_600),
        epoch: 1,
        attributes: &NO_ATTRIBUTES,
    }
}

/// A server, served.
pub(crate) struct Domain {
    pub(crate) world: Arc<TestWorld<NoPeers>>,
    pub(crate) address: String,
    /// What was counted as refused.
    pub(crate) refused: Arc<Mutex<Vec<&'static str>>>,
    /// Vouches for hosts that join by `x509pop`.
    pub(crate) manufacturer: Authority,
    presented: Presented,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Domain {
    pub(crate) async fn start() -> Self {
        Self::of("spiffe").await
    }

    /// A server whose identifiers have this scheme.
    pub(crate) async fn of(scheme: &str) -> Self {
        let (keys, clock) = (Arc::<TestKeys>::default(), TestClock::default());
        let manufacturer = Authority::new("manufacturer.example", &clock).await;
        let world = Arc::new(TestWorld::new("server", keys, clock, NoPeers));
        let attestation = ATTESTATION.replace("{anchors}", &manufacturer.pem());
        let files = BTreeMap::from([
            ("domain.toml".to_owned(), DOMAIN.replace("{scheme}", scheme)),
            ("attestation.toml".to_owned(), attestation),
            ("access/main.cedar".to_owned(), ACCESS.to_owned()),
        ]);
        let files = Files::new(files).unwrap();
        flow::boot::ready(&*world, files, &["localhost".to_owned()]).await.unwrap().unwrap();
        let own = flow::boot::server_identity(&*world, &[], &[]).await.unwrap();
        let chain = own.chain.iter().map(|der| der.as_bytes().to_vec()).collect();
        let presented = Presented::new(world.keys.certified(chain, &own.key));
        let refused = Arc::default();
        let (address, serving) = ("127.0.0.1:0".to_owned(), None);
        let mut domain = Self { world, address, refused, manufacturer, presented, serving };
        domain.serve().await;
        domain
    }

    /// Serves, at the same address as before if there was one.
    pub(crate) async fn serve(&mut self) {
        let listener = TcpListener::bind(&self.address).await.unwrap();
        self.address = listener.local_addr().unwrap().to_string();
        let refused = Arc::clone(&self.refused);
        let wiring = Wiring {
            presented: self.presented.clone(),
            on_refused: Box::new(move |_, check| refused.lock().unwrap().push(check)),
            on_heard: Box::new(|_, _| {}),
            token_endpoint: Box::new(|call| {
                let body = format!("{} {:?}", call.component, call.form).into_bytes();
                let status = 200 + u16::try_from(call.headers.len()).unwrap();
                Box::pin(async move { Ok((status, body)) })
            }),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let world = Arc::clone(&self.world);
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            link::serve(listener, world, wiring, stopped).await.unwrap();
        });
        self.serving = Some((stop, serving));
    }

    /// Serves SPIRE's API too, as long as the test runs: the address.
    pub(crate) async fn serve_spire(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let own = flow::boot::spire_identity(&*self.world, &[], &[]).await.unwrap();
        let chain = own.chain.iter().map(|der| der.as_bytes().to_vec()).collect();
        let (world, refused) = (Arc::clone(&self.world), Arc::clone(&self.refused));
        let wiring = SpireWiring {
            presented: Presented::new(world.keys.certified(chain, &own.key)),
            on_refused: Box::new(move |_, check| refused.lock().unwrap().push(check)),
        };
        let forever = std::future::pending();
        tokio::spawn(async move { link::serve_spire(listener, world, wiring, forever).await });
        address
    }

    /// The server shows a new certificate from now on.
    pub(crate) async fn renew(&self) {
        let own = flow::boot::server_identity(&*self.world, &[], &[]).await.unwrap();
        let chain = own.chain.iter().map(|der| der.as_bytes().to_vec()).collect();
        self.presented.replace(self.world.keys.certified(chain, &own.key));
    }

    pub(crate) async fn stop(&mut self) {
        let (stop, serving) = self.serving.take().unwrap();
        stop.send(()).unwrap();
        serving.await.unwrap();
    }

    pub(crate) fn address(&self) -> Address {
        Address::parse(&self.address).unwrap()
    }

    pub(crate) fn server_id() -> WorkloadId {
        WorkloadId::parse("spiffe://td.example/aims/server").unwrap()
    }

    /// The server's identifier, under the scheme of its domain.
    async fn own_id(&self) -> WorkloadId {
        self.trust_row().await.own.workload("/aims/server").unwrap()
    }

    pub(crate) async fn trust_row(&self) -> Stored<TrustRow> {
        row(&*self.world, TrustRow::ID).await.unwrap()
    }

    pub(crate) async fn trust(&self) -> Bundles {
        self.trust_row().await.bundles.clone()
    }

    pub(crate) async fn write<E: Entity>(&self, entity: &E) {
        let writes = vec![Write::put(entity, Expect::Any)];
        let change = Change { writes, ..Change::default() };
        self.world.store.commit(change).await.unwrap();
    }

    pub(crate) async fn token(&self, role: Role, name: &str) -> String {
        let (operator, life) = (Operator("test".to_owned()), Span::from_seconds(600));
        let name = Some(AgentName::parse(name).unwrap());
        let shown = flow::join_token::create(&*self.world, &operator, role, name, life).await;
        shown.unwrap().into_value().expose().to_owned()
    }

    /// A host that joined by a token.
    pub(crate) async fn host(&self, role: Role, name: &str) -> Host {
        let token = self.token(role, name).await;
        let (keys, clock) = (Arc::<TestKeys>::default(), TestClock::default());
        let (handle, request) = request(&keys).await;
        let order = token_order(role, &token, request);
        let joined = self.join(order, &clock).await.unwrap();
        let certified = keys.certified(joined.chain.clone(), &handle);
        let presented = Presented::new(certified.clone());
        let read = clock.clone();
        let link = Link::new(
            self.address(),
            self.own_id().await,
            presented.clone(),
            self.trust().await,
            move || read.now(),
        );
        let world = Arc::new(TestWorld::new(name, keys, clock, link));
        Host { world, id: joined.id, presented, certified }
    }

    pub(crate) async fn join(
        &self,
        order: JoinOrder,
        clock: &TestClock,
    ) -> Result<Joined, env::PeerFault> {
        let (address, trust) = (self.address(), self.trust().await);
        let answer = |_| async { panic!("a join token has no challenge") };
        link::join(&address, &self.own_id().await, trust, clock.now(), order, answer).await
    }

    /// A certificate of our own authority for anybody.
    pub(crate) async fn svid(&self, id: &str) -> CertifiedKey {
        let world = &*self.world;
        let (handle, public) = world.keys.generate(Purpose::Workload, ALGORITHM).await.unwrap();
        let ring: Stored<credential::KeyRing> =
            row(world, Purpose::X509Authority.name()).await.unwrap();
        let key = flow::sign::signer(&ring, world.clock.now()).unwrap();
        let authority = flow::sign::authority(key).unwrap();
        let order = order(id, &public, &authority, &world.clock);
        let checked = credential::x509_svid::build(&order, CERTIFICATE_ALGORITHM).unwrap();
        let signer = flow::sign::handle(Purpose::X509Authority, key);
        let leaf = flow::sign::certificate(world, &signer, checked).await.unwrap();
        world.keys.certified(vec![leaf.into_bytes()], &handle)
    }

    /// Registers an agent; `selectors` beside its own make its record as large as wanted.
    pub(crate) async fn register(&self, name: &str, selectors: usize) -> AgentRecord {
        let own = ["unix:uid:1000".to_owned(), format!("unix:path:/opt/{name}")];
        let mut rule: Vec<_> = own.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let long = "p".repeat(2_000);
        rule.extend(
            (0..selectors).map(|at| Selector::parse(&format!("unix:path:/{at}/{long}")).unwrap()),
        );
        self.register_as(name, rule, |_| {}).await
    }

    /// The same after `edit`.
    pub(crate) async fn register_as(
        &self,
        name: &str,
        rule: Vec<Selector>,
        edit: impl FnOnce(&mut Registration),
    ) -> AgentRecord {
        let mut entry = Registration {
            name: AgentName::parse(name).unwrap(),
            kind: Kind::Agent,
            owner: "team".to_owned(),
            capabilities: Default::default(),
            locator: None,
            rule: Rule {
                selectors: Selectors::new(rule).unwrap(),
                nodes: Vec::new(),
                class: "standard".to_owned(),
            },
            dns_names: std::collections::BTreeSet::new(),
            keys: None,
            client: Facet::default(),
            downstream: false,
        };
        edit(&mut entry);
        let operator = Operator("test".to_owned());
        let made = flow::agents::register(&*self.world, &operator, entry).await.unwrap();
        made.into_value().unwrap()
    }

    pub(crate) async fn act(&self, name: &str, act: Act) {
        let (operator, name) = (Operator("test".to_owned()), AgentName::parse(name).unwrap());
        let done = flow::agents::act(&*self.world, &operator, &name, act, "test".to_owned()).await;
        done.unwrap().into_value().unwrap();
    }

    /// Revokes a node, as an operator would.
    pub(crate) async fn revoke(&self, host: &Host) {
        let node: Stored<NodeRecord> = row(&*self.world, host.id.as_str()).await.unwrap();
        let mut node = (*node.value).clone();
        let now = self.world.clock.now();
        let why = "test".to_owned();
        node.lifecycle = node.lifecycle.after(Act::Revoke, Epoch(9), why, now).unwrap();
        self.write(&node).await;
    }

    /// Waits until this was counted.
    pub(crate) async fn counted(&self, check: &str) {
        let was = || self.refused.lock().unwrap().contains(&check);
        eventually(|| async { was() }, check).await;
    }
}

/// A host that joined.
pub(crate) struct Host {
    pub(crate) world: Arc<TestWorld<Link>>,
    pub(crate) id: WorkloadId,
    pub(crate) presented: Presented,
    pub(crate) certified: CertifiedKey,
}

impl Host {
    pub(crate) fn link(&self) -> &Link {
        &self.world.peers
    }

    /// Follows the feed until the task is dropped.
    pub(crate) fn follow(&self) -> Following {
        let world = Arc::clone(&self.world);
        Following(tokio::spawn(async move {
            world.peers.follow(&*world, |_| {}).await;
        }))
    }

    pub(crate) async fn agent(&self, id: &str) -> Option<Stored<AgentRecord>> {
        row(&*self.world, id).await
    }

    /// Waits until it knows that agent in that state.
    pub(crate) async fn knows(&self, id: &str, state: provisioning::State) {
        let is_so =
            || async { self.agent(id).await.is_some_and(|agent| agent.lifecycle.state == state) };
        eventually(is_so, id).await;
    }
}

pub(crate) struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn token_order(role: Role, token: &str, request: Vec<u8>) -> JoinOrder {
    let mechanism = "join_token".to_owned();
    JoinOrder { mechanism, role, evidence: token.as_bytes().to_vec(), request }
}

/// A key, and a request that proves it.
pub(crate) async fn request(keys: &TestKeys) -> (Handle, Vec<u8>) {
    request_for(keys, &[]).await
}

/// The same for a key that wants these names.
pub(crate) async fn request_for(keys: &TestKeys, names: &[&str]) -> (Handle, Vec<u8>) {
    let (handle, public) = keys.generate(Purpose::Component, ALGORITHM).await.unwrap();
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: public.spki_der().to_vec(),
        uri_names: names.iter().map(|name| (*name).to_owned()).collect(),
        dns_names: Vec::new(),
    };
    let unsigned = template.to_be_signed(CERTIFICATE_ALGORITHM).unwrap();
    let signature = keys.private(&handle).sign(unsigned.bytes());
    let signature = x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap();
    (handle, unsigned.attach(&signature))
}

pub(crate) async fn row<W: World, E: Entity>(world: &W, id: &str) -> Option<Stored<E>> {
    let rows = world.store().snapshot(&[Key::of::<E>(id)]).await.unwrap();
    rows.get::<E>(id).unwrap()
}

/// Waits until it is so; a machine may be slow.
pub(crate) async fn eventually<F: Future<Output = bool>>(is_so: impl Fn() -> F, what: &str) {
    for _ in 0..2_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came so: {what}");
}
