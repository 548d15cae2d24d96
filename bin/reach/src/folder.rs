//! The folder that programs read: every version of the files in a folder of its own, and one link
//! that says which of them counts.
//!
//! ```text
//! ..data -> ..1795220013999       replaced by one rename: this is what makes a version count
//! ..1795220013999/svid.pem …      never changed once it counts
//! svid.pem -> ..data/svid.pem     for programs that know one path
//! ```
//!
//! INVARIANT: what `..data` leads to is whole and on disk, whenever this process is killed. The
//! version before stays until the next one, for whoever is reading it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use time::UnixTime;

use crate::exit::Failure;

/// The link that says which version counts.
const DATA: &str = "..data";
/// What versions begin with; a number follows.
const VERSION: &str = "..";
/// What a link is called until it takes its place.
const NEW: &str = "..new";
/// Folders here may be looked into; keys have a mode of their own.
const FOLDER_MODE: u32 = 0o755;
/// Who but the owner could put other files in the place of ours.
const OTHERS_WRITE: u32 = 0o022;

/// A file to be: its name may have one folder in it.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its path, below the folder.
    pub name: String,
    /// All of it.
    pub contents: &'a [u8],
    /// Who may read it, as `chmod` takes it.
    pub mode: u32,
}

/// A folder that is ours alone, as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Open and locked.
    own: File,
}

/// A child that was forked meanwhile may have the file for a moment more: the lock goes now.
impl Drop for Folder {
    fn drop(&mut self) {
        // It goes with the file at the latest.
        let _ = self.own.unlock();
    }
}

impl Folder {
    /// Makes the folder if it is not there, and takes it. What a process that was killed has left
    /// goes; what counts stays.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::file(path, error);
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed)?;
        let found = fs::metadata(path).map_err(failed)?;
        let user = geteuid().as_raw();
        if found.uid() != user {
            let owner = found.uid();
            let why = format!("it belongs to user {owner}, and this process is user {user}");
            return Err(Failure::file(path, why).hint("name a folder of your own"));
        }
        if found.mode() & OTHERS_WRITE != 0 {
            let why =
                "other users may write to it, and could put their files in the place of these";
            return Err(Failure::file(path, why).hint(format!("chmod go-w {}", path.display())));
        }
        let own = File::open(path).map_err(failed)?;
        if flock(&own, FlockOperation::NonBlockingLockExclusive).is_err() {
            let why = format!("`{}` is kept by another process", path.display());
            return Err(Failure::unavailable(why).hint("one `aims svid watch` a folder"));
        }
        let this = Self { path: path.to_owned(), own };
        match fs::symlink_metadata(this.path.join(DATA)) {
            Ok(data) if !data.is_symlink() => {
                let why = format!("`{DATA}` in it is not a link of ours");
                return Err(Failure::file(path, why).hint("name an empty folder"));
            }
            _ => {}
        }
        // The probe is what a version is: a folder in it.
        let probe = this.path.join(format!("{VERSION}0"));
        let probed = fs::create_dir(&probe).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        });
        probed.map_err(failed)?;
        this.sweep(&[]).map_err(failed)?;
        Ok(this)
    }

    /// The file of this name that counts, if there is one.
    pub fn current(&self, name: &str) -> PathBuf {
        self.path.join(DATA).join(name)
    }

    /// Writes the files and lets them count, all at once. If this fails, what counted counts still.
    pub fn write(&self, now: UnixTime, entries: &[Entry<'_>]) -> io::Result<()> {
        let before = self.counts();
        let version = self.new_version(now)?;
        let written = self.fill(&version, entries).and_then(|()| {
            self.link(Path::new(&version), DATA)?;
            self.own.sync_all()
        });
        if let Err(error) = written {
            // What failed is told; its rest is only in the way, and goes at the next start else.
            if self.counts().as_deref() != Some(version.as_os_str()) {
                let _ = fs::remove_dir_all(self.path.join(&version));
            }
            return Err(error);
        }
        self.names(entries)?;
        self.sweep(&before.into_iter().collect::<Vec<_>>())
    }

    /// The version that counts.
    fn counts(&self) -> Option<OsString> {
        fs::read_link(self.path.join(DATA)).ok().map(PathBuf::into_os_string)
    }

    fn new_version(&self, now: UnixTime) -> io::Result<OsString> {
        let mut number = now.millis();
        loop {
            let name = format!("{VERSION}{number}");
            match DirBuilder::new().mode(FOLDER_MODE).create(self.path.join(&name)) {
                Ok(()) => return Ok(name.into()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(&self, version: &OsStr, entries: &[Entry<'_>]) -> io::Result<()> {
        let folder = self.path.join(version);
        for Entry { name, contents, mode } in entries {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(parent)?;
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(*mode).open(path)?;
            // The process's mask may have taken from the mode; a group that is to read must.
            file.set_permissions(Permissions::from_mode(*mode))?;
            file.write_all(contents)?;
            file.sync_all()?;
        }
        File::open(folder)?.sync_all()
    }

    /// One link for each name, and none for what is no longer there.
    fn names(&self, entries: &[Entry<'_>]) -> io::Result<()> {
        let mut wanted = Vec::new();
        // The certificate comes first and is linked last: who waits for it finds all the others.
        for entry in entries.iter().rev() {
            let name = entry.name.split('/').next().unwrap_or_default();
            let target = Path::new(DATA).join(name);
            if fs::read_link(self.path.join(name)).ok() != Some(target.clone()) {
                self.link(&target, name)?;
            }
            wanted.push(OsString::from(name));
        }
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let is_ours = fs::read_link(self.path.join(&name))
                .is_ok_and(|target| target == Path::new(DATA).join(&name));
            if is_ours && !wanted.contains(&name) {
                fs::remove_file(self.path.join(&name))?;
            }
        }
        self.own.sync_all()
    }

    /// Puts a link in its place, whatever file or link was there.
    fn link(&self, target: &Path, name: &str) -> io::Result<()> {
        let new = self.path.join(NEW);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(target, &new)?;
        fs::rename(&new, self.path.join(name))
    }

    /// Removes all versions but those that count and those to keep.
    fn sweep(&self, keep: &[OsString]) -> io::Result<()> {
        let counts = self.counts();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_version = name.to_str().and_then(|name| name.strip_prefix(VERSION));
            let is_version = is_version
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
            let stays = keep.contains(&name) || counts.as_ref() == Some(&name);
            if is_version && !stays && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
