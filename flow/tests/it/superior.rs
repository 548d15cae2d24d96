//! An authority above ours: what is asked of it, what is believed of its answer, and how long it may
//! be away.

use std::sync::{Arc, Mutex};

use credential::x509_intermediate::{self, Order};
use credential::{KeyRing, Purpose};
use env::rows::{SuperiorRow, TrustRow};
use env::{
    Answering, Superior, SuperiorAnswer, SuperiorFault, SuperiorOrder, SuperiorTrust, Unavailable,
    World,
};
use flow::turns::Operator;
use flow::{boot, join, join_token, nodes, renew, rotate};
use jose::PrivateKey;
use monitoring::Outcome;
use spiffe::{BundleSet, X509Svid};
use testkit::fixture::{attempt, certificate_request, files, site, story};
use testkit::{Host, Sim, SimWorld};
use time::{Span, UnixTime};
use x509::{
    Certificate, CertificateDer, KeyUsage, Kind, Name, Request, Serial, SignatureAlgorithm,
    Template, ecdsa_der_from_fixed,
};

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const HOUR: Span = Span::from_seconds(3_600);
const YEAR: Span = Span::from_seconds(365 * 86_400);
/// RFC 7515 §A.3.
const ROOT: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 7517 §A.2.
const OTHER: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

/// A company: one root that signs for us, as it is told to.
struct Company {
    key: PrivateKey,
    root: CertificateDer,
    state: Mutex<State>,
}

/// What it does now.
#[derive(Clone)]
struct State {
    is_away: bool,
    /// How long its intermediates live at the most.
    life: Span,
    asked: u32,
    more_roots: Vec<Vec<u8>>,
    spoilt: Spoilt,
}

/// What is wrong with its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    Nothing,
    Empty,
    OtherKey,
    OtherDomain,
    NoAuthority,
    Expired,
    OtherRoot,
    NoRoots,
    Names,
}

fn key(text: &str) -> PrivateKey {
    PrivateKey::from_jwk_private_text(text).unwrap()
}

fn root(key: &PrivateKey, name: &str, now: UnixTime) -> CertificateDer {
    let subject = Name::new(Some("Company"), Some(name)).unwrap();
    let template = template(&subject, &subject, key.public().spki_der(), now, now.plus(YEAR));
    sign(key, &template)
}

fn template(
    issuer: &Name,
    subject: &Name,
    spki: &[u8],
    now: UnixTime,
    not_after: UnixTime,
) -> Template {
    Template {
        serial: Serial::from_random([9; 16]),
        issuer: issuer.clone(),
        subject: subject.clone(),
        not_before: now.minus(HOUR),
        not_after,
        spki_der: spki.to_vec(),
        kind: Kind::Authority { path_len: None },
        uri_names: Vec::new(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::KEY_CERT_SIGN,
        extended_key_usages: Vec::new(),
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    }
}

fn sign(key: &PrivateKey, template: &Template) -> CertificateDer {
    let unsigned = template.to_be_signed(ALGORITHM).unwrap();
    let signature = ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes()).unwrap();
    unsigned.attach(&signature)
}

