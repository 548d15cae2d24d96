//! The file operations that durability rests on, behind a seam so that tests can make them fail.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What the log does to files. Each says what holds when it returns.
pub(crate) trait Disk: Send + Sync {
    /// Makes a file that was not there; its name is not durable yet.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Hands bytes to the kernel; they are not durable yet.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Everything written to the file is durable. After an error nobody knows what is.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Names in the directory are durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Replaces a small file at once: a reader sees the old or the new one. Durable only if asked.
    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()>;

    /// Removes a file; that it is gone is not durable yet.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        File::options().read(true).write(true).create_new(true).open(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let temporary = path.with_extension("new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        };
        match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(parent)?;
                write()
            }
            other => other,
        }?;
        fs::rename(&temporary, path)?;
        if durable { self.sync_dir(parent) } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
