//! Where the keys of an issuer of tokens are from: the text of policy, or a place that policy
//! names; and how long what was fetched there counts
//! ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517) §5, OpenID Connect Discovery 1.0 §4).
//!
//! In policy: `keys = '{"keys": […]}'`, or `keys = { jwks_uri = "https://…" }`, or
//! `keys = { discovery = true }` (at the issuer's `/.well-known/openid-configuration`); a place may
//! have `ca` (PEM, in place of the Web PKI) and `addresses` (ranges that are not public and that it
//! may be in).

use std::net::IpAddr;

use jose::{KeyId, KeySet, Unverified};
use oauth::id_token::IdToken;
use serde::Deserialize;
use serde_json::Value;
use time::{Span, UnixTime};
use url::Url;

use crate::mechanism::{self, Facts, Question, Step};

/// How long what was fetched is used without a look behind.
const FRESH: Span = Span::from_seconds(300);
/// How old it may be and still be used at once while it is fetched anew behind: a key that its
/// issuer took back goes after this, whoever joins.
const STALE_MAX: Span = Span::from_seconds(600);
/// How old it may be while its issuer does not answer.
pub const KEPT_MAX: Span = Span::from_seconds(86_400);
/// Between two looks because of a key that nobody knows: tokens of strangers may name any.
const UNKNOWN_KEY_PAUSE: Span = Span::from_seconds(30);
/// Between two looks at an issuer that does not answer: at first, and at most.
const RETRY_MIN: Span = Span::from_seconds(5);
const RETRY_MAX: Span = Span::from_seconds(300);
/// The document that discovery begins with.
const DISCOVERY_PATH: &str = ".well-known/openid-configuration";

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySource {
    /// Whose it is: what its tokens have as `iss`, and its discovery document as `issuer`.
    pub issuer: String,
    /// The key set, or the discovery document.
    pub url: String,
    /// Which of the two.
    pub discovery: bool,
    /// PEM certificates of the authorities to believe, in place of the Web PKI.
    pub ca: Option<String>,
    /// The ranges besides the public Internet that it may be in.
    pub addresses: Vec<String>,
}

/// What policy says of an issuer's keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Keys {
    /// The text of a JWK set.
    Text(String),
    /// A place.
    At(Place),
}

/// A place that keys are fetched from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    #[serde(default)]
    jwks_uri: Option<String>,
    #[serde(default)]
    discovery: bool,
    #[serde(default)]
    ca: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
}

impl TryFrom<Value> for Keys {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            table @ Value::Object(_) => Place::deserialize(table)
                .map(Self::At)
                .map_err(|error| format!("`keys` is a key set or a table of its place: {error}")),
            _ => Err("`keys` is the text of a key set or a table of its place".to_owned()),
        }
    }
}

impl Keys {
    /// What is wrong with it.
    pub fn fault(&self, issuer: &str) -> Option<String> {
        let place = match self {
            Self::Text(text) => return set_fault(text),
            Self::At(place) => place,
        };
        if place.jwks_uri.is_some() == place.discovery {
            return Some("name one place: `jwks_uri`, or `discovery = true`".to_owned());
        }
        url_fault(&place.source(issuer).url)
            .or_else(|| place.ca.as_deref().and_then(authorities_fault))
            .or_else(|| addresses_fault(&place.addresses))
    }

    /// What has to be asked before a signature of `issuer` can be checked. `token` is not proved.
    pub fn question(
        &self,
        mechanism: &'static str,
        issuer: &str,
        token: &[u8],
    ) -> Result<Option<Question>, mechanism::Refusal> {
        let Self::At(place) = self else { return Ok(None) };
        // What is no token at all wakes nobody up.
        let read = std::str::from_utf8(token).ok();
        let read = read.and_then(|text| Unverified::<IdToken>::parse(text.trim()).ok());
        let Some(token) = read else {
            let why = "the token does not read".to_owned();
            return Err(mechanism::Refusal::Failed { mechanism, step: Step::Form, why });
        };
        let kid = token.header().kid().map(|kid| kid.as_str().to_owned());
        Ok(Some(Question::Keys { source: place.source(issuer), kid }))
    }

    /// The text of the key set: policy's, or what was fetched.
    pub fn text<'a>(
        &'a self,
        mechanism: &'static str,
        facts: &Facts<'a>,
    ) -> Result<&'a str, mechanism::Refusal> {
        let fetched = || facts.keys.and_then(|keys| std::str::from_utf8(keys).ok());
        let text = match self {
            Self::Text(text) => Some(text.as_str()),
            Self::At(_) => fetched(),
        };
        let why = || "the keys of its issuer were not fetched".to_owned();
        text.ok_or_else(|| mechanism::Refusal::Failed { mechanism, step: Step::Chain, why: why() })
    }
}

impl Place {
    fn source(&self, issuer: &str) -> KeySource {
        // OpenID Connect Discovery 1.0 §4: "If the Issuer value contains a path component, any
        // terminating / MUST be removed before appending /.well-known/openid-configuration."
        let discovered = || format!("{}/{DISCOVERY_PATH}", issuer.trim_end_matches('/'));
        KeySource {
            issuer: issuer.to_owned(),
            url: self.jwks_uri.clone().unwrap_or_else(discovered),
            discovery: self.jwks_uri.is_none(),
            ca: self.ca.clone(),
            addresses: self.addresses.clone(),
        }
    }
}

/// What is wrong with a key set.
fn set_fault(keys: &str) -> Option<String> {
    match KeySet::parse(keys) {
        Err(error) => Some(error.to_string()),
        Ok(set) if set.keys().is_empty() => Some("no key in it verifies signatures".to_owned()),
        Ok(_) => None,
    }
}

