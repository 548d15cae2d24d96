//! The join token of a node, from the file in which an operator put it (the pure half is
//! `attestation::join_token`).
//!
//! The file is a secret that lets one host join once: it must not be readable by everybody.

use std::fmt;
use std::path::Path;

use attestation::join_token::TOKEN_BYTES_MAX;
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

/// A join token as it goes to the server: printable, unknown to everybody else.
#[derive(Clone)]
pub struct JoinToken(Zeroizing<String>);

impl JoinToken {
    /// Reads the token in a file, alone on its only line.
    pub fn read(path: &Path) -> Result<Self, JoinTokenError> {
        let bytes = secret_file::read(path, TOKEN_BYTES_MAX + 2)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| JoinTokenError::NotPrintable)?;
        Self::parse(text.trim_end_matches(['\r', '\n']))
    }

    /// Checks a token that was typed.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        if text.is_empty() {
            return Err(JoinTokenError::Empty);
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err(JoinTokenError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(JoinTokenError::NotPrintable);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The token, to be sent: it must reach no log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(…)")
    }
}

/// Why there is no token in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// It is empty.
    #[error("the join token is empty")]
    Empty,
    /// It is longer than any token.
    #[error("the join token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It holds a space, a line end or something else that no token has.
    #[error("the join token holds other than printable ASCII characters")]
    NotPrintable,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// req: ATT-02 (part)
    #[test]
    fn s7_a_join_token_is_read_from_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let check = |content: &[u8], expect: Result<&str, JoinTokenError>| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let found = JoinToken::read(&path);
            assert_eq!(found.as_ref().map(JoinToken::expose), expect.as_ref().copied());
        };
        let longest = "t".repeat(TOKEN_BYTES_MAX);
        check(b"abc-DEF_123", Ok("abc-DEF_123"));
        check(b"abc-DEF_123\r\n", Ok("abc-DEF_123"));
        check(longest.as_bytes(), Ok(&longest));
        check(b"", Err(JoinTokenError::Empty));
        check(b"\n", Err(JoinTokenError::Empty));
        check(b"two words", Err(JoinTokenError::NotPrintable));
        check(b"two\nlines\n", Err(JoinTokenError::NotPrintable));
        check(b"\xff\xfe", Err(JoinTokenError::NotPrintable));
        check(format!("{longest}t").as_bytes(), Err(JoinTokenError::TooLong));
        let bytes = longest.len() + 3;
        let path = path.display().to_string();
        let refused = SecretFileError::TooLong { path, max: TOKEN_BYTES_MAX + 2 };
        check("t".repeat(bytes).as_bytes(), Err(JoinTokenError::File(refused)));
    }

    #[test]
    fn s7_a_join_token_shows_itself_only_when_asked() {
        let token = JoinToken::parse("secret-token").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
    }
}
