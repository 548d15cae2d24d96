//! What stands in the entry of a log: it must be about the envelope and the certificate at hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::Bounds;
use serde::Deserialize;
use x509::CertificateDer;

use super::bundle::{Base64, Bundle, Entry, RawBytes};
use super::verify::Refused;

/// Levels of JSON.
const DEPTH_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<S> {
    kind: String,
    api_version: String,
    spec: S,
}

/// `dsse` 0.0.1 (Rekor v1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DsseV1 {
    payload_hash: HexHash,
    signatures: Vec<DsseV1Signature>,
}

#[derive(Deserialize)]
struct HexHash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
struct DsseV1Signature {
    signature: Base64,
    /// PEM, in base64.
    verifier: Base64,
}

/// `dsse` 0.0.2 (Rekor v2).
#[derive(Deserialize)]
struct DsseV2 {
    #[serde(rename = "dsseV002")]
    inner: DsseV2Inner,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DsseV2Inner {
    payload_hash: BytesHash,
    signatures: Vec<SignatureV2>,
}

/// `hashedrekord` 0.0.2 (Rekor v2): the hash is of what the envelope's signature is over.
#[derive(Deserialize)]
struct HashedV2 {
    #[serde(rename = "hashedRekordV002")]
    inner: HashedV2Inner,
}

#[derive(Deserialize)]
struct HashedV2Inner {
    data: BytesHash,
    signature: SignatureV2,
}

#[derive(Deserialize)]
struct BytesHash {
    algorithm: String,
    digest: Base64,
}

#[derive(Deserialize)]
struct SignatureV2 {
    content: Base64,
    verifier: VerifierV2,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifierV2 {
    #[serde(default)]
    x509_certificate: Option<RawBytes>,
}

/// What an entry says.
struct Said {
    hash: Vec<u8>,
    expected: [u8; 32],
    signature: Vec<u8>,
    certificate: Vec<u8>,
}

/// Whether the entry is about this bundle.
pub(super) fn check(entry: &Entry, bundle: &Bundle) -> Result<(), Refused> {
    let payload = bundle.envelope.payload_sha256();
    let message = crate::sha256(&bundle.envelope.signed_bytes());
    let said = match (entry.kind.as_str(), entry.version.as_str()) {
        ("dsse", "0.0.1") => dsse_v1(entry, payload)?,
        ("dsse", "0.0.2") => dsse_v2(entry, payload)?,
        ("hashedrekord", "0.0.2") => hashed_v2(entry, message)?,
        (kind, version) => {
            let (kind, version) = (kind.to_owned(), version.to_owned());
            return Err(Refused::EntryKind { kind, version });
        }
    };
    // Sigstore client specification, verification: the entry's body must hold the same hash,
    // signature and verification material as the bundle: else it logs somebody else's.
    if said.hash != said.expected {
        return Err(Refused::EntryOther { part: "hash" });
    }
    if Some(&said.signature) != bundle.envelope.signatures().first() {
        return Err(Refused::EntryOther { part: "signature" });
    }
    if said.certificate != bundle.certificate.der() {
        return Err(Refused::EntryOther { part: "certificate" });
    }
    Ok(())
}

fn read<S: for<'de> Deserialize<'de>>(entry: &Entry) -> Result<S, Refused> {
    let bounds = Bounds { bytes_max: entry.body.len(), depth_max: DEPTH_MAX };
    let text = json::text(&entry.body, bounds)
        .map_err(|error| Refused::EntryForm { why: error.to_string() })?;
    let body: Body<S> = serde_json::from_str(text)
        .map_err(|error| Refused::EntryForm { why: error.to_string() })?;
    if (body.kind.as_str(), body.api_version.as_str()) != (&*entry.kind, &*entry.version) {
        return Err(Refused::EntryForm { why: "its kind is another inside".to_owned() });
    }
    Ok(body.spec)
}

fn dsse_v1(entry: &Entry, expected: [u8; 32]) -> Result<Said, Refused> {
    let DsseV1 { payload_hash, signatures } = read(entry)?;
    let form = |why: &str| Refused::EntryForm { why: why.to_owned() };
    let [one] = signatures.as_slice() else { return Err(form("not one signature")) };
    if payload_hash.algorithm != "sha256" {
        return Err(form("a hash other than sha-256"));
    }
    let hash =
        crate::from_hex(&payload_hash.value).ok_or_else(|| form("a hash that is not hex"))?;
    let pem = std::str::from_utf8(&one.verifier.0).map_err(|_| form("a key that is not text"))?;
    let found = CertificateDer::from_pem_many(pem).map_err(|_| form("no certificate"))?;
    let [certificate] = found.as_slice() else { return Err(form("not one certificate")) };
    let certificate = certificate.as_bytes().to_vec();
    Ok(Said { hash, expected, signature: one.signature.0.clone(), certificate })
}

fn dsse_v2(entry: &Entry, expected: [u8; 32]) -> Result<Said, Refused> {
    let DsseV2 { inner } = read(entry)?;
    let [one] = <[_; 1]>::try_from(inner.signatures)
        .map_err(|_| Refused::EntryForm { why: "not one signature".to_owned() })?;
    said_v2(inner.payload_hash, one, expected)
}

fn hashed_v2(entry: &Entry, expected: [u8; 32]) -> Result<Said, Refused> {
    let HashedV2 { inner } = read(entry)?;
    said_v2(inner.data, inner.signature, expected)
}

fn said_v2(hash: BytesHash, one: SignatureV2, expected: [u8; 32]) -> Result<Said, Refused> {
    let form = |why: &str| Refused::EntryForm { why: why.to_owned() };
    if hash.algorithm != "SHA2_256" {
        return Err(form("a hash other than sha-256"));
    }
    let certificate = one.verifier.x509_certificate.ok_or_else(|| form("no certificate"))?;
    let certificate = certificate.raw_bytes.0;
    Ok(Said { hash: hash.digest.0, expected, signature: one.content.0, certificate })
}

/// What Rekor v1 signs as its promise to log an entry.
pub(super) fn promised(entry: &Entry, integrated: u64) -> String {
    // Rekor, SignedEntryTimestamp: a signature over the canonical JSON of body, integratedTime,
    // logID and logIndex. The members stand in their canonical order.
    format!(
        r#"{{"body":"{}","integratedTime":{integrated},"logID":"{}","logIndex":{}}}"#,
        STANDARD.encode(&entry.body),
        crate::to_hex(&entry.log_id),
        entry.log_index
    )
}
