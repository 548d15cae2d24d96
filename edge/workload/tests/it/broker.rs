//! The Broker API over real sockets and TLS; its messages by their numbers, written down a second
//! time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use prost_types::Any;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use time::{Span, UnixTime};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use workload::Denied;
use workload::broker::{self, Brokers, Listener, NotAdmitted};
use workload::server::ServeError;
use x509::{KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template};

use crate::world::{AGENT, Answers, DOMAIN, Now, OTHER_DOMAIN, START, soon};

const HEADER: (&str, &str) = ("broker.spiffe.io", "true");
/// The only process there is.
const PID: i32 = 7;

#[derive(Clone, PartialEq, Message)]
struct Reference {
    #[prost(message, optional, tag = "1")]
    reference: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Pid {
    #[prost(int32, tag = "1")]
    pid: i32,
}

/// Of every method.
#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(message, optional, tag = "1")]
    reference: Option<Reference>,
    #[prost(string, repeated, tag = "2")]
    audience: Vec<String>,
    #[prost(string, tag = "3")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct X509 {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Svid>,
    #[prost(bytes, repeated, tag = "2")]
    crl: Vec<Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "3")]
    federated_bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes, tag = "2")]
    second: Vec<u8>,
    #[prost(bytes, tag = "3")]
    third: Vec<u8>,
    #[prost(bytes, tag = "4")]
    bundle: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Jwt {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Token>,
}

#[derive(Clone, PartialEq, Message)]
struct Token {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
}

#[derive(Clone, PartialEq, Message)]
struct X509Bundles {
    #[prost(btree_map = "string, bytes", tag = "2")]
    bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct JwtBundles {
    #[prost(btree_map = "string, bytes", tag = "1")]
    bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// Lets in who has one certificate.
struct Desk {
    broker: Vec<u8>,
    other: Vec<u8>,
    now: watch::Sender<Now>,
    exit: watch::Sender<bool>,
    expire: watch::Sender<bool>,
}

impl Brokers for Desk {
    type Peer = i32;
    type Answers = Answers;

    async fn admit(&self, chain: &[Vec<u8>]) -> Result<Answers, NotAdmitted> {
        match chain.first() {
            Some(leaf) if *leaf == self.broker => Ok(Answers::of(&self.now)),
            Some(leaf) if *leaf == self.other => Err(NotAdmitted::NoBroker("other".to_owned())),
            _ => Err(NotAdmitted::Unproved("stranger".to_owned())),
        }
    }

    fn expired(&self, chain: &[Vec<u8>]) -> impl Future<Output = ()> + Send + 'static {
        let (mut expire, own) = (self.expire.subscribe(), chain.first() == Some(&self.broker));
        async move {
            let _ = expire.wait_for(|expired| *expired && own).await;
        }
    }

    fn find(&self, pid: i32) -> Result<i32, String> {
        if pid == PID { Ok(pid) } else { Err(format!("process {pid} has exited")) }
    }

    fn exited(&self, _: &i32) -> impl Future<Output = ()> + Send + 'static {
        let mut exit = self.exit.subscribe();
        async move {
            let _ = exit.wait_for(|exited| *exited).await;
        }
    }
}

