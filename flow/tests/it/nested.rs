//! Servers below servers: who gets an authority, what it may sign, whose keys are published, and
//! what a server below does with what it is told.

mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use credential::x509_intermediate::room_below;
use credential::{AuthorityKey, KeyRing, Purpose};
use env::rows::{SuperiorRow, TrustRow};
use env::{
    Answering, Keys, Recorded, Superior, SuperiorAnswer, SuperiorFault, SuperiorKey, SuperiorOrder,
    SuperiorTrust, Unavailable, World,
};
use flow::authorities::{self, Act};
use flow::nested::{self, Asker, Refusal};
use flow::turns::Operator;
use flow::{agents, apply_policy, boot, rotate, sign};
use identifier::{AgentName, Kind};
use jose::{KeyId, PrivateKey};
use monitoring::Outcome;
use policy::Files;
use provisioning::Act as Move;
use spiffe::X509Svid;
use testkit::fixture::{files_but, registration, site, story};
use testkit::{Host, Sim, SimWorld};
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::{Certificate, Name, RequestTemplate, SignatureAlgorithm, ecdsa_der_from_fixed};

const HOUR: Span = Span::from_seconds(3_600);
const DOMAIN: &str = "spiffe://demo.example";
/// The life of what is signed for a server below, by policy.
const LIFE: Span = Span::from_seconds(12 * 3_600);
/// RFC 7515 §A.3.
const KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// A server, below another or not.
struct Server {
    _host: Host,
    world: Arc<SimWorld>,
    above: Option<Above>,
}

/// The way to the server above: its flows, as its listener calls them.
struct Above {
    server: Arc<Server>,
    id: WorkloadId,
    epoch: AtomicU64,
    is_away: AtomicBool,
}

impl Above {
    fn check(&self) -> Result<(), SuperiorFault> {
        let is_away = self.is_away.load(Ordering::SeqCst);
        if is_away { Err(Unavailable::of("server", "no route").into()) } else { Ok(()) }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { id: &self.id, epoch: Some(self.epoch.load(Ordering::SeqCst)) }
    }
}

fn said<T>(done: Result<Recorded<Result<T, Refusal>>, Unavailable>) -> Result<T, SuperiorFault> {
    done?.into_value().map_err(|why| SuperiorFault::Refused(why.to_string()))
}

impl Superior for Above {
    fn name(&self) -> &str {
        "the server above"
    }

    fn is_server(&self) -> bool {
        true
    }

    fn certify(&self, order: SuperiorOrder) -> Answering<'_, SuperiorAnswer> {
        Box::pin(async move {
            self.check()?;
            let wanted = Some(order.until.since(order.now));
            said(nested::certify(&*self.server, self.asker(), &order.request, wanted).await)
        })
    }

    fn trust(&self) -> Answering<'_, SuperiorTrust> {
        Box::pin(async move {
            self.check()?;
            let trusted = flow::spire::bundle(&*self.server, None).await?.unwrap();
            let bundle = trusted.bundle().unwrap();
            let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let mut told = SuperiorTrust::default();
            for root in bundle.x509_authorities() {
                told.roots.push(root.der().to_vec());
                if trusted.taints.has(&hex(root.subject_key_id().unwrap())) {
                    told.tainted.push(root.der().to_vec());
                }
            }
            for (purpose, keys) in
                [(Purpose::JwtSvid, bundle.jwt_keys()), (Purpose::Wit, bundle.wit_keys())]
            {
                told.keys.extend(keys.iter().map(|key| SuperiorKey {
                    purpose,
                    kid: key.kid.as_str().to_owned(),
                    spki_der: key.key.spki_der().to_vec(),
                    until: trusted.ends.get(key.kid.as_str()).copied(),
                }));
            }
            Ok(told)
        })
    }

    fn announce(&self, key: SuperiorKey) -> Answering<'_, ()> {
        Box::pin(async move {
            self.check()?;
            said(nested::publish(&*self.server, self.asker(), key).await)
        })
    }
}

impl World for Server {
    type Store = <SimWorld as World>::Store;
    type Keys = <SimWorld as World>::Keys;
    type Clock = <SimWorld as World>::Clock;
    type Entropy = <SimWorld as World>::Entropy;
    type Peers = <SimWorld as World>::Peers;

    fn store(&self) -> &Self::Store {
        self.world.store()
    }

    fn keys(&self) -> &Self::Keys {
        self.world.keys()
    }

    fn clock(&self) -> &Self::Clock {
        self.world.clock()
    }

    fn entropy(&self) -> &Self::Entropy {
        self.world.entropy()
    }

    fn peers(&self) -> &Self::Peers {
        self.world.peers()
    }

    fn superior(&self) -> Option<&dyn Superior> {
        self.above.as_ref().map(|above| above as &dyn Superior)
    }

