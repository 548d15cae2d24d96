//! Lists of the status of our tokens as we sign them (draft-ietf-oauth-status-list-20 §5.1): the
//! places, the template, and the check that must pass before one is signed.

use credential::Checked;
use jose::{Algorithm, KeyId, NumericDate, SigningInput, Unsignable};
use openid::status_list::{
    Bits, INVALID, StatusList, StatusListClaims, StatusListToken, StatusRefused,
};
use time::{Span, UnixTime};

/// Places of one list. §12.5.2 wants lists of so many tokens that to fetch one tells nobody which
/// of them was shown.
pub const PLACES: u16 = u16::MAX;
/// Lists that are filled at the same time: a busy server finds free places.
pub const LISTS: u8 = 16;
/// How long a list is filled, in seconds.
pub const FILLED_SECONDS: u64 = 60;
/// §5.1 `ttl`, and how long an answer may be kept on the way: an end is seen within a second.
pub const KEPT_SECONDS: u64 = 1;
/// How long a list may be believed by whom nobody answers.
const LIFE: Span = Span::from_seconds(60);
/// Where lists are, below the issuer.
pub const PATH: &str = "/status";

/// A place: of which list, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The list, by its name.
    pub list: String,
    /// The place.
    pub index: u64,
}

impl Place {
    /// The place that these random bytes draw in a list of this moment. §12.5.1: places are drawn,
    /// so that neighbours have nothing to do with each other.
    pub fn drawn(random: &[u8; 16], now: UnixTime) -> Self {
        let [low, high, list, ..] = *random;
        let index = u64::from(u16::from_le_bytes([low, high]) % PLACES);
        let moment = now.seconds() / FILLED_SECONDS;
        Self { list: format!("{moment}.{}", list % LISTS), index }
    }

    /// Where its list is.
    pub fn uri(list: &str, issuer: &str) -> String {
        format!("{issuer}{PATH}/{list}")
    }

    /// Its row.
    pub fn row(&self) -> String {
        format!("{}/{}", self.list, self.index)
    }
}

/// The list in which these places are those of tokens that count no more, checked, to be signed.
pub fn build(
    uri: &str,
    invalid: &[u64],
    algorithm: Algorithm,
    kid: &KeyId,
    now: UnixTime,
) -> Result<Checked<SigningInput<StatusListToken>>, Fault> {
    let mut list = StatusList::new(Bits::One, usize::from(PLACES))?;
    for index in invalid {
        list.set(*index, INVALID)?;
    }
    let claims = StatusListClaims {
        sub: uri.to_owned(),
        iat: NumericDate::from_time(now),
        exp: Some(NumericDate::from_time(now.plus(LIFE))),
        ttl: Some(KEPT_SECONDS),
        status_list: list,
    };
    check(&claims, invalid)?;
    Ok(Checked::assertion(SigningInput::new(algorithm, Some(kid), &claims)?))
}

fn check(claims: &StatusListClaims, invalid: &[u64]) -> Result<(), Fault> {
    for index in invalid {
        if claims.status_list.status(*index)? != INVALID {
            return Err(Fault::NotSet(*index));
        }
    }
    Ok(())
}

/// Why it is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A place that is not there.
    #[error(transparent)]
    Place(#[from] StatusRefused),
    /// A token that ended would be valid.
    #[error("place {0} is not set")]
    NotSet(u64),
    /// It cannot be encoded.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_12_5_places_are_drawn_from_lists_of_the_moment() {
        let now = UnixTime::from_seconds(1_700_000_000);
        let place = Place::drawn(&[0xfe, 0xff, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], now);
        assert_eq!(place, Place { list: "28333333.1".to_owned(), index: 65_534 });
        assert_eq!(place.row(), "28333333.1/65534");
        // The last of the numbers is the first place again: there is no place beyond the list.
        let last = Place::drawn(&[0xff; 16], now);
        assert_eq!((last.list.as_str(), last.index), ("28333333.15", 0));
    }
}
