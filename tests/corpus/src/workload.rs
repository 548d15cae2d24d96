//! The Workload API: what passes from a client to the HTTP/2 library.

use workload::authority::Frames;

/// A connection after its preface, with the first byte as the size of the pieces it comes in.
pub(crate) fn authority(data: &[u8]) {
    let Some((size, frames)) = data.split_first() else { return };
    let sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frames].concat();
    let received = pass(&sent, usize::from(*size).max(1));
    assert_eq!(received, pass(&sent, sent.len()), "pieces make no difference");
    assert_eq!(received, pass(&received, received.len()), "what was replaced stays");
}

fn pass(bytes: &[u8], at_once: usize) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::default(), Vec::new());
    for piece in bytes.chunks(at_once) {
        frames.take(piece, &mut out);
    }
    frames.end(&mut out);
    out
}
