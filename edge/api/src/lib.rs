//! The server's HTTPS origin, its mutual TLS twin, and the operators' socket: HTTP in
//! ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)), a flow asked, an answer out.
//!
//! In scope: sockets, TLS, bounds, reading requests into types, the one table from refusals to
//! status codes (`wire` for OAuth, `admin::problem` for operators), CORS, metrics, and a
//! client of the socket for the command line. Not here: any decision (`flow`), the logs themselves
//! (`edge/log`, behind [`Tiles`] and [`Audit`]), the node API (`edge/link`).
//!
//! What trusting it means: it shows the flows exactly what was sent, once, and lets out nothing
//! that a flow did not record. Certificates of clients are handed on unverified.

mod about;
mod accept;
pub mod admin;
mod answer;
mod asking;
mod audit;
pub mod client;
mod documents;
mod enrol;
mod health;
mod identifier;
mod left;
mod limits;
mod lines;
mod metrics;
mod origin;
mod push;
mod refused;
mod registration;
mod routes;
mod status_lists;
pub mod story;
mod tiles;
mod token;
mod verify;
mod wire;

pub use answer::AUDIT_ID;
pub use audit::{Audit, AuditFault, Entry, Growing};
pub use health::{FeedState, Health, LogState};
pub use limits::{FORM_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, Limits, ORDER_BYTES_MAX};
pub use origin::{Origin, Parts};
pub use refused::{OnRefused, Source, Unread};
pub use routes::{Endpoint, endpoints};
pub use tiles::Tiles;
