//! Sessions (RFC 9334 §10.2, freshness by nonce). The name of a session says, under an
//! authentication code of this process, when it was opened and with which nonce: a stranger who
//! opens sessions costs no memory.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use time::{Span, UnixTime};

/// How long a session lives.
pub const LIFE: Span = Span::from_seconds(150);
/// Bytes of a nonce that the verifier chooses, where the caller does not say.
pub const NONCE_BYTES_DEFAULT: usize = 32;
/// Bytes of a nonce.
// Challenge/Response, "Session setup": "`nonceSize` must be between `8` and `64`."
pub const NONCE_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Longest name of a session, in characters: base64url of a nonce of full size and what is beside.
pub const ID_CHARS_MAX: usize = (BESIDE_BYTES + 64).div_ceil(3) * 4;
const RANDOM_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const CODE_BYTES: usize = 32;
const BESIDE_BYTES: usize = RANDOM_BYTES + TIME_BYTES + CODE_BYTES;
/// What the secret is used for.
const OF_SESSION: &[u8] = b"aims verification session\0";
/// What a challenge is told by from those of hosts that join and agents that enrol.
const OF_CHALLENGE: &[u8] = b"aims verification challenge\0";
/// base64url; callers write it with padding or without.
const EITHER: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A nonce of 8 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

/// Why a text is no nonce.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANonce {
    /// Not base64url.
    #[error("`nonce` is not base64url")]
    Base64,
    /// Too short or too long.
    #[error("a nonce of {bytes} bytes; 8 to 64 are taken")]
    Size {
        /// Its size.
        bytes: usize,
    },
    /// Two ways to say it.
    #[error("`nonce` and `nonceSize` exclude each other")]
    Both,
    /// Not a number.
    #[error("`nonceSize` is not a number from 8 to 64")]
    SizeAsked,
}

impl Nonce {
    /// The nonce that a caller asks for by `nonce` and `nonceSize`; `random` are 64 bytes.
    pub fn asked(
        nonce: Option<&str>,
        size: Option<&str>,
        random: &[u8; 64],
    ) -> Result<Self, NotANonce> {
        // challenge-response.yaml: "The two query arguments are mutually exclusive. If "nonceSize"
        // is not supplied, a local default applies."
        let size = match (nonce, size) {
            (Some(_), Some(_)) => return Err(NotANonce::Both),
            (Some(text), None) => return Self::parse(text),
            (None, Some(size)) => {
                let is_short = size.len() <= 2 && size.bytes().all(|byte| byte.is_ascii_digit());
                let size = is_short.then(|| size.parse().ok()).flatten();
                size.filter(|size| NONCE_BYTES.contains(size)).ok_or(NotANonce::SizeAsked)?
            }
            (None, None) => NONCE_BYTES_DEFAULT,
        };
        Ok(Self(random.iter().take(size).copied().collect()))
    }

