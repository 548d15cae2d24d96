//! Envoy's secret discovery over the socket: the messages byte by byte, written down a second time,
//! and what the state of a stream does not show.

use http::uri::PathAndQuery;
use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use workload::Denied;
use workload::server::{PROCESS_CALLS_MAX, Profiles};

use crate::world::{World, call, soon};

const STREAM: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
const FETCH: &str = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
const DELTA: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(string, repeated, tag = "3")]
    resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    response_nonce: String,
}

#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Any>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
}

#[derive(Clone, PartialEq, Message)]
struct Secret {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    tls_certificate: Option<Pair>,
    #[prost(message, optional, tag = "4")]
    validation_context: Option<Validation>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(message, optional, tag = "1")]
    certificate_chain: Option<Source>,
    #[prost(message, optional, tag = "2")]
    private_key: Option<Source>,
}

#[derive(Clone, PartialEq, Message)]
struct Source {
    #[prost(bytes, tag = "2")]
    inline_bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Validation {
    #[prost(message, optional, tag = "12")]
    custom_validator_config: Option<Extension>,
}

#[derive(Clone, PartialEq, Message)]
struct Extension {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    typed_config: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Config {
    #[prost(message, repeated, tag = "1")]
    trust_domains: Vec<Domain>,
}

#[derive(Clone, PartialEq, Message)]
struct Domain {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    trust_bundle: Option<Source>,
}

fn asked(names: &[&str]) -> Asked {
    let resource_names = names.iter().map(|name| (*name).to_owned()).collect();
    Asked { resource_names, type_url: SECRET.to_owned(), ..Asked::default() }
}

fn world() -> World {
    let world = World::new();
    world.change(|now| now.der = true);
    world
}

/// A stream, and its other direction.
async fn open(world: &World) -> (mpsc::Sender<Asked>, Streaming<Told>) {
    open_on(world.channel().await).await
}

async fn open_on(channel: Channel) -> (mpsc::Sender<Asked>, Streaming<Told>) {
    let mut grpc = tonic::client::Grpc::new(channel);
    soon(grpc.ready()).await.unwrap();
    let (send, requests) = mpsc::channel(4);
    let request = tonic::Request::new(ReceiverStream::new(requests));
    let codec = ProstCodec::<Asked, Told>::default();
    let call = grpc.streaming(request, PathAndQuery::from_static(STREAM), codec);
    (send, soon(call).await.unwrap().into_inner())
}

async fn fetch(world: &World, question: Asked) -> Result<Told, Status> {
    let mut grpc = tonic::client::Grpc::new(world.channel().await);
    soon(grpc.ready()).await.unwrap();
    let codec = ProstCodec::<Asked, Told>::default();
    let path = PathAndQuery::from_static(FETCH);
    let answer = grpc.unary(tonic::Request::new(question), path, codec);
    soon(answer).await.map(tonic::Response::into_inner)
}

async fn next(stream: &mut Streaming<Told>) -> Result<Told, Status> {
    soon(stream.message()).await.map(|message| message.expect("it goes on"))
}

fn pem(label: &str, body: &str) -> Option<Source> {
    let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    Some(Source { inline_bytes: text.into_bytes() })
}

/// req: PROV-08 (part)
#[tokio::test]
async fn sds_messages_are_as_published() {
    let world = world();
    // A client that names no type is one of this service alone.
    let question = Asked { type_url: String::new(), ..asked(&["default", "ALL"]) };
    let told = fetch(&world, question).await.unwrap();
    assert_eq!((told.version_info.as_str(), told.nonce.as_str()), ("", ""));
    let [all, own] = told.resources.as_slice() else { panic!("{told:?}") };
    assert_eq!((told.type_url.as_str(), own.type_url.as_str()), (SECRET, SECRET));
    let pair = Pair {
        certificate_chain: pem("CERTIFICATE", "MAEB"),
        private_key: pem("PRIVATE KEY", "Bw=="),
    };
    let expect = Secret {
        name: "default".to_owned(),
        tls_certificate: Some(pair),
        validation_context: None,
    };
    assert_eq!(Secret::decode(own.value.as_slice()).unwrap(), expect);
    let all = Secret::decode(all.value.as_slice()).unwrap();
    let extension = all.validation_context.unwrap().custom_validator_config.unwrap();
    assert_eq!(extension.name, "envoy.tls.cert_validator.spiffe");
    let config = extension.typed_config.unwrap();
    assert!(config.type_url.ends_with(".tls.v3.SPIFFECertValidatorConfig"));
    let domain = |name: &str, body: &str| Domain {
        name: name.to_owned(),
        trust_bundle: pem("CERTIFICATE", body),
    };
    let trust_domains = vec![domain("example.com", "MAEJ"), domain("example.org", "MAEI")];
    assert_eq!(Config::decode(config.value.as_slice()).unwrap(), Config { trust_domains });
}

/// req: PROV-08 (part)
#[tokio::test]
async fn sds_a_stream_follows_rotation_and_ends_with_withdrawal() {
    let world = world();
    let (send, mut stream) = open(&world).await;
    send.send(asked(&["default"])).await.unwrap();
    let first = next(&mut stream).await.unwrap();
    let ack = Asked {
        version_info: first.version_info.clone(),
        response_nonce: first.nonce.clone(),
        ..asked(&["default"])
    };
    send.send(ack).await.unwrap();
    world.change(|now| now.generation = 2);
    let second = next(&mut stream).await.unwrap();
    assert_ne!(second.resources, first.resources);
    assert_ne!(second.version_info, first.version_info);
    world.withdraw();
    let ended = next(&mut stream).await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::PermissionDenied, "withdrawn"));
}

