//! The audit log as the store's journal, and the key that signs its checkpoints.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::{
    Appending, Handle, Journal, Keys, Newest, Purpose, Sealed, SingleUse, Unavailable, World,
};
use flow::issuing;
use jose::{Algorithm, TokenHash};
use keys::KeyStore;
use log::{AppendMode, Entry, Log, NoteSigner, Options, SEGMENT_BYTES, SignError, Term};
use monitoring::Record;
use time::{Span, UnixTime};
use tlog::note::{KeyKind, VerifierKey};

use super::layout::unwritten;
use super::retention;

/// How often a checkpoint is made while the log grows.
const CHECKPOINT_EVERY: Span = Span::from_millis(500);
/// How far back a start looks for single-use values: longer than any of them is remembered.
pub(crate) const WINDOW: Span = Span::from_seconds(2 * 3_600);

/// A log that takes the records of a store.
pub struct LogJournal {
    /// The log.
    pub log: Log,
    appended: AtomicU64,
    newest: Arc<Newest>,
}

impl LogJournal {
    /// The newest time in the log, for the clock.
    pub fn newest(&self) -> Arc<Newest> {
        Arc::clone(&self.newest)
    }

    /// How many appends were acknowledged since the start.
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }
}

impl LogJournal {
    /// The operator says that the clock was ahead before: what is recorded now is the newest.
    pub async fn take_clock<W: World>(&self, world: &W) -> Result<(), String> {
        let taken = issuing::take_clock(world).await.map_err(|why| why.to_string())?;
        self.newest.begin_anew(taken);
        Ok(())
    }
}

impl Journal for LogJournal {
    fn append(&self, entries: Vec<Sealed>) -> Appending<'_> {
        Box::pin(async move {
            let newest = entries.iter().map(|sealed| sealed.time).max();
            let entries = entries.into_iter().map(entry).collect();
            let appended = self.log.append(entries, AppendMode::Once).await;
            appended.map_err(|error| Unavailable::of("log", error))?;
            if let Some(newest) = newest {
                self.newest.note(newest);
            }
            self.appended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }
}

fn entry(sealed: Sealed) -> Entry {
    let terms = sealed.terms.into_iter().map(|(name, value)| (Term(name), value)).collect();
    Entry { id: sealed.id.bytes(), bytes: sealed.bytes, terms, time: sealed.time }
}

/// Opens the log of a component; its key is made at the first start.
pub async fn open(
    dir: &Path,
    origin: String,
    keys: &Arc<KeyStore>,
    remembered: Option<(u64, tlog::Hash)>,
) -> Result<Arc<LogJournal>, String> {
    let handle = match keys.handles(Purpose::Log).into_iter().next() {
        Some(handle) => handle,
        None => {
            let made = keys.generate(Purpose::Log, Algorithm::EdDsa).await;
            made.map_err(|error| error.to_string())?.0
        }
    };
    let signer = Arc::new(CheckpointKey::new(origin.clone(), Arc::clone(keys), handle)?);
    tell_key(dir, &signer)?;
    let options = Options {
        origin,
        segment_bytes: SEGMENT_BYTES,
        checkpoint_every: CHECKPOINT_EVERY,
        signer,
        previous_keys: Vec::new(),
        remembered,
        read_cut: retention::read_cut,
    };
    let folder = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || Log::open(&folder, options))
        .await
        .map_err(|error| error.to_string())?;
    let log = opened.map_err(|error| {
        let (dir, hint) = (dir.display(), error.hint());
        format!("the log in `{dir}` is not opened: {error}\n  hint: {hint}")
    })?;
    Ok(Arc::new(LogJournal { log, appended: AtomicU64::new(0), newest: Arc::default() }))
}

/// Leaves the key that the log is verified with beside it, for `aims audit verify` and for anybody.
/// Whoever can write here can write another: keep a copy elsewhere.
fn tell_key(dir: &Path, signer: &CheckpointKey) -> Result<(), String> {
    let fault = |error: &dyn std::fmt::Display| unwritten(&dir.join("vkey"), error);
    let key = VerifierKey::new(signer.name(), KeyKind::Ed25519, signer.public_key());
    let line = format!("{}\n", key.map_err(|error| fault(&error))?);
    std::fs::create_dir_all(dir).map_err(|error| fault(&error))?;
    std::fs::write(dir.join("vkey"), line).map_err(|error| fault(&error))
}

/// The single-use values that the tail of the log holds: a restart does not reopen their windows
/// (docs/design.md §7). On the way the newest time is noted: of a clock that went back, all that
/// came after what it shows is in the tail.
pub async fn used(journal: &LogJournal, now: UnixTime) -> Result<Vec<SingleUse>, String> {
    let (log, newest) = (journal.log.clone(), journal.newest());
    let read = tokio::task::spawn_blocking(move || {
        let mut uses = Vec::new();
        for stored in log.tail_since(now.minus(WINDOW)).map_err(|error| error.to_string())? {
            let stored = stored.map_err(|error| error.to_string())?;
            let Ok(record) = Record::decode(&stored.bytes) else { continue };
            if issuing::is_taken(&record) {
                newest.begin_anew(record.time);
            }
            newest.note(record.time);
            let still = record.used.iter().filter(|used| used.until > now);
            uses.extend(still.filter_map(|used| {
                let hash = TokenHash::parse(&used.hash).ok()?;
                Some(SingleUse { hash: *hash.as_bytes(), until: used.until })
            }));
        }
        Ok(uses)
    });
    read.await.map_err(|error| error.to_string())?
}

/// The Ed25519 key of the log's checkpoints, behind the key store.
struct CheckpointKey {
    name: String,
    keys: Arc<KeyStore>,
    handle: Handle,
    public: [u8; 32],
}

impl CheckpointKey {
    fn new(name: String, keys: Arc<KeyStore>, handle: Handle) -> Result<Self, String> {
        let public = keys.public(&handle).map_err(|error| error.to_string())?;
        // RFC 8410 §4: the key is the last 32 bytes of an Ed25519 SubjectPublicKeyInfo.
        let raw = public.spki_der().last_chunk::<32>().copied();
        let public = raw.ok_or("the log's key is no Ed25519 key")?;
        Ok(Self { name, keys, handle, public })
    }
}

impl NoteSigner for CheckpointKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let refused = |reason: String| SignError { reason };
        let signature = self.keys.sign_now(&self.handle, message);
        let signature = signature.map_err(|error| refused(error.to_string()))?;
        let exact = signature.as_bytes().try_into();
        exact.map_err(|_| refused("a signature that is not 64 bytes long".to_owned()))
    }
}
