//! People over the real stores: what serves once is raced by a hundred tasks, and one wins.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use authentication::session::Session;
use env::rows::{DomainEpoch, InForce, PolicyRow, TrustRow};
use env::{Change, Clock, Expect, Index, Journal, Site, Store, World, Write};
use monitoring::Component;
use people::browser::Browser;
use people::end::End;
use people::orders::{self, NewUser};
use people::sign_in::{self, Refusal};
use people::throttle::Throttle;
use policy::PolicySet;
use provisioning::Epoch;
use registry::UserName;
use spiffe::{Bundle, TrustDomain};
use store::{Memory, Sqlite};
use testkit::fixture::files;
use testkit::{Rng, Seed, Sim, SimEntropy, SimKeys, SimLink, SimPeers};
use time::{Span, UnixTime};
use tokio::task::JoinSet;

use crate::journal::Tape;
use crate::suite::{T0, record};

const MANY: usize = 100;

/// A server over a real store. Its keys are in memory; no peer is asked for anything here.
pub(crate) struct Server<S> {
    store: S,
    keys: SimKeys,
    /// Where it is a gateway: the way to its server.
    pub(crate) peers: SimPeers,
    entropy: SimEntropy,
    clock: Still,
    component: Component,
    site: Site,
}

/// A clock that stands still until it is set forth, and waits by the runtime's.
#[derive(Default)]
pub(crate) struct Still {
    forth_seconds: AtomicU64,
}

impl Still {
    pub(crate) fn forth(&self, seconds: u64) {
        self.forth_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Still {
    fn now(&self) -> UnixTime {
        T0.plus(Span::from_seconds(self.forth_seconds.load(Ordering::SeqCst)))
    }

    fn recorded(&self) -> UnixTime {
        T0
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.duration()).await;
    }
}

impl<S: Store> World for Server<S> {
    type Store = S;
    type Keys = SimKeys;
    type Clock = Still;
    type Entropy = SimEntropy;
    type Peers = SimPeers;

    fn store(&self) -> &S {
        &self.store
    }

    fn keys(&self) -> &SimKeys {
        &self.keys
    }

    fn clock(&self) -> &Still {
        &self.clock
    }

    fn entropy(&self) -> &SimEntropy {
        &self.entropy
    }

    fn peers(&self) -> &SimPeers {
        &self.peers
    }

    fn component(&self) -> &Component {
        &self.component
    }

    fn site(&self) -> &Site {
        &self.site
    }
}

impl<S: Store> Server<S> {
    /// A server over what is in the store. Those over one store have seeds of their own, or they
    /// would draw the same ids.
    pub(crate) fn new(store: S, seed: Seed) -> Self {
        let sim = Sim::new(seed);
        Self {
            store,
            keys: SimKeys::new(&sim),
            peers: SimPeers(SimLink::new(&sim)),
            entropy: SimEntropy::new(&Rng::new(seed)),
            clock: Still::default(),
            component: Component("server".to_owned()),
            site: testkit::fixture::site(),
        }
    }
}

pub(crate) async fn server<S: Store>(store: S) -> Arc<Server<S>> {
    let set = PolicySet::compile(files()).unwrap();
    let own = TrustDomain::parse("demo.example").unwrap();
    let bundle = Bundle::parse(r#"{"keys":[],"spiffe_sequence":1}"#).unwrap();
    let row = PolicyRow { set, applied: T0, by: "test".to_owned(), reason: "test".to_owned() };
    let writes = vec![
        Write::put(&InForce(row), Expect::Absent),
        Write::put(&DomainEpoch { epoch: Epoch(1) }, Expect::Absent),
        Write::put(&TrustRow::of_own(own.into(), bundle), Expect::Absent),
    ];
    let change = Change { writes, uses: Vec::new(), records: vec![record("begin")] };
    store.commit(change).await.unwrap();
    Arc::new(Server::new(store, Seed(7)))
}

/// req: AUTHN-11 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s9_of_many_uses_of_one_code_one_lets_in_from_memory() {
    let tape = Arc::new(Tape::default());
    one_lets_in(Memory::open(tape as Arc<dyn Journal>)).await;
}

/// req: AUTHN-11 (part)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s9_of_many_uses_of_one_code_one_lets_in_from_sqlite() {
    let tape = Arc::new(Tape::default());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    one_lets_in(Sqlite::open(&path, tape as Arc<dyn Journal>).unwrap()).await;
}

async fn one_lets_in<S: Store>(store: S) {
    let server = server(store).await;
    let operator = basis::turns::Operator("uid:1000".to_owned());
    let name = UserName::parse("ada").unwrap();
    let new =
        NewUser { name: name.clone(), display_name: None, email: None, roles: BTreeSet::new() };
    let (_, link) = orders::add(&*server, &operator, &new).await.unwrap().into_value().unwrap();
    let code = orders::code(&*server, &operator, &name, 1, orders::CODE_LIFE).await.unwrap();
    let code = code.into_value().unwrap().text.expose().to_owned();
    let secret = link.text.expose().split_once("secret=").unwrap().1.to_owned();
    for by_link in [false, true] {
        let mut tasks = JoinSet::new();
        for _ in 0..MANY {
            let (server, code, secret) = (Arc::clone(&server), code.clone(), secret.clone());
            tasks.spawn(async move {
                let throttle = Throttle::default();
                let browser = Browser { name: "b", session: None, source: "192.0.2.1", agent: "b" };
                if by_link {
                    sign_in::by_link(&*server, &throttle, &browser, &secret).await
                } else {
                    sign_in::by_code(&*server, &throttle, &browser, "ada", &code).await
                }
            });
        }
        let (mut entered, mut used) = (0, 0);
        while let Some(end) = tasks.join_next().await {
            let End::Decided(recorded) = end.unwrap().unwrap() else { panic!("a stranger") };
            match recorded.into_value() {
                Ok(_) => entered += 1,
                Err(Refusal::Used { .. }) => used += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((entered, used), (1, MANY - 1), "by link: {by_link}");
    }
    let table = <Session as env::Entity>::TABLE;
    let sessions = server.store.scan(table, Index::All, "", None, MANY).await.unwrap();
    assert_eq!(sessions.rows.len(), 2);
}
