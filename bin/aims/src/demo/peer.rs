//! One workload calls another: mutual TLS with X.509-SVIDs on both sides, names checked by us
//! (AUTHN-01), and the token checked by the one who is called (S4 §10.3.3, AUTHZ-08).

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jose::{Algorithm, KeySet, Unverified};
use oauth::Issuer;
use oauth::access_token::{AccessToken, for_resource};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use spiffe::{Bundle, BundleSet, SpiffeId, X509Svid};
use time::Span;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509::{Certificate, Purpose};

use super::actor::{Actor, own};
use super::part::text;
use crate::exit::Failure;
use crate::http1::exchange;
use crate::https::Https;
use wiring::world::SystemClock;

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// What a caller brought.
struct Brought {
    token: String,
    caller: SpiffeId,
    reply: oneshot::Sender<Value>,
}

/// Listens for one task: who calls is proved by mutual TLS, what it may by its token. Answers the
/// port; the task is done when it comes, and its result is the answer to the caller.
pub(super) async fn listen(actor: &Actor) -> Result<Value, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Failure::unavailable)?;
    let port = listener.local_addr().map_err(Failure::unavailable)?.port();
    let trust = Arc::new(trust(actor).await?);
    let keys = keys(actor).await?;
    let acceptor = TlsAcceptor::from(Arc::new(server_config(actor)?));
    let me = actor.own_x509()?.spiffe_id.to_string();
    let issuer = Issuer::parse(&actor.places.issuer).map_err(Failure::misused)?;
    let (brought, mut tasks) = mpsc::channel::<Brought>(1);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, trust, brought) =
                (acceptor.clone(), Arc::clone(&trust), brought.clone());
            tokio::spawn(async move {
                // Whoever cannot prove who it is is not answered at all.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let Ok(caller) = verified(shown, &trust, Purpose::Client) else { return };
                let service =
                    service_fn(move |request| take(request, caller.clone(), brought.clone()));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let inbox = actor.inbox();
    tokio::spawn(async move {
        while let Some(brought) = tasks.recv().await {
            let checked = check(&brought.token, &keys, &issuer, &me);
            let answer = match checked {
                Ok(claims) => {
                    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                    *inbox = Some(brought.token);
                    let caller = brought.caller.to_string();
                    json!({ "accepted": true, "caller": caller, "claims": claims })
                }
                Err(failure) => json!({ "accepted": false, "why": failure.to_string() }),
            };
            let _ = brought.reply.send(answer);
        }
    });
    Ok(json!({ "port": port }))
}

/// An agent as protected resource validates `aud` first (S4 §10.3.3).
fn check(token: &str, keys: &KeySet, issuer: &Issuer, me: &str) -> Result<Value, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::refused("token", error.to_string());
    let token = Unverified::<AccessToken>::parse(token).map_err(|error| refused(&error))?;
    let (now, skew) = (SystemClock::read(), Span::from_seconds(5));
    let verified = token.verify(keys, &[Algorithm::Es256], now, skew);
    let verified = verified.map_err(|error| refused(&error))?;
    let mine = for_resource(verified, issuer, me).map_err(|error| refused(&error))?;
    serde_json::to_value(mine.claims()).map_err(Failure::unavailable)
}

async fn take(
    request: Request<Incoming>,
    caller: SpiffeId,
    brought: mpsc::Sender<Brought>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let values = request.headers().get_all(http::header::AUTHORIZATION);
    let token = oauth::bearer::from_authorization(values.iter().map(http::HeaderValue::as_bytes));
    let Ok(token) = token else {
        return Ok(reply(StatusCode::UNAUTHORIZED, &json!({ "error": "no token" })));
    };
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    if body.is_err() {
        return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "too long" })));
    }
    let (answer, answered) = oneshot::channel();
    let token = token.as_str().to_owned();
    let sent = brought.send(Brought { token, caller, reply: answer }).await;
    match (sent, answered.await) {
        (Ok(()), Ok(answer)) => Ok(reply(StatusCode::OK, &answer)),
        _ => Ok(reply(StatusCode::SERVICE_UNAVAILABLE, &Value::Null)),
    }
}

