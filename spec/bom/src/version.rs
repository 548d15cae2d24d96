//! Order of versions ([Semantic Versioning 2.0.0](https://semver.org) §11).

use std::cmp::Ordering;

/// Longest version that is read, in bytes.
const VERSION_BYTES_MAX: usize = 256;

/// A semantic version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemVer {
    core: [u64; 3],
    pre: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl SemVer {
    /// Reads a version; a `v` before it, as Go writes it, is read over.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > VERSION_BYTES_MAX {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(text);
        // SemVer §10: "Build metadata MUST be ignored when determining version precedence."
        let (text, build) = text.split_once('+').map_or((text, None), |(a, b)| (a, Some(b)));
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let (core, pre) = text.split_once('-').map_or((text, None), |(a, b)| (a, Some(b)));
        let mut numbers = core.split('.').map(number);
        let core = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() {
            return None;
        }
        let pre = pre.map(|pre| pre.split('.').map(Identifier::parse).collect::<Option<Vec<_>>>());
        let pre = match pre {
            Some(pre) => pre?,
            None => Vec::new(),
        };
        Some(Self { core, pre })
    }
}

impl Identifier {
    fn parse(text: &str) -> Option<Self> {
        if !is_identifier(text) {
            return None;
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(text).map(Self::Number);
        }
        Some(Self::Text(text.to_owned()))
    }
}

/// SemVer §9: "Identifiers MUST comprise only ASCII alphanumerics and hyphens [0-9A-Za-z-].
/// Identifiers MUST NOT be empty."
fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// SemVer §2: numbers "MUST NOT contain leading zeroes".
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

impl Ord for SemVer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.core.cmp(&other.core).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            // SemVer §11.3: "a pre-release version has lower precedence than a normal version"
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }
}

impl PartialOrd for SemVer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Identifier {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            // SemVer §11.4.3: "Numeric identifiers always have lower precedence than non-numeric
            // identifiers."
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Identifier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SemVer §11: the examples, lowest first.
    #[test]
    fn semver_11_order() {
        let order = [
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "2.0.0",
            "2.1.0",
            "2.1.1",
            "2.1.10",
        ]
        .map(|text| SemVer::parse(text).unwrap());
        assert!(order.is_sorted());
        for pair in order.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        assert_eq!(SemVer::parse("v1.0.0+build.01"), SemVer::parse("1.0.0"));
    }

    #[test]
    fn semver_2_other_texts_are_no_versions() {
        let long = format!("1.0.0-{}", "a".repeat(256));
        for text in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "01.0.0",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.0-01",
            "1.0.0+",
            &long,
        ] {
            assert_eq!(SemVer::parse(text), None, "{text}");
        }
    }
}
