//! TLS of the listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use proxy::Refused;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, SignatureScheme};
use tls::{BadCertificate, certified};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::Certified;
use crate::rig::{HOST, House, connect, echo, eventually, request, text};

/// Shows this chain and signs with this key, whether they belong together or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn client_that_shows(house: &House, chain: &[&[u8]], pkcs8: &[u8]) -> ClientConfig {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(pkcs8.to_vec().try_into().unwrap()).unwrap();
    let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let shows = Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key))));
    let config = ClientConfig::builder().with_root_certificates(house.roots());
    config.with_client_cert_resolver(shows)
}

/// One request over such a connection.
async fn call(house: &House, config: ClientConfig) -> std::io::Result<String> {
    let mut stream = connect(house.address, config).await?;
    let raw = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(raw.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// req: AUTHN-01 (part), AUTHN-07 (part)
#[tokio::test]
async fn certificates_of_clients_are_passed_on_and_possession_of_their_key_is_proved() {
    let house = House::new(&echo().await).await;
    let authority = Certified::root("somebody's root");
    let client = authority.client("spiffe://example.org/agent");
    let chain = [client.der.as_slice(), authority.der.as_slice()];
    let seen = |house: &House| house.gate.seen.lock().unwrap().pop().map(|call| call.certificates);

    call(&house, house.client()).await.unwrap();
    assert_eq!(seen(&house), Some(Vec::new()));
    call(&house, client_that_shows(&house, &chain, &client.pkcs8)).await.unwrap();
    assert_eq!(seen(&house), Some(vec![client.der.clone(), authority.der.clone()]));

    let other = authority.client("spiffe://example.org/other");
    assert!(call(&house, client_that_shows(&house, &chain, &other.pkcs8)).await.is_err());
    house.tally.wait_for(Refused::Handshake).await;
    let rest = [client.der.as_slice(), b"no certificate"];
    assert!(call(&house, client_that_shows(&house, &rest, &client.pkcs8)).await.is_err());
    let long = [client.der.as_slice(); x509::CHAIN_CERTIFICATES_MAX + 1];
    assert!(call(&house, client_that_shows(&house, &long, &client.pkcs8)).await.is_err());
    eventually(|| house.tally.all() == [Refused::Handshake; 3]).await;
    assert_eq!(seen(&house), None);
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let house = House::new("http://127.0.0.1:1").await;
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12]);
    let config = config.with_root_certificates(house.roots()).with_no_client_auth();
    assert!(connect(house.address, config).await.is_err());
    house.tally.wait_for(Refused::Handshake).await;
}

#[tokio::test]
async fn tls_session_ticket_resumption_skips_no_check_because_there_is_none() {
    let house = House::new(&echo().await).await;
    let config = house.client();
    for _ in 0..3 {
        let mut stream = connect(house.address, config.clone()).await.unwrap();
        let raw = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(raw.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
}

/// req: PROV-02 (part)
#[tokio::test]
async fn the_certificate_rotates_under_load_without_dropping_anything() {
    let house = House::new(&echo().await).await;
    let mut standing = house.sender(b"h2").await;
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async {
        while !done.load(Ordering::SeqCst) {
            let mut fresh = house.sender(b"http/1.1").await;
            assert_eq!(text(fresh.send(request("GET", "/", "")).await.unwrap()).await.0, 200);
            let answer = standing.send(request("GET", "/", "")).await.unwrap();
            assert_eq!(text(answer).await.0, 200);
            calls.fetch_add(1, Ordering::SeqCst);
        }
    };
    let rotate = async {
        for _ in 0..10 {
            let before = calls.load(Ordering::SeqCst);
            let next = house.root.server(HOST);
            house.certificate.replace(next.certified());
            let stream = house.connect(b"http/1.1").await;
            let shown = stream.get_ref().1.peer_certificates().unwrap();
            assert_eq!(shown, [CertificateDer::from(next.der)]);
            while calls.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(load, rotate);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_before_it_replaces_another() {
    let house = House::new(&echo().await).await;
    let (one, two) = (house.root.server(HOST), house.root.server(HOST));
    assert_eq!(certified(&[], &one.pkcs8).unwrap_err(), BadCertificate::Empty);
    for (chain, key) in [(one.der.clone(), two.pkcs8), (one.der.clone(), vec![1])] {
        let fault = certified(&[chain], &key).unwrap_err();
        assert!(matches!(fault, BadCertificate::Key(_)), "{fault:?}");
    }
    assert!(connect(house.address, house.client()).await.is_ok());
    house.certificate.replace(one.certified());
    assert!(connect(house.address, house.client()).await.is_ok());
}
