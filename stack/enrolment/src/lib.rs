//! What agents without a host of ours send to be enrolled, and the sessions that they do it in
//! (S2 §3.1; PROV-07, REG-01; freshness after RFC 9334 §10,
//! <https://www.rfc-editor.org/rfc/rfc9334>; wrappers after draft-ietf-rats-msg-wrap).
//!
//! In scope: reading the requests of our own endpoints, taking the wrapper of evidence apart, and
//! nonces that nobody keeps. Not here: what evidence proves (`attestation`), the order of the
//! checks (`flow/enrol`), HTTP (`edge/api`).

mod request;
pub mod session;

pub use request::{
    AUDIENCES_MAX, Brought, EnrolRequest, REQUEST_BYTES_MAX, RenewRequest, SessionRequest, Unfit,
    Unread, Wanted, accepted, media_types, take_apart, take_apart_by,
};
