//! The seam that every way of joining fits: a name, perhaps a challenge, an appraisal
//! (ATT-12). The issuer knows only this file.

use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::idevid;
use crate::join_token::{self, JoinToken};
use crate::policy::NodeRule;
use crate::selector::{SelectorError, Selectors};
use crate::tpm_devid;
use crate::x509pop;

/// The largest evidence of any mechanism, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 64 * 1024;
/// The largest answer to a challenge, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 8 * 1024;

/// What a component will be, once it has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A host that attests workloads.
    Node,
    /// A gateway.
    Gateway,
}

impl Role {
    /// The name in identifiers and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gateway => "gateway",
        }
    }
}

/// The facts that a mechanism may look at, besides the evidence itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The role asked for.
    pub role: Role,
    /// What policy says of this mechanism.
    pub rule: &'a NodeRule,
    /// The join token that the evidence names, if there is one.
    pub token: Option<&'a JoinToken>,
    /// 32 random bytes of this session: the nonce of a challenge.
    pub nonce: &'a [u8; 32],
    /// Now.
    pub now: UnixTime,
}

/// A way to find out what a host is.
///
/// Order: size, challenge, signature, chain, binding, and
/// only then content; a mechanism gives selectors out of nothing that it did not verify.
pub trait Mechanism: Sync {
    /// The name in policy, records and identifiers; SPIRE's where SPIRE has the mechanism.
    fn name(&self) -> &'static str;

    /// The challenge to send, or `None` where the evidence stands alone.
    fn challenge(&self, evidence: &[u8], facts: &Facts<'_>) -> Result<Option<Vec<u8>>, Refusal>;

    /// What the evidence, and the answer to the challenge, prove.
    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, Refusal>;
}

/// Every mechanism there is. A new one is added here, and nowhere else.
pub const ALL: &[&dyn Mechanism] =
    &[&join_token::Mechanism, &x509pop::Mechanism, &tpm_devid::Mechanism, &idevid::Mechanism];

/// The mechanism of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Mechanism> {
    ALL.iter().copied().find(|mechanism| mechanism.name() == name)
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    /// By which mechanism.
    pub mechanism: &'static str,
    /// The end of the identifier's path: what names this host among those of the mechanism.
    pub name: String,
    /// The facts.
    pub selectors: Selectors,
    /// True when a second join under the same name must be refused until an operator resets it.
    pub once: bool,
}

/// Why evidence proves nothing: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No mechanism of that name.
    #[error("no attestation mechanism `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// Policy does not allow it.
    #[error("policy does not let a {role} join by `{name}`")]
    NotAllowed {
        /// The mechanism.
        name: String,
        /// The role asked for.
        role: &'static str,
    },
    /// Over the bound.
    #[error("evidence of {bytes} bytes, at most {max} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// It does not read.
    #[error("the evidence does not read: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// A challenge was not answered.
    #[error("the challenge was not answered")]
    NoResponse,
    /// The join token is not known.
    #[error("the join token is not known")]
    TokenUnknown,
    /// The join token was used before.
    #[error("the join token was used at {at} already, by `{by}`")]
    TokenUsed {
        /// When.
        at: UnixTime,
        /// By whom.
        by: String,
    },
    /// The join token is too old.
    #[error("the join token ended at {end}, now is {now}")]
    TokenExpired {
        /// Its end.
        end: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// The join token is for another role.
    #[error("the join token lets a {role} join")]
    TokenRole {
        /// The role it was made for.
        role: &'static str,
    },
    /// The certificate is not one that policy trusts for this.
    #[error("the certificate is not trusted: {why}")]
    Chain {
        /// What the path validation said.
        why: String,
    },
    /// The certificate may not sign.
    #[error("the certificate's key usage lacks digitalSignature")]
    KeyUsage,
    /// The signature over the challenge is wrong.
    #[error("the signature over the challenge is wrong")]
    Signature,
    /// A step of `tpm_devid`.
    #[error(transparent)]
    TpmDevid(#[from] tpm_devid::Refusal),
    /// The certificate names no device.
    #[error("the certificate names no device: neither a serialNumber nor a hardwareModuleName")]
    NoDevice,
    /// The facts do not fit a set of selectors.
    #[error(transparent)]
    Selectors(#[from] SelectorError),
}
