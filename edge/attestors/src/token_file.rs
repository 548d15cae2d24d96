//! A platform's token, from the file in which the platform or a step of a job put it (the pure
//! halves are `attestation::{k8s_psat, platform_token}`). It is read again each time: the kubelet
//! replaces it.

use std::path::Path;

use crate::bounded_file;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Where a pod has the token that is projected for us.
pub const USUAL: &str = "/var/run/secrets/tokens/aims";

/// The token in the file.
pub fn read(path: &Path) -> Result<String, TokenFileError> {
    let unreadable = |why| TokenFileError { path: path.display().to_string(), why };
    let text = bounded_file::read(path, TOKEN_BYTES_MAX).map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unreadable("it holds no token".to_owned()));
    }
    Ok(token.to_owned())
}

/// Why there is no token in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{path}`: {why}")]
pub struct TokenFileError {
    path: String,
    why: String,
}