impl Company {
    fn new(now: UnixTime) -> Self {
        let key = key(ROOT);
        let root = root(&key, "root", now);
        let state = State {
            is_away: false,
            life: YEAR,
            asked: 0,
            more_roots: Vec::new(),
            spoilt: Spoilt::Nothing,
        };
        Self { key, root, state: Mutex::new(state) }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    fn check_is_there(&self) -> Result<(), SuperiorFault> {
        if self.state().is_away {
            return Err(Unavailable::of("company", "no route").into());
        }
        Ok(())
    }

    fn answer(&self, order: &SuperiorOrder) -> Result<SuperiorAnswer, SuperiorFault> {
        self.check_is_there()?;
        self.set(|state| state.asked += 1);
        let State { life, spoilt, .. } = self.state();
        let request = Request::verify(&order.request).unwrap();
        let issuer = self.root.parse().unwrap();
        let until = order.until.min(order.now.plus(life));
        let order = Order {
            origin: &order.origin,
            spki_der: request.spki_der(),
            issuer: &issuer,
            random: order.random,
            now: order.now,
            until,
            below: 0,
        };
        let unsigned = x509_intermediate::build(&order, ALGORITHM)
            .map_err(|why| SuperiorFault::Refused(why.to_string()))?
            .into_inner();
        let signature = ecdsa_der_from_fixed(self.key.sign(unsigned.bytes()).as_bytes()).unwrap();
        let good = unsigned.attach(&signature);
        let (mut ours, mut roots) = (vec![good], vec![self.root.as_bytes().to_vec()]);
        let name = Name::new(Some("AIMS"), Some("ours")).unwrap();
        let made =
            template(issuer.subject(), &name, order.spki_der, order.now, order.now.plus(HOUR));
        let other = key(OTHER);
        match spoilt {
            Spoilt::Nothing => {}
            Spoilt::Empty => ours.clear(),
            Spoilt::OtherKey => {
                let spki_der = other.public().spki_der().to_vec();
                ours = vec![sign(&self.key, &Template { spki_der, ..made })];
            }
            Spoilt::OtherDomain => {
                let uri_names = vec!["spiffe://other.example".to_owned()];
                ours = vec![sign(&self.key, &Template { uri_names, ..made })];
            }
            Spoilt::NoAuthority => {
                let (kind, key_usage) = (Kind::Leaf, KeyUsage::DIGITAL_SIGNATURE);
                ours = vec![sign(&self.key, &Template { kind, key_usage, ..made })];
            }
            Spoilt::Expired => {
                let not_after = order.now.minus(Span::from_seconds(1));
                ours = vec![sign(&self.key, &Template { not_after, ..made })];
            }
            Spoilt::OtherRoot => {
                roots = vec![super::superior::root(&other, "root", order.now).into_bytes()];
            }
            Spoilt::NoRoots => roots.clear(),
            Spoilt::Names => {
                let permitted_dns_names = vec!["corp.example".to_owned()];
                ours = vec![sign(&self.key, &Template { permitted_dns_names, ..made })];
            }
        }
        let chain = ours.into_iter().map(CertificateDer::into_bytes).collect();
        Ok(SuperiorAnswer { chain, roots })
    }
}

impl Superior for Company {
    fn name(&self) -> &str {
        "the company"
    }

    fn certify(&self, order: SuperiorOrder) -> Answering<'_, SuperiorAnswer> {
        Box::pin(async move { self.answer(&order) })
    }

    fn trust(&self) -> Answering<'_, SuperiorTrust> {
        Box::pin(async move {
            self.check_is_there()?;
            let mut roots = vec![self.root.as_bytes().to_vec()];
            roots.extend(self.state().more_roots);
            Ok(SuperiorTrust { roots, ..SuperiorTrust::default() })
        })
    }
}

/// A server below a company.
struct Below {
    host: Host,
    world: Arc<SimWorld>,
    company: Option<Company>,
}

impl World for Below {
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
        self.company.as_ref().map(|company| company as &dyn Superior)
    }

    fn component(&self) -> &monitoring::Component {
        self.world.component()
    }

    fn site(&self) -> &env::Site {
        self.world.site()
    }
}

impl Below {
    fn new(sim: &Sim) -> Self {
        let host = Host::start(sim, "server", &site());
        let (world, now) = (host.world(), env::Clock::now(host.clock()));
        Self { host, world, company: Some(Company::new(now)) }
    }

    async fn started(sim: &Sim) -> Self {
        let this = Self::new(sim);
        this.start().await.unwrap();
        this
    }

    async fn start(&self) -> Result<(), Unavailable> {
        boot::ready(self, files(), &names()).await.map(|ready| ready.unwrap())
    }

    fn company(&self) -> &Company {
        self.company.as_ref().unwrap()
    }

    fn now(&self) -> UnixTime {
        env::Clock::now(self.world.clock())
    }

    fn ring(&self) -> Arc<KeyRing> {
        self.world.store().single::<KeyRing>(Purpose::X509Authority.name()).unwrap()
    }

    fn row(&self) -> SuperiorRow {
        (*self.world.store().single::<SuperiorRow>(SuperiorRow::ID).unwrap()).clone()
    }

