//! A world of one component: rows and keys in memory, a clock that can be put forward.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use env::{
    CannotMake, Change, Clock, CommitFault, Entropy, Expect, Handle, Index, Key, KeyFault, Keys,
    Page, Peers, Purpose, Receipt, Row, Seq, Site, Snapshot, Store, Table, Unavailable, World,
};
use jose::{Algorithm, PrivateKey, PublicKey, Signature};
use monitoring::{Component, Record};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Span, UnixTime};
use tokio::sync::watch;

pub(crate) struct TestWorld<P> {
    pub(crate) store: TestStore,
    pub(crate) keys: Arc<TestKeys>,
    pub(crate) clock: TestClock,
    pub(crate) peers: P,
    entropy: TestEntropy,
    component: Component,
    site: Site,
}

impl<P> TestWorld<P> {
    pub(crate) fn new(component: &str, keys: Arc<TestKeys>, clock: TestClock, peers: P) -> Self {
        let site = Site {
            issuer: "https://localhost:8443".to_owned(),
            mtls_origin: "https://localhost:8444".to_owned(),
            gateway: "https://localhost:8446".to_owned(),
        };
        let component = Component(component.to_owned());
        let (store, entropy) = (TestStore::default(), TestEntropy);
        Self { store, keys, clock, peers, entropy, component, site }
    }
}

impl<P: Peers> World for TestWorld<P> {
    type Store = TestStore;
    type Keys = TestKeys;
    type Clock = TestClock;
    type Entropy = TestEntropy;
    type Peers = P;

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

    fn peers(&self) -> &P {
        &self.peers
    }

    fn component(&self) -> &Component {
        &self.component
    }

    fn site(&self) -> &Site {
        &self.site
    }
}

/// Begins in 2027 and goes on with the real time; clones are the same clock.
#[derive(Clone)]
pub(crate) struct TestClock {
    start: Instant,
    ahead: Arc<AtomicU64>,
}

impl Default for TestClock {
    fn default() -> Self {
        let ahead = Arc::new(AtomicU64::new(1_800_000_000_000));
        Self { start: Instant::now(), ahead }
    }
}

impl TestClock {
    pub(crate) fn forward(&self, seconds: u64) {
        self.ahead.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        UnixTime::from_millis(self.ahead.load(Ordering::SeqCst) + passed)
    }

    fn recorded(&self) -> UnixTime {
        UnixTime::EPOCH
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.duration()).await;
    }
}

pub(crate) struct TestEntropy;

impl Entropy for TestEntropy {
    fn public(&self) -> [u8; 16] {
        random()
    }

    fn secret(&self) -> [u8; 32] {
        random()
    }
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// P-256 keys in memory.
#[derive(Default)]
pub(crate) struct TestKeys {
    keys: Mutex<BTreeMap<Handle, Vec<u8>>>,
}

impl TestKeys {
    /// What TLS shows: `chain`, and the key of that handle.
    pub(crate) fn certified(
        &self,
        chain: Vec<Vec<u8>>,
        handle: &Handle,
    ) -> rustls::sign::CertifiedKey {
        let pkcs8 = PrivateKeyDer::Pkcs8(self.pkcs8(handle).into());
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&pkcs8).unwrap();
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        rustls::sign::CertifiedKey::new(chain, key)
    }

    fn pkcs8(&self, handle: &Handle) -> Vec<u8> {
        self.keys.lock().unwrap().get(handle).unwrap().clone()
    }

    pub(crate) fn private(&self, handle: &Handle) -> PrivateKey {
        PrivateKey::from_pkcs8(&self.pkcs8(handle)).unwrap()
    }
}

