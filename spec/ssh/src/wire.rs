//! The data types of RFC 4251 §5: bytes are taken from the front until none are left.

/// The longest number, in bytes: the modulus of RSA with 8,192 bits, and its sign.
const NUMBER_BYTES_MAX: usize = 1_025;

/// Why bytes are no value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{bytes} bytes; at most {max} are read")]
    TooLong { bytes: usize, max: usize },
    #[error("it ends too early")]
    Cut,
    #[error("{bytes} bytes are left over")]
    LeftOver { bytes: usize },
    #[error("text that is not printable")]
    Text,
    #[error("a number that is negative, too long or not in its shortest form")]
    Number,
    #[error("not standard base64")]
    Base64,
    #[error("not `TYPE BASE64`, perhaps with a comment, on one line")]
    Line,
}

/// What is left to read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Cut)
    }

    // RFC 4251 §5: "Represents a 32-bit unsigned integer. Stored as four bytes in the order of
    // decreasing significance (network byte order)."
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    // RFC 4251 §5: "They are stored as a uint32 containing its length (number of bytes that
    // follow) and zero (= empty string) or more bytes that are the value of the string."
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed::Cut)?;
        self.take(length)
    }

    /// A string that people read: printable ASCII, so that nothing hides in a record.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.string()?;
        let is_printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        let text = std::str::from_utf8(bytes).ok().filter(|_| is_printable);
        text.ok_or(Malformed::Text)
    }

    /// A positive `mpint`, without its sign byte.
    pub(crate) fn number(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.string()?;
        // RFC 4251 §5: "Unnecessary leading bytes with the value 0 or 255 MUST NOT be included."
        // "Negative numbers are represented [...] by having the most significant bit set"
        let (first, second) = (bytes.first().copied(), bytes.get(1).copied());
        let is_positive = match (first, second) {
            (Some(0), Some(next)) => next >= 0x80,
            (Some(0) | None, _) => false,
            (Some(first), _) => first < 0x80,
        };
        if !is_positive || bytes.len() > NUMBER_BYTES_MAX {
            return Err(Malformed::Number);
        }
        Ok(if first == Some(0) { bytes.get(1..).unwrap_or_default() } else { bytes })
    }

    /// Nothing may be left.
    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::LeftOver { bytes: self.0.len() }) }
    }
}

/// Appends a string with its length.
pub fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Bytes that are over the bound are not read.
pub(crate) const fn bounded(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.len() > crate::BLOB_BYTES_MAX {
        return Err(Malformed::TooLong { bytes: bytes.len(), max: crate::BLOB_BYTES_MAX });
    }
    Ok(bytes)
}

/// The bytes of a line `TYPE BASE64 COMMENT`, as files of public keys and certificates hold it;
/// its type is that of the bytes.
pub(crate) fn line(text: &str) -> Result<Vec<u8>, Malformed> {
    use base64::Engine;
    if text.len() > crate::BLOB_BYTES_MAX * 2 {
        return Err(Malformed::TooLong { bytes: text.len(), max: crate::BLOB_BYTES_MAX * 2 });
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.contains(['\r', '\n']) {
        return Err(Malformed::Line);
    }
    let mut words = text.split(' ');
    let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
        return Err(Malformed::Line);
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64);
    let bytes = bytes.map_err(|_| Malformed::Base64)?;
    if Reader::new(&bytes).string()? != kind.as_bytes() {
        return Err(Malformed::Line);
    }
    Ok(bytes)
}
