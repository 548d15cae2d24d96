//! The authority above ours, where there is one: a company's, in files or a token.

use std::future::Future;
use std::pin::Pin;

use time::UnixTime;
use wimse::Origin;

use crate::Unavailable;

/// A certificate that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperiorOrder {
    /// Our trust domain, under its scheme.
    pub origin: Origin,
    /// A PKCS#10 request in DER, which proves the key.
    pub request: Vec<u8>,
    /// Sixteen random bytes, for a serial number.
    pub random: [u8; 16],
    /// Now.
    pub now: UnixTime,
    /// Until when it is wanted; it may be given for less.
    pub until: UnixTime,
}

/// What an authority above answers. Nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperiorAnswer {
    /// Certificates in DER, ours first, each signed by the next.
    pub chain: Vec<Vec<u8>>,
    /// The roots, in DER.
    pub roots: Vec<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperiorFault {
    /// It said no, or cannot.
    #[error("{0}")]
    Refused(String),
    /// It did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// An answer under way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, SuperiorFault>> + Send + 'a>>;

/// The authority above ours. Trusting it means: who can use it can be anybody of this trust domain.
pub trait Superior: Send + Sync + 'static {
    /// Which it is, in words for operators.
    fn name(&self) -> &str;

    /// Asks for a certificate of an authority. Asked twice, it gives two.
    fn certify(&self, order: SuperiorOrder) -> Answering<'_, SuperiorAnswer>;

    /// Its roots, as they are now.
    fn roots(&self) -> Answering<'_, Vec<Vec<u8>>>;
}
