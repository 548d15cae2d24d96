//! What clients publish about themselves, at URLs that strangers chose.

use std::future::Future;
use std::pin::Pin;

use time::Span;

use crate::outside::Reach;

/// A document that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where: an https URL, exactly as it was written.
    pub url: String,
    /// How it is reached.
    pub reach: Reach,
    /// The most bytes that it may have.
    pub bytes_max: usize,
}

/// A document as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its text.
    pub text: String,
    /// How long it may be kept, as its server says (RFC 9111 §5.2.2: `max-age`, zero for `no-store`
    /// and `no-cache`); `None` where it does not say.
    pub keep: Option<Span>,
}

/// A document on its way; the error is in words.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Page, String>> + Send + 'a>>;

/// Reads, within seconds: the address that a name resolves to is judged before it is connected to,
/// no redirect is followed, no more than `bytes_max` is read, the media type must be JSON. Who asks
/// for the same URL meanwhile gets the same answer. What comes back is as unproven as the network.
pub trait Published: Send + Sync {
    /// The document.
    fn read<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a>;
}
