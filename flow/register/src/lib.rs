//! Clients that are not agents: how they come here, manage themselves, and go
//! ([RFC 7591](https://www.rfc-editor.org/rfc/rfc7591),
//! [RFC 7592](https://www.rfc-editor.org/rfc/rfc7592); AUTHZ-22, CRED-10).
//!
//! In scope: dynamic registration and its management, initial access tokens, software statements,
//! operators' orders about clients. Not here: documents and keys that clients publish and how they
//! authenticate (`flow/access`), what a registration must keep (`registry::admission`).

use access::ends;
use basis::{facts, record, throttle, turns};

pub mod endpoint;
pub mod manage;
pub mod orders;
mod refusal;
mod secrets;
mod taking;

pub use refusal::{End, Refusal};
pub use taking::Answer;
