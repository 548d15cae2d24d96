//! Instants: any sixteen bytes are two of them.

use time::UnixTime;

/// The last millisecond of the year 9999: longer years do not sort as text.
const FOUR_DIGIT_YEARS: u64 = 253_402_300_799_999;

/// Writing is total, and until the year 9999 text sorts as time does.
pub(crate) fn instant(data: &[u8]) {
    let Some((first, rest)) = data.split_first_chunk() else { return };
    let Some((second, _)) = rest.split_first_chunk() else { return };
    let (first, second) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    let texts = [first, second].map(|millis| UnixTime::from_millis(millis).to_string());
    if first.max(second) <= FOUR_DIGIT_YEARS {
        let [one, other] = texts;
        assert_eq!(first.cmp(&second), one.cmp(&other));
    }
}

/// What is read of a text is written as the same instant.
pub(crate) fn text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(instant) = UnixTime::parse(text) else { return };
    if instant.millis() <= FOUR_DIGIT_YEARS {
        assert_eq!(UnixTime::parse(&instant.to_string()), Some(instant));
    }
}
