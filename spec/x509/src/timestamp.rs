//! Time stamps ([RFC 3161](https://www.rfc-editor.org/rfc/rfc3161), with
//! [RFC 5816](https://www.rfc-editor.org/rfc/rfc5816)): an authority says when it saw a hash.
//!
//! What it says can be read only of the certificate that it was verified with.

use aws_lc_rs::digest;
use time::UnixTime;

use crate::ber::Element;
use crate::certificate::Certificate;
use crate::cms::{CmsError, Content, SIGNED_DATA_BYTES_MAX, SignedData};
use crate::encode::{INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};

const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
const GENERALIZED_TIME: u8 = 0x18;

/// The answer of an authority that was read, and that nobody has verified.
#[derive(Debug)]
pub struct Timestamp(SignedData);

/// What an authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// When it saw the hash, to the second.
    pub time: UnixTime,
    imprint: Imprint,
}

/// The hash that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Imprint {
    algorithm: Vec<u8>,
    hash: Vec<u8>,
}

impl Timestamp {
    /// Reads a `TimeStampResp`, all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TimestampError> {
        if bytes.len() > SIGNED_DATA_BYTES_MAX {
            return Err(CmsError::TooLong { bytes: bytes.len() }.into());
        }
        // RFC 3161 §2.4.2: "TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken
        // TimeStampToken OPTIONAL }"
        let response = Element::parse(bytes).ok_or(TimestampError::Malformed)?;
        let [status, token] = response.inside(SEQUENCE).ok_or(TimestampError::Malformed)? else {
            return Err(TimestampError::NotGranted);
        };
        let status = status.inside(SEQUENCE).and_then(<[_]>::first);
        // RFC 3161 §2.4.2: "When the status contains the value zero or one, a TimeStampToken MUST
        // be present."
        match status.and_then(|status| status.bytes(INTEGER)) {
            Some([0 | 1]) => {}
            _ => return Err(TimestampError::NotGranted),
        }
        Ok(Self(SignedData::parse_content(&token.der(), Content::Stamp)?))
    }

    /// Whether the answer names this certificate as its signer's.
    pub fn names(&self, certificate: &Certificate) -> bool {
        self.0.names(certificate)
    }

    /// What the authority says, if the holder of this certificate's key signed it. Whether the
    /// certificate counts is for the caller to say.
    pub fn verify(&self, signer: &Certificate) -> Result<Stamped, TimestampError> {
        let content = self.0.verify(signer)?;
        // RFC 5816 §2.2.1: the certificate identifier "MUST be included as a signerInfo attribute
        // inside a SigningCertificate attribute".
        let hash = self.0.signing_certificate().ok_or(TimestampError::SignerNotNamed)?;
        if hash != signer.fingerprint_sha256() {
            return Err(TimestampError::SignerNotNamed);
        }
        Stamped::read(content).ok_or(TimestampError::Malformed)
    }
}

impl Stamped {
    // RFC 3161 §2.4.2: "TSTInfo ::= SEQUENCE { version INTEGER { v1(1) }, policy TSAPolicyId,
    // messageImprint MessageImprint, serialNumber INTEGER, genTime GeneralizedTime, accuracy
    // Accuracy OPTIONAL, [...] }"
    fn read(content: &[u8]) -> Option<Self> {
        let info = Element::parse(content)?;
        let [version, _, imprint, _, time, ..] = info.inside(SEQUENCE)? else { return None };
        if version.bytes(INTEGER) != Some(&[1]) {
            return None;
        }
        let [algorithm, hash] = imprint.inside(SEQUENCE)? else { return None };
        let algorithm = algorithm.inside(SEQUENCE)?.first()?.bytes(OBJECT_IDENTIFIER)?.to_vec();
        let hash = hash.bytes(OCTET_STRING)?.to_vec();
        let time = read_time(time.bytes(GENERALIZED_TIME)?)?;
        Some(Self { time, imprint: Imprint { algorithm, hash } })
    }

    /// Whether it is `message` that the authority saw; by SHA-1 it would prove nothing.
    pub fn is_of(&self, message: &[u8]) -> bool {
        let algorithm = match self.imprint.algorithm.as_slice() {
            SHA256 => &digest::SHA256,
            SHA384 => &digest::SHA384,
            SHA512 => &digest::SHA512,
            _ => return false,
        };
        digest::digest(algorithm, message).as_ref() == self.imprint.hash
    }
}

/// RFC 3161 §2.4.2: "The ASN.1 GeneralizedTime syntax can include fraction-of-second details
/// [...] The encoding MUST terminate with a "Z"": `YYYYMMDDhhmmss[.s...]Z`.
fn read_time(text: &[u8]) -> Option<UnixTime> {
    let text = std::str::from_utf8(text).ok()?;
    let (date, clock) = text.split_at_checked(8)?;
    let (clock, rest) = clock.split_at_checked(6)?;
    let part = |text: &'_ str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    let (year, month, day) = (part(date, 0, 4)?, part(date, 4, 6)?, part(date, 6, 8)?);
    let (hour, minute, second) = (part(clock, 0, 2)?, part(clock, 2, 4)?, part(clock, 4, 6)?);
    let is_utc = rest == "Z" || (rest.starts_with('.') && rest.ends_with('Z'));
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}{rest}");
    is_utc.then(|| UnixTime::parse(&text)).flatten()
}

/// Why a time stamp is not read, or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error("not the encoding of a time stamp")]
    Malformed,
    #[error("the authority granted no time stamp")]
    NotGranted,
    #[error("the time stamp does not name the certificate of its signer")]
    SignerNotNamed,
    #[error(transparent)]
    Signed(#[from] CmsError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3161_2_4_2_times_end_in_z() {
        for (text, expect) in [
            ("20260513192333Z", Some(1_778_700_213_000)),
            ("20260513192333.5Z", Some(1_778_700_213_500)),
            ("20260513192333", None),
            ("20260513192333+0100", None),
            ("202605131923Z", None),
            ("20261313192333Z", None),
        ] {
            let read = read_time(text.as_bytes()).map(UnixTime::millis);
            assert_eq!(read, expect, "{text}");
        }
    }
}
