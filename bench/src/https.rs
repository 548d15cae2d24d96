//! A client over TLS on loopback, with connections that stay open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::load::{Load, Watch};

/// One connection.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

/// A client that trusts the authorities of a PEM text.
pub(crate) fn trusting(ca: &str) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in x509::CertificateDer::from_pem_many(ca)? {
        roots.add(CertificateDer::from(certificate.into_bytes()))?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

/// A connection to `port` of this machine.
pub(crate) async fn connect_one(
    port: u16,
    config: &Arc<ClientConfig>,
) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Connection(sender))
}

/// Connections to `port` of this machine.
pub(crate) async fn connect(
    number: usize,
    port: u16,
    config: &Arc<ClientConfig>,
) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::with_capacity(number);
    for _ in 0..number {
        connections.push(connect_one(port, config).await?);
    }
    Ok(connections)
}

impl Connection {
    /// How a port of this machine is called.
    pub(crate) fn authority(port: u16) -> String {
        format!("localhost:{port}")
    }

    /// One request, its answer read to the end.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(http::StatusCode, Bytes), Failure> {
        self.0.ready().await?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        Ok((head.status, body.collect().await?.to_bytes()))
    }
}

/// One task a connection sends its queue, each request after the other, or one a period. Every
/// answer must be 200. A request that the one before it kept waiting is late from when it was due.
pub(crate) async fn drive(
    connections: Vec<Connection>,
    queues: Vec<Vec<Request<Full<Bytes>>>>,
    period: Option<Duration>,
) -> Result<Load, Failure> {
    let (watch, begun, number) = (Watch::start(), Instant::now(), connections.len());
    let mut tasks = Vec::with_capacity(number);
    for (at, (mut connection, queue)) in connections.into_iter().zip(queues).enumerate() {
        tasks.push(tokio::spawn(async move {
            let share = |period: Duration| {
                period.mul_f64(crate::load::count(at) / crate::load::count(number))
            };
            let mut due = begun + period.map(share).unwrap_or_default();
            let mut times = Vec::with_capacity(queue.len());
            for request in queue {
                let mut sent = Instant::now();
                if let Some(period) = period {
                    let is_late = due < sent;
                    tokio::time::sleep_until(due.into()).await;
                    sent = if is_late { due } else { Instant::now() };
                    due += period;
                }
                let (status, body) = connection.send(request).await?;
                if status != http::StatusCode::OK {
                    let told = String::from_utf8_lossy(&body).into_owned();
                    return Err(format!("{status}: {told}").into());
                }
                times.push(sent.elapsed());
            }
            Ok::<_, Failure>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(watch.stop(times))
}
