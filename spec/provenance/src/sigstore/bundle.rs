//! What a bundle holds (Sigstore Bundle Format v0.3; JSON of sigstore/protobuf-specs).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{Bounds, Unreadable};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use tlog::{Hash, PROOF_HASHES_MAX};
use x509::Certificate;

use crate::dsse::{ENVELOPE_BYTES_MAX, Envelope, EnvelopeError};

/// Longest bundle that is read, in bytes: an envelope and what vouches for it.
pub const BUNDLE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 256 * 1024;
/// Most log entries of one bundle.
pub const ENTRIES_MAX: usize = 4;
/// Most time stamps of one bundle.
pub const TIMESTAMPS_MAX: usize = 4;
/// Longest entry of a log, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Levels of JSON.
const DEPTH_MAX: usize = 24;
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A bundle that nobody has verified.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(super) certificate: Certificate,
    pub(super) entries: Vec<Entry>,
    pub(super) timestamps: Vec<Vec<u8>>,
    pub(super) envelope: Envelope,
}

/// An entry of a log, with what the log says of it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) log_id: Vec<u8>,
    pub(super) log_index: u64,
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) body: Vec<u8>,
    pub(super) integrated: Option<u64>,
    pub(super) promise: Option<Vec<u8>>,
    pub(super) proof: Option<Proof>,
}

/// That an entry is in the tree of a log.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) index: u64,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) hashes: Vec<Hash>,
    pub(super) checkpoint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: String,
    verification_material: Material,
    #[serde(default)]
    dsse_envelope: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default)]
    certificate: Option<RawBytes>,
    #[serde(default)]
    tlog_entries: Vec<WireEntry>,
    #[serde(default)]
    timestamp_verification_data: Option<Timestamps>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawBytes {
    pub(super) raw_bytes: Base64,
}

#[derive(Deserialize)]
struct Timestamps {
    #[serde(default, rename = "rfc3161Timestamps")]
    stamps: Vec<SignedTimestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedTimestamp {
    signed_timestamp: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry {
    log_index: Number,
    log_id: LogId,
    kind_version: KindVersion,
    #[serde(default)]
    integrated_time: Option<Number>,
    #[serde(default)]
    inclusion_promise: Option<Promise>,
    #[serde(default)]
    inclusion_proof: Option<WireProof>,
    canonicalized_body: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogId {
    pub(super) key_id: Base64,
}

#[derive(Deserialize)]
struct KindVersion {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    signed_entry_timestamp: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProof {
    #[serde(default)]
    log_index: Option<Number>,
    tree_size: Number,
    root_hash: String,
    #[serde(default)]
    hashes: Vec<String>,
    checkpoint: WireCheckpoint,
}

#[derive(Deserialize)]
struct WireCheckpoint {
    envelope: String,
}

/// Bytes in standard base64.
pub(super) struct Base64(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = String::deserialize(reader)?;
        STANDARD.decode(text).map(Self).map_err(|_| de::Error::custom("not standard base64"))
    }
}

/// An integer of 64 bits.
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        // ProtoJSON, int64: "JSON value will be a decimal string. Either numbers or strings are
        // accepted."
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        let value = match Either::deserialize(reader)? {
            Either::Number(number) => Some(number),
            Either::Text(text) => {
                text.parse().ok().filter(|number: &u64| number.to_string() == text)
            }
        };
        value
            .filter(|number| i64::try_from(*number).is_ok())
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a decimal number of 63 bits"))
    }
}

impl Bundle {
    /// Reads a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let bounds = Bounds { bytes_max: BUNDLE_BYTES_MAX, depth_max: DEPTH_MAX };
        let text = json::text(bytes, bounds)?;
        let wire: Wire = serde_json::from_str(text)
            .map_err(|error| BundleError::Form { why: error.to_string() })?;
        if wire.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType { found: wire.media_type });
        }
        let envelope = wire.dsse_envelope.ok_or(BundleError::NoEnvelope)?;
        let envelope = Envelope::read(envelope.get())?;
        // in-toto, Envelope: a Sigstore bundle "requires a _single signature_ in the envelope."
        if envelope.signatures().len() != 1 {
            return Err(BundleError::Signatures { count: envelope.signatures().len() });
        }
        let material = wire.verification_material;
        let certificate = material.certificate.ok_or(BundleError::NoCertificate)?;
        let certificate = Certificate::parse(&certificate.raw_bytes.0)?;
        let count = material.tlog_entries.len();
        if count == 0 || count > ENTRIES_MAX {
            return Err(BundleError::Entries { count });
        }
        let entries =
            material.tlog_entries.into_iter().map(Entry::read).collect::<Result<_, _>>()?;
        let stamps = material.timestamp_verification_data.map(|data| data.stamps);
        let stamps = stamps.unwrap_or_default();
        if stamps.len() > TIMESTAMPS_MAX {
            return Err(BundleError::Timestamps { count: stamps.len() });
        }
        let timestamps = stamps.into_iter().map(|one| one.signed_timestamp.0).collect();
        Ok(Self { certificate, entries, timestamps, envelope })
    }

    /// Whether a text says that it is a bundle, of any version. Good for choosing a reader alone.
    pub fn is_one(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            media_type: String,
        }
        serde_json::from_slice::<Head>(bytes)
            .is_ok_and(|head| head.media_type.starts_with("application/vnd.dev.sigstore.bundle"))
    }
}