/// A served Broker API, and three who know its socket.
struct Site {
    folder: TempDir,
    desk: Arc<Desk>,
    broker: Arc<CertifiedKey>,
    other: Arc<CertifiedKey>,
    stop: Arc<Notify>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Site {
    fn start() -> Self {
        Self::patient(broker::IDLE_TIME_MAX)
    }

    fn patient(idle: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (broker, other, own) = (certified(), certified(), certified());
        let leaf = |key: &CertifiedKey| key.cert[0].to_vec();
        let desk = Arc::new(Desk {
            broker: leaf(&broker),
            other: leaf(&other),
            now: watch::Sender::new(START),
            exit: watch::Sender::new(false),
            expire: watch::Sender::new(false),
        });
        let listener = Listener::bind(&folder.path().join("broker.sock")).unwrap();
        let config = broker::config(Arc::new(Shown(own))).unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let serving = broker::serve(listener, config, Arc::clone(&desk), idle, async move {
            stopped.notified().await;
        });
        Self { folder, desk, broker, other, stop, served: tokio::spawn(serving) }
    }

    async fn connect(
        &self,
        own: Option<Arc<CertifiedKey>>,
    ) -> Result<Channel, tonic::transport::Error> {
        let path = self.folder.path().join("broker.sock");
        let config = client(own);
        let connector = tower::service_fn(move |_| {
            let (path, config) = (path.clone(), Arc::clone(&config));
            async move {
                let stream = UnixStream::connect(path).await?;
                let name = ServerName::try_from("anybody.invalid").unwrap();
                let tls = TlsConnector::from(config).connect(name, stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(tls))
            }
        });
        Endpoint::from_static("http://anybody.invalid").connect_with_connector(connector).await
    }

    async fn channel(&self) -> Channel {
        soon(self.connect(Some(Arc::clone(&self.broker)))).await.unwrap()
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate of its own, which names nobody that matters here.
fn certified() -> Arc<CertifiedKey> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let name = Name::new(None, Some("somebody")).unwrap();
    let now = UnixTime::from_seconds(1_800_000_000);
    let template = Template {
        serial: Serial::from_random([7; 16]),
        issuer: name.clone(),
        subject: name,
        not_before: now,
        not_after: now.plus(Span::from_seconds(3_600)),
        spki_der: key.public_key().as_der().unwrap().as_ref().to_vec(),
        kind: Kind::Leaf,
        uri_names: vec![AGENT.to_owned()],
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: vec![Oid::SERVER_AUTH, Oid::CLIENT_AUTH],
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    };
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = key.sign(&random, unsigned.bytes()).unwrap();
    let der = unsigned.attach(signature.as_ref()).into_bytes();
    let private = PrivateKeyDer::Pkcs8(pkcs8.as_ref().to_vec().into());
    let private = any_supported_type(&private).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(der)], private))
}

fn client(own: Option<Arc<CertifiedKey>>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(Shown(own))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn reference(kind: &str, pid: i32) -> Option<Reference> {
    let type_url = format!("type.googleapis.com/spiffe.broker.{kind}");
    let reference = Some(Any { type_url, value: Pid { pid }.encode_to_vec() });
    Some(Reference { reference })
}

fn of(pid: i32) -> Asked {
    Asked { reference: reference("WorkloadPIDReference", pid), ..Asked::default() }
}

async fn open<T: Message + Default + 'static>(
    channel: Channel,
    method: &str,
    asked: Asked,
    headers: &[(&'static str, &'static str)],
) -> Result<Streaming<T>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    soon(grpc.ready()).await.unwrap();
    let mut request = Request::new(asked);
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    let path = PathAndQuery::try_from(format!("/spiffe.broker.API/{method}")).unwrap();
    let codec = ProstCodec::<Asked, T>::default();
    Ok(soon(grpc.server_streaming(request, path, codec)).await?.into_inner())
}

async fn ask<T: Message + Default + 'static>(
    channel: Channel,
    method: &str,
    asked: Asked,
) -> Result<T, Status> {
    let mut answers = open(channel, method, asked, &[HEADER]).await?;
    Ok(soon(answers.message()).await?.unwrap())
}

