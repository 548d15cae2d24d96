//! Proofs that come with a token at a resource: what was proved, or why nothing was.

use oauth::NotATokenText;
use wimse::{HeaderError, WicError, WitError, WorkloadId, WptError};

use crate::caller::Caller;
use crate::once::Once;

/// A caller that proved itself on this very request.
#[derive(Clone, Debug)]
pub struct Proved {
    /// Who.
    pub caller: Caller,
    /// What the proof used up.
    pub once: Option<Once>,
}

/// Why a proof proves nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefusal {
    /// The field of the WIT.
    #[error("`Workload-Identity-Token`: {0}")]
    WitHeader(HeaderError),
    /// The field of the WPT.
    #[error("`Workload-Proof-Token`: {0}")]
    WptHeader(HeaderError),
    /// A field is not text.
    #[error("`{field}` is not ASCII")]
    NotText {
        /// Which.
        field: &'static str,
    },
    /// The WIT.
    #[error("the workload identity token: {0}")]
    Wit(WitError),
    /// The WPT.
    #[error("the workload proof token: {0}")]
    Wpt(WptError),
    /// The token is bound to another identity than the one that proved itself.
    #[error("the token was issued to `{holder}`, and `{presenter}` presents it")]
    OtherHolder {
        /// The client of the token.
        holder: String,
        /// Who proved itself.
        presenter: WorkloadId,
    },
    /// No certificate on the channel.
    #[error("the token is bound to a certificate, and the connection shows none")]
    NoCertificate,
    /// The certificate on the channel.
    #[error("the certificate of the connection: {0}")]
    Certificate(WicError),
    /// Another certificate than the one the token is bound to.
    #[error("the token is bound to another certificate")]
    OtherCertificate,
    /// A token field does not read.
    #[error("a token field: {0}")]
    Text(NotATokenText),
}

impl ProofRefusal {
    /// Whether the certificate that the token is bound to is not the connection's.
    pub const fn is_of_certificate(&self) -> bool {
        matches!(self, Self::NoCertificate | Self::OtherCertificate)
    }
}
