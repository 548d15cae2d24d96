//! Compression of status lists: DEFLATE (RFC 1951) in the data format of zlib (RFC 1950). Reading
//! is complete and bounded; writing knows runs of one byte, of which lists consist.

/// Code lengths of a Huffman code, at most.
const MAX_BITS: usize = 15;
/// RFC 1951 §3.2.5: lengths of the codes 257 to 285, and the extra bits of each.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// RFC 1951 §3.2.5: the extra bits of the distance codes 0 to 29, two of a kind from the third on.
const DISTANCE_CODES: u16 = 30;
/// RFC 1951 §3.2.7: the order of the code lengths for the code length alphabet.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// RFC 1950 §2.2: deflate with a window of 32 KiB, by the slowest algorithm.
const HEADER: [u8; 2] = [0x78, 0xda];
/// The longest run that one code stands for.
const MAX_RUN: usize = 258;
/// RFC 1950 §8.2: the largest prime below 65,536.
const ADLER: u32 = 65_521;

/// Why a compressed list cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("no zlib data (RFC 1950 §2.2)")]
    Header,
    #[error("data that ends too early, or a code that does not exist (RFC 1951 §3.2)")]
    Data,
    #[error("more than {max} bytes when it is read")]
    TooLong { max: usize },
    #[error("another checksum than that of the data (RFC 1950 §2.2)")]
    Checksum,
    #[error("bytes behind the data")]
    Trailing,
}

/// Reads at most `max` bytes.
pub(crate) fn inflate(data: &[u8], max: usize) -> Result<Vec<u8>, Undecodable> {
    let (&[method, flags], body) = data.split_first_chunk().ok_or(Undecodable::Header)?;
    // RFC 1950 §2.2: "CM = 8 denotes the "deflate" compression method with a window size up to
    // 32K"; FCHECK makes the two bytes a multiple of 31; FDICT has no place in a list.
    let check = u16::from_be_bytes([method, flags]);
    if method & 0x0f != 8 || method >> 4 > 7 || check % 31 != 0 || flags & 0x20 != 0 {
        return Err(Undecodable::Header);
    }
    let (body, checksum) = body.split_last_chunk().ok_or(Undecodable::Data)?;
    let mut reader = Bits { data: body, at: 0 };
    let mut out = Vec::new();
    loop {
        let last = reader.take(1)? == 1;
        match reader.take(2)? {
            0 => stored(&mut reader, &mut out, max)?,
            1 => coded(
                &mut reader,
                &Code::fixed_literals(),
                &Code::fixed_distances(),
                &mut out,
                max,
            )?,
            2 => {
                let (literals, distances) = dynamic(&mut reader)?;
                coded(&mut reader, &literals, &distances, &mut out, max)?;
            }
            _ => return Err(Undecodable::Data),
        }
        if last {
            break;
        }
    }
    if reader.at.div_ceil(8) != body.len() {
        return Err(Undecodable::Trailing);
    }
    if adler(&out) != u32::from_be_bytes(*checksum) {
        return Err(Undecodable::Checksum);
    }
    Ok(out)
}

/// Writes all of `bytes`.
pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer { out: HEADER.to_vec(), open: 0, count: 0 };
    // RFC 1951 §3.2.3: the last block, with the fixed codes.
    writer.put(1, 1);
    writer.put(1, 2);
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        writer.literal(u16::from(first));
        rest = behind;
        let run = rest.iter().take_while(|byte| **byte == first).count();
        let (repeated, behind) = rest.split_at(run);
        rest = behind;
        for part in repeated.chunks(MAX_RUN) {
            writer.run(first, part.len());
        }
    }
    writer.literal(256);
    let mut out = writer.finish();
    out.extend(adler(bytes).to_be_bytes());
    out
}

/// RFC 1950 §8.2.
fn adler(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1, 0);
    for byte in bytes {
        low = (low + u32::from(*byte)) % ADLER;
        high = (high + low) % ADLER;
    }
    high << 16 | low
}

struct Bits<'a> {
    data: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    /// RFC 1951 §3.1.1: "Data elements other than Huffman codes are packed starting with the
    /// least-significant bit of the data element."
    fn take(&mut self, count: u8) -> Result<u16, Undecodable> {
        let mut value = 0;
        for place in 0..count {
            value |= self.bit()? << place;
        }
        Ok(value)
    }

    fn bit(&mut self) -> Result<u16, Undecodable> {
        let byte = self.data.get(self.at / 8).ok_or(Undecodable::Data)?;
        let bit = u16::from(byte >> (self.at % 8) & 1);
        self.at += 1;
        Ok(bit)
    }

    fn bytes(&mut self, count: usize) -> Result<&[u8], Undecodable> {
        let from = self.at.div_ceil(8);
        let bytes = self.data.get(from..from + count).ok_or(Undecodable::Data)?;
        self.at = (from + count) * 8;
        Ok(bytes)
    }
}

