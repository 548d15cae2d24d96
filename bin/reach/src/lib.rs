//! How the command line and the demo reach what runs: our own HTTPS origin, the Workload API, and
//! how it is told when that fails (docs/design.md §4 has the exit codes).
//!
//! In scope: one HTTP/1.1 exchange, over TLS with the instance's own CA; the caller's identity;
//! tokens of any authorization server, and the way there from a resource; what people and scripts
//! are shown, what people write (lengths of time, ids, roles), records of agents as they give them,
//! the folder of the demo, the folder of files that programs read, and the stores of certificates
//! that browsers do. Not here: the operators' socket, whose client is `api::admin::Client`, and the
//! commands.

pub mod asked;
pub mod at;
pub mod base64;
pub mod behalf;
pub mod enrol;
pub mod exit;
pub mod files;
pub mod folder;
pub mod http1;
pub mod https;
pub mod identity;
pub mod issued;
pub mod output;
pub mod place;
pub mod published;
pub mod registration;
pub mod span;
pub mod stage;
pub mod trust;
