//! A served Workload API whose answers a test changes.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, json};
use spiffe::{EndpointAddress, SpiffeId, TrustDomain};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use workload::client::Client;
use workload::listener::Listener;
use workload::server::{Profiles, ServeError, Server};
use workload::{
    Attest, Bundles, Denied, JwtAnswer, SecretBytes, SecretText, Validated, WitAnswer, WitSvid,
    Workloads, X509Answer, X509Bundles, X509Svid,
};

pub(crate) const AGENT: &str = "spiffe://example.org/agent";
pub(crate) const DOMAIN: &str = "spiffe://example.org";
pub(crate) const OTHER_DOMAIN: &str = "spiffe://example.com";

/// What is answered now.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    /// Stands in every answer, so that one can be told from another.
    pub(crate) generation: u8,
    /// How many SVIDs there are.
    pub(crate) svids: usize,
    pub(crate) federated: bool,
    /// Length of a certificate.
    pub(crate) bytes: usize,
    pub(crate) denied: Option<Denied>,
    pub(crate) hints: Vec<&'static str>,
    /// Whether certificates look like some.
    pub(crate) der: bool,
}

impl Now {
    fn certificate(&self, plain: Vec<u8>, der: u8) -> Vec<u8> {
        if self.der { vec![0x30, 1, der] } else { plain }
    }
}

pub(crate) const START: Now = Now {
    generation: 1,
    svids: 1,
    federated: true,
    bytes: 10,
    denied: None,
    hints: Vec::new(),
    der: false,
};

/// Knows a process by its id; `exit` ends all.
#[derive(Debug)]
pub(crate) struct Kernel {
    exit: watch::Sender<bool>,
    /// Whether processes are known at all.
    known: bool,
}

impl Attest for Kernel {
    type Peer = i32;

    fn identify(&self, stream: &UnixStream) -> Result<i32, String> {
        let pid = stream.peer_cred().map_err(|error| error.to_string())?.pid();
        pid.filter(|_| self.known).ok_or_else(|| "unknown".to_owned())
    }

    fn process(&self, peer: &i32) -> i32 {
        *peer
    }

    fn exited(&self, _: &i32) -> impl Future<Output = ()> + Send + 'static {
        let mut exit = self.exit.subscribe();
        async move {
            let _ = exit.wait_for(|exited| *exited).await;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answers {
    now: watch::Receiver<Now>,
    /// How many X.509 answers were made.
    made: Arc<AtomicUsize>,
}

impl Answers {
    pub(crate) fn of(now: &watch::Sender<Now>) -> Self {
        Self { now: now.subscribe(), made: Arc::default() }
    }

    fn follow<T: Send + 'static>(
        &self,
        answer: impl Fn(&Now) -> T + Send + 'static,
    ) -> impl Stream<Item = Result<T, Denied>> + Send + 'static {
        let changes = WatchStream::new(self.now.clone());
        changes.map(move |now| now.denied.clone().map_or_else(|| Ok(answer(&now)), Err))
    }
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

pub(crate) fn domain(text: &str) -> TrustDomain {
    id(text).trust_domain().clone()
}

fn hint(now: &Now, at: usize) -> Option<String> {
    now.hints.get(at).map(|hint| (*hint).to_owned())
}

fn key_set(now: &Now) -> String {
    format!("{{\"keys\":[],\"generation\":{}}}", now.generation)
}

impl Workloads<i32> for Answers {
    fn x509(&self, _: i32) -> impl Stream<Item = Result<X509Answer, Denied>> + Send + 'static {
        let made = Arc::clone(&self.made);
        self.follow(move |now| {
            made.fetch_add(1, Ordering::Relaxed);
            let svid = |at: usize| X509Svid {
                spiffe_id: id(&format!("{AGENT}/{at}")),
                chain: now.certificate(vec![now.generation; now.bytes], now.generation),
                key: SecretBytes::new(vec![7]),
                bundle: now.certificate(vec![8], 8),
                hint: hint(now, at),
            };
            let federated =
                now.federated.then(|| (domain(OTHER_DOMAIN), now.certificate(vec![9], 9)));
            X509Answer {
                svids: (0..now.svids).map(svid).collect(),
                crl: vec![vec![6]],
                federated: federated.into_iter().collect(),
            }
        })
    }

