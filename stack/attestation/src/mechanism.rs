//! The seam that every way of joining fits: a name, perhaps a challenge, an appraisal
//! (ATT-12). The issuer knows only this file.

use rats::{Claim, Vector};
use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::idevid;
use crate::issuer_keys::KeySource;
use crate::join_token::{self, JoinToken};
use crate::policy::NodeRule;
use crate::selector::{SelectorError, Selectors};
use crate::{
    aws_iid, azure_imds, ear, http_challenge, k8s_psat, platform_token, snp, sshpop, tdx,
    tpm_devid, x509pop,
};

/// The largest evidence of any mechanism, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 64 * 1024;
/// The largest answer to a challenge that is a signature and what belongs to it, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 8 * 1024;
/// The largest answer to a challenge of any mechanism, in bytes: Azure's is a signed document. Each
/// mechanism bounds its own.
pub const ANSWER_BYTES_MAX: usize = EVIDENCE_BYTES_MAX;

/// Whether `bytes` are within a bound.
pub(crate) const fn bounded(bytes: &[u8], max: usize) -> Result<(), Refusal> {
    if bytes.len() > max { Err(Refusal::TooLarge { bytes: bytes.len(), max }) } else { Ok(()) }
}

/// What a component will be, once it has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A host that attests workloads.
    Node,
    /// A gateway.
    Gateway,
    /// A SPIRE agent: it measures workloads by itself, and says which record they match.
    #[serde(rename = "spire-agent")]
    SpireAgent,
}

impl Role {
    /// The name in identifiers and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gateway => "gateway",
            Self::SpireAgent => "spire-agent",
        }
    }

    /// The first two segments of identifiers: our own, or those that SPIRE reserves for agents.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Node => "aims/node",
            Self::Gateway => "aims/gateway",
            Self::SpireAgent => "spire/agent",
        }
    }
}

/// The facts that a mechanism may look at, besides the evidence itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Our trust domain.
    pub domain: &'a str,
    /// The key that the host asks a certificate for, as `SubjectPublicKeyInfo`: the request proved
    /// that the host has it.
    pub key: &'a [u8],
    /// What the platform said to the mechanism's [`Question`].
    pub told: Option<&'a [u8]>,
    /// The key set that [`Mechanism::keys`] asked for.
    pub keys: Option<&'a [u8]>,
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

impl<'a> Facts<'a> {
    /// The facts without those that only some mechanisms look at.
    pub const fn new(role: Role, rule: &'a NodeRule, nonce: &'a [u8; 32], now: UnixTime) -> Self {
        Self { domain: "", key: &[], told: None, keys: None, role, rule, token: None, nonce, now }
    }
}

/// What a mechanism has to ask of somebody else before it can tell (an `env` door asks).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The first bytes of a document that the host serves over plain HTTP.
    Document {
        /// A DNS name that policy allows.
        host: String,
        /// Its port.
        port: u16,
        /// The path, which begins with a slash.
        path: String,
        /// How many bytes are read.
        bytes_max: usize,
        /// The ranges besides the public Internet that the name may lead to.
        addresses: Vec<String>,
    },
    /// The key set of an issuer.
    Keys {
        /// Where it is.
        source: KeySource,
        /// The key that a token names: unproven, so it may wake up a look at the source and no
        /// more.
        kid: Option<String>,
    },
    /// A `TokenReview` of a Kubernetes cluster.
    TokenReview {
        /// The cluster's name in policy.
        cluster: String,
        /// The base URL of its API server.
        server: String,
        /// PEM certificates of the authorities that its API server is known by.
        ca: String,
        /// The ranges besides the public Internet that it may be in.
        addresses: Vec<String>,
        /// The body of the request, JSON.
        review: String,
    },
}

impl Question {
    /// Whom it is for, in words.
    pub fn whom(&self) -> String {
        match self {
            Self::Document { host, port, .. } => format!("{host}:{port}"),
            Self::Keys { source, .. } => format!("`{}` for its keys", source.issuer),
            Self::TokenReview { cluster, .. } => format!("the cluster `{cluster}`"),
        }
    }
}

/// A way to find out what a host is.
///
/// Order: size, challenge, signature, chain, binding, and
/// only then content; a mechanism gives selectors out of nothing that it did not verify.
pub trait Mechanism: Sync {
    /// The name in policy, records and identifiers; SPIRE's where SPIRE has the mechanism.
    fn name(&self) -> &'static str;

