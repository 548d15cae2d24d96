//! Attestation objects: a new credential, and who vouches for it (§6.5, §8).

use crate::ATTESTATION_OBJECT_BYTES_MAX;
use crate::authenticator_data::{
    Attested, AuthenticatorData, AuthenticatorDataError, is_identifier,
};
use crate::cbor::{self, Malformed, Value};

const NONE: &str = "none";
const PACKED: &str = "packed";

/// Which attestation a relying party takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationPolicy {
    /// `none`, and `packed` by the credential's own key; any other is refused.
    NoneOrSelf,
    /// Any; what is not one of those two is taken as a name and believed in nothing.
    AnyUnbelieved,
}

/// What came with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// Nobody vouches for it.
    None,
    /// It signed for itself: whoever registered it has its private key.
    SelfSigned,
    /// Somebody signed for it, and nobody looked at that.
    Unbelieved {
        /// The format, as it calls itself.
        format: String,
    },
}

/// An attestation object, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationObject {
    format: String,
    statement: Statement,
    data: AuthenticatorData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Statement {
    None,
    PackedSelf { algorithm: i64, signature: Vec<u8> },
    Other,
}

impl AttestationObject {
    /// Reads all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestationError> {
        if bytes.len() > ATTESTATION_OBJECT_BYTES_MAX {
            return Err(AttestationError::TooLong { bytes: bytes.len() });
        }
        let value = cbor::whole(bytes)?;
        let entries = value.map().ok_or(AttestationError::Members)?;
        // §6.5.4: "attObj = { authData: bytes, $$attStmtType }", of which each has `fmt` and
        // `attStmt`; the keys are in the order of CTAP2.
        let [(fmt, format), (att_stmt, statement), (auth_data, data)] = entries else {
            return Err(AttestationError::Members);
        };
        let names = [fmt, att_stmt, auth_data].map(Value::text);
        let (Some(format), Some(statement), Some(data)) =
            (format.text(), statement.map(), data.bytes())
        else {
            return Err(AttestationError::Members);
        };
        if names != ["fmt", "attStmt", "authData"].map(Some) {
            return Err(AttestationError::Members);
        }
        if !is_identifier(format) {
            return Err(AttestationError::Format);
        }
        let statement = match format {
            // §8.7: "emptyMap = {}"
            NONE if statement.is_empty() => Statement::None,
            NONE => return Err(AttestationError::Statement { format: NONE }),
            PACKED => packed(statement)?,
            _ => Statement::Other,
        };
        let data = AuthenticatorData::parse(data)?;
        Ok(Self { format: format.to_owned(), statement, data })
    }

    /// The format of the statement.
    pub fn format(&self) -> &str {
        &self.format
    }

    /// What the authenticator says.
    pub const fn authenticator_data(&self) -> &AuthenticatorData {
        &self.data
    }

    /// What the statement is worth, for the credential that came with it.
    pub fn verify(
        &self,
        policy: AttestationPolicy,
        attested: &Attested,
        client_data_hash: &[u8; 32],
    ) -> Result<Attestation, AttestationRefused> {
        match &self.statement {
            // §8.7: "Return implementation-specific values representing attestation type None and
            // an empty attestation trust path."
            Statement::None => Ok(Attestation::None),
            Statement::PackedSelf { algorithm, signature } => {
                // §8.2: "Validate that alg matches the algorithm of the credentialPublicKey in
                // authenticatorData."
                let expected = attested.key.algorithm().cose();
                if *algorithm != expected {
                    return Err(AttestationRefused::Algorithm { found: *algorithm, expected });
                }
                // §8.2: "Verify that sig is a valid signature over the concatenation of
                // authenticatorData and clientDataHash using the credential public key with alg."
                let message = self.data.signed_with(client_data_hash);
                let verified = attested.key.verify(&message, signature);
                verified.map_err(|_| AttestationRefused::Signature)?;
                Ok(Attestation::SelfSigned)
            }
            Statement::Other => match policy {
                AttestationPolicy::NoneOrSelf => {
                    Err(AttestationRefused::Format { format: self.format.clone() })
                }
                // §7.1 step 24: "if permitted by policy, the Relying Party MAY register the
                // credential ID and credential public key but treat the credential as one with
                // self attestation": we say of it that nobody looked.
                AttestationPolicy::AnyUnbelieved => {
                    Ok(Attestation::Unbelieved { format: self.format.clone() })
                }
            },
        }
    }
}

fn packed(entries: &[(Value<'_>, Value<'_>)]) -> Result<Statement, AttestationError> {
    // §8.2: "packedStmtFormat = { alg: COSEAlgorithmIdentifier, sig: bytes, x5c: [ attestnCert:
    // bytes, * (caCert: bytes) ] } // { alg: COSEAlgorithmIdentifier sig: bytes }"
    let wrong = AttestationError::Statement { format: PACKED };
    let (both, rest) = entries.split_at_checked(2).ok_or(wrong.clone())?;
    let [(alg, algorithm), (sig, signature)] = both else { return Err(wrong) };
    let (Some("alg"), Some("sig")) = (alg.text(), sig.text()) else { return Err(wrong) };
    let (Some(algorithm), Some(signature)) = (algorithm.integer(), signature.bytes()) else {
        return Err(wrong);
    };
    match rest {
        [] => Ok(Statement::PackedSelf { algorithm, signature: signature.to_vec() }),
        [(x5c, Value::Array(chain))]
            if x5c.text() == Some("x5c")
                && !chain.is_empty()
                && chain.iter().all(|certificate| certificate.bytes().is_some()) =>
        {
            Ok(Statement::Other)
        }
        _ => Err(wrong),
    }
}

/// Why bytes are no attestation object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    #[error("an attestation object of {bytes} bytes; {ATTESTATION_OBJECT_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("the attestation object does not read: {0}")]
    Malformed(#[from] Malformed),
    #[error("an attestation object is a map of `fmt`, `attStmt` and `authData`")]
    Members,
    #[error("a format of attestation that is no identifier")]
    Format,
    #[error("an attestation statement that `{format}` does not have")]
    Statement { format: &'static str },
    #[error("authenticator data: {0}")]
    Data(#[from] AuthenticatorDataError),
}

/// Why an attestation statement is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationRefused {
    #[error("attestation `{format}` by somebody else; taken are `none` and `packed` by itself")]
    Format { format: String },
    #[error("attestation by algorithm {found}, of a credential of {expected}")]
    Algorithm { found: i64, expected: i64 },
    #[error("the signature of the attestation does not verify")]
    Signature,
}
