//! The Workload API: what passes from a client to the HTTP/2 library, and certificates as a server
//! gives them.

use workload::authority::Frames;

/// A connection after its preface, with the first byte as the size of the pieces it comes in.
pub(crate) fn authority(data: &[u8]) {
    let Some((size, frames)) = data.split_first() else { return };
    let sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frames].concat();
    let received = pass(&sent, usize::from(*size).max(1));
    assert_eq!(received, pass(&sent, sent.len()), "pieces make no difference");
    assert_eq!(received, pass(&received, received.len()), "what was replaced stays");
}

/// Certificates that stand one behind the other.
pub(crate) fn certificates(data: &[u8]) {
    let Ok(all) = workload::pem::split(data) else { return };
    assert_eq!(all.concat(), data, "nothing is lost between them");
    for one in &all {
        assert_eq!(workload::pem::split(one).as_deref(), Ok([*one].as_slice()));
    }
    if let Ok(text) = workload::pem::certificates(data) {
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----\n").count(), all.len());
    }
}

fn pass(bytes: &[u8], at_once: usize) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::default(), Vec::new());
    for piece in bytes.chunks(at_once) {
        frames.take(piece, &mut out);
    }
    frames.end(&mut out);
    out
}
