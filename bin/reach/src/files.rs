//! Files and stdin, as commands read and write them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::exit::Failure;

/// The largest input that a command reads, in bytes.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;
/// What stands for stdin.
pub const STDIN: &str = "-";

/// Mode of files that anyone may read.
pub const PUBLIC: u32 = 0o644;
/// Mode of files with secrets.
pub const SECRET: u32 = 0o600;

/// Reads a file, or stdin for `-`, of bounded length.
pub fn read(path: &Path) -> Result<String, Failure> {
    let read = || match path.as_os_str() == STDIN {
        true => read_all(io::stdin()),
        false => read_all(File::open(path)?),
    };
    read().map_err(|error| Failure::file(path, error))
}

/// Reads what is open already, of bounded length.
pub fn read_all(from: impl io::Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    fits(&bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))
}

/// Whether so much could be read again.
pub fn fits(bytes: &[u8]) -> io::Result<()> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > INPUT_BYTES_MAX {
        return Err(io::Error::other(format!("more than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Writes a file whole or not at all: a reader sees the old contents or the new ones.
pub fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let name = path.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}", std::process::id()));
        let beside = path.with_file_name(beside);
        // Made anew, so that nobody has it open and its mode is ours from the first byte on.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        let written = file.write_all(contents).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| fs::rename(&beside, path));
        if renamed.is_err() {
            // What failed is told; the rest of it is only in the way.
            let _ = fs::remove_file(&beside);
        }
        renamed
    };
    write().map_err(|error| Failure::file(path, error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_replaced_whole_with_their_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        write(&path, b"new", SECRET).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("missing/key.pem");
        assert_eq!(write(&nowhere, b"", SECRET).unwrap_err().problem().outcome.exit_code(), 2);
    }

    #[test]
    fn input_is_bounded_and_utf8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let length = usize::try_from(INPUT_BYTES_MAX).unwrap();
        fs::write(&path, "x".repeat(length)).unwrap();
        assert_eq!(read(&path).unwrap().len(), length);
        fs::write(&path, "x".repeat(length + 1)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("more than 1048576 bytes"));
        fs::write(&path, [0xff]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("not UTF-8"));
        assert!(read(&folder.path().join("none")).is_err());
    }
}
