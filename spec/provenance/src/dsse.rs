//! Envelopes: a payload, its type, and signatures over both (DSSE 1.0.2).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use jose::{Algorithm, PublicKey};
use json::{Bounds, Unreadable};
use serde::Deserialize;

/// Longest envelope that is read, in bytes: a bill of materials of some thousand components.
pub const ENVELOPE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most signatures in one envelope.
pub const SIGNATURES_MAX: usize = 16;
/// Longest type of a payload, in bytes.
const TYPE_BYTES_MAX: usize = 256;
/// Longest signature, in bytes: one by RSA-8192.
const SIGNATURE_BYTES_MAX: usize = 1_024;
/// Levels of JSON: envelope, list, signature, and extensions inside it.
const DEPTH_MAX: usize = 16;

/// What a signature is over: the payload with its type before it, each with its length.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    // DSSE, protocol: "PAE(type, body) = "DSSEv1" + SP + LEN(type) + SP + type + SP + LEN(body) +
    // SP + body", where LEN(s) is the "ASCII decimal encoding of the byte length of s, with no
    // leading zeros".
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// An envelope whose signatures nobody has checked: its payload cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

/// A payload, and the keys whose owners signed it. Made only by verifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    payload_type: String,
    payload: Vec<u8>,
    signers: Vec<PublicKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    payload: String,
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
struct WireSignature {
    sig: String,
}

impl Envelope {
    /// Reads the JSON form of an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bounds = Bounds { bytes_max: ENVELOPE_BYTES_MAX, depth_max: DEPTH_MAX };
        Self::read(json::text(bytes, bounds)?)
    }

    /// The same, of a text whose JSON was judged already.
    pub(crate) fn read(text: &str) -> Result<Self, EnvelopeError> {
        let wire: Wire = serde_json::from_str(text)
            .map_err(|error| EnvelopeError::Form { why: error.to_string() })?;
        if wire.signatures.is_empty() || wire.signatures.len() > SIGNATURES_MAX {
            return Err(EnvelopeError::SignatureCount { count: wire.signatures.len() });
        }
        if wire.payload_type.len() > TYPE_BYTES_MAX {
            return Err(EnvelopeError::LongType { bytes: wire.payload_type.len() });
        }
        let payload = decode(&wire.payload).ok_or(EnvelopeError::Encoding { of: "payload" })?;
        let mut signatures = Vec::with_capacity(wire.signatures.len());
        for WireSignature { sig } in &wire.signatures {
            // DSSE, protocol: "KEYID: Optional, unauthenticated hint": it is not even read.
            let signature = decode(sig).filter(|sig| sig.len() <= SIGNATURE_BYTES_MAX);
            signatures.push(signature.ok_or(EnvelopeError::Encoding { of: "signature" })?);
        }
        Ok(Self { payload_type: wire.payload_type, payload, signatures })
    }

    /// The payload, if it is of one of these types and at least `threshold` of the keys signed it.
    pub fn verify(
        &self,
        types: &[&str],
        keys: &[PublicKey],
        threshold: usize,
    ) -> Result<Opened, EnvelopeError> {
        // DSSE, protocol: "Reject if PAYLOAD_TYPE is not a supported type."
        if !types.contains(&self.payload_type.as_str()) {
            return Err(EnvelopeError::Type { found: self.payload_type.clone() });
        }
        let message = pae(&self.payload_type, &self.payload);
        // DSSE, protocol: "Reject if the unique keys in ACCEPTED_KEYS is less than `t`": a key
        // counts once, however often it signed.
        let mut signers: Vec<PublicKey> = Vec::new();
        for key in keys {
            let signed = self.signatures.iter().any(|one| verifies(key, &message, one));
            if signed && !signers.contains(key) {
                signers.push(key.clone());
            }
        }
        if signers.len() < threshold.max(1) {
            let (found, needed) = (signers.len(), threshold.max(1));
            return Err(EnvelopeError::Signature { found, needed });
        }
        let (payload_type, payload) = (self.payload_type.clone(), self.payload.clone());
        Ok(Opened { payload_type, payload, signers })
    }

    /// The type of the payload: unproven.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The signatures, as they came.
    pub(crate) fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    /// What the signatures must be over.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }

    /// SHA-256 of the payload: some logs keep it.
    pub(crate) fn payload_sha256(&self) -> [u8; 32] {
        crate::sha256(&self.payload)
    }
}

impl Opened {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its type.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The keys whose signatures verified, in the order in which the caller named them.
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }
}

/// Whether the holder of `key` made `signature`: ECDSA in DER, RSA by PKCS#1 v1.5 or PSS with
/// SHA-256, Ed25519.
fn verifies(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    key.algorithms().any(|algorithm| match field_bytes(algorithm) {
        Some(bytes) => x509::ecdsa_fixed_from_der(signature, bytes)
            .is_ok_and(|fixed| key.verify(algorithm, message, &fixed).is_ok()),
        None => {
            DSSE_ALGORITHMS.contains(&algorithm)
                && key.verify(algorithm, message, signature).is_ok()
        }
    })
}

/// Algorithms without coordinates that envelopes are signed by.
const DSSE_ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];

/// The length of a coordinate, for the algorithms that have them.
fn field_bytes(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::Es256 => Some(32),
        Algorithm::Es384 => Some(48),
        Algorithm::Es512 => Some(66),
        _ => None,
    }
}

/// DSSE, protocol: "Either standard or URL-safe base64 encodings are allowed."
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// Why an envelope is not read, or not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error(transparent)]
    Json(#[from] Unreadable),
    #[error("not an envelope: {why}")]
    Form { why: String },
    #[error("{count} signatures, 1 to {SIGNATURES_MAX} are read")]
    SignatureCount { count: usize },
    #[error("a payload type of {bytes} bytes, at most {TYPE_BYTES_MAX} are read")]
    LongType { bytes: usize },
    #[error("the {of} is not base64, or too long")]
    Encoding { of: &'static str },
    #[error("a payload of type `{found}`, which is not one that is expected here")]
    Type { found: String },
    #[error("{found} of the trusted keys signed the payload, {needed} are needed")]
    Signature { found: usize, needed: usize },
}