/// Calls an agent over mutual TLS with the token that was got for it.
pub(super) async fn ask(actor: &Actor, order: &Value) -> Result<Value, Failure> {
    let trust = trust(actor).await?;
    let expected = SpiffeId::parse(text(order, "agent")).map_err(Failure::misused)?;
    let port = order.get("port").and_then(Value::as_u64).unwrap_or_default();
    let port = u16::try_from(port).map_err(Failure::misused)?;
    let config = client_config(actor)?;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Failure::unavailable)?;
    let name = rustls::pki_types::ServerName::from(std::net::Ipv4Addr::LOCALHOST);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(Failure::unavailable)?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let found = verified(shown, &trust, Purpose::Server)?;
    // S1 §9.1: who answers must be the one that was meant.
    if found != expected {
        return Err(Failure::refused("peer", format!("`{found}` answers for `{expected}`")));
    }
    let request = Request::post("/task")
        .header(http::header::HOST, "agent")
        .header(http::header::AUTHORIZATION, format!("Bearer {}", actor.token()))
        .body(Full::new(Bytes::new()))
        .map_err(Failure::misused)?;
    let answer = exchange(stream, request).await.map_err(Failure::unavailable)?;
    serde_json::from_slice(&answer.body).map_err(Failure::unavailable)
}

/// Our trust domain's bundle, from the issuer.
async fn trust(actor: &Actor) -> Result<BundleSet, Failure> {
    let https = Https::trusting(&actor.places.ca)?;
    let text = https.get(&format!("{}/bundle", actor.places.issuer)).await?;
    let bundle = Bundle::parse(&String::from_utf8_lossy(&text)).map_err(Failure::unavailable)?;
    let mut trust = BundleSet::default();
    trust.insert(actor.own_x509()?.spiffe_id.trust_domain().clone(), bundle);
    Ok(trust)
}

async fn keys(actor: &Actor) -> Result<KeySet, Failure> {
    let https = Https::trusting(&actor.places.ca)?;
    let text = https.get(&format!("{}/jwks", actor.places.issuer)).await?;
    KeySet::parse(&String::from_utf8_lossy(&text)).map_err(Failure::unavailable)
}

/// The SPIFFE ID that a peer proved.
fn verified(
    shown: &[CertificateDer<'_>],
    trust: &BundleSet,
    purpose: Purpose,
) -> Result<SpiffeId, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::refused("peer", error.to_string());
    let chain = shown
        .iter()
        .map(|der| Certificate::parse(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&error))?;
    let svid = X509Svid::verify(&chain, trust, purpose, SystemClock::read());
    svid.map(|svid| svid.spiffe_id().clone()).map_err(|error| refused(&error))
}

type OwnChain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn chain(actor: &Actor) -> Result<OwnChain, Failure> {
    let identity = own(actor.own_x509()?)?;
    let key = PrivatePkcs8KeyDer::from(identity.key.expose().to_vec());
    let chain = identity.chain.into_iter().map(CertificateDer::from).collect();
    Ok((chain, PrivateKeyDer::Pkcs8(key)))
}

fn server_config(actor: &Actor) -> Result<rustls::ServerConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = tls::UnverifiedClientCertificates::new(&provider, false);
    let (chain, key) = chain(actor)?;
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Failure::unavailable)?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(chain, key)
        .map_err(Failure::unavailable)
}

fn client_config(actor: &Actor) -> Result<rustls::ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = proof::UnverifiedServerCertificate::new(&provider);
    let (chain, key) = chain(actor)?;
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Failure::unavailable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(server))
        .with_client_auth_cert(chain, key)
        .map_err(Failure::unavailable)
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
}

mod proof {
    //! TLS proves that the peer has its key; whose the key is, is checked with SPIFFE's rules as
    //! soon as the handshake is done, before anything is sent.

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

    /// Accepts any certificate whose key signed the handshake.
    #[derive(Debug)]
    pub(super) struct UnverifiedServerCertificate(WebPkiSupportedAlgorithms);

    impl UnverifiedServerCertificate {
        pub(super) fn new(provider: &CryptoProvider) -> Self {
            Self(provider.signature_verification_algorithms)
        }
    }

    impl ServerCertVerifier for UnverifiedServerCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.0)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    }
}
