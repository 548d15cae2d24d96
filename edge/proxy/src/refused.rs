//! What the listener refuses by itself, before anything is decided: counted per source and reason,
//! so that a stranger cannot fill the audit log.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;

use crate::path::PathFault;

/// Told of each refusal, with the address it came from. Called on the connection's task: count and
/// return.
pub type OnRefused = Arc<dyn Fn(IpAddr, Refused) + Send + Sync>;

/// Why the listener itself refused: one variant a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// All places are taken.
    #[error("too many connections")]
    Connections,
    /// All places of this address are taken.
    #[error("too many connections from this address")]
    ConnectionsOfSource,
    /// No TLS, or not one that is spoken here.
    #[error("the tls handshake failed")]
    Handshake,
    /// The handshake took too long.
    #[error("the tls handshake took too long")]
    SlowHandshake,
    /// Not HTTP, or broken, or a head that is too large.
    #[error("the request is malformed")]
    Malformed,
    /// The head took too long.
    #[error("the head of the request took too long")]
    SlowHead,
    /// The body took too long.
    #[error("the body of the request took too long")]
    SlowBody,
    /// The client takes nothing of its answer.
    #[error("the client does not take its answer")]
    SlowReader,
    /// The connection broke, or sent something else than it announced, inside a body.
    #[error("the body of the request is broken")]
    BrokenBody,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both `content-length` and `transfer-encoding`")]
    AmbiguousLength,
    /// A line that ends without a carriage return.
    #[error("a line of the head ends without a carriage return")]
    BareLineFeed,
    /// A header twice that may stand once.
    #[error("the header `{name}` is there more than once")]
    Repeated {
        /// Its name.
        name: &'static str,
    },
    /// `CONNECT` or `TRACE`.
    #[error("the method is not served")]
    Method,
    /// A target that names a scheme and host (HTTP/1.1).
    #[error("the request target is not in origin form")]
    TargetForm,
    /// A path that readers disagree about.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// Neither `Host` nor `:authority`, or both and different.
    #[error("the request does not say which host it means, or says two")]
    NoAuthority,
    /// A host that is not served here.
    #[error("the host is not served here")]
    Authority,
    /// A web page of an origin that is not in the list.
    #[error("the origin is not allowed")]
    Origin,
    /// The body is longer than the bound.
    #[error("the body is too large")]
    BodyTooLarge,
    /// Too many requests or bodies are held already.
    #[error("too many requests at once")]
    Busy,
    /// This process may not use the agent proxy.
    #[error("the process was not admitted")]
    NotAdmitted,
}

impl Refused {
    /// The variant's name: what counters call the check.
    pub const fn check(self) -> &'static str {
        match self {
            Self::Connections => "listener::Connections",
            Self::ConnectionsOfSource => "listener::ConnectionsOfSource",
            Self::Handshake => "listener::Handshake",
            Self::SlowHandshake => "listener::SlowHandshake",
            Self::Malformed => "listener::Malformed",
            Self::SlowHead => "listener::SlowHead",
            Self::SlowBody => "listener::SlowBody",
            Self::SlowReader => "listener::SlowReader",
            Self::BrokenBody => "listener::BrokenBody",
            Self::AmbiguousLength => "listener::AmbiguousLength",
            Self::BareLineFeed => "listener::BareLineFeed",
            Self::Repeated { .. } => "listener::Repeated",
            Self::Method => "listener::Method",
            Self::TargetForm => "listener::TargetForm",
            Self::Path(_) => "listener::Path",
            Self::NoAuthority => "listener::NoAuthority",
            Self::Authority => "listener::Authority",
            Self::Origin => "listener::Origin",
            Self::BodyTooLarge => "listener::BodyTooLarge",
            Self::Busy => "listener::Busy",
            Self::NotAdmitted => "listener::NotAdmitted",
        }
    }

    /// The one table from refusals to the wire: status, and the error code of the body.
    pub(crate) fn on_the_wire(self) -> (StatusCode, &'static str) {
        match self {
            // RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any
            // HTTP/1.1 request message that lacks a Host header field and to any request message
            // that contains more than one Host header field line".
            Self::NoAuthority
            | Self::Repeated { .. }
            | Self::AmbiguousLength
            | Self::BareLineFeed
            | Self::TargetForm
            | Self::Path(_)
            | Self::BrokenBody
            | Self::Malformed => (StatusCode::BAD_REQUEST, "invalid_request"),
            // RFC 9110 §15.6.2: "the server does not support the functionality required to fulfill
            // the request."
            Self::Method => (StatusCode::NOT_IMPLEMENTED, "invalid_request"),
            // RFC 9110 §15.5.20: "the request was directed at a server that is unable or unwilling
            // to produce an authoritative response for the target URI."
            Self::Authority => (StatusCode::MISDIRECTED_REQUEST, "invalid_request"),
            // MCP 2026-07-28, Security & Endpoint: "If the `Origin` header is present and invalid,
            // servers MUST respond with HTTP 403 Forbidden."
            Self::Origin | Self::NotAdmitted => (StatusCode::FORBIDDEN, "access_denied"),
            // RFC 9110 §15.5.14: "refusing to process a request because the request content is
            // larger than the server is willing or able to process."
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            // RFC 9110 §15.5.9: "the server did not receive a complete request message within the
            // time that it was prepared to wait."
            Self::SlowHead | Self::SlowBody | Self::SlowHandshake | Self::SlowReader => {
                (StatusCode::REQUEST_TIMEOUT, "invalid_request")
            }
            Self::Busy | Self::Connections | Self::ConnectionsOfSource | Self::Handshake => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            }
        }
    }

    /// As the error of a socket, so that it passes through the HTTP library.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, self)
    }

    /// The refusal that an error of the HTTP library carries, if it does.
    pub(crate) fn carried_by(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut error = Some(error);
        while let Some(current) = error {
            if let Some(refused) = current.downcast_ref::<Self>() {
                return Some(*refused);
            }
            let inside = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            error = match inside {
                Some(inside) => Some(inside),
                None => current.source(),
            };
        }
        None
    }
}
