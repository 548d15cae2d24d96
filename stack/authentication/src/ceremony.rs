//! What a browser begins and comes back with: a passkey to be shown, a sign-in elsewhere
//! (AUTHN-11).
//!
//! In scope: the text, and whether it came back in time to the same end. Not here: that it serves
//! once, which the store sees.
//!
//! Nobody has to keep it: what the browser is given says, under an authentication code of this
//! process, when it was made and what it carries, and the code covers what it is for and for which
//! browser. A stranger who begins many costs no memory.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::{Span, UnixTime};

use crate::session::hash_of;

/// How long one may take.
pub const LIFE: Span = Span::from_seconds(600);
/// Characters of what comes back.
const TEXT_CHARS_MAX: usize = 2_048;
/// Bytes of what one carries.
const CARRIED_BYTES_MAX: usize = 1_024;
const RANDOM_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const CODE_BYTES: usize = 32;

/// The secret that the ceremonies of one process are known by.
pub struct Ceremonies(hmac::Key);

impl std::fmt::Debug for Ceremonies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ceremonies(..)")
    }
}

/// One that began, or came back.
#[derive(Clone)]
pub struct Ceremony {
    text: String,
    said: Vec<u8>,
    carried: String,
    until: UnixTime,
}

impl std::fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ceremony(until {})", self.until)
    }
}

impl Ceremony {
    /// What the browser brings back.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it carries.
    pub fn carried(&self) -> &str {
        &self.carried
    }

    /// Until when it may come back; later it is refused for its age.
    pub const fn until(&self) -> UnixTime {
        self.until
    }
}

/// Why what came back is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Nothing that this process made, or made for another browser, person or purpose.
    #[error("this was not begun in this browser, or it is of before the server's last start")]
    Unknown,
    /// It took too long.
    #[error("this was begun too long ago: it ended at {end}, now is {now}")]
    Expired {
        /// Its end.
        end: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
}

impl Ceremonies {
    /// Those of a process that drew this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Begins one. `purpose` says what for, and for whom where that is known; `browser` is the
    /// value that one browser alone has.
    pub fn begin(
        &self,
        purpose: &str,
        browser: &str,
        carried: &str,
        random: [u8; RANDOM_BYTES],
        now: UnixTime,
    ) -> Ceremony {
        let mut said = Vec::with_capacity(RANDOM_BYTES + TIME_BYTES + carried.len());
        said.extend(random);
        said.extend(now.millis().to_be_bytes());
        let cut = carried.get(..carried.floor_char_boundary(CARRIED_BYTES_MAX));
        let carried = cut.unwrap_or_default().to_owned();
        said.extend(carried.as_bytes());
        let code = self.code("ceremony", &[&said, &bound(purpose, browser)]);
        let text = URL_SAFE_NO_PAD.encode([said.as_slice(), &code].concat());
        Ceremony { text, said, carried, until: now.plus(LIFE) }
    }

    /// The one that came back.
    pub fn accept(
        &self,
        text: &str,
        purpose: &str,
        browser: &str,
        now: UnixTime,
    ) -> Result<Ceremony, NotOurs> {
        if text.len() > TEXT_CHARS_MAX {
            return Err(NotOurs::Unknown);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotOurs::Unknown)?;
        let (said, code) = bytes.split_last_chunk::<CODE_BYTES>().ok_or(NotOurs::Unknown)?;
        let covered = covered("ceremony", &[said, &bound(purpose, browser)]);
        hmac::verify(&self.0, &covered, code).map_err(|_| NotOurs::Unknown)?;
        let (_, rest) = said.split_first_chunk::<RANDOM_BYTES>().ok_or(NotOurs::Unknown)?;
        let (made, carried) = rest.split_first_chunk::<TIME_BYTES>().ok_or(NotOurs::Unknown)?;
        let end = UnixTime::from_millis(u64::from_be_bytes(*made)).plus(LIFE);
        if end <= now {
            return Err(NotOurs::Expired { end, now });
        }
        let carried = String::from_utf8(carried.to_vec()).map_err(|_| NotOurs::Unknown)?;
        Ok(Ceremony { text: text.to_owned(), said: said.to_vec(), carried, until: end })
    }

    /// Bytes that belong to one ceremony and that nobody else can know: a challenge, a nonce, a
    /// code verifier.
    pub fn derive(&self, of: &str, ceremony: &Ceremony) -> [u8; 32] {
        self.code(of, &[&ceremony.said])
    }

    fn code(&self, of: &str, parts: &[&[u8]]) -> [u8; CODE_BYTES] {
        let tag = hmac::sign(&self.0, &covered(of, parts));
        // INVARIANT: HMAC with SHA-256 has 32 bytes.
        tag.as_ref().try_into().unwrap_or_default()
    }
}

fn covered(of: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut all = format!("aims people {of}\0").into_bytes();
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend(*part);
    }
    all
}

/// What it is for, and the browser, which is not kept as it is.
fn bound(purpose: &str, browser: &str) -> [u8; 32] {
    let hash = hash_of(browser);
    let hash = digest::digest(&digest::SHA256, format!("{purpose}\0{hash}").as_bytes());
    // INVARIANT: SHA-256 has 32 bytes.
    hash.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    /// req: AUTHN-11 (part)
    #[test]
    fn webauthn_13_4_3_a_ceremony_is_of_one_browser_one_purpose_and_ten_minutes() {
        let ours = Ceremonies::new(&[7; 32]);
        let begun = ours.begin("passkey", "a", "/console", [1; 16], NOW);
        let accept = |text: &str, purpose, name, seconds| {
            ours.accept(text, purpose, name, UnixTime::from_seconds(seconds))
        };
        let back = accept(begun.text(), "passkey", "a", 1_599).unwrap();
        assert_eq!(back.carried(), "/console");
        assert_eq!(ours.derive("x", &back), ours.derive("x", &begun));
        assert_ne!(ours.derive("x", &back), ours.derive("y", &back));
        let refused = |text: &str, purpose, name, seconds| {
            accept(text, purpose, name, seconds).err().unwrap()
        };
        let (end, now) = (UnixTime::from_seconds(1_600), UnixTime::from_seconds(1_600));
        assert_eq!(refused(begun.text(), "passkey", "a", 1_600), NotOurs::Expired { end, now });
        assert_eq!(refused(begun.text(), "passkey", "b", 1_000), NotOurs::Unknown);
        assert_eq!(refused(begun.text(), "upstream", "a", 1_000), NotOurs::Unknown);
        let other = Ceremonies::new(&[8; 32]);
        let elsewhere = other.accept(begun.text(), "passkey", "a", NOW);
        assert_eq!(elsewhere.err(), Some(NotOurs::Unknown));
        for at in 0..begun.text().len() {
            let mut changed = begun.text().to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(refused(&changed, "passkey", "a", 1_000), NotOurs::Unknown, "{at}");
        }
        for bad in ["", "AAAA", &"A".repeat(4_000)] {
            assert_eq!(refused(bad, "passkey", "a", 1_000), NotOurs::Unknown);
        }
    }

    #[test]
    fn each_ceremony_has_bytes_of_its_own() {
        let ours = Ceremonies::new(&[7; 32]);
        let derived = |random, carried| {
            let begun = ours.begin("p", "a", carried, [random; 16], NOW);
            ours.derive("challenge", &begun)
        };
        assert_eq!(derived(1, ""), derived(1, ""));
        assert_ne!(derived(1, ""), derived(2, ""));
        assert_ne!(derived(1, ""), derived(1, "x"));
    }
}
