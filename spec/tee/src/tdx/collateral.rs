//! Collateral: what Intel says at a time of platforms, of its enclaves and of revoked certificates
//! (PCS API 4.0; the fields are those of `sgx_ql_qve_collateral_t`, as JSON).

use std::fmt;

use serde::{Deserialize, Deserializer};
use x509::{CertificateDer, PemError, RevocationList, RevocationListError};

use crate::tdx::COLLATERAL_BYTES_MAX;

/// Collateral, as it came. Nothing of it is used before its signature was verified: see
/// [`crate::tdx::verify`].
#[derive(Clone)]
pub struct Collateral {
    pub(super) root_list: RevocationList,
    pub(super) pck_list: RevocationList,
    pub(super) tcb_info: Signed,
    pub(super) qe_identity: Signed,
}

/// A text that Intel signed, and by whose certificates.
#[derive(Clone)]
pub(super) struct Signed {
    /// JSON, exactly as it was signed.
    pub(super) text: String,
    /// `r || s`, big-endian.
    pub(super) signature: [u8; 64],
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer>,
}

/// As it is written. `pck_crl_issuer_chain` is passed over: the issuer of the list of PCK
/// certificates is the issuer of the PCK certificate, and the quote has that.
#[derive(Deserialize)]
struct Written {
    #[serde(deserialize_with = "hex_text")]
    root_ca_crl: Vec<u8>,
    #[serde(deserialize_with = "hex_text")]
    pck_crl: Vec<u8>,
    tcb_info_issuer_chain: String,
    tcb_info: String,
    #[serde(deserialize_with = "hex_text")]
    tcb_info_signature: Vec<u8>,
    qe_identity_issuer_chain: String,
    qe_identity: String,
    #[serde(deserialize_with = "hex_text")]
    qe_identity_signature: Vec<u8>,
}

impl Collateral {
    /// Reads a JSON object with the members `root_ca_crl` and `pck_crl` (DER, in hexadecimal
    /// digits), `tcb_info` and `qe_identity` (the texts that were signed), `…_signature` of each
    /// (64 bytes, in hexadecimal digits) and `…_issuer_chain` of each (PEM, leaf first).
    pub fn parse(json: &[u8]) -> Result<Self, CollateralError> {
        if json.len() > COLLATERAL_BYTES_MAX {
            return Err(CollateralError::TooLong { bytes: json.len() });
        }
        let written: Written = serde_json::from_slice(json)
            .map_err(|error| CollateralError::Json(error.to_string()))?;
        let list = |name, der: &[u8]| {
            RevocationList::parse(der).map_err(|why| CollateralError::List { name, why })
        };
        let signed = |name, text, signature: Vec<u8>, chain: &str| {
            let signature =
                signature.try_into().map_err(|_| CollateralError::Signature { name })?;
            let chain = CertificateDer::from_pem_many(chain);
            let chain = chain.map_err(|why| CollateralError::Chain { name, why })?;
            Ok(Signed { text, signature, chain })
        };
        Ok(Self {
            root_list: list("root_ca_crl", &written.root_ca_crl)?,
            pck_list: list("pck_crl", &written.pck_crl)?,
            tcb_info: signed(
                "tcb_info",
                written.tcb_info,
                written.tcb_info_signature,
                &written.tcb_info_issuer_chain,
            )?,
            qe_identity: signed(
                "qe_identity",
                written.qe_identity,
                written.qe_identity_signature,
                &written.qe_identity_issuer_chain,
            )?,
        })
    }
}

impl fmt::Debug for Collateral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collateral").field("pck_list", &self.pck_list).finish_non_exhaustive()
    }
}

/// Why a text is no collateral.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollateralError {
    /// Over the bound.
    #[error("{bytes} bytes, at most {COLLATERAL_BYTES_MAX} are read")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// It is not the object that it must be.
    #[error("{0}")]
    Json(String),
    /// A revocation list does not read.
    #[error("`{name}`: {why}")]
    List {
        /// Which.
        name: &'static str,
        /// Why.
        why: RevocationListError,
    },
    /// A signature has another length.
    #[error("the signature of `{name}` has not 64 bytes")]
    Signature {
        /// Of what.
        name: &'static str,
    },
    /// A chain of certificates does not read.
    #[error("the issuer chain of `{name}`: {why}")]
    Chain {
        /// Of what.
        name: &'static str,
        /// Why.
        why: PemError,
    },
}

/// Bytes as hexadecimal digits.
pub(super) fn hex_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    hex(&text).ok_or_else(|| serde::de::Error::custom("no pairs of hexadecimal digits"))
}

/// So many bytes as hexadecimal digits.
pub(super) fn hex_array<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    let bytes = hex_text(deserializer)?;
    bytes.try_into().map_err(|_| serde::de::Error::custom(format!("not {N} bytes")))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks_exact(2).map(pair).collect()
}
