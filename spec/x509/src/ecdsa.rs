//! The two forms of an ECDSA signature: DER in certificates (RFC 3279 §2.2.3), `r || s` of fixed
//! length in JWS (RFC 7518 §3.4).

use der::Decode;
use der::asn1::UintRef;

use crate::encode::{SEQUENCE, tlv, unsigned};

/// Lengths of one coordinate of the curves in use: P-256, P-384, P-521.
const FIELD_BYTES: [usize; 3] = [32, 48, 66];

/// Why an ECDSA signature is in neither form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EcdsaForm {
    /// Not twice the length of a coordinate.
    #[error("an ecdsa signature of {0} bytes fits no curve")]
    Length(usize),
    /// `r` or `s` is zero: such a signature is never valid, and some verifiers took it.
    #[error("an ecdsa signature with a zero half")]
    Zero,
    /// No `SEQUENCE` of two positive minimal integers.
    #[error("an ecdsa signature that is not distinguished encoding")]
    Encoding,
    /// A number is longer than a coordinate of the curve.
    #[error("an ecdsa signature number of {bytes} bytes on a curve of {field_bytes}")]
    TooLong { bytes: usize, field_bytes: usize },
}

/// `r || s` as DER: `Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }`.
pub fn ecdsa_der_from_fixed(fixed: &[u8]) -> Result<Vec<u8>, EcdsaForm> {
    if !FIELD_BYTES.iter().any(|field| field * 2 == fixed.len()) {
        return Err(EcdsaForm::Length(fixed.len()));
    }
    let (r, s) = fixed.split_at(fixed.len() / 2);
    if [r, s].iter().any(|half| half.iter().all(|byte| *byte == 0)) {
        return Err(EcdsaForm::Zero);
    }
    Ok(tlv(SEQUENCE, &[&unsigned(r), &unsigned(s)]))
}

/// DER as `r || s`, each of `field_bytes` (32, 48 or 66).
pub fn ecdsa_fixed_from_der(der: &[u8], field_bytes: usize) -> Result<Vec<u8>, EcdsaForm> {
    if !FIELD_BYTES.contains(&field_bytes) {
        return Err(EcdsaForm::Length(field_bytes * 2));
    }
    let value = EcdsaValue::from_der(der).map_err(|_| EcdsaForm::Encoding)?;
    let mut fixed = Vec::with_capacity(field_bytes * 2);
    for number in [value.r.as_bytes(), value.s.as_bytes()] {
        if number.iter().all(|byte| *byte == 0) {
            return Err(EcdsaForm::Zero);
        }
        let padding = field_bytes
            .checked_sub(number.len())
            .ok_or(EcdsaForm::TooLong { bytes: number.len(), field_bytes })?;
        // RFC 7518 §3.4: "The octet sequence representations MUST NOT be shortened to omit any
        // leading zero octets contained in the values."
        fixed.extend(std::iter::repeat_n(0, padding));
        fixed.extend_from_slice(number);
    }
    Ok(fixed)
}

/// `Ecdsa-Sig-Value`.
#[derive(der::Sequence)]
struct EcdsaValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7518_3_4_both_forms_round_trip() {
        let mut fixed = [0_u8; 64];
        fixed[31] = 0x80; // r needs a sign octet
        fixed[60] = 1; // s has leading zeros
        let der = ecdsa_der_from_fixed(&fixed).unwrap();
        assert_eq!(der, [0x30, 10, 2, 2, 0, 0x80, 2, 4, 1, 0, 0, 0]);
        assert_eq!(ecdsa_fixed_from_der(&der, 32).unwrap(), fixed);
        let full = [0xff; 96];
        let der = ecdsa_der_from_fixed(&full).unwrap();
        assert_eq!(ecdsa_fixed_from_der(&der, 48).unwrap(), full);
        assert_eq!(
            ecdsa_fixed_from_der(&der, 32),
            Err(EcdsaForm::TooLong { bytes: 48, field_bytes: 32 })
        );
    }

    #[test]
    fn rfc7518_3_4_other_forms_are_refused() {
        assert_eq!(ecdsa_der_from_fixed(&[1; 63]), Err(EcdsaForm::Length(63)));
        assert_eq!(ecdsa_der_from_fixed(&[]), Err(EcdsaForm::Length(0)));
        assert_eq!(ecdsa_der_from_fixed(&[0; 64]), Err(EcdsaForm::Zero));
        for (der, expect) in [
            (&[0x30, 6, 2, 1, 0, 2, 1, 1][..], EcdsaForm::Zero),
            (&[0x30, 6, 2, 1, 1, 2, 1, 0], EcdsaForm::Zero),
            (&[0x30, 6, 2, 1, 0x81, 2, 1, 1], EcdsaForm::Encoding), // negative
            (&[0x30, 7, 2, 2, 0, 1, 2, 1, 1], EcdsaForm::Encoding), // padded
            (&[0x30, 6, 2, 1, 1, 2, 1, 1, 0], EcdsaForm::Encoding), // trailing
            (&[0x30, 3, 2, 1, 1], EcdsaForm::Encoding),
            (&[], EcdsaForm::Encoding),
        ] {
            assert_eq!(ecdsa_fixed_from_der(der, 32), Err(expect), "{der:?}");
        }
        assert_eq!(ecdsa_fixed_from_der(&[], 33), Err(EcdsaForm::Length(66)));
    }
}
