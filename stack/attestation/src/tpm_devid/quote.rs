//! A fresh quote of the PCRs that policy names. SPIRE has none: its agents do not answer the
//! question, and so do not join where policy names PCRs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tpm::{Attest, Attested, Hash, Public, Signature, pcr_digest};

use super::{Bytes, PcrValues, Refusal};
use crate::chain::hex;

/// What the server wants quoted.
#[derive(Debug, Serialize, Deserialize)]
pub struct QuoteQuestion {
    /// What the quote must be bound to.
    #[serde(rename = "Nonce")]
    pub nonce: Bytes,
    /// PCRs of the SHA-256 bank, ascending.
    #[serde(rename = "PCRs")]
    pub pcrs: Vec<u8>,
}

impl QuoteQuestion {
    /// `None` where policy names no PCR.
    pub(super) fn of(policy: &PcrValues, nonce: &[u8; 32]) -> Option<Self> {
        let pcrs = policy.indices();
        (!pcrs.is_empty()).then(|| Self { nonce: Bytes(nonce.to_vec()), pcrs })
    }
}

/// The quote.
#[derive(Debug, Serialize, Deserialize)]
pub struct QuoteAnswer {
    /// TPMS_ATTEST.
    #[serde(rename = "Attested")]
    pub attested: Bytes,
    /// TPMT_SIGNATURE of the attestation key over it.
    #[serde(rename = "Signature")]
    pub signature: Bytes,
    /// The values that were quoted.
    #[serde(rename = "PCRs")]
    pub pcrs: BTreeMap<u8, Bytes>,
}

/// The PCRs and their values, as quoted and allowed. Clock and counters of the quote are not looked
/// at: the nonce says that it is of now.
pub(super) fn verify(
    answer: Option<&QuoteAnswer>,
    policy: &PcrValues,
    nonce: &[u8; 32],
    attestation: &Public,
) -> Result<BTreeMap<u8, [u8; 32]>, Refusal> {
    if policy.is_empty() {
        return Ok(BTreeMap::new());
    }
    let answer = answer.ok_or(Refusal::QuoteMissing)?;
    let structure = |field| move |why| Refusal::Structure { field, why };
    let signature = Signature::parse(&answer.signature.0).map_err(structure("Quote.Signature"))?;
    signature.verify(attestation, &answer.attested.0).map_err(Refusal::Quote)?;
    let attest = Attest::parse(&answer.attested.0).map_err(structure("Quote.Attested"))?;
    let Attested::Quote { selection, digest } = attest.attested else {
        return Err(Refusal::NotAQuote);
    };
    if attest.extra_data != nonce {
        return Err(Refusal::QuoteNonce);
    }
    let [bank] = selection.as_slice() else { return Err(Refusal::QuoteSelection) };
    if bank.hash != Hash::Sha256.id() || bank.indices() != policy.indices() {
        return Err(Refusal::QuoteSelection);
    }
    let values = values(answer, policy)?;
    // TPM 2.0 Part 3 §18.4.1: the digest is made with the hash of the key's scheme.
    let hash = signature.scheme().hash;
    if digest != pcr_digest(hash, values.values().map(<[u8; 32]>::as_slice)) {
        return Err(Refusal::QuoteDigest);
    }
    match values.iter().find(|(index, value)| !policy.allow(**index, value)) {
        Some((&index, value)) => Err(Refusal::Pcr { index, found: hex(value) }),
        None => Ok(values),
    }
}

/// A value for each PCR that was asked for, and no more.
fn values(answer: &QuoteAnswer, policy: &PcrValues) -> Result<BTreeMap<u8, [u8; 32]>, Refusal> {
    let read = |(index, value): (&u8, &Bytes)| {
        let value = value.0.as_slice().try_into().map_err(|_| Refusal::QuoteDigest)?;
        Ok((*index, value))
    };
    let values: BTreeMap<u8, [u8; 32]> = answer.pcrs.iter().map(read).collect::<Result<_, _>>()?;
    let same = values.keys().copied().eq(policy.indices());
    if same { Ok(values) } else { Err(Refusal::QuoteDigest) }
}
