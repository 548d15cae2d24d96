//! Why a ceremony is refused: one reason a step, and one table from reasons to steps.

use std::fmt;

use crate::attestation::{AttestationError, AttestationRefused};
use crate::authenticator_data::AuthenticatorDataError;
use crate::client_data::{Ceremony, ClientDataError};
use crate::credential::CredentialId;
use crate::key::Algorithm;
use crate::relying_party::Origin;

/// A ceremony that is refused: which one, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The ceremony.
    pub ceremony: Ceremony,
    /// The first step that failed.
    pub reason: Reason,
}

impl Refusal {
    /// The section of the specification, and the step in it that failed.
    pub const fn step(&self) -> (&'static str, u8) {
        let (registration, authentication) = self.reason.steps();
        match self.ceremony {
            Ceremony::Registration => ("7.1", registration),
            Ceremony::Authentication => ("7.2", authentication),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (section, step) = self.step();
        write!(f, "WebAuthn §{section} step {step}: {}", self.reason)
    }
}

impl std::error::Error for Refusal {}

/// What is wrong with a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the credential is none of those that were asked for")]
    NotAllowed { found: CredentialId },
    #[error("the credential is not the one of the record")]
    OtherCredential { found: CredentialId },
    #[error("the response names no user, and none was known before")]
    NoUserHandle,
    #[error("the credential is another user's")]
    OtherUser,
    #[error(transparent)]
    ClientData(#[from] ClientDataError),
    #[error("client data is of type `{found}`")]
    Kind { found: String },
    #[error("another challenge than the one of this ceremony")]
    Challenge,
    #[error("from origin `{found}`; it is asked at `{expected}`")]
    Origin { found: String, expected: Origin },
    #[error("from a frame in a page of another origin")]
    CrossOrigin,
    #[error("from a frame in a page of `{found}`")]
    TopOrigin { found: String },
    #[error(transparent)]
    AttestationObject(#[from] AttestationError),
    #[error("authenticator data: {0}")]
    AuthenticatorData(#[from] AuthenticatorDataError),
    #[error("authenticator data with a new credential, where one is used")]
    CredentialInAssertion,
    #[error("authenticator data is for another relying party")]
    RpIdHash,
    #[error("no user was present")]
    UserNotPresent,
    #[error("the user was not verified")]
    UserNotVerified,
    #[error("backed up, but not eligible for backup")]
    BackupState,
    #[error("backup eligibility was {was} and must not change")]
    BackupEligibility { was: bool },
    #[error("no credential was made")]
    NoCredential,
    #[error("a key of {found}, which was not asked for")]
    Algorithm { found: Algorithm },
    #[error(transparent)]
    Attestation(#[from] AttestationRefused),
    #[error("the credential is registered already")]
    AlreadyRegistered { id: CredentialId },
    #[error("the credential that was made is not the one that the response names")]
    CredentialIdsDiffer { made: CredentialId, named: CredentialId },
    #[error("the signature does not verify")]
    Signature,
    #[error("signature counter {found} after {stored}: the authenticator may be cloned")]
    Cloned { stored: u32, found: u32 },
}

impl Reason {
    /// The steps of §7.1 and of §7.2; 0 where a ceremony has no such step.
    const fn steps(&self) -> (u8, u8) {
        match self {
            Self::NotAllowed { .. } => (0, 5),
            Self::OtherCredential { .. } | Self::NoUserHandle | Self::OtherUser => (0, 6),
            Self::ClientData(_) => (6, 9),
            Self::Kind { .. } => (7, 10),
            Self::Challenge => (8, 11),
            Self::Origin { .. } => (9, 12),
            Self::CrossOrigin => (10, 13),
            Self::TopOrigin { .. } => (11, 14),
            Self::AttestationObject(_) | Self::NoCredential => (13, 0),
            // Read where it is first looked at.
            Self::AuthenticatorData(_) | Self::CredentialInAssertion => (0, 15),
            Self::RpIdHash => (14, 15),
            Self::UserNotPresent => (15, 16),
            Self::UserNotVerified => (16, 17),
            Self::BackupState => (17, 18),
            Self::BackupEligibility { .. } => (0, 19),
            Self::Algorithm { .. } => (20, 0),
            Self::Attestation(AttestationRefused::Format { .. }) => (24, 0),
            Self::Attestation(_) => (22, 0),
            Self::AlreadyRegistered { .. } => (26, 0),
            Self::CredentialIdsDiffer { .. } => (27, 0),
            Self::Signature => (0, 21),
            Self::Cloned { .. } => (0, 22),
        }
    }
}
