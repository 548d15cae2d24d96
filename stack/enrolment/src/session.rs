//! Sessions of enrolment (RFC 9334 §10.2, freshness by nonce): a challenge that nobody has to keep.
//!
//! What the asker is sent says, under an authentication code of this process, when it was made, for
//! which key, by which mechanism and on which evidence; whoever brings it back is bound to all of
//! that. A stranger who opens sessions costs no memory. The challenge itself is another value, that
//! only the mechanism shows, and some mechanisms never as it is.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::Thumbprint;
use time::{Span, UnixTime};

/// How long a nonce lives.
pub const LIFE: Span = Span::from_seconds(60);
/// Characters of a nonce: base64url of [`NONCE_BYTES`].
pub const NONCE_CHARS: usize = 160;
/// Random bytes, time, key, what it is bound to, authentication code.
const NONCE_BYTES: usize = RANDOM_BYTES + TIME_BYTES + 3 * HASH_BYTES;
const RANDOM_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const HASH_BYTES: usize = 32;
/// What the two uses of the secret are told apart by.
const OF_NONCE: &[u8] = b"aims enrolment nonce\0";
const OF_CHALLENGE: &[u8] = b"aims enrolment challenge\0";

/// The secret that the nonces of one process are known by.
pub struct Sessions(hmac::Key);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(..)")
    }
}

/// A session as it is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the asker brings back.
    pub nonce: String,
    /// What the mechanism's challenge is made of: not for anybody else's eyes.
    pub challenge: [u8; 32],
    /// Until when it may be brought back.
    pub until: UnixTime,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened(until {})", self.until)
    }
}

/// A session as it comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// RFC 7638 thumbprint of the key that it was opened for.
    pub key: Thumbprint,
    /// What the challenge was made of.
    pub challenge: [u8; 32],
    /// Until when it may be brought back; later it is refused for its age.
    pub until: UnixTime,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session(until {})", self.until)
    }
}

/// Why a nonce is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that this process made.
    #[error("the nonce is not one of this server, or it is of before its last start")]
    NotOurs,
    /// It is too old.
    #[error("the nonce ended at {end}, now is {now}")]
    Expired {
        /// Its end.
        end: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// It was made before other evidence, or for another mechanism.
    #[error("the nonce is for another mechanism, or its challenge was for other evidence")]
    OtherEvidence,
    /// It was made for another key.
    #[error("the nonce is for another key than that of the request")]
    OtherKey,
}

impl Sessions {
    /// Those of a process that drew this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Opens one. `evidence` is what a challenge is made for, where the mechanism needs it first.
    pub fn open(
        &self,
        mechanism: &str,
        evidence: Option<&[u8]>,
        key: &Thumbprint,
        random: [u8; RANDOM_BYTES],
        now: UnixTime,
    ) -> Opened {
        let mut bytes = Vec::with_capacity(NONCE_BYTES);
        bytes.extend(random);
        bytes.extend(now.millis().to_be_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(bound(mechanism, evidence));
        let challenge = self.code(OF_CHALLENGE, &bytes);
        let code = self.code(OF_NONCE, &bytes);
        bytes.extend(code);
        Opened { nonce: URL_SAFE_NO_PAD.encode(bytes), challenge, until: now.plus(LIFE) }
    }

    /// The session of a nonce, with the evidence that comes with it. Whether it was used before,
    /// the store knows.
    pub fn accept(
        &self,
        nonce: &str,
        mechanism: &str,
        evidence: &[u8],
        now: UnixTime,
    ) -> Result<Session, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).map_err(|_| Refusal::NotOurs)?;
        let (said, code) =
            bytes.split_at_checked(NONCE_BYTES - HASH_BYTES).ok_or(Refusal::NotOurs)?;
        hmac::verify(&self.0, &[OF_NONCE, said].concat(), code).map_err(|_| Refusal::NotOurs)?;
        let said: &[u8; NONCE_BYTES - HASH_BYTES] =
            said.try_into().map_err(|_| Refusal::NotOurs)?;
        let (_, rest) = said.split_first_chunk::<RANDOM_BYTES>().ok_or(Refusal::NotOurs)?;
        let (made, rest) = rest.split_first_chunk::<TIME_BYTES>().ok_or(Refusal::NotOurs)?;
        let (key, to) = rest.split_first_chunk::<HASH_BYTES>().ok_or(Refusal::NotOurs)?;
        let end = UnixTime::from_millis(u64::from_be_bytes(*made)).plus(LIFE);
        if end <= now {
            return Err(Refusal::Expired { end, now });
        }
        if to != bound(mechanism, None) && to != bound(mechanism, Some(evidence)) {
            return Err(Refusal::OtherEvidence);
        }
        let (key, challenge) = (Thumbprint::from_bytes(*key), self.code(OF_CHALLENGE, said));
        Ok(Session { key, challenge, until: end })
    }

    fn code(&self, of: &[u8], bytes: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, &[of, bytes].concat());
        // INVARIANT: HMAC with SHA-256 has 32 bytes.
        tag.as_ref().try_into().unwrap_or_default()
    }
}

