//! The texts that people and browsers hold: codes to type, links to follow, cookies.

use authentication::session::hash_of;
use jose::TokenHash;
use registry::user_code;
use zeroize::Zeroizing;

/// Letters of a code: without those that are read as others (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a code: 60 bits, which nobody guesses in the time that one lives.
const CODE_LETTERS: usize = 12;
/// Letters between two dashes.
const GROUP: usize = 4;
/// Bytes of anything that is typed or followed.
pub(crate) const TEXT_BYTES_MAX: usize = 128;
/// How a link's secret begins, so that it is taken for nothing else.
const LINK_PREFIX: &str = "aims_link_";
/// Characters of the cookie of a session: base64url of 32 bytes.
const SESSION_CHARS: usize = 43;

/// A secret text: not shown, and wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one whom it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A code of these random bytes: `7KQ2-9MXA-F3TN`.
pub(crate) fn code(random: [u8; 32]) -> Secret {
    let mut text = String::with_capacity(CODE_LETTERS + CODE_LETTERS / GROUP);
    for (at, byte) in random.into_iter().take(CODE_LETTERS).enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        let letter = LETTERS.get(usize::from(byte % 32)).copied().unwrap_or_default();
        text.push(char::from(letter));
    }
    Secret::new(text)
}

/// What a code is stored under. Case, dashes and spaces do not count, and what is easily read as
/// another letter is that letter. A code is one of one person: for another it is nothing.
pub(crate) fn code_hash(user: &str, typed: &str) -> Option<String> {
    let letters = letters(typed)?;
    Some(hash_of(&format!("aims sign-in code\0{user}\0{}", letters.as_str())))
}

/// What is stored of a code that clients say to get its user asked (CIBA Core 1.0 §7.1).
pub(crate) fn user_code_hash(code: &Secret, salt: &[u8; 16]) -> Option<String> {
    letters(code.expose()).map(|letters| user_code::hashed(&letters, salt))
}

/// Whether that is stored of the code that was typed.
pub fn is_user_code(stored: &str, typed: &str) -> bool {
    letters(typed).is_some_and(|letters| user_code::is_of(stored, &letters))
}

/// What programs make of the dashes of a code that is copied, and of the spaces around it: soft
/// hyphens, hyphens, dashes and minus signs; spaces of all kinds, also without width.
fn stands_between(letter: char) -> bool {
    let is_dash = matches!(
        letter,
        '-' | '\u{ad}' | '\u{2010}'
            ..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}'
    );
    is_dash || letter.is_whitespace() || matches!(letter, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// The letters of a code as it was typed.
fn letters(typed: &str) -> Option<Zeroizing<String>> {
    if typed.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut letters = Zeroizing::new(String::with_capacity(CODE_LETTERS));
    for letter in typed.chars().filter(|letter| !stands_between(*letter)) {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if !u8::try_from(letter).is_ok_and(|byte| LETTERS.contains(&byte)) {
            return None;
        }
        letters.push(letter);
    }
    (letters.len() == CODE_LETTERS).then_some(letters)
}

/// The secret of a link.
pub(crate) fn link(random: &[u8; 32]) -> Secret {
    Secret::new(format!("{LINK_PREFIX}{}", TokenHash::from_bytes(*random).to_base64url()))
}

/// What a link is stored under.
pub(crate) fn link_hash(text: &str) -> Option<String> {
    let ours = text.starts_with(LINK_PREFIX) && text.len() <= TEXT_BYTES_MAX;
    ours.then(|| hash_of(&format!("aims sign-in link\0{text}")))
}

/// The cookie of a session.
pub(crate) fn session(random: &[u8; 32]) -> Secret {
    Secret::new(TokenHash::from_bytes(*random).to_base64url())
}

/// What a session is stored under.
pub(crate) fn session_hash(cookie: &str) -> Option<String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let ours = cookie.len() == SESSION_CHARS && cookie.bytes().all(letter);
    ours.then(|| hash_of(&format!("aims session\0{cookie}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_a_code_is_read_as_people_write_it() {
        let mut random = [0; 32];
        for (at, byte) in random.iter_mut().enumerate() {
            *byte = u8::try_from(at).unwrap().wrapping_mul(37);
        }
        let shown = code(random);
        let text = shown.expose();
        assert_eq!((text.len(), text.matches('-').count()), (14, 2));
        let kept = code_hash("user:ada", text).unwrap();
        let plain = text.replace('-', "");
        for written in [plain.to_lowercase(), plain.replace('0', "o"), format!(" {plain} ")] {
            assert_eq!(code_hash("user:ada", &written).as_ref(), Some(&kept), "{written}");
        }
        // As mail programs, word processors and web pages bring it.
        for between in ["–", "—", "‐", "\u{2011}", "−", "－", "\u{ad}", "\u{a0}", "\u{202f}", "\t"]
        {
            let written = format!("\u{feff}{}\u{200b}\n", text.replace('-', between));
            assert_eq!(code_hash("user:ada", &written).as_ref(), Some(&kept), "{written:?}");
        }
        for wrong in ["_", ".", "/", "'", "\u{e0020}"] {
            assert_eq!(code_hash("user:ada", &text.replace('-', wrong)), None, "{wrong}");
        }
        assert_ne!(code_hash("user:bob", text), Some(kept));
        for wrong in ["", "1234", &plain[1..], &format!("{plain}0"), "!!!!!!!!!!!!", "ÄÄÄÄÄÄÄÄÄÄÄÄ"]
        {
            assert_eq!(code_hash("user:ada", wrong), None, "{wrong}");
        }
        assert_eq!(format!("{shown:?}"), "Secret(…)");
    }

    /// A code can never be found where a session is looked for (docs/past-defects.md 7).
    #[test]
    fn s9_no_secret_is_taken_for_another() {
        let (link, session) = (link(&[1; 32]), session(&[1; 32]));
        assert!(link_hash(link.expose()).is_some() && session_hash(session.expose()).is_some());
        assert_eq!(link_hash(session.expose()), None);
        assert_eq!(session_hash(link.expose()), None);
        assert_eq!(session_hash(&format!("{}a", session.expose())), None);
        assert_ne!(session_hash(session.expose()), Some(hash_of(session.expose())));
    }
}
