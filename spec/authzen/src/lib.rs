//! [AuthZEN Authorization API 1.0](https://openid.net/specs/authorization-api-1_0.html): the shape
//! of a question to a policy decision point, and of its answer.
//!
//! In scope: the information model (§5), one evaluation (§6) and several in one message (§7), as
//! JSON (§10.1.1), metadata (§9), and asking for what was denied (Access Request and Approval
//! Profile). Not here: HTTP and its status codes (`edge/decisions`), search (§8), the decision
//! itself (`stack/pdp`).
//!
//! What a question says of its subject is the word of whoever asks: §11.4 "The architecture of
//! this model assumes the PDP must trust the PEP".

pub mod access_request;
mod actor;
mod evaluation;
mod evaluations;
mod metadata;

pub use actor::{ACT, ACTORS_MAX, Actor};
pub use evaluation::{Action, Malformed, Properties, Request, Resource, Response, Subject};
pub use evaluations::{Evaluations, Responses, Semantic};
pub use metadata::{
    ACCESS_REQUEST, EVALUATION_PATH, EVALUATIONS_PATH, Metadata, WELL_KNOWN, path_of, well_known,
};

/// Longest message that is read, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of objects and arrays in a message; the message itself is the first level.
pub const DEPTH_MAX: usize = 16;
/// How much of a message is read.
const BOUNDS: json::Bounds = json::Bounds { bytes_max: MESSAGE_BYTES_MAX, depth_max: DEPTH_MAX };
/// Longest `type` or `name`, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest `id`, in bytes.
pub const ID_BYTES_MAX: usize = 4 * 1024;
/// Most evaluations in one message.
pub const EVALUATIONS_MAX: usize = 256;
/// Most bytes that the evaluations of one message may be together, each with the defaults that it
/// takes: what they would be, sent one by one.
pub const EXPANDED_BYTES_MAX: usize = 8 * MESSAGE_BYTES_MAX;
