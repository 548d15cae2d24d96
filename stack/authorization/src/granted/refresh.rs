//! Refresh tokens (RFC 6749 §6): rotated with detection of reuse where nothing binds them to a
//! key, and kept where something does (RFC 9700 §4.14.2; FAPI 2.0 §5.3.2.1).
//!
//! A token is `aims_rt_<grant>.<generation>.<secret>.<tag>`. Its row holds the hash of the current
//! one alone. The tag shows that a token of whatever generation was once ours, so that a stranger
//! who knows the name of a grant cannot end it by pretending reuse. The successor of a token is
//! made of the token and a salt in the row: whoever has only one of them cannot know it, and an
//! honest retry is given the same one again.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::TokenHash;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};
use zeroize::Zeroizing;

/// How a refresh token begins, so that it is taken for nothing else.
pub const PREFIX: &str = "aims_rt_";
/// How long after a rotation the token before it is answered with the same successor again: an
/// answer that was lost, or two tabs.
pub const RETRY: Span = Span::from_seconds(10);
/// Bytes of a token.
pub const TEXT_BYTES_MAX: usize = 256;
/// Bytes of a tag.
const TAG: usize = 16;
/// What a successor is made for.
const SUCCESSOR: &[u8] = b"aims refresh token successor";

/// What of a refresh token is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Which rotation it is, from 1.
    pub generation: u64,
    /// The hash of the current token.
    hash: String,
    /// What tags are made with.
    tag_key: String,
    /// Whether each use makes a new one.
    pub rotates: bool,
    /// Until when it may be used: later uses move it, never past the grant's end.
    pub until: UnixTime,
    /// The rotation before, for an honest retry.
    previous: Option<Previous>,
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Refresh(generation {}, until {})", self.generation, self.until)
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Previous {
    hash: String,
    salt: String,
    at: UnixTime,
}

/// A text that has the form of a refresh token. Nothing of it is believed.
#[derive(Clone)]
pub struct Text {
    grant: String,
    generation: u64,
    secret: Zeroizing<[u8; 32]>,
    tag: [u8; TAG],
    hash: String,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refresh token of {} (generation {})", self.grant, self.generation)
    }
}

impl Text {
    /// Reads a token: in its one form, or not at all (docs/past-defects.md 16).
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotAToken);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(NotAToken)?;
        let mut parts = rest.split('.');
        let (Some(grant), Some(generation), Some(secret), Some(tag), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAToken);
        };
        let number: u64 = generation.parse().map_err(|_| NotAToken)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).map_err(|_| NotAToken)?);
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| NotAToken)?;
        let read = Self {
            grant: grant.to_owned(),
            generation: number,
            secret: Zeroizing::new(secret.as_slice().try_into().map_err(|_| NotAToken)?),
            tag: tag.as_slice().try_into().map_err(|_| NotAToken)?,
            hash: TokenHash::of(text).to_base64url(),
        };
        let canonical = grant.bytes().all(is_of_an_id) && !grant.is_empty();
        if canonical && number.to_string() == generation { Ok(read) } else { Err(NotAToken) }
    }

    /// The grant that it says it is of.
    pub fn grant(&self) -> &str {
        &self.grant
    }
}

fn is_of_an_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A text that is no refresh token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no refresh token of this server")]
pub struct NotAToken;

/// What a refresh token that was shown leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is bound to a key, and stays.
    Kept,
    /// It was used up: the client gets this one, and the row is stored anew.
    Rotated {
        /// The new token.
        successor: Secret,
        /// The new row.
        next: Refresh,
    },
    /// The same client asks again for what it was given a moment ago.
    Again {
        /// The same successor.
        successor: Secret,
    },
}

/// The text of a refresh token of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, for the answer to its client.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a refresh token gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It never was one of this grant: whoever made it up ends nothing.
    #[error("this is no refresh token of this server")]
    NotOurs,
    /// It was used before: two hold it, and nobody knows which is the client. RFC 9700 §4.14.2:
    /// "the authorization server cannot determine which party submitted the invalid refresh token,
    /// but it will revoke the active refresh token."
    #[error("the refresh token was used before; its grant has ended")]
    Reused,
    /// Its time is over.
    #[error("the refresh token expired at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
}

