//! Whom to believe: the certificate authorities, logs (of signatures and of certificates) and time
//! stamp authorities of a Sigstore instance, as its `trusted_root.json` names them.

use json::{Bounds, Unreadable};
use serde::Deserialize;
use time::UnixTime;
use x509::Certificate;

use super::bundle::{LogId, RawBytes};

/// Longest trusted root that is read, in bytes.
pub const TRUSTED_ROOT_BYTES_MAX: usize = 128 * 1024;
/// Most authorities, or logs, of one kind.
pub const AUTHORITIES_MAX: usize = 32;
/// Levels of JSON.
const DEPTH_MAX: usize = 12;
const MEDIA_TYPES: [&str; 2] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// Those who vouch.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    pub(super) authorities: Vec<Authority>,
    pub(super) stampers: Vec<Authority>,
    pub(super) logs: Vec<Log>,
    /// Logs of certificates; `None` where the instance names none at all.
    pub(super) ct_logs: Option<Vec<Log>>,
}

/// An authority and its chain.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// Those that signed themselves.
    pub(super) anchors: Vec<Certificate>,
    /// The others, in their order: of an authority for time stamps the first is its signer.
    pub(super) below: Vec<Certificate>,
    pub(super) valid: Validity,
}

/// A log.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) id: Vec<u8>,
    /// The host that it is at: the name of its key, where the format of checkpoints wants one.
    pub(super) host: String,
    pub(super) spki: Vec<u8>,
    pub(super) kind: LogKind,
    pub(super) valid: Validity,
}

/// By what a log signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogKind {
    /// Rekor v1: ECDSA on P-256.
    Ecdsa,
    /// Rekor v2: Ed25519, as signed-note has it.
    Ed25519,
}

/// From when to when somebody is to be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Validity {
    start: Option<UnixTime>,
    end: Option<UnixTime>,
}

impl Validity {
    pub(super) fn contains(self, time: UnixTime) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time <= end)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: String,
    #[serde(default)]
    tlogs: Vec<WireLog>,
    #[serde(default)]
    ctlogs: Vec<WireLog>,
    #[serde(default)]
    certificate_authorities: Vec<WireAuthority>,
    #[serde(default)]
    timestamp_authorities: Vec<WireAuthority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLog {
    base_url: String,
    hash_algorithm: String,
    public_key: WireKey,
    log_id: LogId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKey {
    raw_bytes: super::bundle::Base64,
    key_details: String,
    #[serde(default)]
    valid_for: WireValidity,
}

#[derive(Default, Deserialize)]
struct WireValidity {
    #[serde(default)]
    start: Option<String>,
    #[serde(default)]
    end: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAuthority {
    cert_chain: WireChain,
    #[serde(default)]
    valid_for: WireValidity,
}

#[derive(Deserialize)]
struct WireChain {
    certificates: Vec<RawBytes>,
}

impl TrustedRoot {
    /// Reads a `trusted_root.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustedRootError> {
        let bounds = Bounds { bytes_max: TRUSTED_ROOT_BYTES_MAX, depth_max: DEPTH_MAX };
        let wire: Wire = serde_json::from_str(json::text(bytes, bounds)?)
            .map_err(|error| TrustedRootError::Form { why: error.to_string() })?;
        if !MEDIA_TYPES.contains(&wire.media_type.as_str()) {
            return Err(TrustedRootError::MediaType { found: wire.media_type });
        }
        let lists = [
            wire.tlogs.len(),
            wire.ctlogs.len(),
            wire.certificate_authorities.len(),
            wire.timestamp_authorities.len(),
        ];
        if lists.iter().any(|length| *length > AUTHORITIES_MAX) {
            return Err(TrustedRootError::TooMany);
        }
        let mut logs = Vec::new();
        for log in wire.tlogs {
            logs.extend(Log::read(log)?);
        }
        // One whose key is of a kind that is not known is named all the same: then somebody else
        // of them must have promised.
        let mut ct_logs = (!wire.ctlogs.is_empty()).then(Vec::new);
        for log in wire.ctlogs {
            let read = Log::read(log)?;
            ct_logs.iter_mut().for_each(|all| all.extend(read.clone()));
        }
        let read = |all: Vec<WireAuthority>| -> Result<Vec<_>, _> {
            all.into_iter().map(Authority::read).collect()
        };
        let authorities = read(wire.certificate_authorities)?;
        let stampers = read(wire.timestamp_authorities)?;
        if authorities.is_empty() || logs.is_empty() {
            return Err(TrustedRootError::Nobody);
        }
        Ok(Self { authorities, stampers, logs, ct_logs })
    }
}

impl Log {
    /// `None` for a log whose key is of a kind that is not known: nothing is believed of it.
    fn read(wire: WireLog) -> Result<Option<Self>, TrustedRootError> {
        let kind = match wire.public_key.key_details.as_str() {
            "PKIX_ECDSA_P256_SHA_256" => LogKind::Ecdsa,
            "PKIX_ED25519" => LogKind::Ed25519,
            _ => return Ok(None),
        };
        if wire.hash_algorithm != "SHA2_256" {
            return Ok(None);
        }
        let url = wire.base_url.as_str();
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let valid = Validity::read(&wire.public_key.valid_for)?;
        let spki = wire.public_key.raw_bytes.0;
        Ok(Some(Self { id: wire.log_id.key_id.0, host, spki, kind, valid }))
    }
}

impl Authority {
    fn read(wire: WireAuthority) -> Result<Self, TrustedRootError> {
        let certificates = wire.cert_chain.certificates;
        if certificates.len() > x509::CHAIN_CERTIFICATES_MAX {
            return Err(TrustedRootError::TooMany);
        }
        let (mut anchors, mut below) = (Vec::new(), Vec::new());
        for one in certificates {
            let certificate = Certificate::parse(&one.raw_bytes.0)?;
            // The order differs between instances; who signed itself stands above the others.
            if certificate.is_ca() && certificate.issuer().der() == certificate.subject().der() {
                anchors.push(certificate);
            } else {
                below.push(certificate);
            }
        }
        Ok(Self { anchors, below, valid: Validity::read(&wire.valid_for)? })
    }
}

impl Validity {
    fn read(wire: &WireValidity) -> Result<Self, TrustedRootError> {
        let instant = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => UnixTime::parse(text)
                .map(Some)
                .ok_or_else(|| TrustedRootError::Time { found: text.clone() }),
        };
        Ok(Self { start: instant(&wire.start)?, end: instant(&wire.end)? })
    }
}

/// Why bytes are no trusted root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootError {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("not a trusted root: {why}")]
    Form { why: String },
    #[error("a trusted root of type `{found}`")]
    MediaType { found: String },
    #[error("more than {AUTHORITIES_MAX} of one kind, or a chain that is too long")]
    TooMany,
    #[error("no certificate authority, or no log whose key is of a known kind")]
    Nobody,
    #[error("a certificate does not read: {0}")]
    Certificate(#[from] x509::Malformed),
    #[error("`{found}` is no instant")]
    Time { found: String },
}
