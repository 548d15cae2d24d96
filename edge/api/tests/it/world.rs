//! A small world in memory: enough for the flows behind the listeners, with a switch that makes its
//! store fail. The whole one is `testkit`, which knows no runtime; here are real sockets.

use provisioning::renewal::{Heard, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Audit, AuditFault, Entry, FeedState, Growing, Health, LogState, Tiles};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use env::{
    AssignedCredential, CannotMake, Change, Clock, CommitFault, Delegation, Entropy, Expect,
    Handle, Index, IssueOrder, Key, KeyFault, Keys, Page, PeerFault, Peers, Purpose, Receipt,
    RenewOrder, Renewed, Row, Sealed, Seq, Site, Snapshot, Store, Table, Unavailable, World,
};
use flow::agents::Operator;
use jose::{Algorithm, Jwk, PrivateKey, PublicKey, Signature};
use monitoring::record::Term;
use monitoring::{Component, Cut, Record};
use policy::Files;
use time::{Span, UnixTime};
use tokio::sync::watch;

/// What the clock shows.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
pub(crate) const DOMAIN: &str = "demo.example";
/// The audience of a resource that takes plain bearer tokens.
pub(crate) const OPEN: &str = "https://open.example";
/// The audience of the resource behind the gateway.
pub(crate) const INVOICES: &str = "https://localhost:8446/invoices";

const POLICY: &[(&str, &str)] = &[
    ("domain.toml", "trust_domain = \"demo.example\"\n"),
    (
        "attestation.toml",
        "[node.join_token]\n[class.standard]\ndemands = [\"unix:uid\"]\nissues = [\"x509\"]\n",
    ),
    (
        "resources/open.toml",
        "name = \"open\"\naudience = \"https://open.example\"\nupstream = \"http://127.0.0.1:1\"\n\
         protocol = \"http\"\nproof = \"bearer\"\n[scopes]\nread = \"read it\"\n",
    ),
    (
        "resources/invoices.toml",
        "name = \"invoices\"\nupstream = \"http://127.0.0.1:1\"\nprotocol = \"mcp\"\n\
         [scopes]\n\"invoices.read\" = \"read invoices\"\n",
    ),
    (
        "access/main.cedar",
        "@id(\"clients\") permit(principal is Aims::Client, action == Aims::Action::\"token.issue\",\
         \n resource == Aims::Audience::\"https://open.example\");\n\
         @id(\"agents\") permit(principal is Aims::Agent, action == Aims::Action::\"token.issue\",\
         \n resource == Aims::Audience::\"https://localhost:8446/invoices\");\n",
    ),
];

/// The policy set that the world begins with, with some files replaced or added.
pub(crate) fn files(changed: &[(&str, &str)]) -> Files {
    let all = POLICY.iter().chain(changed);
    let files: BTreeMap<_, _> =
        all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Files::new(files).unwrap()
}

pub(crate) struct TestWorld {
    store: TestStore,
    keys: TestKeys,
    clock: TestClock,
    entropy: TestEntropy,
    component: Component,
    site: Site,
}

impl TestWorld {
    /// A server after its first start.
    pub(crate) async fn start() -> Arc<Self> {
        let world = Self::empty();
        let names = ["localhost".to_owned()];
        flow::boot::ready(&*world, files(&[]), &names).await.unwrap().unwrap();
        world
    }

    /// A server whose state was never made.
    pub(crate) fn empty() -> Arc<Self> {
        let (grown, _) = watch::channel(0);
        Arc::new(Self {
            store: TestStore { inner: Mutex::default(), down: AtomicBool::new(false), grown },
            keys: TestKeys::default(),
            clock: TestClock(AtomicU64::new(NOW.millis())),
            entropy: TestEntropy::default(),
            component: Component("server".to_owned()),
            site: Site {
                issuer: "https://localhost:8443".to_owned(),
                mtls_origin: "https://localhost:8444".to_owned(),
                gateway: "https://localhost:8446".to_owned(),
            },
        })
    }

    /// The store answers no longer, or again.
    pub(crate) fn set_down(&self, down: bool) {
        self.store.down.store(down, Ordering::SeqCst);
    }

    /// The private key behind a handle, PKCS#8 in DER.
    pub(crate) fn pkcs8(&self, handle: &Handle) -> Vec<u8> {
        self.keys.0.lock().unwrap().get(handle).unwrap().1.clone()
    }