/// The mechanism, and the evidence as far as the challenge was made for it: a challenge that one
/// device answers is none for the evidence of another.
fn bound(mechanism: &str, evidence: Option<&[u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(mechanism.as_bytes());
    context.update(&[0, u8::from(evidence.is_some())]);
    context.update(evidence.unwrap_or_default());
    // INVARIANT: SHA-256 has 32 bytes.
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    fn key(byte: u8) -> Thumbprint {
        Thumbprint::from_bytes([byte; 32])
    }

    /// req: ATT-04 (part)
    #[test]
    fn rfc9334_10_2_a_nonce_is_ours_fresh_and_for_one_evidence_and_key() {
        let sessions = Sessions::new(&[7; 32]);
        let opened = sessions.open("x509pop", Some(b"chain"), &key(1), [2; 16], NOW);
        assert_eq!(opened.nonce.len(), NONCE_CHARS);
        let accept = |nonce: &str, mechanism, evidence: &[u8], seconds| {
            sessions.accept(nonce, mechanism, evidence, UnixTime::from_seconds(seconds))
        };
        let nonce = opened.nonce.as_str();
        let session = accept(nonce, "x509pop", b"chain", 1_059).unwrap();
        assert_eq!((session.key, session.challenge), (key(1), opened.challenge));
        let (end, now) = (UnixTime::from_seconds(1_060), UnixTime::from_seconds(1_060));
        assert_eq!(accept(nonce, "x509pop", b"chain", 1_060), Err(Refusal::Expired { end, now }));
        assert_eq!(accept(nonce, "x509pop", b"other", 1_000), Err(Refusal::OtherEvidence));
        assert_eq!(accept(nonce, "tpm_devid", b"chain", 1_000), Err(Refusal::OtherEvidence));
        // Opened without evidence, any fits.
        let free = sessions.open("ear", None, &key(1), [2; 16], NOW);
        assert!(accept(&free.nonce, "ear", b"any", 1_000).is_ok());
        assert_eq!(accept(&free.nonce, "x509pop", b"any", 1_000), Err(Refusal::OtherEvidence));
        // Of another process, and changed in any place.
        let other = Sessions::new(&[8; 32]);
        assert_eq!(other.accept(nonce, "x509pop", b"chain", NOW), Err(Refusal::NotOurs));
        for at in 0..nonce.len() {
            let mut changed = nonce.to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(accept(&changed, "x509pop", b"chain", 1_000), Err(Refusal::NotOurs));
        }
        for bad in ["", "AAAA", &nonce[..nonce.len() - 4], &format!("{nonce}AAAA")] {
            assert_eq!(accept(bad, "x509pop", b"chain", 1_000), Err(Refusal::NotOurs), "{bad}");
        }
    }

    #[test]
    fn rfc9334_10_2_each_session_has_a_challenge_of_its_own() {
        let sessions = Sessions::new(&[7; 32]);
        let challenge = |mechanism, evidence, by, random| {
            sessions.open(mechanism, evidence, &key(by), [random; 16], NOW).challenge
        };
        let first = challenge("x509pop", Some(b"chain".as_slice()), 1, 2);
        assert_eq!(first, challenge("x509pop", Some(b"chain"), 1, 2));
        for other in [
            challenge("x509pop", Some(b"other"), 1, 2),
            challenge("sshpop", Some(b"chain"), 1, 2),
            challenge("x509pop", None, 1, 2),
            challenge("x509pop", Some(b"chain"), 3, 2),
            challenge("x509pop", Some(b"chain"), 1, 3),
        ] {
            assert_ne!(first, other);
        }
    }
}
