//! What `snp` and `tdx` share: what the guest has signed, and values in hexadecimal digits.

use aws_lc_rs::digest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::chain::hex;
use crate::mechanism::{self, Facts};

/// The most values in one list of policy.
pub(crate) const VALUES_MAX: usize = 256;
/// The bytes that a guest may have signed with its evidence.
const REPORT_DATA_BYTES: usize = 64;

/// What the guest has its processor sign: the nonce of this session bound to the key that it asks a
/// certificate for, `SHA-256("aims-att-v1" || nonce || SHA-256(SubjectPublicKeyInfo))`, and zeros.
/// Evidence for one key is none for another, so that nobody can hand it on.
pub fn report_data(nonce: &[u8], key: &[u8]) -> [u8; REPORT_DATA_BYTES] {
    let key = digest::digest(&digest::SHA256, key);
    let bound = [b"aims-att-v1".as_slice(), nonce, key.as_ref()].concat();
    let mut data = [0; REPORT_DATA_BYTES];
    for (to, from) in data.iter_mut().zip(digest::digest(&digest::SHA256, &bound).as_ref()) {
        *to = *from;
    }
    data
}

/// Whether the processor signed what this session asked for.
pub(crate) fn is_bound(data: &[u8; REPORT_DATA_BYTES], facts: &Facts<'_>) -> bool {
    *data == report_data(facts.nonce, facts.key)
}

/// The name of a guest: a hash over what tells it from others. Each part has one length, always.
pub(crate) fn name(mechanism: &str, parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(mechanism.as_bytes());
    for part in parts {
        context.update(part);
    }
    hex(context.finish().as_ref())
}

/// So many bytes, written in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("`{text}` is not {} hexadecimal digits", N * 2));
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == N * 2).ok_or_else(wrong)?;
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = pair.iter().fold(0, |value, digit| value * 16 + digit);
            *byte = u8::try_from(value).map_err(D::Error::custom)?;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

/// Whether policy allows this value: an empty list allows every one.
pub(crate) fn allows<const N: usize>(list: &[Hex<N>], value: &[u8; N]) -> bool {
    list.is_empty() || list.iter().any(|one| one.0 == *value)
}

/// Evidence or an answer that came, as JSON of at most `max` bytes.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    max: usize,
) -> Result<T, mechanism::Refusal> {
    mechanism::bounded(bytes, max)?;
    let malformed = |why: serde_json::Error| mechanism::Refusal::Malformed { why: why.to_string() };
    serde_json::from_slice(bytes).map_err(malformed)
}

/// A selector, where the value says something: zeros are what nobody set.
pub(crate) fn selector(name: &str, value: &[u8]) -> Option<String> {
    value.iter().any(|byte| *byte != 0).then(|| format!("{name}:{}", hex(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_report_data_is_of_one_nonce_and_one_key() {
        let data = report_data(&[1; 32], b"key");
        assert_eq!(data[32..], [0; 32]);
        assert_ne!(data, report_data(&[2; 32], b"key"));
        assert_ne!(data, report_data(&[1; 32], b"kez"));
        let key = digest::digest(&digest::SHA256, b"key");
        let whole = [&b"aims-att-v1"[..], &[1; 32], key.as_ref()].concat();
        assert_eq!(data[..32], *digest::digest(&digest::SHA256, &whole).as_ref());
    }

    #[test]
    fn values_of_policy_are_read_strictly() {
        let read = |text: &str| serde_json::from_value::<Hex<2>>(text.into()).ok();
        assert_eq!(read("0aFF"), Some(Hex([10, 255])));
        for wrong in ["", "0a", "0a0", "0a0b0c", "0a0g", "+a0b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(allows(&[], &[1]) && allows(&[Hex([1])], &[1]) && !allows(&[Hex([2])], &[1]));
    }
}
