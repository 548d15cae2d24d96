//! A client's bytes as HTTP/2 frames, RFC 9113 §4.1: only header blocks are held back until they
//! are whole.

use super::block;

/// The largest header block that is read, in bytes. From a larger one on, nothing of the
/// connection is read any more: the HTTP/2 library has a smaller bound and ends it.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// The largest frame: what a server accepts unless it announces more, which ours does not (§6.5.2).
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// §3.4: what a client's side of a connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// §4.1: length (3), type (1), flags (1), stream (4).
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// §6.2: the fields that the flag PRIORITY announces.
const PRIORITY_BYTES: usize = 5;

/// What passes from a client to the HTTP/2 library.
#[derive(Debug)]
pub struct Frames {
    next: Next,
    /// Bytes that are held back: frames of one block as they came, or a part of a head.
    held: Vec<u8>,
    /// Where the frame begins that is being held.
    start: usize,
    block: Option<Block>,
}

/// What the next bytes are.
#[derive(Debug)]
enum Next {
    /// So many bytes of no concern.
    Pass(usize),
    /// The head of a frame, to hold.
    Head,
    /// The payload of a frame of a header block, to hold.
    Payload(Head),
    /// No concern for good.
    PassAll,
}

/// A header block that has begun.
#[derive(Debug)]
struct Block {
    head: Head,
    priority: Option<[u8; PRIORITY_BYTES]>,
    fragments: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Default for Frames {
    fn default() -> Self {
        Self { next: Next::Pass(PREFACE.len()), held: Vec::new(), start: 0, block: None }
    }
}

impl Frames {
    /// Takes the next bytes, and appends to `out` what may go on.
    pub fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let wanted = match &self.next {
                Next::Pass(left) => *left,
                Next::Head => self.missing(HEAD_BYTES),
                Next::Payload(head) => self.missing(HEAD_BYTES.saturating_add(head.length)),
                Next::PassAll => bytes.len(),
            };
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            bytes = later;
            let complete = now.len() == wanted;
            match self.next {
                Next::Pass(left) if !complete => {
                    out.extend_from_slice(now);
                    self.next = Next::Pass(left.saturating_sub(now.len()));
                }
                Next::Pass(_) => {
                    out.extend_from_slice(now);
                    self.next = Next::Head;
                }
                Next::PassAll => out.extend_from_slice(now),
                Next::Head | Next::Payload(_) => {
                    self.held.extend_from_slice(now);
                    if complete && self.go_on(out).is_none() {
                        self.end(out);
                    }
                }
            }
        }
    }

    /// What is held back goes on as it is, and all that follows: the client said its last, or
    /// something that is not HTTP/2 as we know it.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.next = Next::PassAll;
        self.block = None;
        self.release(out);
    }

    /// How many bytes are missing of the first `bytes` of the frame that is being held.
    fn missing(&self, bytes: usize) -> usize {
        self.start.saturating_add(bytes).saturating_sub(self.held.len())
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.held = Vec::new();
        self.start = 0;
    }

    /// A head is whole, or a payload. `None` if this is not HTTP/2 as we know it.
    fn go_on(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let frame = self.held.get(self.start..)?;
        let head = match self.next {
            Next::Payload(head) => head,
            _ => Head::read(frame)?,
        };
        if matches!(self.next, Next::Head) && !self.concerns(head)? {
            self.release(out);
            self.next = Next::Pass(head.length);
            return Some(());
        }
        let payload = frame.get(HEAD_BYTES..)?;
        if payload.len() < head.length {
            self.next = Next::Payload(head);
            return Some(());
        }
        match &mut self.block {
            Some(block) => block.fragments.extend_from_slice(payload),
            None => self.block = Some(Block::begin(head, payload)?),
        }
        self.next = Next::Head;
        if head.flags & END_HEADERS == 0 {
            self.start = self.held.len();
            return Some(());
        }
        if let Some(replaced) = self.block.take()?.replace() {
            self.held = replaced;
        }
        self.release(out);
        Some(())
    }

    /// Whether the frame whose head has come is one of a header block. `None` if it may not come
    /// now, or is larger than it may be.
    fn concerns(&self, head: Head) -> Option<bool> {
        let Some(block) = &self.block else {
            return (head.length <= FRAME_BYTES_MAX).then_some(head.kind == HEADERS);
        };
        // §6.2: "A HEADERS frame without the END_HEADERS flag set MUST be followed by a
        // CONTINUATION frame for the same stream."
        let follows = head.kind == CONTINUATION && head.stream == block.head.stream;
        // The heads count too: frames may be empty.
        let held = self.held.len().checked_add(head.length)?;
        (follows && head.length <= FRAME_BYTES_MAX && held <= BLOCK_BYTES_MAX).then_some(true)
    }
}

impl Block {
    fn begin(head: Head, payload: &[u8]) -> Option<Self> {
        let mut rest = payload;
        let mut padding = 0;
        if head.flags & PADDED != 0 {
            let (length, after) = rest.split_first()?;
            (padding, rest) = (usize::from(*length), after);
        }
        let mut priority = None;
        if head.flags & PRIORITY != 0 {
            let (fields, after) = rest.split_first_chunk()?;
            (priority, rest) = (Some(*fields), after);
        }
        let fragment = rest.get(..rest.len().checked_sub(padding)?)?;
        Some(Self { head, priority, fragments: fragment.to_vec() })
    }

    /// Its frames with other authorities, without padding; `None` if it is good as it is.
    fn replace(self) -> Option<Vec<u8>> {
        let mut rest = self.priority.map_or_else(Vec::new, Vec::from);
        rest.extend(block::replace(&self.fragments)?);
        let mut flags = self.head.flags & !PADDED;
        let mut kind = HEADERS;
        let mut frames = Vec::with_capacity(rest.len().saturating_add(HEAD_BYTES));
        let mut chunks = rest.chunks(FRAME_BYTES_MAX).peekable();
        while let Some(chunk) = chunks.next() {
            let end = if chunks.peek().is_none() { END_HEADERS } else { 0 };
            let head = Head {
                length: chunk.len(),
                kind,
                flags: flags & !END_HEADERS | end,
                stream: self.head.stream,
            };
            head.write(&mut frames)?;
            frames.extend_from_slice(chunk);
            // CONTINUATION has no other flag.
            (kind, flags) = (CONTINUATION, 0);
        }
        Some(frames)
    }
}

impl Head {
    fn read(frame: &[u8]) -> Option<Self> {
        let ([high, middle, low, kind, flags, stream @ ..], _) =
            frame.split_first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        Some(Self {
            length: usize::try_from(length).ok()?,
            kind: *kind,
            flags: *flags,
            stream: *stream,
        })
    }

    fn write(&self, into: &mut Vec<u8>) -> Option<()> {
        let [_, length @ ..] = u32::try_from(self.length).ok()?.to_be_bytes();
        into.extend_from_slice(&length);
        into.extend_from_slice(&[self.kind, self.flags]);
        into.extend_from_slice(&self.stream);
        Some(())
    }
}

#[cfg(test)]
mod tests;
