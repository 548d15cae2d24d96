//! The messages byte by byte: field numbers and types as published (workloadapi.proto), written
//! down a second time.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::world::{AGENT, DOMAIN, OTHER_DOMAIN, World, soon};

#[derive(Clone, PartialEq, Message)]
struct X509Response {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<X509>,
    #[prost(bytes, repeated, tag = "2")]
    crl: Vec<Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "3")]
    federated_bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct X509 {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes, tag = "2")]
    x509_svid: Vec<u8>,
    #[prost(bytes, tag = "3")]
    x509_svid_key: Vec<u8>,
    #[prost(bytes, tag = "4")]
    bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    hint: String,
}

#[derive(Clone, PartialEq, Message)]
struct X509BundlesResponse {
    #[prost(bytes, repeated, tag = "1")]
    crl: Vec<Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct JwtRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct JwtResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Jwt>,
}

#[derive(Clone, PartialEq, Message)]
struct Jwt {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
    #[prost(string, tag = "3")]
    hint: String,
}

#[derive(Clone, PartialEq, Message)]
struct BytesBundles {
    #[prost(btree_map = "string, bytes", tag = "1")]
    bundles: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct ValidateRequest {
    #[prost(string, tag = "1")]
    audience: String,
    #[prost(string, tag = "2")]
    svid: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValidateResponse {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(message, optional, tag = "2")]
    claims: Option<prost_types::Struct>,
}

#[derive(Clone, PartialEq, Message)]
struct WitRequest {
    #[prost(string, tag = "1")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct WitResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Wit>,
}

#[derive(Clone, PartialEq, Message)]
struct Wit {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    wit_svid: String,
    #[prost(string, tag = "3")]
    wit_svid_key: String,
    #[prost(string, tag = "4")]
    hint: String,
}

#[derive(Clone, PartialEq, Message)]
struct TextBundles {
    #[prost(btree_map = "string, string", tag = "1")]
    bundles: BTreeMap<String, String>,
}

/// The first answer; unary and streaming calls look alike to one who reads one message.
async fn ask<Q, A>(world: &World, method: &'static str, question: Q) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(world.channel().await);
    soon(grpc.ready()).await.unwrap();
    let mut request = tonic::Request::new(question);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    let path = PathAndQuery::from_static(method);
    let answer = grpc.server_streaming(request, path, ProstCodec::<Q, A>::default());
    let mut answers = soon(answer).await?.into_inner();
    Ok(soon(answers.message()).await?.unwrap())
}

/// req: PROV-08 (part)
#[tokio::test]
async fn workload_api_3_x509_messages_are_as_published() {
    let world = World::new();
    world.change(|now| now.hints = vec!["internal"]);
    let answer: X509Response = ask(&world, "/SpiffeWorkloadAPI/FetchX509SVID", ()).await.unwrap();
    let svid = X509 {
        spiffe_id: format!("{AGENT}/0"),
        x509_svid: vec![1; 10],
        x509_svid_key: vec![7],
        bundle: vec![8],
        hint: "internal".to_owned(),
    };
    let federated_bundles = BTreeMap::from([(OTHER_DOMAIN.to_owned(), vec![9])]);
    assert_eq!(answer, X509Response { svids: vec![svid], crl: vec![vec![6]], federated_bundles });
    let answer: X509BundlesResponse =
        ask(&world, "/SpiffeWorkloadAPI/FetchX509Bundles", ()).await.unwrap();
    let bundles = BTreeMap::from([(DOMAIN.to_owned(), vec![1])]);
    assert_eq!(answer, X509BundlesResponse { crl: Vec::new(), bundles });
}

#[tokio::test]
async fn workload_api_6_2_1_what_is_no_spiffe_id_is_invalid() {
    let world = World::new();
    let spiffe_id = || "https://example.org/x".to_owned();
    let question = JwtRequest { audience: vec!["a".to_owned()], spiffe_id: spiffe_id() };
    let refused = ask::<_, ()>(&world, "/SpiffeWorkloadAPI/FetchJWTSVID", question).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let question = WitRequest { spiffe_id: spiffe_id() };
    let refused = ask::<_, ()>(&world, "/SpiffeWorkloadAPI/FetchWITSVID", question).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

/// req: PROV-08 (part)
#[tokio::test]
async fn workload_api_3_jwt_messages_are_as_published() {
    let world = World::new();
    let audience = vec!["a".to_owned(), "b".to_owned()];
    let question = JwtRequest { audience, spiffe_id: "spiffe://example.org/x".to_owned() };
    let answer: JwtResponse =
        ask(&world, "/SpiffeWorkloadAPI/FetchJWTSVID", question).await.unwrap();
    let svid = Jwt {
        spiffe_id: "spiffe://example.org/x".to_owned(),
        svid: "a+b".to_owned(),
        hint: String::new(),
    };
    assert_eq!(answer, JwtResponse { svids: vec![svid] });
    let answer: BytesBundles = ask(&world, "/SpiffeWorkloadAPI/FetchJWTBundles", ()).await.unwrap();
    assert_eq!(answer.bundles[DOMAIN], b"{\"keys\":[],\"generation\":1}");
    let question = ValidateRequest { audience: "me".to_owned(), svid: "good".to_owned() };
    let answer: ValidateResponse =
        ask(&world, "/SpiffeWorkloadAPI/ValidateJWTSVID", question).await.unwrap();
    assert_eq!(answer.spiffe_id, AGENT);
    assert_eq!(answer.claims.unwrap().fields["aud"], "me".into());
}

/// req: PROV-10 (part)
#[tokio::test]
async fn workload_api_3_wit_messages_are_as_published() {
    let world = World::new();
    world.change(|now| now.hints = vec!["internal"]);
    let question = WitRequest { spiffe_id: "spiffe://example.org/x".to_owned() };
    let answer: WitResponse =
        ask(&world, "/SpiffeWorkloadAPI/FetchWITSVID", question).await.unwrap();
    let svid = Wit {
        spiffe_id: "spiffe://example.org/x".to_owned(),
        wit_svid: "wit 1".to_owned(),
        wit_svid_key: "{\"kty\":\"EC\"}".to_owned(),
        hint: "internal".to_owned(),
    };
    assert_eq!(answer, WitResponse { svids: vec![svid] });
    let answer: TextBundles = ask(&world, "/SpiffeWorkloadAPI/FetchWITBundles", ()).await.unwrap();
    assert_eq!(answer.bundles[DOMAIN], "{\"keys\":[],\"generation\":1}");
}
