//! Letters that people do not see, or that turn what stands around them, and texts that can be
//! shown to people as they are
//! ([Unicode Technical Report #36 §2](https://www.unicode.org/reports/tr36/#visual_spoofing),
//! [Unicode Standard Annex #44](https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point)).
//!
//! In scope: the one list, names, and how a text is written out. Not here: letters that look like
//! others, and which scripts may stand together.

use thiserror::Error;

/// Letters that steer or are not seen, by range, besides control characters.
const STEERING: &[(char, char)] = &[
    // UAX #44, the property Default_Ignorable_Code_Point: shown as nothing where a font does not
    // know them.
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    // Ends of lines and paragraphs.
    ('\u{2028}', '\u{2029}'),
    // A cell of Braille without a dot, which is no white space and is not seen.
    ('\u{2800}', '\u{2800}'),
    // Annotations between lines.
    ('\u{fff9}', '\u{fffb}'),
];

/// Whether a letter could disorder what a person reads: it is not seen, or turns what stands
/// around it.
pub fn steers(letter: char) -> bool {
    letter.is_control() || STEERING.iter().any(|(first, last)| (*first..=*last).contains(&letter))
}

/// A text as it can be shown, with each letter that steers as its number: `\u{202e}`.
pub fn written_out(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        match steers(letter) {
            true => written.extend(letter.escape_unicode()),
            false => written.push(letter),
        }
    }
    written
}

/// Why a text cannot be shown as the name of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It has no letter that is seen.
    #[error("nothing in it is seen")]
    Blank,
    /// A letter steers.
    #[error("it holds U+{:04X}, which is not seen or steers what stands around it", u32::from(*.0))]
    Steers(char),
}

/// Refuses a text that holds a letter that steers.
pub fn plain(text: &str) -> Result<(), Unreadable> {
    text.chars().find(|letter| steers(*letter)).map_or(Ok(()), |one| Err(Unreadable::Steers(one)))
}

/// Refuses a text that cannot be shown as the name of something.
pub fn name(text: &str) -> Result<(), Unreadable> {
    plain(text)?;
    if text.chars().all(char::is_whitespace) { Err(Unreadable::Blank) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of each range steer, and their neighbours are letters like others.
    #[test]
    fn tr36_2_letters_that_are_not_seen_are_in_one_list() {
        for letter in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180e}',
            '\u{180f}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{206f}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{1d173}',
            '\u{1d17a}',
            '\u{e0000}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e01ef}',
        ] {
            assert!(steers(letter), "U+{:04X}", u32::from(letter));
            let text = format!("Led{letter}ger");
            assert_eq!(name(&text), Err(Unreadable::Steers(letter)));
            assert!(!written_out(&text).contains(letter), "{text:?}");
        }
        for letter in [
            ' ', 'a', 'é', 'ß', '\u{34e}', '\u{350}', '\u{1161}', '\u{17b6}', '\u{1810}',
            '\u{2010}', '\u{2027}', '\u{2801}', '\u{3165}', '\u{fdff}', '\u{fe10}', '\u{ffa1}',
            '\u{fffc}', '名', 'א', 'ع', 'क', '🙂',
        ] {
            assert!(!steers(letter), "U+{:04X}", u32::from(letter));
            assert_eq!(written_out(&letter.to_string()), letter.to_string());
        }
    }

    #[test]
    fn tr36_2_a_name_has_something_that_is_seen() {
        for blank in ["", " ", "\u{a0}\u{3000}", "\u{2003}"] {
            assert_eq!(name(blank), Err(Unreadable::Blank), "{blank:?}");
        }
        for good in ["Ada Lovelace", "名前", "עדה", "Zoë 🙂"] {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        assert_eq!(
            name("a\u{202e}b").unwrap_err().to_string(),
            "it holds U+202E, which is not seen or steers what stands around it"
        );
        assert_eq!(written_out("a\u{202e}b\n"), "a\\u{202e}b\\u{a}");
    }
}
