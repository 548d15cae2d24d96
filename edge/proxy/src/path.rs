//! Request targets (RFC 9112 §3.2, RFC 3986 §3.3): a path is taken as it stands or not at all. It
//! is never repaired, because whoever repairs it differently further on serves something else than
//! was judged.

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 4_096;

/// Why a path is not taken: one variant a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with a slash.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// It is too long.
    #[error("the path has more than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// Two slashes in a row.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`, with or without parameters.
    #[error("the path has a dot segment")]
    DotSegment,
    /// A character that no path may hold.
    #[error("the path holds the byte `{byte:#04x}`, which has to be encoded")]
    Character {
        /// That byte.
        byte: u8,
    },
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a broken percent encoding")]
    Encoding,
    /// An encoded dot, slash, backslash or control character.
    #[error("the path holds `%{byte:02x}`, which readers disagree about")]
    Encoded {
        /// What is encoded.
        byte: u8,
    },
}

/// Checks a path as it was received, without the query.
pub(crate) fn check(path: &str) -> Result<(), PathFault> {
    // RFC 9112 §3.2.1: "If the target URI's path component is empty, the client MUST send "/" as
    // the path within the origin-form of request-target."
    let Some(segments) = path.strip_prefix('/') else { return Err(PathFault::NotAbsolute) };
    if path.len() > PATH_BYTES_MAX {
        return Err(PathFault::TooLong);
    }
    check_bytes(path.as_bytes())?;
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathFault::EmptySegment);
        }
        // RFC 3986 §3.3: "the semicolon (";") and equals ("=") reserved characters are often used
        // to delimit parameters and parameter values applicable to that segment": `..;` is `..` to
        // some.
        let name = segment.split_once(';').map_or(segment, |(name, _)| name);
        if name == "." || name == ".." {
            return Err(PathFault::DotSegment);
        }
    }
    Ok(())
}

fn check_bytes(path: &[u8]) -> Result<(), PathFault> {
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            // RFC 3986 §2.1: "pct-encoded = "%" HEXDIG HEXDIG"
            let (digits, after) = rest.split_at_checked(2).ok_or(PathFault::Encoding)?;
            let byte = decoded(digits).ok_or(PathFault::Encoding)?;
            if matches!(byte, b'.' | b'/' | b'\\') || byte.is_ascii_control() {
                return Err(PathFault::Encoded { byte });
            }
            rest = after;
        } else if !is_path_character(byte) {
            return Err(PathFault::Character { byte });
        }
    }
    Ok(())
}

fn decoded(digits: &[u8]) -> Option<u8> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

// RFC 3986 §3.3: "pchar = unreserved / pct-encoded / sub-delims / ":" / "@""
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3986_3_3_paths_that_readers_agree_about_are_taken() {
        for path in [
            "/",
            "/mcp",
            "/mcp/",
            "/a/b.c/d..e/...",
            "/.well-known/oauth-protected-resource/mcp",
            "/a;v=1/b@c:d",
            "/caf%C3%A9/100%25",
            "/%20",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn normalisation_every_path_that_readers_disagree_about_is_refused() {
        let encoded = |byte| PathFault::Encoded { byte };
        let character = |byte| PathFault::Character { byte };
        for (path, expect) in [
            ("", PathFault::NotAbsolute),
            ("*", PathFault::NotAbsolute),
            ("a/b", PathFault::NotAbsolute),
            ("//", PathFault::EmptySegment),
            ("//a", PathFault::EmptySegment),
            ("/a//b", PathFault::EmptySegment),
            ("/a//", PathFault::EmptySegment),
            ("/.", PathFault::DotSegment),
            ("/a/./b", PathFault::DotSegment),
            ("/a/../b", PathFault::DotSegment),
            ("/a/..", PathFault::DotSegment),
            ("/a/..;/b", PathFault::DotSegment),
            ("/a/.;x=1/b", PathFault::DotSegment),
            ("/a/%2e%2E/b", encoded(b'.')),
            ("/a/%2E/b", encoded(b'.')),
            ("/a%2fb", encoded(b'/')),
            ("/a%2Fb", encoded(b'/')),
            ("/a%5cb", encoded(b'\\')),
            ("/a%00", encoded(0)),
            ("/a%0d%0aHost:", encoded(b'\r')),
            ("/a%7f", encoded(0x7f)),
            ("/a\\b", character(b'\\')),
            ("/a b", character(b' ')),
            ("/a\u{1}", character(1)),
            ("/a#b", character(b'#')),
            ("/a?b", character(b'?')),
            ("/caf\u{e9}", character(0xc3)),
            ("/a{b}", character(b'{')),
            ("/a%", PathFault::Encoding),
            ("/a%2", PathFault::Encoding),
            ("/a%zz", PathFault::Encoding),
            ("/a%+1", PathFault::Encoding),
        ] {
            assert_eq!(check(path), Err(expect), "{path}");
        }
        assert_eq!(check(&format!("/{}", "a".repeat(PATH_BYTES_MAX))), Err(PathFault::TooLong));
    }
}
