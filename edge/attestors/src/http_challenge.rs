//! The answer for a host's own name: its nonce, served over plain HTTP until the server has fetched
//! it (the pure half is `attestation::http_challenge`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use attestation::http_challenge::path;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Connections at one time: the server makes one.
const CONNECTIONS_MAX: usize = 16;
/// How long one may last.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// A nonce that is served; no more once this is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    /// Serves `nonce` for the agent `agent` at `address`.
    pub async fn start(address: SocketAddr, agent: &str, nonce: String) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, Arc::from(path(agent)), Bytes::from(nonce)));
        Ok(Self { address, task })
    }

    /// Where.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, path: Arc<str>, nonce: Bytes) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (path, nonce) = (Arc::clone(&path), nonce.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let found = *request.uri().path() == *path;
                let (status, body) = if found {
                    (StatusCode::OK, nonce.clone())
                } else {
                    (StatusCode::NOT_FOUND, Bytes::new())
                };
                let mut response = Response::new(Full::new(body));
                *response.status_mut() = status;
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), answer);
            let _ = timeout(CONNECTION_TIME_MAX, connection).await;
            drop(place);
        });
    }
}
