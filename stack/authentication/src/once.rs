//! A value that a proof may be accepted with once.

use time::UnixTime;

/// What must not have been seen before, and until when it must be remembered. The flow hands it to
/// the store, which accepts it once (AUTHN-05).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Who verifies, and the kind of value: two verifiers do not see each other's.
    pub space: String,
    /// The value.
    pub value: String,
    /// After this the proof is refused for its age.
    pub until: UnixTime,
}