    /// The registered media types of its evidence, for wrappers, beside the one of ours.
    fn media_types(&self) -> &'static [&'static str] {
        &[]
    }

    /// The challenge to send, or `None` where the evidence stands alone.
    fn challenge(&self, evidence: &[u8], facts: &Facts<'_>) -> Result<Option<Vec<u8>>, Refusal>;

    /// The keys that have to be fetched before a signature can be checked, where policy names a
    /// place for them: whose, is policy's to say and never the evidence's.
    fn keys(&self, _: &[u8], _: &Facts<'_>) -> Result<Option<Question>, Refusal> {
        Ok(None)
    }

    /// What has to be asked of somebody else, once the challenge is answered. What it is made of is
    /// checked against policy first: nobody else's address is asked for a stranger.
    fn question(&self, _: &[u8], _: &Facts<'_>) -> Result<Option<Question>, Refusal> {
        Ok(None)
    }

    /// What is wrong in policy's table of this mechanism: the key below the table, and why. Without
    /// settings of its own it has none but `anchors`.
    fn faults(&self, rule: &NodeRule) -> Vec<(String, String)> {
        let unknown = |key: &String| (key.clone(), format!("`{}` has no `{key}`", self.name()));
        rule.own.keys().map(unknown).collect()
    }

    /// Whether its hosts are made for one job: they go without a word, and that is no alarm.
    fn is_brief(&self) -> bool {
        false
    }

    /// Whether its evidence is bound to a nonce that others may know, and proves in one message
    /// what it proves: then a relying party may have it appraised (RFC 9334 §5.2, background
    /// check).
    fn takes_known_nonce(&self) -> bool {
        false
    }

    /// What the evidence, and the answer to the challenge, prove.
    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, Refusal>;
}

/// Every mechanism there is. A new one is added here, and nowhere else.
pub const ALL: &[&dyn Mechanism] = &[
    &join_token::Mechanism,
    &x509pop::Mechanism,
    &sshpop::Mechanism,
    &k8s_psat::Mechanism,
    &platform_token::GITHUB_ACTIONS,
    &platform_token::GITLAB_CI,
    &platform_token::GCP_IIT,
    &aws_iid::Mechanism,
    &azure_imds::Mechanism,
    &http_challenge::Mechanism,
    &tpm_devid::Mechanism,
    &idevid::Mechanism,
    &ear::Mechanism,
    &snp::Mechanism,
    &tdx::Mechanism,
];

/// The mechanism of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Mechanism> {
    named(ALL, name)
}

/// The one of that name among `all`.
pub fn named(all: &'static [&'static dyn Mechanism], name: &str) -> Option<&'static dyn Mechanism> {
    all.iter().copied().find(|mechanism| mechanism.name() == name)
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
    /// How far they let the host be trusted.
    pub vector: Vector,
    /// True when what it joined by serves once: the join token is used up, and without one the
    /// name is (trust on first use): a known host of that name is refused.
    pub once: bool,
    /// Values of the evidence that may be accepted once.
    pub uses: Vec<Use>,
    /// Until when it counts, where the evidence says so.
    pub until: Option<UnixTime>,
}

impl Appraisal {
    /// A host that may attest again, by evidence that may be shown again, and of which is known
    /// who it is, no more.
    pub fn new(mechanism: &'static str, name: String, selectors: Selectors) -> Self {
        // AR4SI §2.3.4: of instance-identity, 2 is "recognized, and the associated instance of the
        // Attester is not known to be compromised."
        let vector = Vector::NONE.with(Claim::InstanceIdentity, 2);
        Self { mechanism, name, selectors, vector, once: false, uses: Vec::new(), until: None }
    }
}

/// A value that may be accepted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The value, with whoever made it unique.
    pub value: String,
    /// Until when it must be remembered: later it is refused for its age.
    pub until: UnixTime,
}

/// The steps of a verification, in their order. Nothing of a later one is used before the earlier
/// ones passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Size, and form as far as it must be read to find the signature.
    Form,
    /// The signature over the exact bytes that came.
    Signature,
    /// The chain to an anchor of exactly this mechanism, with validity and usage.
    Chain,
    /// The nonce of this session, and the key or the audience that it is bound to.
    Binding,
    /// What the evidence says.
    Content,
    /// What policy allows of that.
    Policy,
}

impl Step {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Signature => "signature",
            Self::Chain => "chain",
            Self::Binding => "binding",
            Self::Content => "content",
            Self::Policy => "policy",
        }
    }

    /// How records call a refusal at this step.
    pub const fn check(self) -> &'static str {
        match self {
            Self::Form => "attestation::Form",
            Self::Signature => "attestation::Signature",
            Self::Chain => "attestation::Chain",
            Self::Binding => "attestation::Binding",
            Self::Content => "attestation::Content",
            Self::Policy => "attestation::Policy",
        }
    }

    /// True when the host has proved nothing yet.
    pub const fn is_before_proof(self) -> bool {
        matches!(self, Self::Form | Self::Signature | Self::Chain)
    }
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
    /// A mechanism's own check, at its step of the order.
    #[error("{mechanism}: {why}")]
    Failed {
        /// The mechanism.
        mechanism: &'static str,
        /// Which step.
        step: Step,
        /// The check that fired, with its evidence.
        why: String,
    },
    /// The settings of the mechanism do not read; policy does not compile with such.
    #[error("policy of `{mechanism}` does not read: {why}")]
    Settings {
        /// The mechanism.
        mechanism: &'static str,
        /// Why.
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