    fn component(&self) -> &monitoring::Component {
        self.world.component()
    }

    fn site(&self) -> &env::Site {
        self.world.site()
    }
}

fn policy(levels: u8) -> Files {
    let life = LIFE.seconds();
    let text =
        format!("trust_domain = \"demo.example\"\n[nested]\nlevels = {levels}\nlife = {life}\n");
    files_but(&[("domain.toml", &text)])
}

/// How many servers are above.
fn level(above: Option<&Above>) -> u32 {
    above.map_or(0, |above| 1 + level(above.server.above.as_ref()))
}

fn names() -> Vec<String> {
    vec!["localhost".to_owned()]
}

fn operator() -> Operator {
    Operator("uid:0".to_owned())
}

impl Server {
    async fn start(sim: &Sim, levels: u8, above: Option<Above>) -> Result<Arc<Self>, Unavailable> {
        let component = if above.is_some() { "server" } else { "upper" };
        let host = Host::start(sim, component, &site());
        let world = host.world();
        // Simulated keys are called by their number: those of each level begin elsewhere.
        for _ in 0..100 * level(above.as_ref()) {
            world.keys().generate(Purpose::Component, sign::ALGORITHM).await.unwrap();
        }
        let server = Arc::new(Self { _host: host, world, above });
        boot::ready(&*server, policy(levels), &names()).await?.unwrap();
        Ok(server)
    }

    /// A record of a server below, and the way from there to here.
    async fn admit(self: &Arc<Self>, name: &str, downstream: bool) -> Above {
        let mut entry = registration(name, &[]);
        (entry.kind, entry.downstream) = (Kind::Service, downstream);
        let made = agents::register(&**self, &operator(), entry).await.unwrap();
        let agent = made.into_value().unwrap();
        let epoch = AtomicU64::new(agent.lifecycle.dead_before.0);
        Above { server: Arc::clone(self), id: agent.id, epoch, is_away: AtomicBool::new(false) }
    }

    async fn moved(&self, name: &str, act: Move) {
        let name = AgentName::parse(name).unwrap();
        let done = agents::act(self, &operator(), &name, act, "a story".to_owned()).await;
        done.unwrap().into_value().unwrap();
    }

    fn now(&self) -> UnixTime {
        env::Clock::now(self.world.clock())
    }

    fn ring(&self, purpose: Purpose) -> Arc<KeyRing> {
        self.world.store().single::<KeyRing>(purpose.name()).unwrap()
    }

    fn signer(&self, purpose: Purpose) -> AuthorityKey {
        self.ring(purpose).signer(self.now()).unwrap().clone()
    }

    fn trust(&self) -> Arc<TrustRow> {
        self.world.store().single::<TrustRow>(TrustRow::ID).unwrap()
    }

    fn row(&self) -> Arc<SuperiorRow> {
        self.world.store().single::<SuperiorRow>(SuperiorRow::ID).unwrap()
    }

    /// The ids of the keys in its bundle.
    fn kids(&self, purpose: Purpose) -> Vec<String> {
        let trust = self.trust();
        let bundle = trust.bundles.get(&trust.own).unwrap();
        let keys = if purpose == Purpose::Wit { bundle.wit_keys() } else { bundle.jwt_keys() };
        let mut kids: Vec<_> = keys.iter().map(|key| key.kid.as_str().to_owned()).collect();
        kids.sort();
        kids
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        let trust = self.trust();
        let roots = trust.bundles.get(&trust.own).unwrap().x509_authorities();
        roots.iter().map(|root| root.der().to_vec()).collect()
    }

    async fn step(&self) {
        rotate::step(self, &names()).await.unwrap();
    }

    /// A certificate of this server, as whoever has the bundle of `by` verifies it.
    async fn believed(&self, by: &Self) -> Result<Vec<Certificate>, spiffe::SvidError> {
        let identity = boot::server_identity(self, &names(), &[]).await.unwrap();
        let chain: Vec<_> = identity.chain.iter().map(|one| one.parse().unwrap()).collect();
        X509Svid::verify(&chain, by.trust().bundles.spiffe(), x509::Purpose::Server, self.now())?;
        Ok(chain)
    }

    async fn act(&self, kid: &KeyId, act: Act) {
        let done = authorities::act(self, &operator(), kid, act, "a story".to_owned()).await;
        done.unwrap().into_value().unwrap();
    }

    /// The last record of that action: its outcome, and the check that refused.
    fn told(&self, action: &str) -> (Outcome, Option<String>) {
        let records = self._host.journal().records();
        let last = records.into_iter().rev().find(|record| record.action == action).unwrap();
        (last.outcome, last.why.map(|why| why.check.to_owned()))
    }
}

