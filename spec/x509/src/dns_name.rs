//! The name of a host in a certificate (RFC 5280 §4.2.1.6).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes (RFC 1035 §2.3.4).
pub const DNS_NAME_BYTES_MAX: usize = 253;
/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// A host's name in lower case, without a wildcard and without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsName(String);

impl DnsName {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, NotADnsName> {
        // RFC 5280 §4.2.1.6: "The name MUST be in the "preferred name syntax", as specified by
        // Section 3.5 of [RFC1034] and as modified by Section 2.1 of [RFC1123]."
        let label = |label: &str| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let edges = !label.starts_with('-') && !label.ends_with('-');
            let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
            fits && edges && label.bytes().all(|byte| inner(byte) || byte == b'-')
        };
        let numeric = text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        let fits = text.len() <= DNS_NAME_BYTES_MAX && !numeric;
        if fits && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotADnsName { text: text.chars().take(DNS_NAME_BYTES_MAX).collect() })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DnsName {
    type Error = NotADnsName;

    fn try_from(text: String) -> Result<Self, NotADnsName> {
        Self::parse(&text)
    }
}

impl From<DnsName> for String {
    fn from(name: DnsName) -> Self {
        name.0
    }
}

/// What is no name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a host in lower case")]
pub struct NotADnsName {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5280_4_2_1_6_a_name_is_that_of_one_host() {
        let long = format!("{}.example", "a".repeat(63));
        for good in ["a", "a.example", "1.a-b.example", "xn--bcher-kva.example", long.as_str()] {
            assert_eq!(DnsName::parse(good).unwrap().as_str(), good);
        }
        let label = format!("{}.example", "a".repeat(64));
        let whole = vec!["a".repeat(63); 4].join(".") + ".example";
        let bad = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "A.example",
            "*.example",
            "a_b",
            "a b",
            "10.0.0.1",
            "a:1",
            "bücher.example",
            label.as_str(),
            whole.as_str(),
        ];
        for bad in bad {
            assert!(DnsName::parse(bad).is_err(), "{bad}");
        }
    }
}
