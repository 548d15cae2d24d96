//! Private keys. They never cross this door, save those that a node made for a workload whose
//! record lets it hold them.

use std::fmt;
use std::future::Future;

use credential::{CannotMake, Purpose};
use jose::{Algorithm, PublicKey, Signature};

use crate::Unavailable;

/// Names a private key behind the door.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Handle {
    /// What it signs.
    pub purpose: Purpose,
    /// Which one: for keys that sign tokens, their `kid`.
    pub id: String,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.purpose.name(), self.id)
    }
}

/// Why a key did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There is no such key here.
    #[error("no private key `{0}` here")]
    Unknown(Handle),
    /// This key may not leave the door.
    #[error("the private key `{0}` does not leave its store")]
    NotExportable(Handle),
    /// The key store did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<KeyFault> for Unavailable {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::Unavailable(unavailable) => unavailable,
            other => Self::of("keys", other),
        }
    }
}

/// The key store of one component. Whoever can read its files can be this component.
pub trait Keys: Send + Sync + 'static {
    /// Makes a key, durable when it answers (save [`Purpose::Workload`] and [`Purpose::Agent`]
    /// keys, which end with the process).
    fn generate(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
    ) -> impl Future<Output = Result<(Handle, PublicKey), KeyFault>> + Send;

    /// Whether [`Keys::generate`] would make a key for this.
    fn makes(&self, purpose: Purpose, algorithm: Algorithm) -> Result<(), CannotMake>;

    /// The public half.
    fn public(&self, handle: &Handle) -> Result<PublicKey, KeyFault>;

    /// Signs as JWS does: for ES256 the 64 bytes r ‖ s (RFC 7518 §3.4).
    fn sign(
        &self,
        handle: &Handle,
        message: &[u8],
    ) -> impl Future<Output = Result<Signature, KeyFault>> + Send;

    /// The private key itself, PKCS#8 DER: only [`Purpose::Workload`] keys, for a workload whose
    /// record lets it hold them.
    fn export(&self, handle: &Handle) -> Result<jose::PrivateKey, KeyFault>;

    /// Forgets a key for good.
    fn destroy(&self, handle: &Handle) -> impl Future<Output = Result<(), KeyFault>> + Send;
}
