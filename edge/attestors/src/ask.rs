//! One question over HTTP/1.1 to a daemon of this host: bounded, in time, no redirects.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// How long an answer may take, the connection included.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// What is asked, and how much of the answer is read.
pub(crate) struct Question<'a> {
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) bearer: Option<&'a str>,
    pub(crate) answer_bytes_max: usize,
}

/// Runs what asks, in time.
pub(crate) async fn in_time<T>(
    asking: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    tokio::time::timeout(ANSWER_TIME_MAX, asking).await.unwrap_or(Err(AskError::Late))
}

/// Asks on a fresh connection.
pub(crate) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    question: Question<'_>,
) -> Result<Bytes, AskError> {
    let broken = |error: hyper::Error| AskError::unreachable(&error);
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(broken)?;
    let _driver = Driver(tokio::spawn(async move {
        // It ends when the answer was read; a break is seen there.
        let _ = connection.await;
    }));
    let mut request = Request::get(question.path).header("host", question.host);
    if let Some(bearer) = question.bearer {
        let value = Zeroizing::new(format!("Bearer {bearer}"));
        let value = http::HeaderValue::from_str(&value).map_err(|_| AskError::Senseless)?;
        request = request.header("authorization", value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| AskError::Senseless)?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(AskError::Status { status: status.as_u16() });
    }
    let max = question.answer_bytes_max;
    let body = Limited::new(answer.into_body(), max).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| AskError::TooLong { max })
}

/// The task of a connection; it ends with the question.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a daemon told nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody is there, or it is not who it should be.
    #[error("cannot be reached: {why}")]
    Unreachable {
        /// What the system said.
        why: String,
    },
    /// It took too long.
    #[error("did not answer within {} seconds", ANSWER_TIME_MAX.as_secs())]
    Late,
    /// It does not tell.
    #[error("answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer is too long, or broke off.
    #[error("answered with more than {max} bytes, or broke off")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// The question cannot be written.
    #[error("cannot be asked this")]
    Senseless,
}

impl AskError {
    pub(crate) fn unreachable(error: &dyn std::fmt::Display) -> Self {
        Self::Unreachable { why: error.to_string() }
    }

    /// Whether asking again later may help.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Late => true,
            Self::Status { status } => *status >= 500,
            Self::TooLong { .. } | Self::Senseless => false,
        }
    }
}
