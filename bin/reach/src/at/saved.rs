//! What is kept between calls: clients by the issuer that registered them, and what was granted for
//! a resource. It is a file of its owner alone, because refresh tokens and secrets are in it.
//!
//! INVARIANT: nothing of one issuer is read for another.
//!
//! MCP, authorization server binding: credentials are kept "keyed by the authorization server's
//! `issuer` identifier", and clients "MUST NOT reuse client credentials from a different
//! authorization server".

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Metadata, TryLockError};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

use crate::exit::Failure;
use crate::files;

/// What anybody but its owner may do with the file: nothing.
const OTHERS: u32 = 0o077;

/// How long another command may have the file: one that waits for a person has it for longer.
const LOCK_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether it is done.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// The file, as it was read and as it will be written.
///
/// INVARIANT: from reading to the end it is this command's alone: a refresh token that two use at
/// once looks like a stolen one to its server.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    path: Option<PathBuf>,
    kept: Kept,
    _lock: Option<File>,
}

/// Its contents. The first key is the issuer, or the resource.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    clients: BTreeMap<String, SavedClient>,
    grants: BTreeMap<String, Grant>,
}

/// A client that was registered for this file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedClient {
    pub(crate) client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<Secret>,
    /// Seconds since the epoch; absent, or 0: never (RFC 7591 §3.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret_expires_at: Option<u64>,
    pub(crate) token_endpoint_auth_method: String,
    pub(crate) redirect_uri: String,
}

impl SavedClient {
    /// The port that its redirect has.
    pub(crate) fn port(&self) -> Option<u16> {
        url::Url::parse(&self.redirect_uri).ok().and_then(|url| url.port())
    }

    /// Whether it was registered to come back there. RFC 8252 §7.3: servers "MUST allow any port".
    pub(crate) fn is_back_at(&self, uri: &str) -> bool {
        let of = |text: &str| {
            let url = url::Url::parse(text).ok()?;
            Some((url.host_str()?.to_owned(), url.path().to_owned()))
        };
        of(uri).is_some_and(|back| of(&self.redirect_uri) == Some(back))
    }
}

/// What was granted for a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// Scopes that were asked for, with spaces between.
    pub(crate) asked: String,
    /// Those of the token.
    pub(crate) granted: String,
    /// How often in a row the same was asked for in vain.
    #[serde(default)]
    pub(crate) step_ups: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<Secret>,
}

/// What whoever sees it can use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// Such a text.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, for the server that gave it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Saved {
    /// Reads it; without a path, or where nothing is yet, there is nothing in it.
    pub(crate) async fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let lock = locked(path).await?;
        let kept = Kept::default();
        let mut saved = Self { path: Some(path.to_owned()), kept, _lock: Some(lock) };
        let Some(file) = opened(path, OFlags::RDONLY)? else { return Ok(saved) };
        let text = files::read_all(file).map_err(|error| Failure::file(path, error))?;
        let text = zeroize::Zeroizing::new(text);
        saved.kept = serde_json::from_str(&text).map_err(|error| saved.broken(&error))?;
        Ok(saved)
    }

    /// Writes it whole.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_string_pretty(&self.kept).map_err(|error| self.broken(&error))?;
        let text = zeroize::Zeroizing::new(text);
        // INVARIANT: what is written can be read again.
        files::fits(text.as_bytes()).map_err(|error| {
            Failure::file(path, format!("it would have {error}: it stays as it was"))
                .hint("another file keeps more")
        })?;
        files::write(path, text.as_bytes(), files::SECRET)
    }

    /// The client that this issuer registered.
    pub(crate) fn client(&self, issuer: &str) -> Option<&SavedClient> {
        self.kept.clients.get(issuer)
    }

    pub(crate) fn set_client(&mut self, issuer: &str, client: SavedClient) {
        self.kept.clients.insert(issuer.to_owned(), client);
    }

    /// What this issuer granted for this resource.
    pub(crate) fn grant(&self, resource: &str, issuer: &str) -> Option<&Grant> {
        self.kept.grants.get(resource).filter(|grant| grant.issuer == issuer)
    }

    pub(crate) fn set_grant(&mut self, resource: &str, grant: Grant) {
        self.kept.grants.insert(resource.to_owned(), grant);
    }

    /// What was granted for this resource goes on, by another refresh token where there is one, and
    /// with another scope where the server says so.
    pub(crate) fn renew(&mut self, resource: &str, token: Option<Secret>, granted: Option<String>) {
        let Some(grant) = self.kept.grants.get_mut(resource) else { return };
        // RFC 6749 §6: without a new refresh token the old one goes on.
        grant.refresh_token = token.or(grant.refresh_token.take());
        grant.granted = granted.unwrap_or_else(|| grant.granted.clone());
        grant.step_ups = 0;
    }

    /// What was granted for this resource is good no longer.
    pub(crate) fn forget(&mut self, resource: &str) {
        self.kept.grants.remove(resource);
    }

    /// This issuer knows the client no longer.
    pub(crate) fn forget_client(&mut self, issuer: &str) {
        self.kept.clients.remove(issuer);
    }

    /// It is not what was written.
    pub(crate) fn broken(&self, why: &dyn fmt::Display) -> Failure {
        let path = self.path.as_deref().unwrap_or_else(|| Path::new("--save"));
        Failure::file(path, why).hint("another file, or none, begins anew")
    }
}

