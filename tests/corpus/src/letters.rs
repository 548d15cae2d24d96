//! Texts that people are shown.

/// What is written out steers nothing and is not written out again, and a name is never changed.
pub(crate) fn name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let written = letters::written_out(text);
    assert_eq!(letters::plain(&written), Ok(()));
    assert_eq!(letters::written_out(&written), written);
    if letters::name(text).is_ok() {
        assert_eq!(written, text);
    }
}