    fn x509_bundles(
        &self,
        _: i32,
    ) -> impl Stream<Item = Result<X509Bundles, Denied>> + Send + 'static {
        self.follow(|now| X509Bundles {
            crl: Vec::new(),
            bundles: BTreeMap::from([(domain(DOMAIN), vec![now.generation])]),
        })
    }

    async fn jwt(
        &self,
        _: i32,
        audiences: Vec<String>,
        spiffe_id: Option<SpiffeId>,
    ) -> Result<Vec<JwtAnswer>, Denied> {
        let now = self.now.borrow().clone();
        if let Some(denied) = now.denied {
            return Err(denied);
        }
        let token = SecretText::new(audiences.join("+"));
        let spiffe_id = spiffe_id.unwrap_or_else(|| id(AGENT));
        Ok((0..now.svids)
            .map(|_| JwtAnswer { spiffe_id: spiffe_id.clone(), token: token.clone(), hint: None })
            .collect())
    }

    fn jwt_bundles(&self, _: i32) -> impl Stream<Item = Result<Bundles, Denied>> + Send + 'static {
        self.follow(|now| Bundles::from([(domain(DOMAIN), key_set(now))]))
    }

    async fn validate_jwt(
        &self,
        _: i32,
        audience: String,
        token: SecretText,
    ) -> Result<Validated, Denied> {
        if token.expose() == "wait" {
            Notify::new().notified().await;
        }
        let claims = Map::from_iter([("aud".to_owned(), json!(audience))]);
        match token.expose() {
            "good" => Ok(Validated { spiffe_id: id(AGENT), claims }),
            _ => Err(Denied::Invalid("not valid".to_owned())),
        }
    }

    fn wit(
        &self,
        _: i32,
        spiffe_id: Option<SpiffeId>,
    ) -> impl Stream<Item = Result<WitAnswer, Denied>> + Send + 'static {
        self.follow(move |now| {
            let svid = |at: usize| WitSvid {
                spiffe_id: spiffe_id.clone().unwrap_or_else(|| id(AGENT)),
                token: SecretText::new(format!("wit {}", now.generation)),
                key: SecretText::new("{\"kty\":\"EC\"}".to_owned()),
                hint: hint(now, at),
            };
            WitAnswer { svids: (0..now.svids).map(svid).collect() }
        })
    }

    fn wit_bundles(&self, _: i32) -> impl Stream<Item = Result<Bundles, Denied>> + Send + 'static {
        self.follow(|now| Bundles::from([(domain(DOMAIN), key_set(now))]))
    }
}

/// A server and its socket.
pub(crate) struct World {
    folder: TempDir,
    now: watch::Sender<Now>,
    exit: watch::Sender<bool>,
    made: Arc<AtomicUsize>,
    stop: Arc<Notify>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Profiles::ALL, true)
    }

    pub(crate) fn with(profiles: Profiles, known: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&folder.path().join("socket")).unwrap();
        let now = watch::Sender::new(START);
        let exit = watch::Sender::new(false);
        let attest = Arc::new(Kernel { exit: exit.clone(), known });
        let made = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Answers { now: now.subscribe(), made: Arc::clone(&made) });
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let server = Server::new(attest, answers, profiles);
        let serve = server.serve(listener, async move { stopped.notified().await });
        Self { folder, now, exit, made, stop, served: tokio::spawn(serve) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn address(&self) -> EndpointAddress {
        EndpointAddress::Unix(self.socket().to_str().unwrap().to_owned())
    }

    /// Changes what is answered.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Now)) {
        self.now.send_modify(change);
    }

    pub(crate) fn withdraw(&self) {
        self.change(|now| now.denied = Some(Denied::NoIdentity("withdrawn".to_owned())));
    }

    /// How many X.509 answers were made so far.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// The process at the other end exits.
    pub(crate) fn exit(&self) {
        self.exit.send_replace(true);
    }

    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    pub(crate) async fn stopped(self) -> Result<(), ServeError> {
        soon(self.served).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        soon(Client::connect(&self.address())).await.unwrap()
    }

    /// A connection without our client's manners.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("unix:{}", self.socket().display())).unwrap();
        soon(endpoint.connect()).await.unwrap()
    }
}

/// What must come soon.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it should have come")
}

/// The next item of a stream.
pub(crate) async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> Option<T> {
    soon(stream.next()).await
}

/// The first item.
pub(crate) async fn first<T, E: std::fmt::Debug>(
    stream: Result<impl Stream<Item = Result<T, E>>, E>,
) -> Result<T, E> {
    let mut stream = pin!(stream?);
    soon(stream.next()).await.expect("a stream begins with an answer")
}

/// A call by hand, with whatever headers, and an empty message that is skipped.
pub(crate) async fn call(
    channel: Channel,
    path: &'static str,
    headers: &[(&'static str, &'static str)],
) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    soon(grpc.ready()).await.unwrap();
    let mut request = tonic::Request::new(());
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    let path = http::uri::PathAndQuery::from_static(path);
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let mut answers = soon(grpc.server_streaming(request, path, codec)).await?.into_inner();
    soon(answers.message()).await.map(|_| ())
}