impl Keys for TestKeys {
    async fn generate(
        &self,
        purpose: Purpose,
        _: Algorithm,
    ) -> Result<(Handle, PublicKey), KeyFault> {
        let (signing, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap().as_ref().to_vec();
        let public = PrivateKey::from_pkcs8(&pkcs8).unwrap().public().clone();
        let handle = Handle { purpose, id: public.thumbprint().to_base64url() };
        self.keys.lock().unwrap().insert(handle.clone(), pkcs8);
        Ok((handle, public))
    }

    fn makes(&self, _: Purpose, algorithm: Algorithm) -> Result<(), CannotMake> {
        let cannot = CannotMake { store: "test", algorithm };
        (algorithm == Algorithm::Es256).then_some(()).ok_or(cannot)
    }

    fn public(&self, handle: &Handle) -> Result<PublicKey, KeyFault> {
        Ok(self.private(handle).public().clone())
    }

    async fn sign(&self, handle: &Handle, message: &[u8]) -> Result<Signature, KeyFault> {
        Ok(self.private(handle).sign(message))
    }

    fn export(&self, handle: &Handle) -> Result<PrivateKey, KeyFault> {
        Err(KeyFault::NotExportable(handle.clone()))
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), KeyFault> {
        self.keys.lock().unwrap().remove(handle);
        Ok(())
    }
}

/// Rows in memory.
#[derive(Default)]
pub(crate) struct TestStore {
    state: Mutex<State>,
    reached: watch::Sender<Seq>,
    /// How often changes were asked for.
    pub(crate) looks: AtomicUsize,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Key, Arc<Row>>,
    used: HashSet<[u8; 32]>,
    seq: u64,
    records: Vec<Record>,
}

impl TestStore {
    pub(crate) fn records(&self) -> Vec<Record> {
        self.state.lock().unwrap().records.clone()
    }
}

impl Store for TestStore {
    async fn snapshot(&self, keys: &[Key]) -> Result<Snapshot, Unavailable> {
        let state = self.state.lock().unwrap();
        let rows = keys.iter().filter_map(|key| state.rows.get(key).cloned());
        let rows: Vec<_> = rows.filter(|row| row.bytes.is_some()).collect();
        Ok(Snapshot::new(Seq(state.seq), rows))
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitFault> {
        let mut state = self.state.lock().unwrap();
        if let Some(used) = change.uses.iter().find(|used| state.used.contains(&used.hash)) {
            return Err(CommitFault::Used(used.clone()));
        }
        for write in &change.writes {
            let row = state.rows.get(&write.key);
            let holds = match write.expect {
                Expect::Absent => row.is_none_or(|row| row.bytes.is_none()),
                Expect::Version(version) => row.is_some_and(|row| row.version == version),
                Expect::Any => true,
            };
            if !holds {
                return Err(CommitFault::Conflict(write.key.clone()));
            }
        }
        state.used.extend(change.uses.iter().map(|used| used.hash));
        if !change.writes.is_empty() {
            state.seq += 1;
        }
        let seq = Seq(state.seq);
        for write in change.writes {
            let version = state.rows.get(&write.key).map_or(1, |row| row.version + 1);
            let row = Row::new(write.key.clone(), version, seq, write.bytes);
            state.rows.insert(write.key, Arc::new(row.with(write.terms, write.expires)));
        }
        let ids = change.records.iter().map(|record| record.id).collect();
        state.records.extend(change.records);
        self.reached.send_replace(seq);
        Ok(Receipt::assertion(ids))
    }

    async fn scan(
        &self,
        table: Table,
        _: Index,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page, Unavailable> {
        let state = self.state.lock().unwrap();
        let live = |row: &&Arc<Row>| row.key.table == table && row.bytes.is_some();
        let rows = state.rows.values().filter(live).cloned().collect();
        Ok(Page { rows, next: None, seq: Seq(state.seq) })
    }

    async fn changes(&self, tables: &[Table], seq: Seq, limit: usize) -> Result<Page, Unavailable> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let state = self.state.lock().unwrap();
        if seq.0 > state.seq {
            return Ok(Page::default());
        }
        let newer = |row: &&Arc<Row>| row.seq > seq && tables.contains(&row.key.table);
        let mut rows: Vec<_> = state.rows.values().filter(newer).cloned().collect();
        rows.sort_by_key(|row| row.seq);
        let cut = rows.get(limit).map(|row| row.seq);
        if let Some(cut) = cut {
            rows.retain(|row| row.seq < cut);
        }
        let reached = rows.last().filter(|_| cut.is_some()).map_or(Seq(state.seq), |row| row.seq);
        Ok(Page { rows, next: None, seq: reached })
    }

    async fn past(&self, seq: Seq) -> Seq {
        let mut reached = self.reached.subscribe();
        let reached = reached.wait_for(|reached| *reached > seq).await;
        *reached.unwrap()
    }
}
