//! What relying parties submit, and what they ask sessions for.

use attestation::mechanism::ALL;
use verification::{Nonce, Sessions};

/// What reads is of a mechanism whose evidence is appraised for others, and within its bounds.
pub(crate) fn submission(data: &[u8]) {
    for media_type in verification::accepted(ALL) {
        let Ok(read) = verification::read(ALL, &media_type, data) else { continue };
        assert!(verification::accepted(&[]).iter().all(|known| *known != read.mechanism));
        assert!(ALL.iter().any(|one| one.name() == read.mechanism && one.takes_known_nonce()));
    }
    let text = str::from_utf8(data).unwrap_or_default();
    if let Ok(nonce) = Nonce::asked(Some(text), None, &[0; 64]) {
        assert_eq!(Nonce::asked(Some(&nonce.to_text()), None, &[0; 64]), Ok(nonce));
    }
    let now = time::UnixTime::from_seconds(1);
    assert!(Sessions::new(&[1; 32]).find(text, now).is_err(), "nobody knows the secret");
}