    /// A certificate of the server itself, as a peer with the published bundle verifies it. Its
    /// certificates.
    async fn issued(&self) -> Vec<Certificate> {
        let identity = boot::server_identity(self, &names(), &[]).await.unwrap();
        let chain: Vec<_> = identity.chain.iter().map(|one| one.parse().unwrap()).collect();
        let trust = self.world.store().single::<TrustRow>(TrustRow::ID).unwrap();
        let mut bundles = BundleSet::default();
        let own = trust.own.as_spiffe().unwrap();
        bundles.insert(own, trust.bundles.get(&trust.own).unwrap().clone());
        let verified = X509Svid::verify(&chain, &bundles, x509::Purpose::Server, self.now());
        verified.unwrap();
        // No leaf outlives what it hangs on.
        let ends = chain.iter().map(Certificate::not_after).min();
        assert_eq!(ends, chain.first().map(Certificate::not_after));
        chain
    }

    async fn step(&self) -> Result<UnixTime, Unavailable> {
        rotate::step(self, &names()).await
    }
}

fn names() -> Vec<String> {
    vec!["localhost".to_owned()]
}

/// req: CRED-12 (part), CRED-02 (part)
#[test]
fn s6_chains_hold_the_intermediate_and_bundles_the_root() {
    story(|sim| async move {
        let below = Below::started(&sim).await;
        let chain = below.issued().await;
        assert_eq!(chain.len(), 2);
        assert_eq!((chain[1].path_len(), chain[1].uri_names().len()), (Some(0), 1));
        let trust = below.world.store().single::<TrustRow>(TrustRow::ID).unwrap();
        let bundle = trust.bundles.get(&trust.own).unwrap();
        let roots: Vec<_> = bundle.x509_authorities().iter().map(Certificate::der).collect();
        assert_eq!(roots, [below.company().root.as_bytes()]);
        assert_eq!(below.company().state().asked, 1);
    });
}

/// Each answer that is not to be used, and the check that sees it. Nothing is left of it.
/// req: CRED-12 (part)
#[test]
fn s6_an_answer_is_proved_before_it_is_used() {
    story(|sim| async move {
        for (spoilt, expect) in [
            (Spoilt::Empty, "no certificate"),
            (Spoilt::OtherKey, "not of our key"),
            (Spoilt::OtherDomain, "names `spiffe://other.example`"),
            (Spoilt::NoAuthority, "certificate 0: not the certificate of an authority"),
            (Spoilt::Expired, "it ends at"),
            (Spoilt::OtherRoot, "a leaf below it is not believed: "),
            (Spoilt::NoRoots, "0 roots"),
            (Spoilt::Names, "a name that an issuer's name constraints forbid"),
        ] {
            let below = Below::new(&sim);
            below.company().set(|state| state.spoilt = spoilt);
            let why = below.start().await.unwrap_err();
            assert_eq!(why.part, flow::superior::PART);
            assert!(why.why.contains(expect), "{spoilt:?}: {why}");
            let ours = |handle: &env::Handle| handle.purpose == Purpose::X509Authority;
            assert!(!below.world.keys().handles().iter().any(ours), "a key is left behind");
            let record = below.host.journal().records().into_iter().rev();
            let mut told = record.filter(|record| record.action == "superior.ask");
            assert_eq!(told.next().map(|record| record.outcome), Some(Outcome::Refused));
            // The other keys are there, and as soon as it answers rightly all is well.
            below.company().set(|state| state.spoilt = Spoilt::Nothing);
            below.step().await.unwrap();
            below.issued().await;
            assert_eq!(below.row().failing, None);
        }
    });
}