impl Refresh {
    /// The first token of a grant. `secret` and `tag_key` are random.
    pub fn first(
        grant: &str,
        secret: &[u8; 32],
        tag_key: &[u8; 32],
        rotates: bool,
        until: UnixTime,
    ) -> (Secret, Self) {
        let token = write(grant, 1, secret, tag_key);
        let refresh = Self {
            generation: 1,
            hash: TokenHash::of(token.expose()).to_base64url(),
            tag_key: URL_SAFE_NO_PAD.encode(tag_key),
            rotates,
            until,
            previous: None,
        };
        (token, refresh)
    }

    /// What `shown` leads to. `salt` is random; `until` is where the next one may be used to.
    pub fn show(
        &self,
        shown: &Text,
        salt: &[u8; 32],
        until: UnixTime,
        now: UnixTime,
    ) -> Result<Shown, Refusal> {
        let tag_key = self.tag_key().ok_or(Refusal::NotOurs)?;
        let wanted = tag(&tag_key, &shown.grant, shown.generation, &shown.secret);
        constant_time::verify_slices_are_equal(&wanted, &shown.tag)
            .map_err(|_| Refusal::NotOurs)?;
        if is_same(&self.hash, &shown.hash) && shown.generation == self.generation {
            if now >= self.until {
                return Err(Refusal::Expired { at: self.until });
            }
            if !self.rotates {
                return Ok(Shown::Kept);
            }
            let successor = self.successor(shown, salt, &tag_key);
            let next = Self {
                generation: self.generation.saturating_add(1),
                hash: TokenHash::of(successor.expose()).to_base64url(),
                tag_key: self.tag_key.clone(),
                rotates: true,
                until,
                previous: Some(Previous {
                    hash: self.hash.clone(),
                    salt: URL_SAFE_NO_PAD.encode(salt),
                    at: now,
                }),
            };
            return Ok(Shown::Rotated { successor, next });
        }
        let Some(previous) = &self.previous else { return Err(Refusal::Reused) };
        let honest = is_same(&previous.hash, &shown.hash)
            && shown.generation.saturating_add(1) == self.generation
            && now.since(previous.at) <= RETRY;
        let salt = URL_SAFE_NO_PAD.decode(&previous.salt).ok();
        let salt: Option<[u8; 32]> = salt.and_then(|salt| salt.try_into().ok());
        match salt.filter(|_| honest) {
            Some(salt) => Ok(Shown::Again { successor: self.successor(shown, &salt, &tag_key) }),
            None => Err(Refusal::Reused),
        }
    }

    fn tag_key(&self) -> Option<[u8; 32]> {
        URL_SAFE_NO_PAD.decode(&self.tag_key).ok()?.try_into().ok()
    }

    fn successor(&self, shown: &Text, salt: &[u8; 32], tag_key: &[u8; 32]) -> Secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, shown.secret.as_slice());
        let made = hmac::sign(&key, &[SUCCESSOR, salt].concat());
        let mut secret = Zeroizing::new([0; 32]);
        for (to, from) in secret.iter_mut().zip(made.as_ref()) {
            *to = *from;
        }
        write(&shown.grant, shown.generation.saturating_add(1), &secret, tag_key)
    }
}

fn is_same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn write(grant: &str, generation: u64, secret: &[u8; 32], tag_key: &[u8; 32]) -> Secret {
    let tag = tag(tag_key, grant, generation, secret);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Secret(Zeroizing::new(format!(
        "{PREFIX}{grant}.{generation}.{}.{}",
        encode(secret),
        encode(&tag)
    )))
}