    /// All records, in order.
    pub(crate) fn records(&self) -> Vec<Record> {
        let inner = self.store.inner.lock().unwrap();
        inner.log.iter().map(|sealed| Record::decode(&sealed.bytes).unwrap()).collect()
    }

    pub(crate) fn operator() -> Operator {
        Operator("test".to_owned())
    }
}

impl World for TestWorld {
    type Store = TestStore;
    type Keys = TestKeys;
    type Clock = TestClock;
    type Entropy = TestEntropy;
    type Peers = NoPeers;

    fn store(&self) -> &TestStore {
        &self.store
    }

    fn keys(&self) -> &TestKeys {
        &self.keys
    }

    fn clock(&self) -> &TestClock {
        &self.clock
    }

    fn entropy(&self) -> &TestEntropy {
        &self.entropy
    }

    fn peers(&self) -> &NoPeers {
        &NoPeers
    }

    fn component(&self) -> &Component {
        &self.component
    }

    fn site(&self) -> &Site {
        &self.site
    }
}

pub(crate) struct TestStore {
    inner: Mutex<Inner>,
    down: AtomicBool,
    grown: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    seq: u64,
    rows: BTreeMap<Key, Arc<Row>>,
    used: BTreeSet<[u8; 32]>,
    log: Vec<Sealed>,
}

impl TestStore {
    fn is_up(&self) -> Result<(), Unavailable> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Unavailable::of("store", "an inner detail of the store"));
        }
        Ok(())
    }
}

impl Store for TestStore {
    async fn snapshot(&self, keys: &[Key]) -> Result<Snapshot, Unavailable> {
        self.is_up()?;
        let inner = self.inner.lock().unwrap();
        let rows = keys.iter().filter_map(|key| inner.rows.get(key).cloned());
        Ok(Snapshot::new(Seq(inner.seq), rows))
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitFault> {
        self.is_up()?;
        let mut inner = self.inner.lock().unwrap();
        for write in &change.writes {
            let row = inner.rows.get(&write.key);
            let there = row.filter(|row| row.bytes.is_some());
            let fits = match write.expect {
                Expect::Absent => there.is_none(),
                Expect::Version(version) => there.is_some_and(|row| row.version == version),
                Expect::Any => true,
            };
            if !fits {
                return Err(CommitFault::Conflict(write.key.clone()));
            }
        }
        if let Some(used) = change.uses.iter().find(|one| inner.used.contains(&one.hash)) {
            return Err(CommitFault::Used(used.clone()));
        }
        inner.used.extend(change.uses.iter().map(|one| one.hash));
        inner.seq += u64::from(!change.writes.is_empty());
        for write in change.writes {
            let version = inner.rows.get(&write.key).map_or(1, |row| row.version + 1);
            let row = Row::new(write.key.clone(), version, Seq(inner.seq), write.bytes);
            let row = row.with(write.terms, write.expires);
            inner.rows.insert(write.key, Arc::new(row));
        }
        inner.log.extend(change.records.iter().map(Sealed::from));
        self.grown.send_replace(inner.log.len() as u64);
        Ok(Receipt::assertion(change.records.iter().map(|record| record.id).collect()))
    }

    async fn scan(
        &self,
        table: Table,
        index: Index,
        value: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Unavailable> {
        self.is_up()?;
        let inner = self.inner.lock().unwrap();
        let wanted = |row: &&Arc<Row>| {
            let term = (index, value.to_owned());
            row.key.table == table
                && row.bytes.is_some()
                && after.is_none_or(|after| row.key.id.as_str() > after)
                && (index == Index::All || row.terms.contains(&term))
        };
        let mut rows: Vec<_> =
            inner.rows.values().filter(wanted).take(limit + 1).cloned().collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.key.id.clone());
        Ok(Page { rows, next, seq: Seq(inner.seq) })
    }

    async fn changes(&self, _: &[Table], _: Seq, _: usize) -> Result<Page, Unavailable> {
        Err(Unavailable::of("store", "no feed here"))
    }

    fn past(&self, _: Seq) -> impl Future<Output = Seq> + Send {
        std::future::pending()
    }
}

#[derive(Default)]
pub(crate) struct TestKeys(Mutex<BTreeMap<Handle, Kept>>);

/// A key, and the same as PKCS#8 in DER.
type Kept = (Arc<PrivateKey>, Vec<u8>);

/// A new P-256 key, PKCS#8 in DER.
pub(crate) fn new_key() -> Vec<u8> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    made.unwrap().as_ref().to_vec()
}

