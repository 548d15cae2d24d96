//! `stack/authentication`: HTTP authentication of clients.

use authentication::client_secret;

/// What is read has both parts, whatever the case of the scheme; nothing may stand behind it.
pub(crate) fn basic(data: &[u8]) {
    let Ok((id, secret)) = client_secret::basic(data) else { return };
    assert!(!id.as_str().is_empty() && !secret.as_str().is_empty());
    let mut shouted = data.to_vec();
    shouted.iter_mut().take("Basic".len()).for_each(u8::make_ascii_uppercase);
    assert_eq!(client_secret::basic(&shouted), Ok((id, secret)));
    for more in [" ", ",", "=", ", Basic YTpi"] {
        assert!(client_secret::basic(&[data, more.as_bytes()].concat()).is_err());
    }
}
