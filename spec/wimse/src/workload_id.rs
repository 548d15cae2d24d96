//! Workload identifiers of both schemes, and the origin that each belongs to (wimse-identifier
//! §4.1, §4.6).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};

use crate::id::{self, WimseId, WimseIdError};

/// What every SPIFFE ID begins with.
const SPIFFE_PREFIX: &str = "spiffe://";

/// A workload identifier. Compared, stored and shown as its canonical text, whole.
///
/// wimse-identifier §4.3: "Consumers MUST compare and authorize Workload Identifiers using the
/// complete URI, rather than relying only on individual components such as the path."
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadId {
    /// `spiffe://…`
    Spiffe(SpiffeId),
    /// `wimse://…`
    Wimse(WimseId),
}

impl WorkloadId {
    /// Reads an identifier in the canonical form of its scheme; an unknown scheme is refused.
    pub fn parse(text: &str) -> Result<Self, WorkloadIdError> {
        match text.split_once(':') {
            Some(("spiffe", _)) => Ok(Self::Spiffe(SpiffeId::parse(text)?)),
            Some(("wimse", _)) => Ok(Self::Wimse(WimseId::parse(text)?)),
            _ => Err(WorkloadIdError::UnknownScheme),
        }
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Spiffe(id) => id.as_str(),
            Self::Wimse(id) => id.as_str(),
        }
    }

    /// Scheme and trust domain: the key of everything that is trusted.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Spiffe(id) => Origin::from(id.trust_domain()),
            Self::Wimse(id) => Origin(format!("{}{}", id::PREFIX, id.trust_domain()).into()),
        }
    }

    /// The path with its leading slash; empty for a SPIFFE ID that names a trust domain.
    pub fn path(&self) -> &str {
        match self {
            Self::Spiffe(id) => id.path(),
            Self::Wimse(id) => id.path(),
        }
    }

    /// The segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// Whether it resides in this origin.
    pub fn is_member_of(&self, origin: &Origin) -> bool {
        self.origin() == *origin
    }

    /// The SPIFFE ID, if it is one.
    pub fn as_spiffe(&self) -> Option<&SpiffeId> {
        match self {
            Self::Spiffe(id) => Some(id),
            Self::Wimse(_) => None,
        }
    }
}

impl From<SpiffeId> for WorkloadId {
    fn from(id: SpiffeId) -> Self {
        Self::Spiffe(id)
    }
}

impl From<WimseId> for WorkloadId {
    fn from(id: WimseId) -> Self {
        Self::Wimse(id)
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for WorkloadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for WorkloadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a text is no workload identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadIdError {
    #[error("a workload identifier begins with `spiffe://` or `wimse://`")]
    UnknownScheme,
    #[error(transparent)]
    Spiffe(#[from] SpiffeIdError),
    #[error(transparent)]
    Wimse(#[from] WimseIdError),
}

/// The schemes of workload identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `spiffe`.
    #[default]
    Spiffe,
    /// `wimse` (wimse-identifier §4.4).
    Wimse,
}

impl Scheme {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spiffe => "spiffe",
            Self::Wimse => "wimse",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A scheme and a trust domain: `spiffe://prod.example`. Trust is bound to it: the same trust
/// domain under another scheme is another origin.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(Arc<str>);

impl Origin {
    /// Reads an origin in canonical form: no path, not even a slash.
    pub fn parse(text: &str) -> Result<Self, WorkloadIdError> {
        if let Some(name) = text.strip_prefix(SPIFFE_PREFIX) {
            return Ok(Self::from(&TrustDomain::parse(name)?));
        }
        let name = text.strip_prefix(id::PREFIX).ok_or(WorkloadIdError::UnknownScheme)?;
        id::check_trust_domain(name)?;
        Ok(Self(text.into()))
    }

    /// The origin of a trust domain under a scheme: not every name is one under each.
    pub fn of(scheme: Scheme, trust_domain: &TrustDomain) -> Result<Self, WorkloadIdError> {
        Self::parse(&format!("{scheme}://{trust_domain}"))
    }

    /// The origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its identifiers are SPIFFE IDs.
    pub fn is_spiffe(&self) -> bool {
        self.0.starts_with(SPIFFE_PREFIX)
    }

    /// The trust domain, if its identifiers are SPIFFE IDs.
    pub fn as_spiffe(&self) -> Option<TrustDomain> {
        TrustDomain::parse(self.0.strip_prefix(SPIFFE_PREFIX)?).ok()
    }

    /// The name of the trust domain, which says nothing without the scheme.
    pub fn name(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, name)| name)
    }

    /// The identifier of this origin with this path, which begins with a slash.
    pub fn workload(&self, path: &str) -> Result<WorkloadId, WorkloadIdError> {
        WorkloadId::parse(&format!("{self}{path}"))
    }
}

impl From<&TrustDomain> for Origin {
    fn from(trust_domain: &TrustDomain) -> Self {
        Self(format!("{SPIFFE_PREFIX}{trust_domain}").into())
    }
}

impl From<TrustDomain> for Origin {
    fn from(trust_domain: TrustDomain) -> Self {
        Self::from(&trust_domain)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use spiffe::form::FormError;

    use super::*;

    /// req: ID-02 (part)
    #[test]
    fn wimse_identifier_4_1_the_scheme_decides() {
        let spiffe = WorkloadId::parse("spiffe://t/p").unwrap();
        let wimse = WorkloadId::parse("wimse://t/p").unwrap();
        assert!(spiffe.as_spiffe().is_some() && wimse.as_spiffe().is_none());
        assert_ne!(spiffe, wimse);
        assert_ne!(spiffe.origin(), wimse.origin(), "the same authority, another scheme");
        assert_eq!(spiffe.segments().collect::<Vec<_>>(), ["p"]);
        let json = serde_json::to_string(&wimse).unwrap();
        assert_eq!(json, "\"wimse://t/p\"");
        assert_eq!(serde_json::from_str::<WorkloadId>(&json).unwrap(), wimse);
        for (text, expect) in [
            ("", WorkloadIdError::UnknownScheme),
            ("t/p", WorkloadIdError::UnknownScheme),
            ("https://t/p", WorkloadIdError::UnknownScheme),
            ("SPIFFE://t/p", WorkloadIdError::UnknownScheme),
            ("wimse:t/p", WimseIdError::Scheme.into()),
            ("spiffe://t/p~", SpiffeIdError::Form(FormError::PathCharacter('~')).into()),
            ("wimse://t", WimseIdError::PathMissing.into()),
        ] {
            assert_eq!(WorkloadId::parse(text), Err(expect), "{text}");
            assert!(serde_json::from_str::<WorkloadId>(&format!("\"{text}\"")).is_err());
        }
    }

    #[test]
    fn wimse_identifier_4_6_origins_have_no_path() {
        for (id, origin) in [
            ("spiffe://t", "spiffe://t"),
            ("spiffe://t/p/o", "spiffe://t"),
            ("wimse://t.example/p", "wimse://t.example"),
        ] {
            assert_eq!(WorkloadId::parse(id).unwrap().origin(), Origin::parse(origin).unwrap());
        }
        for text in ["spiffe://t/", "wimse://t/", "wimse://t/p", "wimse://", "t", "https://t"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
        assert!(Origin::parse("spiffe://t").unwrap().is_spiffe());
        assert!(!Origin::parse("wimse://t").unwrap().is_spiffe());
    }
}