impl TestKeys {
    fn key(&self, handle: &Handle) -> Result<Arc<PrivateKey>, KeyFault> {
        let found = self.0.lock().unwrap().get(handle).map(|(key, _)| Arc::clone(key));
        found.ok_or_else(|| KeyFault::Unknown(handle.clone()))
    }
}

impl Keys for TestKeys {
    async fn generate(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
    ) -> Result<(Handle, PublicKey), KeyFault> {
        let der = new_key();
        let key = PrivateKey::from_pkcs8(&der).unwrap();
        let public = PublicKey::from_spki_der(key.public().spki_der()).unwrap();
        let public = public.for_algorithm(algorithm).unwrap();
        let mut keys = self.0.lock().unwrap();
        let handle = Handle { purpose, id: format!("{}-{}", purpose.name(), keys.len()) };
        keys.insert(handle.clone(), (Arc::new(key), der));
        Ok((handle, public))
    }

    fn makes(&self, _: Purpose, algorithm: Algorithm) -> Result<(), CannotMake> {
        let cannot = CannotMake { store: "test", algorithm };
        (algorithm == Algorithm::Es256).then_some(()).ok_or(cannot)
    }

    fn public(&self, handle: &Handle) -> Result<PublicKey, KeyFault> {
        Ok(PublicKey::from_spki_der(self.key(handle)?.public().spki_der()).unwrap())
    }

    async fn sign(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        Ok(self.key(handle)?.sign(message))
    }

    fn export(&self, handle: &Handle) -> Result<PrivateKey, KeyFault> {
        Err(KeyFault::NotExportable(handle.clone()))
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), KeyFault> {
        self.0.lock().unwrap().remove(handle);
        Ok(())
    }
}

/// Stands still, a millisecond a look apart: so records have an order in time.
pub(crate) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }

    fn recorded(&self) -> UnixTime {
        UnixTime::EPOCH
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.duration()).await;
    }
}

/// Counts.
#[derive(Default)]
pub(crate) struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn public(&self) -> [u8; 16] {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }

    fn secret(&self) -> [u8; 32] {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }
}

/// A server has no server.
pub(crate) struct NoPeers;

fn no_server() -> PeerFault {
    Unavailable::of("server", "there is none").into()
}

impl Peers for NoPeers {
    async fn issue(&self, _: IssueOrder) -> Result<AssignedCredential, PeerFault> {
        Err(no_server())
    }

    async fn renew(&self, _: RenewOrder) -> Result<Renewed, PeerFault> {
        Err(no_server())
    }

    async fn delegate(&self, _: Jwk) -> Result<Delegation, PeerFault> {
        Err(no_server())
    }

    async fn pending(&self, _: u64) -> Result<bool, PeerFault> {
        Err(no_server())
    }

    async fn report(&self, _: Vec<Trouble>) -> Result<(), PeerFault> {
        Err(no_server())
    }

    async fn token(
        &self,
        _: Vec<(String, String)>,
        _: Vec<(&'static str, credential::TokenText)>,
    ) -> Result<(u16, Vec<u8>), PeerFault> {
        Err(no_server())
    }
}

/// The world's log as the edge sees it, and what the process knows of itself.
pub(crate) struct Doors {
    pub(crate) world: Arc<TestWorld>,
    pub(crate) ready: AtomicBool,
    /// How long a look at a tile takes.
    pub(crate) slow: Duration,
}

impl Doors {
    pub(crate) fn of(world: &Arc<TestWorld>) -> Arc<Self> {
        let (world, ready) = (Arc::clone(world), AtomicBool::new(true));
        Arc::new(Self { world, ready, slow: Duration::ZERO })
    }

    /// Those that are not cut.
    fn entries(&self, log: &str) -> Result<Vec<Entry>, AuditFault> {
        let first = self.first(log)?;
        Ok(self.all(log)?.into_iter().filter(|entry| entry.index >= first).collect())
    }

