//! Names of packages: `pkg:type/namespace/name@version?qualifiers#subpath`.

use std::fmt;

/// Longest package URL that is read, in bytes.
const PURL_BYTES_MAX: usize = 2_048;

/// A package, and perhaps its version. Qualifiers and subpath say how it is packed, and are left
/// out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purl {
    kind: String,
    namespace: String,
    name: String,
    version: Option<String>,
}

impl Purl {
    /// Reads a package URL, and makes it what its type calls normal.
    pub fn parse(text: &str) -> Result<Self, PurlError> {
        if text.len() > PURL_BYTES_MAX {
            return Err(PurlError::TooLong { bytes: text.len() });
        }
        // purl, How to parse: "Split the purl string once from right on '#'", "[...] on '?'",
        // "[...] once from left on ':'. [...] The left side lowercased is the scheme".
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let text = text.split_once('?').map_or(text, |(before, _)| before);
        let (scheme, rest) = text.split_once(':').ok_or(PurlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("pkg") {
            return Err(PurlError::Scheme);
        }
        // "Strip the remainder from leading and trailing '/'."
        let rest = rest.trim_matches('/');
        let (kind, rest) = rest.split_once('/').ok_or(PurlError::Name)?;
        let kind = kind.to_ascii_lowercase();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
        if kind.is_empty() || !kind.bytes().all(allowed) {
            return Err(PurlError::Kind);
        }
        // "Split this once from right on '@'": an `@` in the path is percent-encoded, save for the
        // scope of an npm package, which begins a segment.
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) if !path.is_empty() && !path.ends_with('/') => {
                (path, Some(decode(version)?))
            }
            _ => (rest, None),
        };
        let path = path.trim_end_matches('/');
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            segments.push(decode(segment)?);
        }
        let name = segments.pop().ok_or(PurlError::Name)?;
        let version = version.filter(|version| !version.is_empty());
        Ok(Self { kind, namespace: segments.join("/"), name, version }.normal())
    }

    /// The rules of some types for letters that mean the same.
    fn normal(mut self) -> Self {
        match self.kind.as_str() {
            // purl types, pypi: "the name is lowercased and underscore replaced by dash"
            "pypi" => self.name = self.name.to_lowercase().replace(['_', '.'], "-"),
            "npm" | "composer" | "github" | "bitbucket" => {
                self.name = self.name.to_lowercase();
                self.namespace = self.namespace.to_lowercase();
            }
            _ => {}
        }
        self
    }

    /// Its type: `pypi`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its version.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether both are the same package, of whatever versions.
    pub fn is_same_package(&self, other: &Self) -> bool {
        (&self.kind, &self.namespace, &self.name) == (&other.kind, &other.namespace, &other.name)
    }

    /// The ecosystem and the name that OSV has for it.
    pub fn in_osv(&self) -> Option<(&'static str, String)> {
        let joined = |separator: &str| match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}{separator}{}", self.name),
        };
        Some(match self.kind.as_str() {
            "pypi" => ("PyPI", self.name.clone()),
            "npm" => ("npm", joined("/")),
            "cargo" => ("crates.io", self.name.clone()),
            "golang" => ("Go", joined("/")),
            "maven" => ("Maven", joined(":")),
            "gem" => ("RubyGems", self.name.clone()),
            "nuget" => ("NuGet", self.name.clone()),
            "composer" => ("Packagist", joined("/")),
            "hex" => ("Hex", self.name.clone()),
            "pub" => ("Pub", self.name.clone()),
            _ => return None,
        })
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// Percent-decodes a part; what is no UTF-8, or has control characters, is refused.
fn decode(text: &str) -> Result<String, PurlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.ok_or(PurlError::Encoding)?);
    }
    let text = String::from_utf8(bytes).map_err(|_| PurlError::Encoding)?;
    if text.chars().any(char::is_control) { Err(PurlError::Encoding) } else { Ok(text) }
}

/// Why a text is no package URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurlError {
    #[error("a package url of {bytes} bytes, at most {PURL_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("a package url begins with `pkg:`")]
    Scheme,
    #[error("a package url with a type that has other characters than letters, digits, `.+-`")]
    Kind,
    #[error("a package url without a name")]
    Name,
    #[error("a package url with a broken percent encoding, or a control character")]
    Encoding,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of package-url/purl-spec, and what they mean.
    #[test]
    fn purl_forms_of_one_name() {
        for (text, normal, osv) in [
            (
                "pkg:pypi/Django_Allauth@12.23",
                "pkg:pypi/django-allauth@12.23",
                Some(("PyPI", "django-allauth")),
            ),
            ("PKG:PyPI/django@1.11.1", "pkg:pypi/django@1.11.1", Some(("PyPI", "django"))),
            (
                "pkg:npm/%40angular/animation@12.3.1",
                "pkg:npm/@angular/animation@12.3.1",
                Some(("npm", "@angular/animation")),
            ),
            (
                "pkg:npm/@angular/animation",
                "pkg:npm/@angular/animation",
                Some(("npm", "@angular/animation")),
            ),
            (
                "pkg:maven/org.apache/xml@1?type=jar#a/b",
                "pkg:maven/org.apache/xml@1",
                Some(("Maven", "org.apache:xml")),
            ),
            (
                "pkg:golang/google.golang.org/genproto@abc#x",
                "pkg:golang/google.golang.org/genproto@abc",
                Some(("Go", "google.golang.org/genproto")),
            ),
            ("pkg://cargo/rand@0.7.2", "pkg:cargo/rand@0.7.2", Some(("crates.io", "rand"))),
            (
                "pkg:huggingface/microsoft/deberta@559062ad",
                "pkg:huggingface/microsoft/deberta@559062ad",
                None,
            ),
            ("pkg:gem/a@", "pkg:gem/a", Some(("RubyGems", "a"))),
        ] {
            let purl = Purl::parse(text).unwrap();
            assert_eq!(purl.to_string(), normal, "{text}");
            let osv = osv.map(|(ecosystem, name)| (ecosystem, name.to_owned()));
            assert_eq!(purl.in_osv(), osv, "{text}");
        }
    }

    #[test]
    fn purl_other_texts_are_no_names() {
        for (text, expect) in [
            ("", PurlError::Scheme),
            ("cargo/rand", PurlError::Scheme),
            ("http:cargo/rand", PurlError::Scheme),
            ("pkg:cargo", PurlError::Name),
            ("pkg:cargo/", PurlError::Name),
            ("pkg:car go/rand", PurlError::Kind),
            ("pkg:cargo/%zz", PurlError::Encoding),
            ("pkg:cargo/%ff", PurlError::Encoding),
            ("pkg:cargo/a%0a", PurlError::Encoding),
            ("pkg:cargo/a%4", PurlError::Encoding),
        ] {
            assert_eq!(Purl::parse(text), Err(expect), "{text}");
        }
        let long = format!("pkg:cargo/{}", "a".repeat(2_048));
        assert_eq!(Purl::parse(&long), Err(PurlError::TooLong { bytes: 2_058 }));
    }
}
