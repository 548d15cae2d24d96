//! Files that are no secret, and may come from anywhere: bounded.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The text of a file of at most `max` bytes; else why not, in words.
pub(crate) fn read(path: &Path, max: usize) -> Result<String, String> {
    String::from_utf8(bytes(path, max)?).map_err(|_| "it is no text".to_owned())
}

/// The bytes of a file of at most `max`; else why not, in words.
pub(crate) fn bytes(path: &Path, max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.kind().to_string())?;
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(|error| error.kind().to_string())?;
    if bytes.len() > max {
        return Err(format!("it is longer than {max} bytes"));
    }
    Ok(bytes)
}