/// Opens a file of ours, and waits for nobody there; `None` where nothing is.
fn opened(path: &Path, how: OFlags) -> Result<Option<File>, Failure> {
    let flags = how | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(Failure::file(path, "a symbolic link, which would be replaced")
                .hint("name the file that it leads to"));
        }
        Err(error) => return Err(Failure::file(path, error)),
    };
    let metadata = file.metadata().map_err(|error| Failure::file(path, error))?;
    is_own(&metadata, geteuid().as_raw()).map_err(|why| {
        Failure::file(path, why).hint("`chmod 600`, and another name, make it yours alone")
    })?;
    Ok(Some(file))
}

/// Whether it is a file that `user` alone uses.
fn is_own(metadata: &Metadata, user: u32) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    let owner = metadata.uid();
    if owner != user {
        return Err(format!("the file of user {owner}, and this is user {user}"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(format!("others may use it (mode {mode:03o}), and refresh tokens are in it"));
    }
    Ok(())
}

/// The lock beside the file; it ends with the command, however that ends.
async fn locked(path: &Path) -> Result<File, Failure> {
    let name = path.file_name().ok_or_else(|| Failure::file(path, "not the name of a file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".lock");
    let beside = path.with_file_name(beside);
    let file = opened(&beside, OFlags::WRONLY | OFlags::CREATE)?;
    let file = file.ok_or_else(|| Failure::file(&beside, "no such folder"))?;
    let until = Instant::now() + LOCK_TIME_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Failure::file(&beside, error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                let path = path.display();
                return Err(Failure::unavailable(format!("`{path}`: another command uses it"))
                    .hint(
                        "it may wait for somebody at a browser; another file is another client",
                    ));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> SavedClient {
        SavedClient {
            client_id: "c".to_owned(),
            client_secret: Some(Secret::of("hidden")),
            client_secret_expires_at: None,
            token_endpoint_auth_method: "client_secret_post".to_owned(),
            redirect_uri: "http://127.0.0.1:4711/callback".to_owned(),
        }
    }

    fn grant() -> Grant {
        Grant {
            issuer: "https://a.example".to_owned(),
            client_id: "c".to_owned(),
            asked: "a".to_owned(),
            granted: "a".to_owned(),
            step_ups: 0,
            refresh_token: Some(Secret::of("hidden")),
        }
    }

    /// req: AUTHZ-26 (part)
    #[tokio::test]
    async fn mcp_authorization_server_binding() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.json");
        let mut saved = Saved::read(Some(&path)).await.ok().unwrap();
        saved.set_client("https://a.example", client());
        saved.set_grant("https://r.example", grant());
        saved.write().ok().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = std::mem::take(&mut saved).kept;
        let read = Saved::read(Some(&path)).await.ok().unwrap();
        assert_eq!(read.kept, kept);
        assert_eq!(read.client("https://a.example").and_then(SavedClient::port), Some(4_711));
        assert!(read.grant("https://r.example", "https://a.example").is_some());
        for issuer in ["https://b.example", "https://a.example/", "HTTPS://a.example"] {
            assert_eq!(read.client(issuer), None, "{issuer}");
            assert_eq!(read.grant("https://r.example", issuer), None, "{issuer}");
        }
        assert!(!format!("{read:?}").contains("hidden"));
    }

    #[tokio::test]
    async fn a_file_that_others_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.json");
        Saved::read(Some(&path)).await.ok().unwrap().write().ok().unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let failure = Saved::read(Some(&path)).await.unwrap_err();
        assert!(failure.problem().message.contains("mode 640"), "{failure}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Saved::read(Some(&path)).await.unwrap_err().problem().outcome.exit_code(), 2);
    }

    /// Defect: a pipe was waited for, and a link and what is another's were replaced.
    #[tokio::test]
    async fn what_is_no_file_of_its_owner_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pipe = |name: &str| {
            let made = std::process::Command::new("mkfifo").arg(at(name)).status().unwrap();
            assert!(made.success());
        };
        let refused = async |path: &Path| {
            let read = tokio::time::timeout(Duration::from_secs(5), Saved::read(Some(path)));
            let failure = read.await.unwrap().unwrap_err();
            assert_eq!(failure.problem().outcome.exit_code(), 2);
            failure.problem().message.clone()
        };
        pipe("pipe");
        assert!(refused(&at("pipe")).await.ends_with("not a file"));
        pipe(".locked.lock");
        assert!(refused(&at("locked")).await.contains(".locked.lock"));
        std::fs::write(at("target"), "{}").unwrap();
        std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nothing"), at("dangling")).unwrap();
        std::os::unix::fs::symlink(at("target"), at(".beside.lock")).unwrap();
        for name in ["link", "dangling", "beside"] {
            assert!(refused(&at(name)).await.contains("symbolic link"), "{name}");
        }
        assert!(!at("nothing").exists());
        std::fs::set_permissions(at("target"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let metadata = std::fs::metadata(at("target")).unwrap();
        assert_eq!(is_own(&metadata, metadata.uid()), Ok(()));
        let other = is_own(&metadata, metadata.uid() + 1).unwrap_err();
        assert!(other.starts_with("the file of user "), "{other}");
    }

    /// Defect: after a `client_id` of two million bytes nothing of the file could be read again.
    #[tokio::test]
    async fn what_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.json");
        let mut saved = Saved::read(Some(&path)).await.ok().unwrap();
        saved.set_client("https://a.example", client());
        saved.write().ok().unwrap();
        let client_id = "c".repeat(2_000_000);
        saved.set_client("https://b.example", SavedClient { client_id, ..client() });
        let failure = saved.write().unwrap_err();
        assert!(failure.problem().message.contains("more than 1048576 bytes"), "{failure}");
        drop(saved);
        let read = Saved::read(Some(&path)).await.ok().unwrap();
        assert_eq!(read.client("https://a.example"), Some(&client()));
    }

    /// Defect: two commands that use one refresh token, which ends the grant at its server.
    #[tokio::test]
    async fn rfc9700_4_14_two_commands_come_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.json");
        let mut first = Saved::read(Some(&path)).await.ok().unwrap();
        first.set_grant("https://r.example", grant());
        let second = tokio::spawn({
            let path = path.clone();
            async move { Saved::read(Some(&path)).await.ok().unwrap().kept.grants.len() }
        });
        tokio::time::sleep(LOCK_INTERVAL * 2).await;
        assert!(!second.is_finished());
        first.renew("https://r.example", Some(Secret::of("new")), None);
        first.write().ok().unwrap();
        drop(first);
        assert_eq!(second.await.unwrap(), 1);
        let read = Saved::read(Some(&path)).await.ok().unwrap();
        let kept = read.grant("https://r.example", "https://a.example").unwrap();
        assert_eq!((kept.refresh_token.as_ref().unwrap().expose(), &*kept.granted), ("new", "a"));
    }
}