/// A canonical Huffman code: how many codes each length has, and their symbols in order.
struct Code {
    counts: [u16; MAX_BITS + 1],
    symbols: Vec<u16>,
}

impl Code {
    /// RFC 1951 §3.2.2: the code of these lengths; `None` if there are more codes than bits.
    fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0; MAX_BITS + 1];
        for length in lengths.iter().filter(|length| **length > 0) {
            *counts.get_mut(usize::from(*length))? += 1;
        }
        let mut left: i32 = 1;
        for count in counts.iter().skip(1) {
            left = (left << 1) - i32::from(*count);
            if left < 0 {
                return None;
            }
        }
        let mut symbols: Vec<(u8, u16)> = (0_u16..)
            .zip(lengths)
            .filter(|(_, length)| **length > 0)
            .map(|(symbol, length)| (*length, symbol))
            .collect();
        symbols.sort_unstable();
        Some(Self { counts, symbols: symbols.into_iter().map(|(_, symbol)| symbol).collect() })
    }

    fn fixed_literals() -> Self {
        let lengths: Vec<u8> = (0..288_u16)
            .map(|symbol| match symbol {
                0..=143 | 280.. => 8,
                144..=255 => 9,
                256..=279 => 7,
            })
            .collect();
        Self::of(&lengths).unwrap_or(Self { counts: [0; MAX_BITS + 1], symbols: Vec::new() })
    }

    fn fixed_distances() -> Self {
        Self::of(&[5; 30]).unwrap_or(Self { counts: [0; MAX_BITS + 1], symbols: Vec::new() })
    }

    /// RFC 1951 §3.1.1: "Huffman codes are packed starting with the most-significant bit of the
    /// code."
    fn read(&self, reader: &mut Bits<'_>) -> Result<u16, Undecodable> {
        let (mut code, mut first, mut index) = (0_i32, 0_i32, 0_i32);
        for count in self.counts.iter().skip(1) {
            code |= i32::from(reader.bit()?);
            let count = i32::from(*count);
            if code - count < first {
                let at = usize::try_from(index + code - first).map_err(|_| Undecodable::Data)?;
                return self.symbols.get(at).copied().ok_or(Undecodable::Data);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Undecodable::Data)
    }
}

