//! Why a host with a TPM proves nothing: one variant a step, in the order of the steps.

use tpm::{Attributes, BadSignature, CredentialError, Malformed};

/// Why a host with a TPM proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The DevID certificate is not one that policy trusts.
    #[error("the devid certificate is not trusted: {why}")]
    DevidChain {
        /// What the path validation said.
        why: String,
    },
    /// Its key may not sign.
    #[error("the devid certificate's key usage lacks digitalSignature")]
    DevidKeyUsage,
    /// The endorsement certificate is not one that policy trusts.
    #[error("the endorsement certificate is not trusted: {why}")]
    EkChain {
        /// What the path validation said.
        why: String,
    },
    /// A structure does not read.
    #[error("`{field}` does not read: {why}")]
    Structure {
        /// Its name in the evidence.
        field: &'static str,
        /// What is wrong.
        why: Malformed,
    },
    /// The endorsement key and its certificate do not belong together.
    #[error("the endorsement key is not the key of the endorsement certificate")]
    EkOtherKey,
    /// It is no endorsement key by its attributes.
    #[error("the endorsement key has the attributes `{found}`, not `{}`", Attributes::ENDORSEMENT)]
    EkAttributes {
        /// What it has.
        found: Attributes,
    },
    /// It has another policy than an endorsement key.
    #[error("the endorsement key has not the policy of its template")]
    EkPolicy,
    /// It is of a template that is not supported.
    #[error(transparent)]
    EkTemplate(CredentialError),
    /// The attestation key may sign what its TPM did not say, or may leave it.
    #[error(
        "the attestation key has the attributes `{found}`, not `{}`: it must be restricted to \
         sign, and fixed to its tpm",
        Attributes::ATTESTATION
    )]
    AkAttributes {
        /// What it has.
        found: Attributes,
    },
    /// The certification is not signed by the attestation key.
    #[error("the certification of the devid key: {0}")]
    Certification(BadSignature),
    /// It is an attestation of another kind.
    #[error("what the attestation key signed is no certification of a key")]
    NotACertification,
    /// It certifies another key.
    #[error("the attestation key certifies another key than the devid key")]
    OtherKeyCertified,
    /// The DevID key may leave its TPM, or came from outside.
    #[error(
        "the devid key has the attributes `{found}`: it must sign, be fixed to its tpm and come \
         from it"
    )]
    DevidAttributes {
        /// What it has.
        found: Attributes,
    },
    /// The DevID key in the TPM is not that of the certificate.
    #[error("the devid key in the tpm is not the key of the devid certificate")]
    DevidOtherKey,
    /// The DevID key did not sign our nonce.
    #[error("the devid key's signature over the challenge is wrong")]
    DevidSignature,
    /// The TPM of the endorsement key does not have the attestation key.
    #[error("the credential was not activated: the attestation key is not in the tpm")]
    Activation,
    /// Policy names PCRs, and there is no quote.
    #[error("policy wants a quote of pcrs, and there is none")]
    QuoteMissing,
    /// The quote is not signed by the attestation key.
    #[error("the quote: {0}")]
    Quote(BadSignature),
    /// It is an attestation of another kind.
    #[error("what the attestation key signed is no quote")]
    NotAQuote,
    /// It was made for another challenge.
    #[error("the quote is not bound to the challenge")]
    QuoteNonce,
    /// It is of other PCRs than were asked for.
    #[error("the quote is of other pcrs than were asked for")]
    QuoteSelection,
    /// The values are not those that were quoted.
    #[error("the values of the pcrs are not those that were quoted")]
    QuoteDigest,
    /// Policy does not allow a value.
    #[error("policy does not allow pcr {index} the value `{found}`")]
    Pcr {
        /// Which PCR.
        index: u8,
        /// Its value.
        found: String,
    },
}

impl Refusal {
    /// What records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::DevidChain { .. } => "attestation::DevidChain",
            Self::DevidKeyUsage => "attestation::DevidKeyUsage",
            Self::EkChain { .. } => "attestation::EkChain",
            Self::Structure { .. } => "attestation::TpmStructure",
            Self::EkOtherKey => "attestation::EkOtherKey",
            Self::EkAttributes { .. } => "attestation::EkAttributes",
            Self::EkPolicy => "attestation::EkPolicy",
            Self::EkTemplate(_) => "attestation::EkTemplate",
            Self::AkAttributes { .. } => "attestation::AkAttributes",
            Self::Certification(_) => "attestation::Certification",
            Self::NotACertification => "attestation::NotACertification",
            Self::OtherKeyCertified => "attestation::OtherKeyCertified",
            Self::DevidAttributes { .. } => "attestation::DevidAttributes",
            Self::DevidOtherKey => "attestation::DevidOtherKey",
            Self::DevidSignature => "attestation::DevidSignature",
            Self::Activation => "attestation::Activation",
            Self::QuoteMissing => "attestation::QuoteMissing",
            Self::Quote(_) => "attestation::QuoteSignature",
            Self::NotAQuote => "attestation::NotAQuote",
            Self::QuoteNonce => "attestation::QuoteNonce",
            Self::QuoteSelection => "attestation::QuoteSelection",
            Self::QuoteDigest => "attestation::QuoteDigest",
            Self::Pcr { .. } => "attestation::Pcr",
        }
    }

    /// True when nobody's key has answered anything yet.
    pub const fn is_strangers(&self) -> bool {
        !matches!(
            self,
            Self::Activation
                | Self::QuoteMissing
                | Self::Quote(_)
                | Self::NotAQuote
                | Self::QuoteNonce
                | Self::QuoteSelection
                | Self::QuoteDigest
                | Self::Pcr { .. }
                | Self::DevidSignature
        )
    }
}