    fn all(&self, log: &str) -> Result<Vec<Entry>, AuditFault> {
        if log != "server" {
            let (log, known) = (log.to_owned(), "server".to_owned());
            return Err(AuditFault::NoLog { log, known });
        }
        let inner = self.world.store.inner.lock().unwrap();
        let bytes = inner.log.iter().map(|sealed| sealed.bytes.clone());
        Ok((0..).zip(bytes).map(|(index, bytes)| Entry { index, bytes }).collect())
    }
}

impl Tiles for Doors {
    fn resource(&self, log: &str, path: &str) -> Option<(Vec<u8>, &'static str, bool)> {
        std::thread::sleep(self.slow);
        match (log, path) {
            ("server", "checkpoint") => {
                Some((b"a note\n".to_vec(), "text/plain; charset=utf-8", false))
            }
            ("server", "tile/0/x001/067") => {
                Some((b"hashes".to_vec(), "application/octet-stream", true))
            }
            _ => None,
        }
    }
}

impl Health for Doors {
    fn ready(&self) -> Result<(), String> {
        let ready = self.ready.load(Ordering::SeqCst);
        if ready { Ok(()) } else { Err("keys are being made".to_owned()) }
    }

    fn logs(&self) -> Vec<LogState> {
        vec![LogState { name: "server".to_owned(), first: 0, entries: 7, promised: 6 }]
    }

    fn durable_commits(&self) -> u64 {
        5
    }

    fn keys_sealed(&self) -> bool {
        false
    }

    fn heard(&self, _: &str) -> Option<Heard> {
        None
    }

    fn seen(&self) -> Option<flow::watch::Seen> {
        None
    }

    fn feeds(&self) -> Vec<FeedState> {
        vec![FeedState { component: "gateway:main".to_owned(), heard: NOW, seq: 3 }]
    }
}

impl Audit for Doors {
    fn logs(&self) -> Vec<String> {
        vec!["server".to_owned()]
    }

    fn size(&self, log: &str) -> Result<u64, AuditFault> {
        self.all(log).map(|entries| entries.len() as u64)
    }

    fn first(&self, log: &str) -> Result<u64, AuditFault> {
        let cut = self.record_of_cut(log)?;
        let cut = cut.and_then(|entry| Cut::of(&Record::decode(&entry.bytes).unwrap()));
        Ok(cut.map_or(0, |cut| cut.minimum))
    }

    fn record_of_cut(&self, log: &str) -> Result<Option<Entry>, AuditFault> {
        let entries = self.all(log)?.into_iter().rev();
        let is_cut = |entry: &Entry| Cut::of(&Record::decode(&entry.bytes).unwrap()).is_some();
        Ok(entries.into_iter().find(is_cut))
    }

    fn read(&self, log: &str, from: u64, limit: usize) -> Result<Vec<Entry>, AuditFault> {
        let (index, minimum) = (from, self.first(log)?);
        if index < minimum {
            return Err(AuditFault::Cut { index, minimum });
        }
        let from = usize::try_from(from).unwrap();
        Ok(self.all(log)?.into_iter().skip(from).take(limit).collect())
    }

    fn since(&self, log: &str, time: UnixTime) -> Result<u64, AuditFault> {
        let entries = self.entries(log)?;
        let later = |entry: &&Entry| Record::decode(&entry.bytes).unwrap().time >= time;
        let size = self.size(log)?;
        Ok(entries.iter().find(later).map_or(size, |entry| entry.index))
    }

    fn by_id(&self, log: &str, id: &[u8; 16]) -> Result<Option<Entry>, AuditFault> {
        let wanted = |entry: &Entry| Record::decode(&entry.bytes).unwrap().id.bytes() == *id;
        Ok(self.entries(log)?.into_iter().find(wanted))
    }

    fn by_term(
        &self,
        log: &str,
        term: Term,
        value: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Entry>, AuditFault> {
        let term = (term, value.to_owned());
        let wanted = |entry: &Entry| {
            after.is_none_or(|after| entry.index > after)
                && Record::decode(&entry.bytes).unwrap().terms().contains(&term)
        };
        Ok(self.entries(log)?.into_iter().filter(wanted).take(limit).collect())
    }

    fn proof(&self, log: &str, index: u64) -> Result<String, AuditFault> {
        let size = self.size(log)?;
        if index >= size {
            return Err(AuditFault::NoEntry { index, size });
        }
        Ok(format!("c2sp.org/tlog-proof@v1\nindex {index}\n"))
    }

    fn grown(&self, _: &str, size: u64) -> Growing<'_> {
        let mut grown = self.world.store.grown.subscribe();
        Box::pin(async move { grown.wait_for(|now| *now > size).await.is_ok() })
    }
}
