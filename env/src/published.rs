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
    /// Who made us ask: an address, so that nobody takes the places of all others.
    pub source: String,
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

/// Why there is none. It tells what is to be found around us: for records and the log, and never
/// for whoever named the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRead {
    /// Which check.
    pub check: &'static str,
    /// In words.
    pub why: String,
}

/// A document on its way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Page, NotRead>> + Send + 'a>>;

/// Reads, within seconds: the address that a name resolves to is judged before it is connected to,
/// no redirect is followed, no more than `bytes_max` is read, the media type must be JSON. Who asks
/// for the same URL meanwhile gets the same answer. What comes back is as unproven as the network.
pub trait Published: Send + Sync {
    /// The document.
    fn read<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a>;
}