    fn parse(text: &str) -> Result<Self, NotANonce> {
        let bytes = EITHER.decode(text).map_err(|_| NotANonce::Base64)?;
        if !NONCE_BYTES.contains(&bytes.len()) {
            return Err(NotANonce::Size { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// base64url without padding: as the session and `eat_nonce` have it.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    /// What evidence of this session must answer, and be bound to: SHA-256 over a name of its own,
    /// the nonce and, where a key is shown with the evidence, SHA-256 of it. Whoever has a host
    /// answer for a relying party cannot take the answer to where hosts join.
    pub fn challenge(&self, key: Option<&[u8]>) -> [u8; 32] {
        let key = key.map(|key| digest::digest(&digest::SHA256, key));
        let key = key.as_ref().map(AsRef::as_ref).unwrap_or_default();
        // INVARIANT: a key adds 32 bytes or none, and the length of the nonce stands before both.
        let size = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        let all = [OF_CHALLENGE, &[size], &self.0, key].concat();
        digest::digest(&digest::SHA256, &all).as_ref().try_into().unwrap_or_default()
    }
}

/// The secret that the sessions of one process are known by.
pub struct Sessions(hmac::Key);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(..)")
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: String,
    /// Its nonce.
    pub nonce: Nonce,
    /// When it ends.
    pub until: UnixTime,
}

/// Why a name is of no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that this process made.
    #[error("no session of that name here; it is of another server, or of before its last start")]
    NotOurs,
    /// Its time is up.
    #[error("the session ended at {end}, now is {now}")]
    Ended {
        /// Its end.
        end: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
}

impl Sessions {
    /// Those of a process that drew this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Opens one.
    pub fn open(&self, nonce: Nonce, random: [u8; RANDOM_BYTES], now: UnixTime) -> Session {
        let mut bytes = Vec::with_capacity(BESIDE_BYTES + nonce.0.len());
        bytes.extend(random);
        bytes.extend(now.millis().to_be_bytes());
        bytes.extend(&nonce.0);
        let code = hmac::sign(&self.0, &[OF_SESSION, &bytes].concat());
        bytes.extend(code.as_ref());
        Session { id: URL_SAFE_NO_PAD.encode(bytes), nonce, until: now.plus(LIFE) }
    }

    /// The session of that name.
    pub fn find(&self, id: &str, now: UnixTime) -> Result<Session, Refusal> {
        if id.len() > ID_CHARS_MAX {
            return Err(Refusal::NotOurs);
        }
        let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| Refusal::NotOurs)?;
        let (said, code) = bytes.split_last_chunk::<CODE_BYTES>().ok_or(Refusal::NotOurs)?;
        hmac::verify(&self.0, &[OF_SESSION, said].concat(), code).map_err(|_| Refusal::NotOurs)?;
        let (_, rest) = said.split_first_chunk::<RANDOM_BYTES>().ok_or(Refusal::NotOurs)?;
        let (made, nonce) = rest.split_first_chunk::<TIME_BYTES>().ok_or(Refusal::NotOurs)?;
        let end = UnixTime::from_millis(u64::from_be_bytes(*made)).plus(LIFE);
        if end <= now {
            return Err(Refusal::Ended { end, now });
        }
        Ok(Session { id: id.to_owned(), nonce: Nonce(nonce.to_vec()), until: end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    fn asked(nonce: Option<&str>, size: Option<&str>) -> Result<Nonce, NotANonce> {
        Nonce::asked(nonce, size, &[7; 64])
    }

    /// req: ATT-04 (part)
    #[test]
    fn rfc9334_10_2_a_nonce_is_the_callers_or_ours() {
        assert_eq!(asked(None, None).unwrap().0.len(), 32);
        for size in ["8", "32", "64"] {
            assert_eq!(asked(None, Some(size)).unwrap().0.len(), size.parse::<usize>().unwrap());
        }
        for size in ["7", "65", "", "-8", "8.0", "0x20", "+32", "1000"] {
            assert_eq!(asked(None, Some(size)), Err(NotANonce::SizeAsked), "{size}");
        }
        let own = Nonce(vec![0xfb; 8]);
        for text in ["-_v7-_v7-_s", "-_v7-_v7-_s="] {
            assert_eq!(asked(Some(text), None), Ok(own.clone()), "{text}");
        }
        assert_eq!(own.to_text(), "-_v7-_v7-_s");
        assert_eq!(asked(Some("+/v7+/v7+/s="), None), Err(NotANonce::Base64));
        assert_eq!(asked(Some("AAAA"), None), Err(NotANonce::Size { bytes: 3 }));
        let long = "A".repeat(88);
        assert_eq!(asked(Some(&long), None), Err(NotANonce::Size { bytes: 66 }));
        assert_eq!(asked(Some("-_v7-_v7-_s"), Some("8")), Err(NotANonce::Both));
    }

    /// req: ATT-04 (part)
    #[test]
    fn rfc9334_10_2_a_session_is_ours_and_ends() {
        let sessions = Sessions::new(&[3; 32]);
        for size in ["8", "64"] {
            let opened = sessions.open(asked(None, Some(size)).unwrap(), [1; 16], NOW);
            assert!(opened.id.len() <= ID_CHARS_MAX);
            let find = |id: &str, at| sessions.find(id, UnixTime::from_seconds(at));
            assert_eq!(find(&opened.id, 1_149).as_ref(), Ok(&opened));
            let (end, now) = (UnixTime::from_seconds(1_150), UnixTime::from_seconds(1_150));
            assert_eq!(find(&opened.id, 1_150), Err(Refusal::Ended { end, now }));
            let other = Sessions::new(&[4; 32]);
            assert_eq!(other.find(&opened.id, NOW), Err(Refusal::NotOurs));
            for at in 0..opened.id.len() {
                let mut changed = opened.id.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(find(&changed, 1_000), Err(Refusal::NotOurs));
            }
        }
        for bad in ["", "AAAA", "session", &"A".repeat(ID_CHARS_MAX + 4)] {
            assert_eq!(sessions.find(bad, NOW), Err(Refusal::NotOurs), "{bad}");
        }
    }

    #[test]
    fn rfc9334_10_2_a_challenge_is_for_one_nonce_and_key() {
        let (one, two) = (Nonce(vec![1; 32]), Nonce(vec![1; 33]));
        let all = [
            one.challenge(None),
            one.challenge(Some(b"key")),
            one.challenge(Some(b"other")),
            two.challenge(None),
            Nonce([vec![1; 32], one.challenge(None).to_vec()].concat()).challenge(None),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_ne!(one.challenge(None).as_slice(), one.0);
    }
}
