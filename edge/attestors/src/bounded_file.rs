//! Files that are no secret, and may come from anywhere: bounded, and text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The text of a file of at most `max` bytes; else why not, in words.
pub(crate) fn read(path: &Path, max: usize) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.kind().to_string())?;
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_string(&mut text).map_err(|error| error.kind().to_string())?;
    if text.len() > max {
        return Err(format!("it is longer than {max} bytes"));
    }
    Ok(text)
}