/// A server with one below it.
async fn two(sim: &Sim) -> (Arc<Server>, Arc<Server>) {
    let upper = Server::start(sim, 1, None).await.unwrap();
    let above = upper.admit("below", true).await;
    let lower = Server::start(sim, 0, Some(above)).await.unwrap();
    (upper, lower)
}

fn away(server: &Server, is_away: bool) {
    server.above.as_ref().unwrap().is_away.store(is_away, Ordering::SeqCst);
}

/// req: CRED-02 (part), CRED-12 (part)
#[test]
fn s6_what_a_server_below_issues_is_believed_above_and_the_other_way_round() {
    story(|sim| async move {
        let (upper, lower) = two(&sim).await;
        assert_eq!(lower.roots(), upper.roots());
        let chain = lower.believed(&upper).await.unwrap();
        assert_eq!(chain.len(), 2);
        assert_eq!(
            (chain[1].path_len(), chain[1].uri_names()),
            (Some(0), &[DOMAIN.to_owned()][..])
        );
        assert!(chain[1].not_after() <= upper.now().plus(LIFE));
        assert_eq!(upper.believed(&lower).await.unwrap().len(), 1);
        assert_eq!(upper.told("nested.certify"), (Outcome::Permitted, None));
        // It renews well before the end, for days, also while policy above shortens what it gets.
        for _ in 0..72 {
            sim.sleep(HOUR).await;
            upper.step().await;
            lower.step().await;
            lower.believed(&upper).await.unwrap();
        }
    });
}

fn request(names: &[&str]) -> Vec<u8> {
    let key = PrivateKey::from_jwk_private_text(KEY).unwrap();
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: key.public().spki_der().to_vec(),
        uri_names: names.iter().map(|name| (*name).to_owned()).collect(),
        dns_names: Vec::new(),
    };
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
    unsigned.attach(&signature)
}

/// Whoever is not registered as a server below gets no authority, and one that is gets no other
/// than that of the trust domain. Each refusal is recorded by its check.
/// req: CRED-02 (part), PROV-07 (part)
#[test]
fn s6_nobody_else_gets_an_authority() {
    story(|sim| async move {
        let upper = Server::start(&sim, 1, None).await.unwrap();
        let good = upper.admit("below", true).await;
        let plain = upper.admit("plain", false).await;
        let ended = upper.admit("ended", true).await;
        upper.moved("ended", Move::Revoke).await;
        let back = upper.admit("back", true).await;
        upper.moved("back", Move::Suspend).await;
        upper.moved("back", Move::Resume).await;
        let nobody = WorkloadId::parse("spiffe://demo.example/service/nobody").unwrap();
        let nobody = Asker { id: &nobody, epoch: Some(9) };
        let mut tampered = request(&[DOMAIN]);
        *tampered.last_mut().unwrap() ^= 1;
        let theirs = request(&[DOMAIN, "spiffe://other.example"]);
        let leaf = request(&["spiffe://demo.example/service/below"]);
        for (asker, request, check) in [
            (nobody, request(&[DOMAIN]), "nested::NotDownstream"),
            (plain.asker(), request(&[DOMAIN]), "nested::NotDownstream"),
            (ended.asker(), request(&[DOMAIN]), "nested::NotInForce"),
            // What it had before it was suspended stays dead.
            (back.asker(), request(&[DOMAIN]), "nested::NotInForce"),
            (good.asker(), tampered, "nested::Request"),
            (good.asker(), b"no request".to_vec(), "nested::Request"),
            (good.asker(), theirs, "nested::OtherName"),
            (good.asker(), leaf, "nested::OtherName"),
        ] {
            let done = nested::certify(&*upper, asker, &request, None).await.unwrap();
            assert_eq!(done.into_value().unwrap_err().check(), check);
            assert_eq!(upper.told("nested.certify"), (Outcome::Refused, Some(check.to_owned())));
        }
        for names in [&[DOMAIN][..], &[]] {
            let done = nested::certify(&*upper, good.asker(), &request(names), None).await;
            assert!(done.unwrap().into_value().is_ok(), "{names:?}");
        }
        // The same holds for keys.
        for (asker, check) in [
            (nobody, "nested::NotDownstream"),
            (plain.asker(), "nested::NotDownstream"),
            (ended.asker(), "nested::NotInForce"),
        ] {
            let key = jwt_key("a", KEY, upper.now().plus(HOUR));
            let done = nested::publish(&*upper, asker, key).await.unwrap();
            assert_eq!(done.into_value().unwrap_err().check(), check);
            assert_eq!(upper.told("nested.publish"), (Outcome::Refused, Some(check.to_owned())));
        }
        assert_eq!(upper.kids(Purpose::JwtSvid).len(), 1);
        // Without levels in policy there is nothing for anybody.
        let none = Server::start(&sim, 0, None).await.unwrap();
        let asker = none.admit("below", true).await;
        let done = nested::certify(&*none, asker.asker(), &request(&[DOMAIN]), None).await;
        assert_eq!(done.unwrap().into_value().unwrap_err(), Refusal::NoLevels);
    });
}