/// What is wrong with a place in policy.
pub(crate) fn url_fault(text: &str) -> Option<String> {
    let is_plain = |url: &Url| {
        let is_open = url.username().is_empty() && url.password().is_none();
        url.scheme() == "https" && url.has_host() && is_open && url.fragment().is_none()
    };
    match Url::parse(text) {
        Ok(url) if is_plain(&url) => None,
        _ => Some(format!("`{text}` is no https url without userinfo")),
    }
}

/// What is wrong with authorities in policy.
pub(crate) fn authorities_fault(pem: &str) -> Option<String> {
    match x509::CertificateDer::from_pem_many(pem) {
        Err(error) => Some(format!("`ca` does not read: {error}")),
        Ok(found) if found.is_empty() => Some("`ca` has no certificate".to_owned()),
        Ok(_) => None,
    }
}

/// What is wrong with ranges of addresses in policy.
pub(crate) fn addresses_fault(ranges: &[String]) -> Option<String> {
    let bad = ranges.iter().find(|text| !is_range(text))?;
    Some(format!("`{bad}` is no address range such as 10.1.0.0/16 or 2001:db8:1::/48"))
}

/// A range as `10.1.0.0/16` or `192.0.2.7`, with no bits behind the prefix.
fn is_range(text: &str) -> bool {
    let (base, bits) = match text.split_once('/') {
        Some((base, bits)) => (base, Some(bits)),
        None => (text, None),
    };
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let (value, width) = match base {
        IpAddr::V4(base) => (u128::from(u32::from(base)), 32),
        IpAddr::V6(base) => (u128::from(base), 128),
    };
    let Some(bits) = bits else { return true };
    bits.parse::<u32>().is_ok_and(|bits| {
        let behind = 1_u128.checked_shl(width - bits.min(width)).map(|one| value % one);
        bits <= width && behind.unwrap_or(value) == 0
    })
}

/// The key set's place that a discovery document names.
///
/// OpenID Connect Discovery 1.0 §4.3: "The issuer value returned MUST be identical to the Issuer
/// URL that was used as the prefix to /.well-known/openid-configuration".
pub fn discovered(source: &KeySource, document: &str) -> Result<String, BadKeys> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    let bad = |error: serde_json::Error| BadKeys::Document(error.to_string());
    let Metadata { issuer, jwks_uri } = serde_json::from_str(document).map_err(bad)?;
    if issuer != source.issuer {
        return Err(BadKeys::Issuer { found: issuer, expected: source.issuer.clone() });
    }
    url_fault(&jwks_uri).map_or(Ok(jwks_uri), |why| Err(BadKeys::Document(why)))
}

/// Why what a place answers is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// The discovery document does not read.
    #[error("the discovery document does not read: {0}")]
    Document(String),
    /// It is somebody else's.
    #[error("the discovery document is of `{found}`, not of `{expected}`")]
    Issuer {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The key set is none that can be used.
    #[error("the key set is not used: {0}")]
    Set(String),
}

/// What one place gave, and when it is looked at again.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    set: Option<(String, UnixTime)>,
    /// When it was looked at last, and how often in vain since it answered.
    tried: Option<UnixTime>,
    failures: u32,
    /// When the next look is due.
    next: UnixTime,
}

/// What to do for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Use what is there.
    No,
    /// Use what is there, and look behind.
    Behind,
    /// Look first.
    First,
}

impl Kept {
    /// What a token that names `kid` needs.
    pub fn look(&self, kid: Option<&str>, now: UnixTime) -> Look {
        let Some((text, fetched)) = &self.set else {
            return if now >= self.next { Look::First } else { Look::No };
        };
        let known = kid.is_none_or(|kid| has(text, kid));
        let rested = self.tried.is_none_or(|at| now >= at.plus(UNKNOWN_KEY_PAUSE));
        // A clock that went back knows no ages.
        let age = if now < *fetched { KEPT_MAX } else { now.since(*fetched) };
        match () {
            () if !known && rested => Look::First,
            () if now < self.next => Look::No,
            () if age < STALE_MAX => Look::Behind,
            () => Look::First,
        }
    }

    /// The key set to use now.
    pub fn text(&self, now: UnixTime) -> Option<&str> {
        let (text, fetched) = self.set.as_ref()?;
        (now.since(*fetched) < KEPT_MAX).then_some(text.as_str())
    }

    /// A look ended well, if what came is a key set. `random` spreads the next looks of many.
    pub fn answered(&mut self, text: String, random: u64, now: UnixTime) -> Result<(), BadKeys> {
        if let Some(why) = set_fault(&text) {
            self.failed(random, now);
            return Err(BadKeys::Set(why));
        }
        self.set = Some((text, now));
        (self.tried, self.failures) = (Some(now), 0);
        self.next = now.plus(spread(FRESH, random));
        Ok(())
    }

    /// A look ended in nothing: what was there stays, for a while.
    pub fn failed(&mut self, random: u64, now: UnixTime) {
        let pause = RETRY_MIN.millis() << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.tried = Some(now);
        self.next = now.plus(spread(Span::from_millis(pause).min(RETRY_MAX), random));
    }

    /// How often it was looked at in vain since it last answered.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

fn has(set: &str, kid: &str) -> bool {
    let set = KeySet::parse(set).ok();
    let kid = KeyId::parse(kid).ok();
    set.zip(kid).is_some_and(|(set, kid)| set.by_kid(&kid).is_some())
}

/// Three to five quarters of a span.
fn spread(span: Span, random: u64) -> Span {
    let half = (span.millis() / 2).max(1);
    Span::from_millis(span.millis() - half / 2 + random % half)
}
