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
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PathError::Characters);
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
    /// A character outside visible ASCII.
    #[error("the path has a character that must be percent-encoded")]
    Characters,
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
        check("/tools/a b", Err(PathError::Characters));
        check("/tools/ä", Err(PathError::Characters));
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        check(&long, Err(PathError::TooLong { bytes: long.len() }));
    }
}