/// The reason of the standard, if the status has one.
fn reason(status: &Status) -> String {
    let details = Details::decode(status.details()).unwrap();
    let Some(info) = details.details.first() else { return String::new() };
    assert_eq!(details.code, i32::from(status.code()));
    assert_eq!(info.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = ErrorInfo::decode(info.value.as_slice()).unwrap();
    assert_eq!(info.domain, "spiffe.io");
    info.reason
}

/// req: PROV-10 (part)
#[tokio::test]
async fn broker_s5_a_broker_gets_what_a_process_would_get() {
    let site = Site::start();
    let channel = site.channel().await;
    let found: X509 = ask(channel.clone(), "SubscribeToX509SVID", of(PID)).await.unwrap();
    let [svid] = found.svids.as_slice() else { panic!("{found:?}") };
    assert_eq!(svid.spiffe_id, format!("{AGENT}/0"));
    assert_eq!((&svid.second, &svid.third, &svid.bundle), (&vec![1; 10], &vec![7], &vec![8]));
    assert_eq!(found.crl, [vec![6]]);
    assert_eq!(found.federated_bundles, BTreeMap::from([(OTHER_DOMAIN.to_owned(), vec![9])]));
    let found: X509Bundles = ask(channel.clone(), "SubscribeToX509Bundles", of(PID)).await.unwrap();
    assert_eq!(found.bundles, BTreeMap::from([(DOMAIN.to_owned(), vec![1])]));
    let audience = vec!["a".to_owned(), "b".to_owned()];
    let asked = Asked { audience, ..of(PID) };
    let found: Jwt = ask(channel.clone(), "FetchJWTSVID", asked).await.unwrap();
    assert_eq!(found.svids, [Token { spiffe_id: AGENT.to_owned(), svid: "a+b".to_owned() }]);
    let found: JwtBundles = ask(channel.clone(), "SubscribeToJWTBundles", of(PID)).await.unwrap();
    let set = found.bundles[DOMAIN].clone();
    assert_eq!(String::from_utf8(set).unwrap(), r#"{"keys":[],"generation":1}"#);
    // What changes is sent; what was withdrawn ends the stream, and the connection goes on.
    let mut stream: Streaming<X509> =
        open(channel.clone(), "SubscribeToX509SVID", of(PID), &[HEADER]).await.unwrap();
    soon(stream.message()).await.unwrap();
    site.desk.now.send_modify(|now| now.generation = 2);
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().svids[0].second, vec![2; 10]);
    site.desk.now.send_modify(|now| now.denied = Some(Denied::NoIdentity("no".to_owned())));
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED")
    );
    site.desk.now.send_modify(|now| now.denied = None);
    ask::<X509>(channel, "SubscribeToX509SVID", of(PID)).await.unwrap();
}

