//! Why a document was not fetched.

use std::net::IpAddr;

/// Why there is no document: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// The URL is none that is fetched.
    #[error("`{url}` is no https url without userinfo")]
    Url {
        /// The URL.
        url: String,
    },
    /// The name has no address.
    #[error("the name `{host}` does not resolve: {why}")]
    Name {
        /// The name.
        host: String,
        /// What the system said.
        why: String,
    },
    /// It leads to a machine that only we can reach.
    #[error("`{host}` is at {address}, which is neither public nor listed")]
    Private {
        /// The host of the URL.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// Nobody answers there.
    #[error("`{host}` cannot be reached: {why}")]
    Unreachable {
        /// The host of the URL.
        host: String,
        /// What the system said.
        why: String,
    },
    /// Whoever answers is not who should.
    #[error("`{host}` is not who should answer: {why}")]
    Peer {
        /// The host of the URL.
        host: String,
        /// What does not fit.
        why: String,
    },
    /// It wants us to ask somebody else.
    #[error("it redirects to `{to}`, another origin")]
    Elsewhere {
        /// Where.
        to: String,
    },
    /// It redirects without end.
    #[error("it redirects more than {max} times")]
    Redirects {
        /// How often it may.
        max: u32,
    },
    /// It has no document.
    #[error("it answers with status {status}")]
    Status {
        /// With what.
        status: u16,
    },
    /// Over the bound.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// Over the bound.
    #[error("no whole answer within {seconds_max} s")]
    TimedOut {
        /// The bound.
        seconds_max: u64,
    },
    /// What it says is no HTTP, or the connection broke.
    #[error("the exchange broke: {why}")]
    Broken {
        /// How.
        why: String,
    },
    /// The document is no UTF-8.
    #[error("the document is not utf-8")]
    NotUtf8,
}

impl FetchFault {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Url { .. } => "fetch::Url",
            Self::Name { .. } => "fetch::Name",
            Self::Private { .. } => "fetch::Private",
            Self::Unreachable { .. } => "fetch::Unreachable",
            Self::Peer { .. } => "fetch::Peer",
            Self::Elsewhere { .. } => "fetch::Elsewhere",
            Self::Redirects { .. } => "fetch::Redirects",
            Self::Status { .. } => "fetch::Status",
            Self::TooLarge { .. } => "fetch::TooLarge",
            Self::TimedOut { .. } => "fetch::TimedOut",
            Self::Broken { .. } => "fetch::Broken",
            Self::NotUtf8 => "fetch::NotUtf8",
        }
    }
}
