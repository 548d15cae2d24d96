//! What is refused before any flow sees it: callers that proved nothing, so it is counted per
//! source and window instead of being recorded one by one (docs/design.md §2, idea 3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flow::token::ClientRefusal;
use http::request::Parts;
use oauth::NotATokenText;
use oauth::client_assertion::PresentedClientError;
use oauth::form::FormError;
use oauth::token_request::TokenRequestError;

use crate::accept::Peer;

/// Where a request came from, as far as the transport proves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An address of the network.
    Address(IpAddr),
    /// A user of this machine.
    Uid(u32),
    /// One of our own nodes or gateways, on behalf of a workload.
    Component(String),
}

impl Source {
    /// Of a request of the network.
    pub(crate) fn of(parts: &Parts) -> Self {
        let address = parts.extensions.get::<Peer>().map(|peer| peer.address);
        Self::Address(address.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Component(id) => f.write_str(id),
        }
    }
}

/// Told of each such refusal. It is called on the way of a request: it must not block.
pub type OnRefused = Arc<dyn Fn(&Source, &Unread) + Send + Sync>;

/// Why a request, or a connection, was not read: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// As many connections are open as may be.
    #[error("too many connections")]
    Connections,
    /// As many from this address.
    #[error("too many connections from one address")]
    ConnectionsOfSource,
    /// TLS could not be agreed on, or the client does not have the key of its certificate.
    #[error("the TLS handshake failed")]
    Handshake,
    /// The handshake did not end in time.
    #[error("the TLS handshake took too long")]
    SlowHandshake,
    /// Bytes that are no HTTP, or a head that is too large.
    #[error("bytes that are no HTTP request within the bounds")]
    NotHttp,
    /// As many requests are being decided as may be.
    #[error("{max} requests are being decided already")]
    Requests {
        /// The bound.
        max: usize,
    },
    /// As many from this address.
    #[error("{max} requests of this address are being decided already")]
    RequestsOfSource {
        /// The bound.
        max: usize,
    },
    /// Nothing is at this path.
    #[error("nothing is at this path")]
    NotFound,
    /// The path has no such method.
    #[error("the path does not have this method")]
    Method,
    /// The body is over the bound.
    #[error("a body of more than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// The body did not arrive in time.
    #[error("the body took too long")]
    SlowBody,
    /// The body broke off.
    #[error("the body broke off")]
    BrokenBody,
    /// The body is of another type than the endpoint reads.
    #[error("the content type must be `{expected}`, once")]
    ContentType {
        /// What the endpoint reads.
        expected: &'static str,
    },
    /// The body is compressed.
    #[error("a content coding, which is not read here")]
    ContentEncoding,
    /// Parameters in the URL, where logs and proxies see them.
    #[error("parameters in the URL: they belong into the body")]
    Query,
    /// The client used an `Authorization` header.
    #[error("the client authenticates by HTTP, which no client here does")]
    Authorization {
        /// The scheme that it used, if it is one that can be answered.
        scheme: &'static str,
    },
    /// A parameter of a question about a token, or of its revocation.
    #[error(transparent)]
    Parameter(#[from] oauth::parameter::Refused),
    /// A header field that is no token, or not once.
    #[error("`{name}`: {reason}")]
    Field {
        /// The field.
        name: &'static str,
        /// What is wrong with it.
        reason: NotATokenText,
    },
    /// The form does not read.
    #[error(transparent)]
    Form(#[from] FormError),
    /// What the form says of its client does not read.
    #[error(transparent)]
    Client(#[from] PresentedClientError),
    /// What the form asks for does not read.
    #[error(transparent)]
    Request(#[from] TokenRequestError),
    /// It reads, but its client is not authenticated: nothing is recorded of who is nobody.
    #[error(transparent)]
    Stranger(Box<ClientRefusal>),
    /// A client that proved nothing but its name, and was refused.
    #[error("a client that proves nothing was refused by {check}")]
    Unproved {
        /// The check.
        check: &'static str,
    },
    /// Nobody who registers, or manages a client.
    #[error(transparent)]
    Registration(Box<flow::clients::Refusal>),
    /// `Authorization` is no HTTP Basic authentication of a client.
    #[error(transparent)]
    Basic(#[from] authentication::client_secret::NotBasic),
    /// A request of enrolment does not read.
    #[error(transparent)]
    Enrolment(#[from] enrolment::Unread),
    /// It reads, but what it brings proves nothing.
    #[error(transparent)]
    Enrol(Box<::enrol::Refusal>),
    /// A renewal that nobody is authenticated by.
    #[error(transparent)]
    Renew(Box<::enrol::renew::Refusal>),
    /// Evidence for a relying party that proves nothing, or a session that is none.
    #[error(transparent)]
    Verify(Box<::verify::Refusal>),
    /// An identity provider's word that somebody left, which proves nothing.
    #[error("{message}")]
    Left {
        /// The check that failed.
        check: &'static str,
        /// What it said.
        message: String,
    },
    /// A question after an identifier, by nobody.
    #[error(transparent)]
    Lookup(Box<flow::lookup::Refusal>),
    /// A user of this machine who may give no orders.
    #[error("uid {uid} may give no orders here")]
    NotAnOperator {
        /// The user.
        uid: u32,
    },
}

impl Unread {
    /// The variant's name, for counting.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsOfSource => "connections_of_source",
            Self::Handshake => "handshake",
            Self::SlowHandshake => "slow_handshake",
            Self::NotHttp => "not_http",
            Self::Requests { .. } => "requests",
            Self::RequestsOfSource { .. } => "requests_of_source",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::TooLong { .. } => "too_long",
            Self::SlowBody => "slow_body",
            Self::BrokenBody => "broken_body",
            Self::ContentType { .. } => "content_type",
            Self::ContentEncoding => "content_encoding",
            Self::Query => "query",
            Self::Authorization { .. } => "authorization",
            Self::Parameter(_) => "parameter",
            Self::Field { .. } => "field",
            Self::Form(_) => "form",
            Self::Client(_) => "client",
            Self::Request(_) => "request",
            Self::Stranger(refusal) => refusal.check(),
            Self::Registration(refusal) => refusal.check(),
            Self::Basic(_) => "basic",
            Self::Enrolment(_) => "enrolment",
            Self::Enrol(refusal) => refusal.check(),
            Self::Renew(refusal) => refusal.check(),
            Self::Verify(refusal) => refusal.check(),
            Self::Left { check, .. } | Self::Unproved { check } => check,
            Self::Lookup(refusal) => refusal.check(),
            Self::NotAnOperator { .. } => "not_an_operator",
        }
    }
}
