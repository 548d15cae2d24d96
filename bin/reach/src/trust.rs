//! `aims trust`: what lets the browsers and tools of a machine believe an installation's listeners.
//!
//! In scope: the stores of certificates that programs of a Unix desktop read, and DIR/ca.pem in
//! them. Not here: how a store is written: `certutil` (NSS) and the system's own command do that.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Serialize;
use x509::CertificateDer;

use crate::exit::Failure;
use crate::files;
use crate::output::{Output, plain};
use crate::place::Place;

/// What writes the stores of browsers.
const CERTUTIL: &str = "certutil";
/// Where Chromium and its kin look, below the home.
const SHARED: &str = ".pki/nssdb";
/// Where Firefox has its profiles, below the home.
const PROFILES: [&str; 3] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
];
/// What a profile has that is in use.
const PROFILE_STORE: &str = "cert9.db";
/// Profiles of one user that are looked at.
const PROFILES_MAX: usize = 64;
/// Characters of a fingerprint in the name that a store has for it.
const NAME_CHARS: usize = 16;
/// The stores of systems: the folder, the command that reads it, and the same where one went.
const SYSTEMS: [System; 2] = [
    System {
        folder: "/usr/local/share/ca-certificates",
        added: &["/usr/sbin/update-ca-certificates"],
        removed: &["/usr/sbin/update-ca-certificates", "--fresh"],
    },
    System {
        folder: "/etc/pki/ca-trust/source/anchors",
        added: &["/usr/bin/update-ca-trust"],
        removed: &["/usr/bin/update-ca-trust"],
    },
];

/// How `aims trust` is called.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  aims trust\n  sudo aims trust --system --dir /srv/aims\n  \
                        aims trust --remove")]
pub struct Arguments {
    /// The system's own store, which curl reads, in place of this user's browsers: as root
    #[arg(long)]
    system: bool,
    /// Take it back
    #[arg(long)]
    remove: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

/// A system's store.
#[derive(Clone, Copy, Debug)]
struct System {
    folder: &'static str,
    added: &'static [&'static str],
    removed: &'static [&'static str],
}

/// One store, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Store {
    /// Where it is.
    store: PathBuf,
    /// `trusted`, `removed`, or `not there`.
    state: &'static str,
}

/// One authority: what stores call it, and its certificate.
struct Authority {
    name: String,
    der: CertificateDer,
}

/// Puts DIR/ca.pem into the stores, or takes it out.
pub fn run(output: Output, place: &Place, args: &Arguments) -> Result<(), Failure> {
    let authorities = authorities(&place.ca())?;
    let stores = match args.system {
        true => vec![PathBuf::from(system()?.folder)],
        false => browsers(&home()?),
    };
    if !args.yes {
        consent(output, args, &place.ca(), &stores)?;
    }
    let mut done = Vec::new();
    for store in stores {
        let mut state = if args.remove { "not there" } else { "trusted" };
        for authority in &authorities {
            let found = match (args.system, args.remove) {
                (true, false) => in_system(authority)?,
                (true, true) => out_of_system(authority)?,
                (false, false) => into(&store, authority)?,
                (false, true) => out_of(&store, authority)?,
            };
            if found && args.remove {
                state = "removed";
            }
        }
        done.push(Store { store, state });
    }
    output.show(&done, || {
        let line =
            |one: &Store| format!("{}  {}\n", one.state, plain(&one.store.to_string_lossy()));
        let again =
            if args.system { "" } else { "browsers that run see it when they start anew\n" };
        done.iter().map(line).collect::<String>() + again
    })
}

fn authorities(path: &Path) -> Result<Vec<Authority>, Failure> {
    let text = files::read(path).map_err(|failure| {
        failure.hint("`aims up` makes it; name its directory by `--dir DIR` or `AIMS_DIR`")
    })?;
    let read = CertificateDer::from_pem_many(&text);
    let ders = read.map_err(|error| Failure::file(path, error))?;
    let mut found = Vec::new();
    for der in ders {
        let read = der.parse().map_err(|error| Failure::file(path, error))?;
        let hex = read.fingerprint_sha256().map(|byte| format!("{byte:02x}")).concat();
        let name = format!("aims-{}", hex.chars().take(NAME_CHARS).collect::<String>());
        found.push(Authority { name, der });
    }
    Ok(found)
}

/// Where this user's browsers look. The one that Chromium reads is made where it is not there.
fn browsers(home: &Path) -> Vec<PathBuf> {
    let mut found = vec![home.join(SHARED)];
    for folder in PROFILES {
        // A folder that is not there has no profiles.
        let Ok(entries) = std::fs::read_dir(home.join(folder)) else { continue };
        let profiles = entries.filter_map(Result::ok).map(|entry| entry.path());
        let mut used: Vec<_> =
            profiles.filter(|path| path.join(PROFILE_STORE).is_file()).take(PROFILES_MAX).collect();
        used.sort();
        found.extend(used);
    }
    found
}

