//! TLS of the two origins.

use std::sync::Arc;

use credential::{KeyRing, Purpose, x509_svid};
use flow::sign;
use http::{Request, StatusCode};
use identifier::AgentName;
use jose::PrivateKey;
use registry::Registration;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::Span;
use tokio::io::AsyncReadExt;
use wimse::WorkloadId;

use crate::browser::{Served, certificate, form_request, soon};
use crate::world::{INVOICES, NOW, TestWorld, new_key};

/// An agent with an X.509-SVID.
pub(crate) struct Agent {
    pub(crate) id: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Agent {
    pub(crate) fn identity(&self) -> (Vec<CertificateDer<'static>>, Vec<u8>) {
        (self.chain.clone(), self.key.clone())
    }
}

pub(crate) fn registration(name: &str) -> Registration {
    serde_json::from_value(serde_json::json!({
        "name": name,
        "kind": "agent",
        "owner": "payments",
        "rule": { "selectors": ["unix:uid:1000", format!("unix:path:/opt/{name}")] },
    }))
    .unwrap()
}

pub(crate) async fn agent(world: &TestWorld, name: &str) -> Agent {
    registered(world, registration(AgentName::parse(name).unwrap().as_str())).await
}

/// The same of what is registered.
pub(crate) async fn registered(world: &TestWorld, entry: Registration) -> Agent {
    let made = flow::agents::register(world, &TestWorld::operator(), entry).await.unwrap();
    let id = made.into_value().unwrap().id.to_string();
    let (chain, key) = svid(world, &id).await;
    Agent { id, chain, key }
}

/// A certificate for `id` by the authority of the trust domain.
async fn svid(world: &TestWorld, id: &str) -> (Vec<CertificateDer<'static>>, Vec<u8>) {
    let purpose = Purpose::X509Authority;
    let ring = flow::facts::one::<_, KeyRing>(world, purpose.name()).await.unwrap().unwrap();
    let signer = sign::signer(&ring, NOW.plus(Span::from_seconds(1))).unwrap();
    let key = new_key();
    let public = PrivateKey::from_pkcs8(&key).unwrap();
    let order = x509_svid::Order {
        id: &WorkloadId::parse(id).unwrap(),
        spki_der: public.public().spki_der(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        authority: &sign::authority(signer).unwrap(),
        random: [3; 16],
        now: NOW,
        life: Span::from_seconds(600),
        epoch: 1,
        attributes: &spiffe::Attributes::default(),
    };
    let checked = x509_svid::build(&order, sign::CERTIFICATE_ALGORITHM).unwrap();
    let leaf = sign::certificate(world, &sign::handle(purpose, signer), checked).await.unwrap();
    (vec![leaf.into_bytes().into()], key)
}

/// A certificate is demanded where it is needed, and only there.
/// req: AUTHN-01 (part)
#[tokio::test]
async fn rfc8705_5_a_certificate_is_demanded_at_the_second_origin() {
    let served = Served::start().await;
    let outcome = async {
        let mut stream = served.connect_mutual_without().await?;
        // In TLS 1.3 the client learns of it with its first read.
        stream.read_u8().await
    };
    assert!(soon(outcome).await.is_err());
    assert_eq!(served.refusals_soon(1).await, ["handshake"]);
    assert_eq!(served.get("/ready").await.status, StatusCode::OK);
    let agent = agent(&served.world, "invoice").await;
    let get = Request::get("/ready").body(Vec::new()).unwrap();
    assert_eq!(served.send_mutual(agent.identity(), get).await.status, StatusCode::OK);
}

/// Defect: a chain that TLS let through taken for one that was verified.
/// req: AUTHN-01 (part)
#[tokio::test]
async fn spiffe_client_auth_6_a_certificate_of_another_domain_proves_nothing() {
    let served = Served::start().await;
    let known = agent(&served.world, "invoice").await;
    // Another installation with the same name, and so with other keys.
    let elsewhere = TestWorld::start().await;
    let (chain, key) = svid(&elsewhere, &known.id).await;
    let form = form_request(&[
        ("grant_type", "client_credentials"),
        ("client_id", &known.id),
        ("resource", INVOICES),
    ]);
    let reply = served.send_mutual((chain, key), form).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json()["error"], "invalid_client");
    assert_eq!(served.refusals(), ["client::SpiffeX509"]);
}

/// Shows a certificate whose key it does not have.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Defect: a certificate, which is public, shown by somebody else.
#[tokio::test]
async fn rfc8446_4_4_3_the_key_of_the_certificate_is_proved() {
    let served = Served::start().await;
    let agent = agent(&served.world, "invoice").await;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let (_, other) = svid(&served.world, &agent.id).await;
    let other = rustls_pki_types::PrivateKeyDer::Pkcs8(other.into());
    let other = provider.key_provider.load_private_key(other).unwrap();
    let (chain, _) = agent.identity();
    let thief = Thief(Arc::new(CertifiedKey::new(chain, other)));
    let outcome = async {
        let mut stream = served.connect_as(Arc::new(thief)).await?;
        stream.read_u8().await
    };
    assert!(soon(outcome).await.is_err());
    assert_eq!(served.refusals_soon(1).await, ["handshake"]);
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_stand() {
    let served = Served::start().await;
    let leaf = |stream: &tokio_rustls::client::TlsStream<_>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = leaf(&served.connect(None, true).await);
    let (next, _) = certificate(&served.world).await;
    served.certificates.replace(next);
    let second = leaf(&served.connect(None, true).await);
    assert_ne!(first, second);
}

/// RFC 8446 §4.6.1: no ticket is sent, so no session carries an old check into a new connection.
#[tokio::test]
async fn rfc8446_4_6_1_sessions_are_not_resumed() {
    let served = Served::start().await;
    assert_eq!(served.tickets().await, 0);
}
