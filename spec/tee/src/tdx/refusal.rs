//! Why a quote proves nothing: one variant a check.

use std::fmt;

use time::UnixTime;
use x509::RevocationListError;

use super::pck::PckError;
use crate::malformed::Malformed;

/// What a refusal is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The quote.
    Quote,
    /// The report of the quoting enclave.
    QuotingEnclave,
    /// The platform's certificate, and its chain.
    Platform,
    /// The authority that issued it.
    Issuer,
    /// What Intel says of platforms.
    TcbInfo,
    /// What Intel says of the quoting enclave.
    QeIdentity,
    /// A revocation list, by its name in the collateral.
    List(&'static str),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quote => "quote",
            Self::QuotingEnclave => "report of the quoting enclave",
            Self::Platform => "certificate of the platform",
            Self::Issuer => "issuer of the platform's certificate",
            Self::TcbInfo => "tcb info",
            Self::QeIdentity => "identity of the quoting enclave",
            Self::List(name) => name,
        })
    }
}

/// Why a quote proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The quote does not read.
    #[error("the quote does not read: {0}")]
    Quote(Malformed),
    /// A signature is wrong.
    #[error("the signature of the {of} is wrong")]
    Signature {
        /// Of what.
        of: Part,
    },
    /// The quoting enclave vouches for another key than the one that signed the quote.
    #[error("the quoting enclave vouches for another attestation key")]
    OtherAttestationKey,
    /// No trusted root vouches for a certificate.
    #[error("the {of} is not trusted: {why}")]
    Chain {
        /// Whose.
        of: Part,
        /// What the path validation said.
        why: String,
    },
    /// A certificate, a list or a text of the collateral is too old.
    #[error("the {of} ended at {until}, it is {now}")]
    Expired {
        /// What.
        of: Part,
        /// Its end.
        until: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It is of a time to come.
    #[error("the {of} begins at {from}, it is {now}")]
    NotYet {
        /// What.
        of: Part,
        /// Its beginning.
        from: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// A revocation list is not its issuer's.
    #[error("`{name}`: {why}")]
    List {
        /// Which.
        name: &'static str,
        /// Why.
        why: RevocationListError,
    },
    /// A certificate is revoked.
    #[error("the {of} is revoked")]
    Revoked {
        /// Whose.
        of: Part,
    },
    /// A certificate of Intel's that signs something else.
    #[error("the {of} is signed by another certificate than that of intel's signer")]
    OtherSigner {
        /// What it signed.
        of: Part,
    },
    /// The platform's certificate does not say what Intel's say.
    #[error("the certificate of the platform: {0}")]
    Pck(PckError),
    /// What Intel signed does not read.
    #[error("the {of} does not read: {why}")]
    Text {
        /// What.
        of: Part,
        /// Why.
        why: String,
    },
    /// What Intel signed is of something else.
    #[error("the {of} is of `{found}`")]
    OtherKind {
        /// What.
        of: Part,
        /// Of what it is.
        found: String,
    },
    /// The TCB info is of another kind of platform.
    #[error("the tcb info is of another kind of platform than the quote")]
    OtherPlatform,
    /// The quoting enclave is another.
    #[error("the quoting enclave is not intel's")]
    OtherEnclave,
    /// The TDX module is another.
    #[error("the tdx module is not one that intel names")]
    OtherModule,
    /// Intel names no level that low.
    #[error("{of} is below every level that intel names")]
    BelowAllLevels {
        /// What.
        of: &'static str,
    },
}