#[tokio::test]
async fn sds_refusals_have_the_codes_of_the_workload_api() {
    let world = world();
    let refused = fetch(&world, asked(&["spiffe://example.org/other"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (send, mut stream) = open(&world).await;
    send.send(asked(&["nothing"])).await.unwrap();
    let refused = next(&mut stream).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("nothing"), "{refused}");
    let check = async |denied: Denied, code: Code| {
        world.change(|now| now.denied = Some(denied));
        assert_eq!(fetch(&world, asked(&[])).await.unwrap_err().code(), code);
        let (_send, mut stream) = open(&world).await;
        assert_eq!(next(&mut stream).await.unwrap_err().code(), code, "before any request");
    };
    check(Denied::NoIdentity(String::new()), Code::PermissionDenied).await;
    check(Denied::Unavailable(String::new()), Code::Unavailable).await;
    world.change(|now| (now.denied, now.svids) = (None, 0));
    assert_eq!(fetch(&world, asked(&[])).await.unwrap_err().code(), Code::PermissionDenied);
    world.change(|now| (now.svids, now.der) = (1, false));
    assert_eq!(fetch(&world, asked(&[])).await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn sds_needs_no_header_and_the_workload_api_still_does() {
    let world = world();
    assert!(fetch(&world, asked(&["ROOTCA"])).await.is_ok());
    let method = "/SpiffeWorkloadAPI/FetchX509SVID";
    let refused = call(world.channel().await, method, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = call(world.channel().await, DELTA, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let off = World::with(Profiles { x509: false, ..Profiles::ALL }, true);
    assert_eq!(fetch(&off, asked(&[])).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn sds_streams_are_counted_with_all_calls_and_end_with_the_process() {
    let world = world();
    let channel = world.channel().await;
    let mut held = Vec::new();
    for _ in 0..PROCESS_CALLS_MAX {
        let (send, mut stream) = open_on(channel.clone()).await;
        send.send(asked(&["ROOTCA"])).await.unwrap();
        next(&mut stream).await.unwrap();
        held.push((send, stream));
    }
    assert_eq!(fetch(&world, asked(&[])).await.unwrap_err().code(), Code::Unavailable);
    // Who has no more to say ends its stream, which gives its place back.
    let (send, mut stream) = held.pop().unwrap();
    drop(send);
    assert!(soon(stream.message()).await.unwrap().is_none());
    drop(stream);
    soon(async {
        while fetch(&world, asked(&[])).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.exit();
    for (_, stream) in &mut held {
        assert_eq!(next(stream).await.unwrap_err().code(), Code::PermissionDenied);
    }
}
