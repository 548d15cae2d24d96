//! The one client for URLs that somebody else chose
//! ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110),
//! [RFC 9525](https://www.rfc-editor.org/rfc/rfc9525), SPIFFE Federation §5.2): HTTPS (plain HTTP
//! only where the exchange is to prove who answers under a name), no private address unless the
//! operator lists it, no other host than the one in the URL, and an end to it in bytes and in time.
//!
//! In scope: which addresses may be reached, checked after the name was resolved and on the very
//! address that is connected to; who must answer there, by the Web PKI or by SPIFFE ID; how much is
//! read. Not here: what the document means (whoever asked for it), upstreams and components that
//! the operator configured (`edge/proxy`, `edge/link`).
//!
//! Trusting it means: whoever chooses the URL, answers the name or holds the host cannot make this
//! process talk to a machine that only we can reach, nor hold it up or fill it.

mod address;
mod client;
mod fault;
mod roots;
mod tls;

pub use address::{BadNetwork, Network, is_public};
pub use client::{Basic, Fetcher, Limits, Names, Page, Peer, SystemNames, encoded};
pub use fault::FetchFault;
pub use roots::{BadRoots, Roots, SYSTEM_FILES};