/// It may be away for as long as its last intermediate lives: asked again with pauses, told once,
/// and nothing that is valid is lost.
/// req: CRED-12 (part), PROV-02 (part), CRED-05 (part)
#[test]
fn s8_an_authority_above_that_is_away_costs_nothing_that_is_valid() {
    story(|sim| async move {
        let below = Below::new(&sim);
        below.company().set(|state| state.life = Span::from_seconds(6 * 3_600));
        below.start().await.unwrap();
        let first = below.ring().keys[0].clone();
        assert!(first.signs_until <= first.kept_until.minus(HOUR), "a leaf has its whole life");
        assert_eq!(first.kept_until, below.now().plus(Span::from_seconds(6 * 3_600)));
        below.company().set(|state| state.is_away = true);
        let before = below.host.journal().len();
        let mut tries = 0;
        // Half of its time is over, and then another hour: it is due and not to be had.
        let due = below.now().plus(Span::from_seconds(2 * 3_600 + 1_800));
        while below.now() < due.plus(HOUR) {
            below.step().await.unwrap();
            assert_eq!(below.ring().keys.len(), 1);
            below.issued().await;
            tries = below.row().failing.map_or(tries, |failing| failing.tries);
            sim.sleep(Span::from_seconds(60)).await;
        }
        let failing = below.row().failing.unwrap();
        assert!((3..40).contains(&tries), "{tries}");
        assert!(below.now() <= failing.again.plus(Span::from_seconds(60)), "{failing:?}");
        assert!(failing.why.contains("no route"));
        let told = below.host.journal().after(before);
        let told = told.iter().filter(|record| record.action == "superior.ask").count();
        assert_eq!(told, 1, "each try is not told");
        // Back: a new one at once, and the one before hands over in order.
        below.company().set(|state| state.is_away = false);
        sim.sleep(failing.again.since(below.now()).max(Span::from_seconds(1))).await;
        below.step().await.unwrap();
        below.step().await.unwrap();
        assert_eq!((below.row().failing, below.ring().keys.len()), (None, 2));
        assert_eq!(below.ring().signer(below.now()).unwrap().kid, first.kid);
        // It stays as good for days.
        for _ in 0..48 {
            sim.sleep(HOUR).await;
            below.step().await.unwrap();
            below.issued().await;
        }
        assert!(below.company().state().asked < 30, "{}", below.company().state().asked);
    });
}

/// An operator who wants another key now gets none that our own host could not be reached by.
#[test]
fn s6_an_answer_is_proved_before_it_is_used_also_when_an_operator_asks() {
    story(|sim| async move {
        let below = Below::started(&sim).await;
        below.company().set(|state| state.spoilt = Spoilt::Names);
        let (operator, reason) = (Operator("uid:0".to_owned()), "a story".to_owned());
        let lead = Some(Span::from_seconds(1));
        let purpose = Purpose::X509Authority;
        let made = flow::authorities::rotate(&below, &operator, purpose, lead, reason).await;
        assert!(made.map_or(true, |made| made.into_value().is_err()));
        assert_eq!(below.ring().keys.len(), 1);
    });
}

/// That it tells its roots is no answer to a request that it does not fulfil: the pauses grow, and it
/// is told once.
#[test]
fn s8_an_authority_above_that_tells_its_roots_and_certifies_nothing_is_asked_with_pauses() {
    story(|sim| async move {
        let below = Below::new(&sim);
        below.company().set(|state| state.life = Span::from_seconds(6 * 3_600));
        below.start().await.unwrap();
        below.company().set(|state| state.spoilt = Spoilt::Empty);
        let before = below.host.journal().len();
        sim.sleep(Span::from_seconds(2 * 3_600 + 1_800)).await;
        for _ in 0..240 {
            below.step().await.unwrap();
            sim.sleep(Span::from_seconds(15)).await;
        }
        let failing = below.row().failing.unwrap();
        assert!((3..40).contains(&failing.tries), "{failing:?}");
        let told = below.host.journal().after(before);
        let told = told.iter().filter(|record| record.action == "superior.ask").count();
        assert_eq!(told, 1, "each try is not told");
    });
}

/// Away for good: what there is serves to its end and not beyond.
/// req: CRED-12 (part), CRED-05 (part)
#[test]
fn s8_without_an_intermediate_nothing_is_issued() {
    story(|sim| async move {
        let below = Below::new(&sim);
        below.company().set(|state| state.life = Span::from_seconds(4 * 3_600));
        below.start().await.unwrap();
        below.company().set(|state| state.is_away = true);
        let last = below.ring().keys[0].signs_until;
        sim.sleep(last.plus(Span::from_seconds(1)).since(below.now())).await;
        let why = below.step().await.unwrap_err();
        assert_eq!(why, Unavailable::of(flow::superior::PART, "no route"));
        let refused = boot::server_identity(&below, &names(), &[]).await.unwrap_err();
        assert_eq!(refused.part, "keys");
        below.company().set(|state| state.is_away = false);
        below.step().await.unwrap();
        below.issued().await;
    });
}

