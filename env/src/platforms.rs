//! Those who know a host better than its own evidence tells: its web server, its cluster.

use std::future::Future;
use std::pin::Pin;

use attestation::mechanism::Question;

use crate::Unavailable;

/// An answer on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unavailable>> + Send + 'a>>;

/// Asks, within seconds and without following anything: the address that a name resolves to is
/// judged before it is connected to, redirects are not followed, and no more is read than was asked
/// for. What comes back is as unproven as the network.
pub trait Platforms: Send + Sync {
    /// The bytes of the answer.
    fn ask<'a>(&'a self, question: &'a Question) -> Asking<'a>;
}
