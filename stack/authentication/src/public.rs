//! Public clients (RFC 6749 §2.1): they have no credential, and say who they are.

use oauth::ClientId;
use time::UnixTime;

use crate::caller::{Caller, Method, Who};

/// The client that `client_id` names and that registered as public. RFC 6749 §3.2.1: "A public
/// client [...] MUST send its own "client_id" to prevent itself from inadvertently accepting a code
/// intended for a client with a different "client_id"."
pub fn identify(client_id: &ClientId, until: UnixTime) -> Caller {
    Caller::new(Who::Client(client_id.as_str().to_owned()), Method::None, until)
}