fn tag(tag_key: &[u8; 32], grant: &str, generation: u64, secret: &[u8; 32]) -> [u8; TAG] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, tag_key);
    let said = [grant.as_bytes(), &[0], &generation.to_be_bytes(), secret].concat();
    let whole = hmac::sign(&key, &said);
    let mut tag = [0; TAG];
    for (to, from) in tag.iter_mut().zip(whole.as_ref()) {
        *to = *from;
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
    const UNTIL: UnixTime = UnixTime::from_seconds(1_700_086_400);
    const SALT: [u8; 32] = [7; 32];

    fn first(rotates: bool) -> (Text, Refresh) {
        let (token, refresh) = Refresh::first("grant-1", &[1; 32], &[2; 32], rotates, UNTIL);
        (Text::parse(token.expose()).unwrap(), refresh)
    }

    fn rotate(refresh: &Refresh, shown: &Text, now: UnixTime) -> (Text, Refresh) {
        match refresh.show(shown, &SALT, UNTIL, now).unwrap() {
            Shown::Rotated { successor, next } => (Text::parse(successor.expose()).unwrap(), next),
            other => panic!("{other:?}"),
        }
    }

    /// req: AUTHZ-09 (part)
    #[test]
    fn rfc9700_4_14_2_a_token_is_good_once_and_reuse_is_told() {
        let (one, first) = first(true);
        let (two, second) = rotate(&first, &one, NOW);
        let (three, third) = rotate(&second, &two, NOW);
        for old in [&one, &two] {
            let late = NOW.plus(RETRY).plus(Span::from_millis(1));
            assert_eq!(third.show(old, &SALT, UNTIL, late), Err(Refusal::Reused));
        }
        assert!(matches!(third.show(&three, &SALT, UNTIL, NOW), Ok(Shown::Rotated { .. })));
        // Two back is reuse, however soon.
        assert_eq!(third.show(&one, &SALT, UNTIL, NOW), Err(Refusal::Reused));
    }

    #[test]
    fn rfc9700_4_14_2_an_honest_retry_is_given_the_same_successor() {
        let (one, first) = first(true);
        let (two, second) = rotate(&first, &one, NOW);
        let again = second.show(&one, &[9; 32], UNTIL, NOW.plus(RETRY)).unwrap();
        let Shown::Again { successor } = again else { panic!("{again:?}") };
        assert_eq!(Text::parse(successor.expose()).unwrap().hash, two.hash);
    }

    #[test]
    fn fapi2_5_3_2_1_a_bound_token_is_kept() {
        let (one, first) = first(false);
        assert_eq!(first.show(&one, &SALT, UNTIL, NOW), Ok(Shown::Kept));
        assert_eq!(first.show(&one, &SALT, UNTIL, UNTIL), Err(Refusal::Expired { at: UNTIL }));
    }

    /// A stranger who knows the grant's id cannot end it.
    #[test]
    fn rfc9700_4_14_2_what_was_never_ours_is_no_reuse() {
        let (one, first) = first(true);
        let (_, second) = rotate(&first, &one, NOW);
        for generation in [1, 2, 3] {
            let made_up = write("grant-1", generation, &[1; 32], &[3; 32]);
            let made_up = Text::parse(made_up.expose()).unwrap();
            let refused = second.show(&made_up, &SALT, UNTIL, NOW);
            assert_eq!(refused, Err(Refusal::NotOurs), "{generation}");
        }
    }

    /// req: AUTHZ-04 (part)
    #[test]
    fn a_token_reads_in_its_one_form_alone() {
        let (token, _) = Refresh::first("grant-1", &[1; 32], &[2; 32], true, UNTIL);
        let text = token.expose();
        assert!(Text::parse(text).is_ok());
        let zero = text.replace(".1.", ".01.");
        let cut = text.get(..text.len() - 1).unwrap().to_owned();
        let longer = format!("{text}A");
        let plus = text.replace(".1.", ".+1.");
        let five = format!("{text}.x");
        let grant = text.replace("grant-1", "grant/1");
        for bad in ["", "aims_rt_", &zero, &cut, &longer, &plus, &five, &grant, &"a".repeat(300)] {
            assert!(Text::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{token:?}"), "Secret(..)");
    }
}