/// A new root is published before anything hangs on it.
/// req: CRED-12 (part)
#[test]
fn s8_a_new_root_is_published_ahead() {
    story(|sim| async move {
        let below = Below::started(&sim).await;
        let next = root(&key(OTHER), "next root", below.now());
        below.company().set(|state| state.more_roots = vec![next.as_bytes().to_vec()]);
        below.step().await.unwrap();
        let trust = below.world.store().single::<TrustRow>(TrustRow::ID).unwrap();
        let bundle = trust.bundles.get(&trust.own).unwrap();
        assert_eq!(bundle.x509_authorities().len(), 2);
        assert_eq!(below.issued().await.len(), 2);
        // What is no root is not published, and said.
        below.company().set(|state| state.more_roots = vec![b"no certificate".to_vec()]);
        below.step().await.unwrap();
        assert!(below.row().failing.unwrap().why.contains("root 1 does not read"));
        below.issued().await;
    });
}

/// From an authority of its own to one below a company's and back: both are believed meanwhile.
/// req: CRED-12 (part), PROV-02 (part)
#[test]
fn s8_the_authority_moves_below_another_by_overlap() {
    story(|sim| async move {
        let mut below = Below::new(&sim);
        let company = below.company.take();
        below.start().await.unwrap();
        assert_eq!(below.issued().await.len(), 1);
        below.company = company;
        below.step().await.unwrap();
        let [own, other] = &below.ring().keys[..] else { panic!("two keys") };
        assert!(own.above.is_none() && other.above.is_some());
        assert!(other.signs_from > below.now(), "its root is known first");
        assert_eq!(below.issued().await.len(), 1);
        sim.sleep(other.signs_from.since(below.now())).await;
        below.step().await.unwrap();
        assert_eq!(below.issued().await.len(), 2);
        assert_eq!(below.ring().keys.len(), 2, "and no third one");
        let company = below.company.take();
        below.step().await.unwrap();
        let back = below.ring().keys.last().unwrap().clone();
        assert!(back.above.is_none());
        sim.sleep(back.signs_from.since(below.now())).await;
        assert_eq!(below.issued().await.len(), 1);
        drop(company);
    });
}

/// An intermediate that ends soon cuts what it signs: alarms and operators go by the record.
/// req: CRED-12 (part), PROV-09 (part)
#[test]
fn s8_the_record_of_a_host_says_when_its_certificate_ends() {
    story(|sim| async move {
        let below = Below::new(&sim);
        below.company().set(|state| state.life = Span::from_seconds(2_400));
        below.start().await.unwrap();
        let recorded =
            async |id: &wimse::WorkloadId| nodes::show(&below, id).await.unwrap().unwrap();
        let end_of = |chain: &[Vec<u8>]| Certificate::parse(&chain[0]).unwrap().not_after();
        let (operator, role) =
            (Operator("uid:1000".to_owned()), attestation::mechanism::Role::Node);
        let life = Span::from_seconds(60);
        let token = join_token::create(&below, &operator, role, None, life).await.unwrap();
        let by = attempt("join_token", role, token.into_value().expose().as_bytes());
        let join::End::Decided(end) = join::join(&below, &by, None).await.unwrap() else {
            panic!("a stranger")
        };
        let joined = end.into_value().unwrap();
        let whole = below.now().plus(HOUR);
        assert!(end_of(&joined.chain) < whole, "nothing was cut");
        assert_eq!(recorded(&joined.id).await.ends, Some(end_of(&joined.chain)));
        sim.sleep(Span::from_seconds(30)).await;
        let epoch = Certificate::parse(&joined.chain[0]).unwrap().epoch();
        let order = env::RenewOrder { request: certificate_request() };
        let end = renew::renew(&below, &joined.id, epoch, order).await.unwrap();
        let chain = end.into_value().unwrap().chain;
        assert_eq!(recorded(&joined.id).await.ends, Some(end_of(&chain)));
    });
}
