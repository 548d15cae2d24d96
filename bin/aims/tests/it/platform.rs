//! A platform as a host's server meets it: an HTTPS origin that answers, stalls, floods or leads
//! elsewhere as a test says, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use time::Span;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wiring::world::SystemClock;
use x509::{KeyUsage, Kind, Name, Oid, Serial, SignatureAlgorithm, Template};

/// What it does with every request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers by path, 404 for others.
    Routes(BTreeMap<String, String>),
    /// Answers nothing.
    Stall,
    /// Answers without an end.
    Flood,
    /// Leads elsewhere.
    Redirect(String),
}

/// One, on a port of its own.
pub(crate) struct Platform {
    pub(crate) port: u16,
    /// The authority that it is known by, PEM.
    pub(crate) ca: String,
    act: Arc<Mutex<Act>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Platform {
    /// It listens; nothing is found there yet.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ca, certificate) = certified();
        let config = tls::server_config(
            tls::Certificates::new(certificate),
            tls::Clients::NotAsked,
            tls::HTTP,
        );
        let acceptor = TlsAcceptor::from(config.unwrap());
        let (act, asked) = (Arc::new(Mutex::new(Act::Routes(BTreeMap::new()))), Arc::default());
        let this = Self { port, ca, act: Arc::clone(&act), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, act, asked) = (acceptor.clone(), Arc::clone(&act), asked.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut bytes = vec![0; 65_536];
                    let mut length = 0;
                    // A body follows its head at once, or not at all.
                    while let Ok(Ok(more)) =
                        tokio::time::timeout(PAUSE, stream.read(&mut bytes[length..])).await
                    {
                        length += more;
                        if more == 0 {
                            break;
                        }
                    }
                    let request = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    asked.lock().unwrap().push(request.clone());
                    let act = act.lock().unwrap().clone();
                    answer(&mut stream, act, &request).await;
                });
            }
        });
        this
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub(crate) fn does(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn routes<const N: usize>(routes: [(&str, String); N]) -> Act {
    Act::Routes(routes.into_iter().map(|(path, body)| (path.to_owned(), body)).collect())
}

async fn answer(stream: &mut (impl tokio::io::AsyncWrite + Unpin), act: Act, request: &str) {
    match act {
        Act::Routes(routes) => {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match routes.get(path) {
                Some(body) => ("201 Created", body.as_str()),
                None => ("404 Not Found", ""),
            };
            let status = if request.starts_with("GET ") && status.starts_with("201") {
                "200 OK"
            } else {
                status
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Act::Stall => tokio::time::sleep(Duration::from_secs(60)).await,
        Act::Flood => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        Act::Redirect(to) => {
            let head = format!("HTTP/1.1 302 F\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

/// An authority, and a certificate of it for `localhost`.
fn certified() -> (String, rustls::sign::CertifiedKey) {
    let subject = Name::new(Some("test"), Some("platform")).unwrap();
    let (authority, _) = key();
    let mut root = template(&authority, &subject);
    root.kind = Kind::Authority { path_len: Some(0) };
    root.key_usage = KeyUsage::KEY_CERT_SIGN;
    let root = sign(&root, &authority);
    let (pair, pkcs8) = key();
    let mut leaf = template(&pair, &subject);
    leaf.subject = Name::new(None, Some("leaf")).unwrap();
    leaf.extended_key_usages = vec![Oid::SERVER_AUTH];
    leaf.dns_names = vec!["localhost".to_owned()];
    let leaf = sign(&leaf, &authority);
    let pem = x509::CertificateDer::from_der(root).unwrap().to_pem();
    (pem, tls::certified(&[leaf], &pkcs8).unwrap())
}

fn key() -> (EcdsaKeyPair, Vec<u8>) {
    let signing = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
    (EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).unwrap(), pkcs8.as_ref().to_vec())
}

fn template(pair: &EcdsaKeyPair, issuer: &Name) -> Template {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).unwrap();
    let now = SystemClock::read();
    Template {
        serial: Serial::from_random(serial),
        issuer: issuer.clone(),
        subject: issuer.clone(),
        not_before: now.minus(Span::from_seconds(60)),
        not_after: now.plus(Span::from_seconds(3_600)),
        spki_der: spki.as_ref().to_vec(),
        kind: Kind::Leaf,
        uri_names: Vec::new(),
        dns_names: Vec::new(),
        ip_names: Vec::new(),
        key_usage: KeyUsage::DIGITAL_SIGNATURE,
        extended_key_usages: Vec::new(),
        authority_key_id: None,
        permitted_dns_names: Vec::new(),
        extra: Vec::new(),
    }
}

fn sign(template: &Template, pair: &EcdsaKeyPair) -> Vec<u8> {
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let signature = pair.sign(&SystemRandom::new(), unsigned.bytes()).unwrap();
    unsigned.attach(signature.as_ref()).as_bytes().to_vec()
}
