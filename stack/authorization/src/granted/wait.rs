//! Why a client that waits for somebody's answer has none yet, or gets none (RFC 8628 §3.5, CIBA
//! Core 1.0 §11), and what it brings that has one.
//!
//! Not here: what it waits with, and for what (`approval`).

use time::{Span, UnixTime};

use super::Binding;

/// What a client brings that waited for somebody's answer.
#[derive(Clone, Debug)]
pub struct Waited {
    /// Whom what it waits with was given to.
    pub client_id: String,
    /// What that is bound to.
    pub binding: Option<Binding>,
    /// Whether there is an answer.
    pub polled: Result<(), NotYet>,
    /// The task that the answer belongs to, where it begins none of its own.
    pub branch: Option<Branch>,
}

/// The task that an approval of one single action belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The root of its lineage.
    pub root: String,
    /// The token that the action was asked with.
    pub parent: Option<String>,
    /// The tokens between the root and that one, the oldest first.
    pub above: Vec<String>,
    /// The transaction that was approved.
    pub txn: Option<String>,
    /// Everybody who acts, the last one first.
    pub actors: Vec<String>,
}

/// Nothing yet, or nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// RFC 8628 §3.5: "The authorization request is still pending".
    #[error("nobody has answered yet")]
    Pending,
    /// RFC 8628 §3.5: "the authorization request is still pending and polling should continue, but
    /// the interval MUST be increased by 5 seconds for this and all subsequent requests."
    #[error("asked again too soon; wait {} s from now on", .interval.seconds())]
    TooSoon {
        /// How long to wait.
        interval: Span,
    },
    /// RFC 8628 §3.5: "The authorization request was denied."
    #[error("it was denied")]
    Denied,
    /// Nobody answered, or the answer was not fetched, in time.
    #[error("its time was over at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
    /// What came of it was fetched before.
    #[error("it was used at {at}")]
    Used {
        /// When.
        at: UnixTime,
    },
    /// CIBA Core 1.0 §11: a client that is pushed its tokens does not ask for them.
    #[error("the tokens of this client are pushed")]
    Pushed,
}
