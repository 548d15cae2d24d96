//! Values as bytes: alignment, lengths, both orders of bytes.

/// Writes in the order of little-endian machines.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// D-Bus Specification, Marshaling: "Each value in a block of bytes is aligned "naturally,"".
    pub(crate) fn align(&mut self, to: usize) {
        while !self.0.len().is_multiple_of(to) {
            self.0.push(0);
        }
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    /// D-Bus Specification, Marshaling of STRING: "A UINT32 indicating the string's length in bytes
    /// excluding its terminating nul, followed by non-nul string data of the given length, followed
    /// by a terminating nul byte."
    pub(crate) fn text(&mut self, value: &str) {
        self.number(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    /// D-Bus Specification, Marshaling of SIGNATURE: "The same as STRING except the length is a
    /// single byte".
    pub(crate) fn signature(&mut self, value: &str) {
        self.0.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }
}

/// Reads; `None` where the bytes end, or are not what they must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) little: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn align(&mut self, to: usize) -> Option<()> {
        while !self.at.is_multiple_of(to) {
            // D-Bus Specification, Marshaling: alignment padding "must always be made up of nul
            // bytes".
            if self.byte()? != 0 {
                return None;
            }
        }
        Some(())
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at = self.at.checked_add(1)?;
        Some(byte)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = <[u8; 4]>::try_from(self.take(4)?).ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        self.terminated(length)
    }

    pub(crate) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.terminated(length)
    }

    /// Skips a value of a type that is one letter; those with parts have no place in a header.
    pub(crate) fn skip(&mut self, kind: u8) -> Option<()> {
        match kind {
            b'y' => self.byte().map(|_| ()),
            b'n' | b'q' => self.skip_fixed(2),
            b'b' | b'i' | b'u' | b'h' => self.skip_fixed(4),
            b'x' | b't' | b'd' => self.skip_fixed(8),
            b's' | b'o' => self.text().map(|_| ()),
            b'g' => self.signature().map(|_| ()),
            _ => None,
        }
    }

    fn skip_fixed(&mut self, bytes: usize) -> Option<()> {
        self.align(bytes)?;
        self.take(bytes).map(|_| ())
    }

    fn terminated(&mut self, length: usize) -> Option<&'a str> {
        let text = str::from_utf8(self.take(length)?).ok()?;
        // D-Bus Specification, Type System, STRING: "Must be nul terminated and contain no other
        // nul bytes."
        (self.byte()? == 0 && !text.contains('\0')).then_some(text)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}