fn home() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.ok_or_else(|| Failure::misused("no `HOME` in the environment: whose browsers?"))
}

fn system() -> Result<System, Failure> {
    let is_here = |one: &&System| Path::new(one.folder).is_dir();
    SYSTEMS.iter().find(is_here).copied().ok_or_else(|| {
        let folders = SYSTEMS.map(|one| format!("`{}`", one.folder)).join(", ");
        Failure::unavailable(format!("this system has none of {folders}"))
            .hint("add DIR/ca.pem by the system's own means")
    })
}

/// Says what will be done, and waits for a yes.
fn consent(output: Output, args: &Arguments, ca: &Path, stores: &[PathBuf]) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::misused("nobody to ask: stdin is no terminal")
            .hint("`--yes` does it without asking"));
    }
    let verb = if args.remove { "taken out of" } else { "put into" };
    output.ask(&format!("`{}` is {verb}:", ca.display()));
    for store in stores {
        output.ask(&format!("  {}", store.display()));
    }
    if !args.remove {
        output.ask("Whoever has the keys of this installation could then pretend to be any site.");
    }
    let _ = write!(std::io::stderr(), "Go on? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read.map(|_| answer.trim().to_ascii_lowercase()) {
        Ok(answer) if answer == "y" || answer == "yes" => Ok(()),
        _ => Err(Failure::refused("trust::NotWanted", "nothing was changed")),
    }
}

/// Into the store of a browser, which is made where it is not there.
fn into(store: &Path, authority: &Authority) -> Result<bool, Failure> {
    if !store.join(PROFILE_STORE).is_file() {
        std::fs::create_dir_all(store).map_err(|error| Failure::file(store, error))?;
        certutil(store, &["-N", "--empty-password"], &[])?;
    }
    // `C`: it vouches for servers, and for nobody else.
    certutil(store, &["-A", "-t", "C,,", "-n", &authority.name], authority.der.as_bytes())?;
    Ok(true)
}

fn out_of(store: &Path, authority: &Authority) -> Result<bool, Failure> {
    let has = || certutil(store, &["-L", "-n", &authority.name], &[]).is_ok();
    if !store.join(PROFILE_STORE).is_file() || !has() {
        return Ok(false);
    }
    certutil(store, &["-D", "-n", &authority.name], &[])?;
    Ok(true)
}

fn certutil(store: &Path, arguments: &[&str], stdin: &[u8]) -> Result<(), Failure> {
    let mut command = Command::new(CERTUTIL);
    let mut database = std::ffi::OsString::from("sql:");
    database.push(store);
    command.args(arguments).arg("-d").arg(database);
    told(command, stdin).map_err(|failure| {
        failure.hint("it is in the package `libnss3-tools` (Debian) or `nss-tools` (Fedora)")
    })
}

fn in_system(authority: &Authority) -> Result<bool, Failure> {
    let system = system()?;
    files::write(&file(system, authority), authority.der.to_pem().as_bytes(), files::PUBLIC)
        .map_err(|failure| {
            failure.hint("the system's store is root's: `sudo aims trust --system`")
        })?;
    read_again(system.added)?;
    Ok(true)
}

fn out_of_system(authority: &Authority) -> Result<bool, Failure> {
    let system = system()?;
    let file = file(system, authority);
    match std::fs::remove_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            let hint = "the system's store is root's: `sudo aims trust --system --remove`";
            return Err(Failure::file(&file, error).hint(hint));
        }
    }
    read_again(system.removed)?;
    Ok(true)
}

fn file(system: System, authority: &Authority) -> PathBuf {
    Path::new(system.folder).join(format!("{}.crt", authority.name))
}

fn read_again(command: &[&str]) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments);
    told(command, &[])
}

/// Runs a program to its end: what it says counts where it fails.
fn told(mut command: Command, stdin: &[u8]) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let fault = |why: String| Failure::unavailable(format!("`{name}`: {why}"));
    let mut child = command.spawn().map_err(|error| fault(error.to_string()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // Who does not read it says so by how it ends.
        let _ = pipe.write_all(stdin);
    }
    let ended = child.wait_with_output().map_err(|error| fault(error.to_string()))?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(fault(String::from_utf8_lossy(&ended.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_found_where_they_keep_their_stores() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for (profile, used) in [("a.default", true), ("b.old", false)] {
            let folder = at(".mozilla/firefox").join(profile);
            std::fs::create_dir_all(&folder).unwrap();
            if used {
                std::fs::write(folder.join(PROFILE_STORE), "").unwrap();
            }
        }
        let found = browsers(home.path());
        assert_eq!(found, [at(".pki/nssdb"), at(".mozilla/firefox/a.default")]);
    }

    #[test]
    fn what_is_no_authority_is_put_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(authorities(&path).is_err(), "not there");
        std::fs::write(&path, "no certificate").unwrap();
        assert!(authorities(&path).is_err());
    }
}