/// req: PROV-10 (part)
#[tokio::test]
async fn broker_s4_8_a_reference_that_means_no_process_is_refused_by_its_reason() {
    let site = Site::start();
    let channel = site.channel().await;
    let garbage = Any {
        value: vec![0xff],
        ..reference("WorkloadPIDReference", 1).unwrap().reference.unwrap()
    };
    let garbage = Some(Reference { reference: Some(garbage) });
    for (reference, code, expect) in [
        (None, Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID"),
        (Some(Reference::default()), Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID"),
        (
            reference("KubernetesObjectReference", PID),
            Code::InvalidArgument,
            "WORKLOAD_REFERENCE_INVALID",
        ),
        (garbage, Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID"),
        (reference("WorkloadPIDReference", 0), Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID"),
        (
            reference("WorkloadPIDReference", -1),
            Code::InvalidArgument,
            "WORKLOAD_REFERENCE_INVALID",
        ),
        (reference("WorkloadPIDReference", 8), Code::NotFound, "WORKLOAD_NOT_FOUND"),
    ] {
        for method in [
            "SubscribeToX509SVID",
            "SubscribeToX509Bundles",
            "FetchJWTSVID",
            "SubscribeToJWTBundles",
        ] {
            let audience = vec!["a".to_owned()];
            let asked = Asked { reference: reference.clone(), audience, ..Asked::default() };
            let status = ask::<X509>(channel.clone(), method, asked).await.unwrap_err();
            assert_eq!((status.code(), reason(&status).as_str()), (code, expect), "{status:?}");
        }
    }
    let status = ask::<Jwt>(channel.clone(), "FetchJWTSVID", of(PID)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("audience"), "{status:?}");
    // The process ends, and with it what was said of it.
    let mut stream: Streaming<X509> =
        open(channel, "SubscribeToX509SVID", of(PID), &[HEADER]).await.unwrap();
    soon(stream.message()).await.unwrap();
    site.desk.exit.send_replace(true);
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "WORKLOAD_NOT_FOUND"));
}

/// req: PROV-10 (part)
#[tokio::test]
async fn broker_endpoint_s5_only_brokers_are_heard() {
    let site = Site::start();
    // Without a certificate there is no connection.
    let refused = match soon(site.connect(None)).await {
        Ok(channel) => ask::<X509>(channel, "SubscribeToX509SVID", of(PID)).await.err().map(|_| ()),
        Err(_) => Some(()),
    };
    assert_eq!(refused, Some(()));
    for (own, code) in
        [(Arc::clone(&site.other), Code::PermissionDenied), (certified(), Code::Unauthenticated)]
    {
        let channel = soon(site.connect(Some(own))).await.unwrap();
        let status = ask::<X509>(channel, "SubscribeToX509SVID", of(PID)).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
    }
    let channel = site.channel().await;
    for headers in [
        &[][..],
        &[("broker.spiffe.io", "True")],
        &[HEADER, HEADER],
        &[("workload.spiffe.io", "true")],
    ] {
        let refused = open::<X509>(channel.clone(), "SubscribeToX509SVID", of(PID), headers).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{headers:?}");
    }
}

#[tokio::test]
async fn broker_s4_3_streams_end_when_the_server_stops() {
    let site = Site::start();
    let mut stream: Streaming<X509> =
        open(site.channel().await, "SubscribeToX509SVID", of(PID), &[HEADER]).await.unwrap();
    soon(stream.message()).await.unwrap();
    site.stop.notify_one();
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::Unavailable);
    drop(stream);
    soon(site.served).await.unwrap().unwrap();
    assert!(!site.folder.path().join("broker.sock").exists());
}

/// Mutual TLS lasts as long as what was shown in it: a stream does not outlive the certificate.
/// req: PROV-10 (part)
#[tokio::test]
async fn broker_endpoint_s3_1_a_stream_ends_with_the_certificate_of_its_broker() {
    let site = Site::start();
    let mut stream: Streaming<X509> =
        open(site.channel().await, "SubscribeToX509SVID", of(PID), &[HEADER]).await.unwrap();
    soon(stream.message()).await.unwrap();
    site.desk.expire.send_replace(true);
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}

/// A connection as it is before anything is asked on it.
async fn bare(site: &Site) -> std::io::Result<tokio_rustls::client::TlsStream<UnixStream>> {
    let stream = UnixStream::connect(site.folder.path().join("broker.sock")).await?;
    let name = ServerName::try_from("anybody.invalid").unwrap();
    let config = client(Some(Arc::clone(&site.broker)));
    TlsConnector::from(config).connect(name, stream).await
}

#[tokio::test]
async fn broker_connections_on_which_nothing_is_asked_are_closed() {
    let site = Site::patient(Duration::from_millis(400));
    let used = site.channel().await;
    let mut stream: Streaming<X509> =
        open(used.clone(), "SubscribeToX509SVID", of(PID), &[HEADER]).await.unwrap();
    soon(stream.message()).await.unwrap();
    let mut idle = bare(&site).await.unwrap();
    let mut rest = Vec::new();
    let closed = soon(idle.read_to_end(&mut rest)).await;
    assert!(closed.is_ok() || closed.is_err_and(|e| e.kind() != std::io::ErrorKind::TimedOut));
    // One with a stream on it stays, however long nothing changes.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    site.desk.now.send_modify(|now| now.generation = 2);
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().svids[0].second, vec![2; 10]);
}

#[tokio::test]
async fn broker_connections_of_a_process_are_bounded() {
    let site = Site::start();
    let mut held = Vec::new();
    for _ in 0..broker::PROCESS_CONNECTIONS_MAX {
        held.push(soon(bare(&site)).await.unwrap());
    }
    assert!(soon(bare(&site)).await.is_err(), "others find a place");
    held.pop();
    soon(async {
        while bare(&site).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
