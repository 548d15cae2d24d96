//! Requests of enrolment.

use attestation::mechanism::ALL;
use enrolment::session::{NONCE_CHARS, Sessions};
use enrolment::{AUDIENCES_MAX, EnrolRequest, RenewRequest, SessionRequest, take_apart};
use time::UnixTime;

/// What is read is within its bounds; a wrapper has one evidence or is refused; nobody makes up a
/// nonce.
pub(crate) fn request(data: &[u8]) {
    let _ = SessionRequest::parse(data);
    let _ = RenewRequest::parse(data);
    let Ok(read) = EnrolRequest::parse(data) else { return };
    assert!(read.nonce.len() == NONCE_CHARS && !read.wanted.kinds.is_empty());
    assert!(read.wanted.audiences.len() <= AUDIENCES_MAX);
    let sessions = Sessions::new(&[7; 32]);
    for mechanism in ALL {
        let Ok((evidence, documents)) = take_apart(&read.evidence, *mechanism) else { continue };
        assert_eq!(read.evidence.records().len(), documents.len() + 1);
        let now = UnixTime::from_seconds(0);
        assert!(sessions.accept(&read.nonce, mechanism.name(), evidence, now).is_err());
    }
}
