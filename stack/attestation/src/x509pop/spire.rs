//! Challenge and response of `x509pop` as SPIRE's plugin writes them: a member for each kind of
//! key, `r` and `s` of an ECDSA signature as big-endian numbers of any length, and one hash for
//! every curve (SPIRE 1.15, `pkg/common/plugin/x509pop`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use x509::{Certificate, KeyKind, ecdsa_der_from_fixed};

use super::{both, malformed};
use crate::mechanism::{Refusal, Step};

#[derive(Deserialize)]
struct Response {
    ecdsa_signature: Option<Ecdsa>,
}

#[derive(Deserialize)]
struct Ecdsa {
    nonce: String,
    r: String,
    s: String,
}

/// The nonce, asked for under the kind of the host's key.
pub(super) fn challenge(leaf: &Certificate, nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
    field_bytes(leaf)?;
    let challenge = json!({ "ecdsa_signature": { "nonce": STANDARD.encode(nonce) } });
    serde_json::to_vec(&challenge).map_err(malformed)
}

/// Whether the host has the key of `leaf`.
pub(super) fn prove(leaf: &Certificate, response: &[u8], nonce: &[u8; 32]) -> Result<(), Refusal> {
    let field = field_bytes(leaf)?;
    let response: Response = serde_json::from_slice(response).map_err(malformed)?;
    let answer = response.ecdsa_signature.ok_or_else(|| malformed("no `ecdsa_signature`"))?;
    let message = both(nonce, &answer.nonce)?;
    let fixed = [number(&answer.r, field)?, number(&answer.s, field)?].concat();
    let signature = ecdsa_der_from_fixed(&fixed).map_err(|_| Refusal::Signature)?;
    leaf.verify_ecdsa_sha256(&message, &signature).map_err(|_| Refusal::Signature)
}

/// How long a number of the key's curve is.
fn field_bytes(leaf: &Certificate) -> Result<usize, Refusal> {
    match KeyKind::of_spki(leaf.spki_der()) {
        Ok(KeyKind::P256) => Ok(32),
        Ok(KeyKind::P384) => Ok(48),
        // An RSA key answers with RSASSA-PSS and the longest salt that fits, which our library does
        // not verify (docs/divergences.md).
        _ => Err(Refusal::Failed {
            mechanism: "x509pop",
            step: Step::Content,
            why: "a spire agent proves a key on p-256 or p-384, and no other".to_owned(),
        }),
    }
}

/// A big-endian number, filled up to `field` bytes.
fn number(text: &str, field: usize) -> Result<Vec<u8>, Refusal> {
    let digits = STANDARD.decode(text).map_err(malformed)?;
    let filling = field.checked_sub(digits.len()).ok_or(Refusal::Signature)?;
    Ok([vec![0; filling], digits].concat())
}