/// RFC 1951 §3.2.4.
fn stored(reader: &mut Bits<'_>, out: &mut Vec<u8>, max: usize) -> Result<(), Undecodable> {
    let head: [u8; 4] = reader.bytes(4)?.try_into().map_err(|_| Undecodable::Data)?;
    let [low, high, not_low, not_high] = head;
    if low != !not_low || high != !not_high {
        return Err(Undecodable::Data);
    }
    let bytes = reader.bytes(usize::from(u16::from_le_bytes([low, high])))?;
    if out.len() + bytes.len() > max {
        return Err(Undecodable::TooLong { max });
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// RFC 1951 §3.2.7.
fn dynamic(reader: &mut Bits<'_>) -> Result<(Code, Code), Undecodable> {
    let literals = usize::from(reader.take(5)?) + 257;
    let distances = usize::from(reader.take(5)?) + 1;
    let codes = usize::from(reader.take(4)?) + 4;
    if literals > 286 || distances > usize::from(DISTANCE_CODES) {
        return Err(Undecodable::Data);
    }
    let mut lengths = [0_u8; 19];
    for place in ORDER.iter().take(codes) {
        let length = reader.take(3)?;
        if let Some(slot) = lengths.get_mut(*place) {
            *slot = u8::try_from(length).map_err(|_| Undecodable::Data)?;
        }
    }
    let code = Code::of(&lengths).ok_or(Undecodable::Data)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let symbol = code.read(reader)?;
        let (value, times) = match symbol {
            0..=15 => (u8::try_from(symbol).map_err(|_| Undecodable::Data)?, 1),
            16 => (*lengths.last().ok_or(Undecodable::Data)?, 3 + reader.take(2)?),
            17 => (0, 3 + reader.take(3)?),
            _ => (0, 11 + reader.take(7)?),
        };
        lengths.extend(std::iter::repeat_n(value, usize::from(times)));
    }
    // Without an end a block never ends.
    if lengths.len() != literals + distances || lengths.get(256) == Some(&0) {
        return Err(Undecodable::Data);
    }
    let (literals, distances) = lengths.split_at(literals);
    let pair = Code::of(literals).zip(Code::of(distances));
    pair.ok_or(Undecodable::Data)
}

fn coded(
    reader: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    out: &mut Vec<u8>,
    max: usize,
) -> Result<(), Undecodable> {
    loop {
        let symbol = literals.read(reader)?;
        if let Ok(byte) = u8::try_from(symbol) {
            if out.len() >= max {
                return Err(Undecodable::TooLong { max });
            }
            out.push(byte);
            continue;
        }
        if symbol == 256 {
            return Ok(());
        }
        let row = LENGTHS.get(usize::from(symbol) - 257).ok_or(Undecodable::Data)?;
        let length = usize::from(row.0 + reader.take(row.1)?);
        let code = distances.read(reader)?;
        let distance = distance(reader, code)?;
        let from = out.len().checked_sub(distance).ok_or(Undecodable::Data)?;
        if out.len() + length > max {
            return Err(Undecodable::TooLong { max });
        }
        for at in from..from + length {
            let byte = out.get(at).copied().ok_or(Undecodable::Data)?;
            out.push(byte);
        }
    }
}

/// RFC 1951 §3.2.5: four codes without extra bits, then two for each number of them.
fn distance(reader: &mut Bits<'_>, code: u16) -> Result<usize, Undecodable> {
    if code >= DISTANCE_CODES {
        return Err(Undecodable::Data);
    }
    if code < 4 {
        return Ok(usize::from(code) + 1);
    }
    let extra = u8::try_from(code / 2 - 1).map_err(|_| Undecodable::Data)?;
    let base = (2 + usize::from(code % 2)) << extra;
    Ok(base + 1 + usize::from(reader.take(extra)?))
}

struct Writer {
    out: Vec<u8>,
    open: u32,
    count: u8,
}

impl Writer {
    /// Bits of a value, the least significant first.
    fn put(&mut self, value: u16, count: u8) {
        self.open |= u32::from(value) << self.count;
        self.count += count;
        while self.count >= 8 {
            let [low, ..] = self.open.to_le_bytes();
            self.out.push(low);
            self.open >>= 8;
            self.count -= 8;
        }
    }

    /// Bits of a code, the most significant first.
    fn code(&mut self, code: u16, count: u8) {
        for place in (0..count).rev() {
            self.put(code >> place & 1, 1);
        }
    }

    /// RFC 1951 §3.2.6.
    fn literal(&mut self, symbol: u16) {
        match symbol {
            0..=143 => self.code(0x30 + symbol, 8),
            144..=255 => self.code(0x190 + symbol - 144, 9),
            256..=279 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }

    /// `length` times the byte that was written last: a copy from one byte before.
    fn run(&mut self, byte: u8, length: usize) {
        match row(length) {
            Some((symbol, more, extra)) => {
                self.literal(symbol);
                self.put(more, extra);
                self.code(0, 5);
            }
            None => (0..length).for_each(|_| self.literal(u16::from(byte))),
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            let [low, ..] = self.open.to_le_bytes();
            self.out.push(low);
        }
        self.out
    }
}

/// The row of a length: its symbol, what is added to its base, and in how many bits.
fn row(length: usize) -> Option<(u16, u16, u8)> {
    let length = u16::try_from(length).ok()?;
    let rows = (257_u16..).zip(LENGTHS);
    let (symbol, (base, extra)) = rows.filter(|(_, (base, _))| *base <= length).last()?;
    Some((symbol, length - base, extra))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn rfc1951_what_is_written_is_read() {
        let mixed: Vec<u8> = (0..5_000_u32).map(|at| (at * at % 251) as u8).collect();
        let runs: Vec<u8> = (0..300).flat_map(|n| vec![n as u8; n]).collect();
        let cases = [vec![], vec![7], vec![0; 131_072], vec![255; 259], mixed, runs];
        for bytes in cases {
            assert_eq!(inflate(&deflate(&bytes), MAX), Ok(bytes));
        }
        // 131,072 zeros fit into less than a kilobyte.
        assert!(deflate(&[0; 131_072]).len() < 1_024);
        for length in 1..1_000 {
            let bytes = vec![1; length];
            assert_eq!(inflate(&deflate(&bytes), MAX), Ok(bytes), "{length}");
        }
    }

    /// Defect: a few bytes that become all of the memory.
    #[test]
    fn rfc1951_reading_is_bounded() {
        let bomb = deflate(&vec![0; 100_000]);
        assert_eq!(inflate(&bomb, 99_999), Err(Undecodable::TooLong { max: 99_999 }));
        assert!(inflate(&bomb, 100_000).is_ok());
    }

    #[test]
    fn rfc1950_2_2_each_refusal() {
        let whole = deflate(b"abc");
        let with = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            bytes
        };
        let last = whole.len() - 1;
        let trailing = [&whole[..last - 3], &[0], &whole[last - 3..]].concat();
        for (bytes, expect) in [
            (vec![], Undecodable::Header),
            (vec![0x78], Undecodable::Header),
            (with(0, 0x79), Undecodable::Header),
            (with(1, 0xdb), Undecodable::Header),
            (with(1, 0xda | 0x20), Undecodable::Header),
            (with(last, !whole[last]), Undecodable::Checksum),
            (with(2, 0b111), Undecodable::Data),
            (trailing, Undecodable::Trailing),
            (vec![0x78, 0xda, 0, 0, 0, 1], Undecodable::Data),
        ] {
            assert_eq!(inflate(&bytes, MAX), Err(expect), "{bytes:?}");
        }
    }
}