impl Entry {
    fn read(wire: WireEntry) -> Result<Self, BundleError> {
        let body = wire.canonicalized_body.0;
        if body.len() > BODY_BYTES_MAX {
            return Err(BundleError::LongBody { bytes: body.len() });
        }
        Ok(Self {
            log_id: wire.log_id.key_id.0,
            log_index: wire.log_index.0,
            kind: wire.kind_version.kind,
            version: wire.kind_version.version,
            body,
            integrated: wire.integrated_time.map(|time| time.0).filter(|time| *time != 0),
            promise: wire.inclusion_promise.map(|promise| promise.signed_entry_timestamp.0),
            proof: wire.inclusion_proof.map(Proof::read).transpose()?,
        })
    }
}

impl Proof {
    fn read(wire: WireProof) -> Result<Self, BundleError> {
        if wire.hashes.len() > PROOF_HASHES_MAX {
            return Err(BundleError::LongProof { hashes: wire.hashes.len() });
        }
        let hash = |text: &String| Hash::parse(text).map_err(|_| BundleError::Hash);
        Ok(Self {
            // ProtoJSON leaves a zero out.
            index: wire.log_index.map_or(0, |index| index.0),
            size: wire.tree_size.0,
            root: hash(&wire.root_hash)?,
            hashes: wire.hashes.iter().map(hash).collect::<Result<_, _>>()?,
            checkpoint: wire.checkpoint.envelope,
        })
    }
}

/// Why bytes are no bundle that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("not a bundle: {why}")]
    Form { why: String },
    #[error("a bundle of type `{found}`, not `{MEDIA_TYPE}`")]
    MediaType { found: String },
    #[error("a bundle without an envelope: it signs a file, and says nothing about it")]
    NoEnvelope,
    #[error("{count} signatures in the envelope of a bundle, not one")]
    Signatures { count: usize },
    #[error("a bundle without a certificate: an envelope alone is what a key signs")]
    NoCertificate,
    #[error("the certificate does not read: {0}")]
    Certificate(#[from] x509::Malformed),
    #[error("{count} log entries, 1 to {ENTRIES_MAX} are read")]
    Entries { count: usize },
    #[error("{count} time stamps, at most {TIMESTAMPS_MAX} are read")]
    Timestamps { count: usize },
    #[error("a log entry of {bytes} bytes, at most {BODY_BYTES_MAX} are read")]
    LongBody { bytes: usize },
    #[error("a proof of {hashes} hashes, at most {PROOF_HASHES_MAX} are read")]
    LongProof { hashes: usize },
    #[error("a hash of the proof is not base64 of 32 bytes")]
    Hash,
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}