/// req: CRED-05 (part), CRED-06 (part)
#[test]
fn s6_an_authority_below_lives_no_longer_than_policy_and_what_signs_it() {
    story(|sim| async move {
        let upper = Server::start(&sim, 1, None).await.unwrap();
        let below = upper.admit("below", true).await;
        for (wanted, expect) in
            [(None, LIFE), (Some(HOUR), HOUR), (Some(Span::from_seconds(i32::MAX as u64)), LIFE)]
        {
            let done = nested::certify(&*upper, below.asker(), &request(&[DOMAIN]), wanted).await;
            let made = done.unwrap().into_value().unwrap();
            let made = Certificate::parse(&made.chain[0]).unwrap();
            assert_eq!(made.not_after(), upper.now().plus(expect), "{wanted:?}");
        }
        let last = upper.signer(Purpose::X509Authority);
        let near = last.signs_until.minus(Span::from_seconds(1));
        sim.sleep(near.since(upper.now())).await;
        let done = nested::certify(&*upper, below.asker(), &request(&[DOMAIN]), None).await;
        let made = done.unwrap().into_value().unwrap();
        let made = Certificate::parse(&made.chain[0]).unwrap();
        assert_eq!(made.not_after(), last.kept_until);
    });
}

/// RFC 5280 §4.2.1.9: as many levels as policy says, each with one less below it.
/// req: CRED-02 (part)
#[test]
fn s6_servers_stand_below_servers_as_many_levels_as_policy_says() {
    story(|sim| async move {
        let top = Server::start(&sim, 2, None).await.unwrap();
        let above = top.admit("middle", true).await;
        let middle = Server::start(&sim, 2, Some(above)).await.unwrap();
        let above = middle.admit("bottom", true).await;
        let bottom = Server::start(&sim, 2, Some(above)).await.unwrap();
        let chain = bottom.believed(&top).await.unwrap();
        let room: Vec<_> = chain[1..].iter().map(Certificate::path_len).collect();
        assert_eq!(room, [Some(0), Some(1)]);
        let root = Certificate::parse(&top.roots()[0]).unwrap();
        assert_eq!((root.path_len(), room_below(&root)), (Some(2), Some(1)));
        // Its own policy says two, and there is no room for one.
        let above = bottom.admit("deeper", true).await;
        let why = Server::start(&sim, 1, Some(above)).await.err().unwrap();
        assert!(why.why.contains("path length"), "{why}");
        // What the lowest signs tokens with is known at the top, and the other way round.
        for server in [&bottom, &middle, &top, &middle, &bottom] {
            server.step().await;
        }
        for purpose in [Purpose::JwtSvid, Purpose::Wit] {
            assert_eq!(top.kids(purpose).len(), 3);
            assert_eq!(top.kids(purpose), bottom.kids(purpose));
            assert_eq!(top.kids(purpose), middle.kids(purpose));
        }
    });
}

/// More levels than before need an authority with more room: made ahead, like any new root.
#[test]
fn s6_levels_that_policy_adds_come_with_the_next_authority() {
    story(|sim| async move {
        let upper = Server::start(&sim, 0, None).await.unwrap();
        let above = upper.admit("below", true).await;
        let reason = "a story".to_owned();
        let applied = apply_policy::apply(&*upper, &operator(), policy(1), reason, None).await;
        applied.unwrap().into_value().unwrap();
        let asked = |request: Vec<u8>| {
            let (upper, asker) = (&upper, above.asker());
            async move { nested::certify(&**upper, asker, &request, None).await.unwrap().into_value() }
        };
        let refused = asked(request(&[DOMAIN])).await.unwrap_err();
        assert_eq!(refused.check(), "nested::Build");
        upper.step().await;
        upper.step().await;
        let ring = upper.ring(Purpose::X509Authority);
        let [_, next] = &ring.keys[..] else { panic!("two keys") };
        assert!(next.signs_from > upper.now());
        sim.sleep(next.signs_from.since(upper.now())).await;
        upper.step().await;
        assert!(asked(request(&[DOMAIN])).await.is_ok());
        assert_eq!(upper.ring(Purpose::X509Authority).keys.len(), 2, "and no third one");
    });
}

fn jwt_key(kid: &str, key: &str, until: UnixTime) -> SuperiorKey {
    let key = PrivateKey::from_jwk_private_text(key).unwrap();
    let spki_der = key.public().spki_der().to_vec();
    SuperiorKey { purpose: Purpose::JwtSvid, kid: kid.to_owned(), spki_der, until: Some(until) }
}
