//! What the directory itself shows.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use time::{Span, UnixTime};

use crate::commands::Context;
use crate::commands::doctor::Finding;
use crate::output::when;
use wiring::key_place::KeyPlace;
use wiring::layout::Settings;
use wiring::world::SystemClock;

/// Before its end, by how much the end of an authority is told.
const AUTHORITY_SPARE: Span = Span::from_seconds(86_400);
/// Bytes that must be free: some segments of the logs.
const SPACE_BYTES_MIN: u64 = 64 << 20;

/// Looks at the directory and the files in it.
pub(crate) fn look(context: &Context) -> Vec<Finding> {
    let dir = context.place.dir();
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) => {
            let todo = "name the installation: `--dir DIR`; `aims up` makes one";
            return vec![Finding::wrong(
                "directory",
                format!("`{}`: {error}", dir.display()),
                todo,
            )];
        }
    };
    let own = nix::unistd::geteuid().as_raw();
    let mut findings = vec![private("directory", dir, &metadata, own)];
    findings.extend(
        nix::sys::statvfs::statvfs(dir)
            .ok()
            .map(|disk| space(dir, disk.blocks_available().saturating_mul(disk.fragment_size()))),
    );
    let keys = dir.join("keys");
    if let Ok(metadata) = std::fs::metadata(&keys) {
        findings.push(private("keys", &keys, &metadata, own));
        findings.extend(places(context, &keys));
    }
    findings.push(authority(&context.place.ca(), SystemClock::read()));
    findings
}

/// Without space nothing is decided, for nothing can be recorded.
fn space(dir: &Path, bytes: u64) -> Finding {
    let found = format!("{} MiB are free in `{}`", bytes >> 20, dir.display());
    if bytes < SPACE_BYTES_MIN {
        let todo = "make room; if the server is not ready then, restart it";
        return Finding::wrong("disk", found, todo);
    }
    Finding::ok("disk", found)
}

/// Where private keys are made, and which of them still lie in files. Settings that do not read are
/// told elsewhere.
fn places(context: &Context, keys: &Path) -> Option<Finding> {
    const CHECK: &str = "key store";
    let settings = Settings::read(&context.place.dir().join("aims.toml")).ok()?;
    let place = settings.keys.unwrap_or(KeyPlace::Disk {});
    let found = format!("private keys are made {}", place.described());
    let files = key_files(keys, KEY_FOLDERS_DEEP);
    if place == (KeyPlace::Disk {}) || files.is_empty() {
        return Some(Finding::ok(CHECK, found));
    }
    let found = format!("{found}; in files: {}", files.join(", "));
    let todo = "what a device cannot make stays there (a log signs with Ed25519), so seal it \
                (`seal_credential`); the others go when they are replaced: `aims authority rotate`";
    Some(Finding::note(CHECK, found, todo))
}

/// Component, purpose, file.
const KEY_FOLDERS_DEEP: usize = 3;

/// The folders with keys in files, and how many each has.
fn key_files(folder: &Path, deep: usize) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let (mut found, mut keys) = (Vec::new(), 0_usize);
    for path in entries.map(|entry| entry.path()) {
        if deep > 1 && path.is_dir() {
            found.extend(key_files(&path, deep.saturating_sub(1)));
        } else if path.extension().is_some_and(|extension| extension == "key") {
            keys = keys.saturating_add(1);
        }
    }
    if keys > 0 {
        let names: Vec<_> =
            folder.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
        found
            .push(format!("{keys} of `{}`", names.into_iter().rev().collect::<Vec<_>>().join("/")));
    }
    found.sort();
    found
}

/// Whoever can write here can be this installation; whoever can read here has its keys.
fn private(check: &'static str, path: &Path, metadata: &Metadata, own: u32) -> Finding {
    let (shown, mode) = (path.display(), metadata.permissions().mode() & 0o7777);
    if mode & 0o077 != 0 {
        let found = format!("`{shown}` is open to others (mode {mode:04o})");
        return Finding::wrong(check, found, format!("chmod 700 {shown}"));
    }
    if metadata.uid() != own {
        let found = format!("`{shown}` is of uid {}, and you are uid {own}", metadata.uid());
        return Finding::note(check, found, "ask as the user that the server runs as");
    }
    Finding::ok(check, format!("`{shown}` is closed to others"))
}

/// What the HTTPS listeners are trusted by.
fn authority(path: &Path, now: UnixTime) -> Finding {
    const CHECK: &str = "ca.pem";
    let shown = path.display();
    let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let read = read.and_then(|text| {
        let all = x509::CertificateDer::from_pem_many(&text).map_err(|error| error.to_string())?;
        let parsed = all.iter().map(|one| one.parse().map(|one| one.not_after()));
        let ends = parsed.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let last = ends.iter().max().copied().ok_or_else(|| "no certificate".to_owned())?;
        Ok((ends.len(), last))
    });
    match read {
        Err(error) => {
            let todo = "`aims up` and `aims server` write it; start one of them";
            Finding::wrong(CHECK, format!("`{shown}`: {error}"), todo)
        }
        Ok((_, end)) if end <= now => {
            let todo = "restart the server: it makes a new authority and writes it there";
            Finding::wrong(CHECK, format!("`{shown}` ended at {}", when(end)), todo)
        }
        Ok((_, end)) if end <= now.plus(AUTHORITY_SPARE) => {
            let found = format!("`{shown}` ends at {}, and has no successor", when(end));
            Finding::note(CHECK, found, "see that the server runs: it rotates its authorities")
        }
        Ok((1, end)) => Finding::ok(CHECK, format!("valid until {}", when(end))),
        Ok((count, end)) => {
            let found = format!("`{shown}` holds {count} authorities, valid until {}", when(end));
            let todo = "run `aims trust` again, and hand it to nodes and programs that have a copy";
            Finding::note(CHECK, found, todo)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::State;

    #[test]
    fn what_others_can_enter_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let own = nix::unistd::geteuid().as_raw();
        for (mode, uid, state) in [
            (0o700, own, State::Ok),
            (0o750, own, State::Wrong),
            (0o701, own, State::Wrong),
            (0o700, own + 1, State::Note),
        ] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), permissions).unwrap();
            let metadata = std::fs::metadata(folder.path()).unwrap();
            assert_eq!(
                private("directory", folder.path(), &metadata, uid).state,
                state,
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_wrong() {
        let state = |bytes| space(Path::new("data"), bytes).state;
        assert_eq!(state(SPACE_BYTES_MIN), State::Ok);
        assert_eq!(state(SPACE_BYTES_MIN - 1), State::Wrong);
    }

    #[test]
    fn an_authority_that_does_not_read_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert_eq!(authority(&path, UnixTime::EPOCH).state, State::Wrong);
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(authority(&path, UnixTime::EPOCH).state, State::Wrong);
    }
}
