//! One call as it arrived, its parts read once.

/// The longest path that is read, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 4_096;

/// A call at the gateway. The body is whole: what is decided on is what is sent
/// (docs/past-defects.md 32).
#[derive(Clone)]
pub struct Call {
    /// The HTTP method, upper case.
    pub method: String,
    /// The path and query as received.
    pub target: Target,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The certificates that the client showed in TLS, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Where it came from, for counting strangers.
    pub source: String,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} {}, {} bytes)", self.method, self.target.path, self.body.len())
    }
}

impl Call {
    /// The values of a header field, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
}

/// Where a call goes: `/<resource>/<rest>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path as received, never decoded or repaired.
    pub path: String,
    /// The query as received, without the question mark.
    pub query: Option<String>,
}

impl Target {
    /// Takes a path that reads in one way only.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, PathError> {
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong { bytes: path.len() });
        }
        let Some(rest) = path.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
        let lower = path.to_ascii_lowercase();
        let double = ["%2e", "%2f", "%5c", "%00", "\\"];
        if let Some(found) = double.into_iter().find(|found| lower.contains(found)) {
            return Err(PathError::Ambiguous { found: found.to_owned() });
        }
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            // Some servers drop what follows a semicolon (RFC 3986 §3.3) before they resolve dots.
            let name = segment.split(';').next().unwrap_or_default();
            let parameters = segment.len() > name.len();
            if name == "." || name == ".." || (name.is_empty() && (!last || parameters)) {
                return Err(PathError::Ambiguous { found: format!("/{segment}/") });
            }
        }
        // RFC 3986 §3.3: a path ends at "the first question mark ("?") or number sign ("#")
        // character": who shows one with it took the target apart otherwise than we.
        let parts = [(path, ['?', '#'].as_slice()), (query.unwrap_or_default(), &['#'])];
        if let Some(found) = parts.iter().find_map(|(text, ends)| text.rsplit_once(*ends)) {
            return Err(PathError::NotTakenApart { rest: found.1.to_owned() });
        }
        encoded(path)?;
        if !query.unwrap_or_default().bytes().all(is_of_query) {
            return Err(PathError::Query);
        }
        Ok(Self { path: path.to_owned(), query: query.map(str::to_owned) })
    }

    /// The name of the resource: the first segment.
    pub fn resource(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// The path below the resource; `/` where there is none.
    pub fn below(&self) -> &str {
        let skip = self.resource().len() + 1;
        self.path.get(skip..).filter(|rest| !rest.is_empty()).unwrap_or("/")
    }
}

/// Whether a query may have this byte as it is. RFC 3986 §3.4 has fewer; clients send brackets,
/// braces and bars, too, and no server reads them in two ways.
const fn is_of_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'#')
}

/// Refuses what has to be percent-encoded and is not, and what is and must not be.
fn encoded(path: &str) -> Result<(), PathError> {
    // RFC 3986 §3.3: "pchar = unreserved / pct-encoded / sub-delims / ":" / "@"".
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            // RFC 3986 §2.1: "pct-encoded = "%" HEXDIG HEXDIG"
            let (digits, after) = rest.split_at_checked(2).ok_or(PathError::Encoding)?;
            let text = std::str::from_utf8(digits).ok();
            let text = text.filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let text = text.ok_or(PathError::Encoding)?;
            let byte = u8::from_str_radix(text, 16).map_err(|_| PathError::Encoding)?;
            if byte.is_ascii_control() {
                return Err(PathError::Ambiguous { found: format!("%{text}") });
            }
            rest = after;
        } else if !is_plain(byte) {
            return Err(PathError::Characters);
        }
    }
    Ok(())
}

/// A path that could be read in two ways.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Over [`PATH_BYTES_MAX`].
    #[error("a path of {bytes} bytes, at most {PATH_BYTES_MAX} are read")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// It does not begin with `/`.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// Another server could read it otherwise.
    #[error("`{found}` in the path: other servers may read it as another path")]
    Ambiguous {
        /// What.
        found: String,
    },
    /// The query is still in the path, or a fragment is there.
    #[error("`{rest}` stands behind a `?` or `#` that ends the path")]
    NotTakenApart {
        /// What stands behind it.
        rest: String,
    },
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a broken percent encoding")]
    Encoding,
    /// A character that no path has.
    #[error("the path has a character that must be percent-encoded")]
    Characters,
    /// A character that no query has.
    #[error("the query has a character that must be percent-encoded")]
    Query,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: GW-01 (part)
    #[test]
    fn s5_1_a_path_that_reads_in_two_ways_is_refused() {
        let check = |path: &str, expect: Result<(&str, &str), PathError>| {
            let read = Target::parse(path, None);
            let found = read.as_ref().map(|one| (one.resource(), one.below()));
            assert_eq!(found.map_err(Clone::clone), expect, "{path}");
        };
        let ambiguous = |found: &str| Err(PathError::Ambiguous { found: found.to_owned() });
        check("/tools", Ok(("tools", "/")));
        check("/tools/", Ok(("tools", "/")));
        check("/tools/mcp", Ok(("tools", "/mcp")));
        check("/tools/a%20b", Ok(("tools", "/a%20b")));
        check("/", Ok(("", "/")));
        check("tools", Err(PathError::NotAbsolute));
        check("/tools//mcp", ambiguous("//"));
        check("/tools/../admin", ambiguous("/../"));
        check("/tools/.", ambiguous("/./"));
        check("/tools/..;/admin", ambiguous("/..;/"));
        check("/tools/.;a=b/admin", ambiguous("/.;a=b/"));
        check("/tools/;/admin", ambiguous("/;/"));
        check("/tools/;", ambiguous("/;/"));
        check("/tools/a;b=c/d", Ok(("tools", "/a;b=c/d")));
        check("/tools/...", Ok(("tools", "/...")));
        check("/tools/%2E%2e/admin", ambiguous("%2e"));
        check("/tools%2fadmin", ambiguous("%2f"));
        check("/tools\\admin", ambiguous("\\"));
        let rest = |rest: &str| Err(PathError::NotTakenApart { rest: rest.to_owned() });
        check("/tools/admin?x=1", rest("x=1"));
        check("/tools/admin?", rest(""));
        check("/tools/admin#x", rest("x"));
        check("/tools/<admin>", Err(PathError::Characters));
        check("/tools/%41%c3%A4", Ok(("tools", "/%41%c3%A4")));
        check("/tools/a%0D", ambiguous("%0D"));
        check("/tools/%zz", Err(PathError::Encoding));
        check("/tools/%4", Err(PathError::Encoding));
        check("/tools/%", Err(PathError::Encoding));
        check("/tools/a b", Err(PathError::Characters));
        check("/tools/ä", Err(PathError::Characters));
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        check(&long, Err(PathError::TooLong { bytes: long.len() }));
    }

    /// What listeners of HTTP take and refuse differs: what is left to a query does not.
    /// req: GW-01 (part)
    #[test]
    fn s5_1_a_query_has_what_queries_have() {
        let check = |query: &str, expect: Result<(), PathError>| {
            let read = Target::parse("/tools/a", Some(query));
            assert_eq!(
                read.as_ref().map(|one| one.query.as_deref()).map_err(Clone::clone),
                expect.map(|()| Some(query)),
                "{query}"
            );
        };
        for query in ["", "a=b&c", "/?:@", "filter[a]={b}|c", "%zz%", "a'b`c^d\\e~"] {
            check(query, Ok(()));
        }
        for query in ["\"", "<", ">", " ", "ä", "a\tb", "\u{7f}"] {
            check(query, Err(PathError::Query));
        }
    }
}
