//! Federation: where a bundle of another trust domain is fetched, who answers there, and how often
//! to ask ([SPIFFE Federation](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Federation.md)
//! §4, §5).

use std::fmt;

use serde::{Deserialize, Serialize};
use time::Span;
use url::Url;

use crate::bundle::{Bundle, BundleError};

/// Longest URL of an endpoint, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// How often an endpoint is asked at the most, whatever its bundle says.
pub const POLL_MIN: Span = Span::from_seconds(60);
/// How seldom at the least: a key that was revoked must not be trusted for longer because a bundle
/// said so once.
pub const POLL_MAX: Span = Span::from_seconds(24 * 3_600);

/// How an endpoint is authenticated.
///
/// SPIFFE Federation §7.2: "Endpoint Profile cannot be safely inferred from the URL either", so it
/// is always named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// By a certificate of the Web PKI for the host of the URL.
    HttpsWeb,
    /// By an X.509-SVID of one SPIFFE ID.
    HttpsSpiffe,
}

impl Profile {
    /// The name in the text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpsWeb => "https_web",
            Self::HttpsSpiffe => "https_spiffe",
        }
    }

    /// The profile of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::HttpsWeb, Self::HttpsSpiffe].into_iter().find(|profile| profile.name() == name)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The URL of a bundle endpoint, of either profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, EndpointUrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(EndpointUrlError::TooLong { bytes: text.len() });
        }
        let url = Url::parse(text).map_err(|_| EndpointUrlError::NotAUrl)?;
        // SPIFFE Federation §5.2.1.1: "Bundle endpoint URLs utilizing `https_web` MUST have the
        // scheme set to `https` and MUST NOT include userinfo in the authority component." §5.2.2.1
        // says the same of `https_spiffe`.
        if url.scheme() != "https" {
            return Err(EndpointUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointUrlError::UserInfo);
        }
        if !url.has_host() {
            return Err(EndpointUrlError::NotAUrl);
        }
        if url.fragment().is_some() {
            return Err(EndpointUrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// The URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = EndpointUrlError;

    fn try_from(text: String) -> Result<Self, EndpointUrlError> {
        Self::parse(&text)
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.0.into()
    }
}

/// Why a text is no URL of a bundle endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointUrlError {
    #[error("{bytes} bytes; at most {URL_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("no url with a host")]
    NotAUrl,
    #[error("the scheme of a bundle endpoint is `https`")]
    Scheme,
    #[error("the url of a bundle endpoint has no userinfo")]
    UserInfo,
    #[error("a fragment is never sent")]
    Fragment,
}

/// A bundle that an operator gave: what a first connection to a self-serving endpoint is checked
/// by.
///
/// SPIFFE Federation §5.2.2.2: "Clients MUST support specifying the bundle in SPIFFE Bundle Format
/// and MAY support other formats".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GivenBundle(Bundle);

impl GivenBundle {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.0
    }
}

impl From<Bundle> for GivenBundle {
    fn from(bundle: Bundle) -> Self {
        Self(bundle)
    }
}

impl TryFrom<String> for GivenBundle {
    type Error = BundleError;

    fn try_from(text: String) -> Result<Self, BundleError> {
        Bundle::parse(&text).map(Self)
    }
}

impl From<GivenBundle> for String {
    fn from(given: GivenBundle) -> Self {
        given.0.to_value().to_string()
    }
}

/// How long to wait after a bundle with this refresh hint was fetched.
///
/// SPIFFE Federation §4.1: "Clients SHOULD poll at a frequency equal to the value of the bundle's
/// `spiffe_refresh_hint`, in seconds", within [`POLL_MIN`] and [`POLL_MAX`].
pub fn poll_after(hint: Span) -> Span {
    hint.max(POLL_MIN).min(POLL_MAX)
}

/// How long to wait after a fetch failed for the `failures`th time in a row, where a good bundle is
/// fetched each `interval`.
///
/// SPIFFE Federation §6.2: "clients SHOULD retry at the next polling interval, rather than
/// immediately or aggressively retrying, as this can overwhelm the bundle endpoint server": the
/// first retry at the next interval, each later one after twice the time.
pub fn retry_after(interval: Span, failures: u32) -> Span {
    let doubled = failures.saturating_sub(1).min(16);
    let millis = poll_after(interval).millis().saturating_mul(1 << doubled);
    let longest = RETRY_MAX.max(poll_after(interval));
    Span::from_millis(millis).min(longest)
}

/// The longest pause between retries, unless the interval itself is longer.
const RETRY_MAX: Span = Span::from_seconds(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_2_1_1_a_url_of_an_endpoint_is_https_without_userinfo() {
        let check = |text: &str, expect: Result<&str, EndpointUrlError>| {
            let found = EndpointUrl::parse(text);
            assert_eq!(found.as_ref().map(EndpointUrl::as_str), expect.as_ref().copied(), "{text}");
        };
        check("https://host.example/trust_domain", Ok("https://host.example/trust_domain"));
        check("https://HOST.example:8443/b?wit-svid=off", {
            Ok("https://host.example:8443/b?wit-svid=off")
        });
        check("https://192.0.2.1/bundle", Ok("https://192.0.2.1/bundle"));
        check("http://host.example/", Err(EndpointUrlError::Scheme));
        check("file:///etc/passwd", Err(EndpointUrlError::Scheme));
        check("https://me@host.example/", Err(EndpointUrlError::UserInfo));
        check("https://:pw@host.example/", Err(EndpointUrlError::UserInfo));
        check("https://host.example/#x", Err(EndpointUrlError::Fragment));
        check("host.example/bundle", Err(EndpointUrlError::NotAUrl));
        check("https://", Err(EndpointUrlError::NotAUrl));
        let long = format!("https://host.example/{}", "a".repeat(URL_BYTES_MAX));
        check(&long, Err(EndpointUrlError::TooLong { bytes: long.len() }));
    }

    #[test]
    fn s4_1_the_hint_is_obeyed_within_bounds() {
        for (hint, wait) in
            [(0, 60), (59, 60), (60, 60), (300, 300), (86_400, 86_400), (u64::MAX / 2_000, 86_400)]
        {
            assert_eq!(poll_after(Span::from_seconds(hint)), Span::from_seconds(wait), "{hint}");
        }
    }

    #[test]
    fn s6_2_a_retry_waits_for_the_next_interval_and_then_longer() {
        for (interval, failures, wait) in [
            (300, 0, 300),
            (300, 1, 300),
            (300, 2, 600),
            (300, 3, 1_200),
            (300, 5, 3_600),
            (300, u32::MAX, 3_600),
            (1, 1, 60),
            (7_200, 1, 7_200),
            (7_200, 9, 7_200),
        ] {
            let found = retry_after(Span::from_seconds(interval), failures);
            assert_eq!(found, Span::from_seconds(wait), "{interval} {failures}");
        }
    }

    #[test]
    fn a_profile_has_the_name_of_the_text() {
        for profile in [Profile::HttpsWeb, Profile::HttpsSpiffe] {
            assert_eq!(Profile::parse(profile.name()), Some(profile));
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
        }
        assert_eq!(Profile::parse("https"), None);
    }
}
