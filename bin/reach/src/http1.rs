//! One HTTP/1.1 exchange over a connection that is there already: unix sockets and TLS.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long an exchange may take.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// Sends the request and reads the whole answer.
pub async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchanged = tokio::time::timeout(EXCHANGE_TIME_MAX, send(stream, request)).await;
    exchanged.unwrap_or(Err(ExchangeError::Late))
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: &dyn std::fmt::Display| ExchangeError::Broken { why: error.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // It ends when the sender is dropped; what it says the request says too.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| broken(&error))?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The connection broke, or what came is no HTTP within the bounds.
    #[error("no answer: {why}")]
    Broken {
        /// What the connection said.
        why: String,
    },
    /// It took longer than [`EXCHANGE_TIME_MAX`].
    #[error("no answer within {} seconds", EXCHANGE_TIME_MAX.as_secs())]
    Late,
}
