//! A log with records that are older than policy keeps, under a whole installation: what is cut at
//! its start, and what the commands and the HTTPS origin then say.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{AppendMode, Entry, Log, Options};
use monitoring::{Component, Event, Record, RecordId};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use time::{Span, UnixTime};
use tlog::note::{KeyKind, VerifierKey};
use tlog::{Checkpoint, Frontier, Hash, ProofFile, hash_leaf, read_tile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wiring::retention::read_cut;
use wiring::world::SystemClock;

use crate::audit::{ORIGIN, Signer};
use crate::{Ended, aims};

/// Records of ten days ago, and of now.
const OLD: u64 = 1_500;
const YOUNG: u64 = 400;
/// How long a start, a stop or a cut may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record of the task `root`, and the entry that it is.
fn record(number: u64, now: UnixTime) -> Entry {
    let old = number < OLD;
    let age = if old { Span::from_seconds(10 * 86_400) } else { Span::from_seconds(60) };
    let time = now.minus(age).plus(Span::from_millis(number));
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let id = RecordId::new(time, random);
    let mut record = Record::new(id, time, Component("server".to_owned()), Event::CallDecided);
    record.root = Some(if old { "root-old" } else { "root-young" }.to_owned());
    let terms = record.terms().into_iter().map(|(term, value)| (log::Term(term.name()), value));
    Entry { id: id.bytes(), bytes: record.encode(), terms: terms.collect(), time }
}

/// The log of an installation as it was before, in small segments; the checkpoint that it had at
/// 700 entries, and the key of that.
fn before(dir: &Path, now: UnixTime) -> (String, VerifierKey) {
    let signer = Arc::new(Signer::new(7));
    let public = log::NoteSigner::public_key(&*signer);
    let key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, public).unwrap();
    let options = || Options {
        origin: ORIGIN.to_owned(),
        segment_bytes: 60_000,
        checkpoint_every: Span::from_millis(10),
        signer: Arc::clone(&signer) as Arc<dyn log::NoteSigner>,
        previous_keys: Vec::new(),
        remembered: None,
        read_cut,
    };
    let make = async |from: u64, to: u64| {
        let log = Log::open(dir, options()).unwrap();
        for number in from..to {
            log.append(vec![record(number, now)], AppendMode::Always).await.unwrap();
        }
        log.close().await;
        fs::read_to_string(dir.join("checkpoint")).unwrap()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept = runtime.block_on(async {
        let kept = make(0, 700).await;
        make(700, OLD + YOUNG).await;
        kept
    });
    // The installation signs with a key of its own, from the entries.
    fs::remove_file(dir.join("checkpoint")).unwrap();
    (kept, key)
}

/// An installation in `FOLDER/aims-data` with `keep`, that runs until it is dropped or stopped.
struct Installation {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Installation {
    fn of(folder: &Path) -> Self {
        let mut files = wiring::starter::files("demo.example");
        files.get_mut("domain.toml").unwrap().push_str("keep = 172800\n");
        wiring::up::write_policy(&folder.join("aims-data/policy"), &files).unwrap();
        let free = |base: &u16| (0..4).all(|n| TcpListener::bind(("127.0.0.1", base + n)).is_ok());
        let from = 20_000 + u16::try_from(std::process::id() % 2_000).unwrap() * 8;
        let port = (from..).step_by(4).find(free).unwrap();
        Self { folder: folder.to_owned(), port, child: None }
    }

    fn start(&mut self) {
        let child = Command::new(env!("CARGO_BIN_EXE_aims"))
            .args(["up", "--trust-domain", "demo.example", "--port-base", &self.port.to_string()])
            .current_dir(&self.folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.until(&["audit", "tail"], |ended| ended.code == 0);
    }

    /// Repeats a command until it says what is waited for.
    fn until(&mut self, arguments: &[&str], wanted: impl Fn(&Ended) -> bool) -> Ended {
        let begin = Instant::now();
        loop {
            let ended = aims(&self.folder, arguments);
            if wanted(&ended) {
                return ended;
            }
            let up = self.child.as_mut().unwrap().try_wait().unwrap();
            let told = || fs::read_to_string(self.folder.join("stderr")).unwrap();
            assert!(up.is_none(), "{up:?}: {}", told());
            assert!(begin.elapsed() < PATIENCE, "{}{}\n{}", ended.out, ended.err, told());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        child.wait().unwrap();
    }

    /// Status and body of a resource of the server's log.
    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let ca = fs::read(self.folder.join("aims-data/ca.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&ca) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let request = format!(
            "GET /log/server/{path} HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n\r\n",
            self.port
        );
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bytes = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            bytes
        });
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        (head[9..12].parse().unwrap(), bytes[end + 4..].to_vec())
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What `verify` says of the server's log.
fn verified(ended: &Ended) -> Value {
    let logs: Value = serde_json::from_str(&ended.out).unwrap();
    let of_server = |log: &&Value| log["origin"] == ORIGIN;
    logs.as_array().unwrap().iter().find(of_server).unwrap().clone()
}

/// req: OBS-06
#[test]
fn s11_the_log_is_kept_as_policy_says_and_proves_what_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemClock::read();
    let log = folder.path().join("aims-data/log/server");
    fs::create_dir_all(&log).unwrap();
    let (kept, key) = before(&log, now);
    let of_gateway = folder.path().join("aims-data/log/gateway");
    fs::create_dir_all(&of_gateway).unwrap();
    before(&of_gateway, now);
    fs::write(folder.path().join("kept"), &kept).unwrap();
    fs::write(folder.path().join("key"), format!("{key}\n")).unwrap();
    let mut up = Installation::of(folder.path());
    up.start();
    // Its own key, and that of before, for the checkpoint of before.
    let verify = ["audit", "verify", "--output", "json", "--log", "aims-data/log/server"];
    let keys = ["--key", "aims-data/log/server/vkey", "--key", "key", "--checkpoint", "kept"];
    let verify = [&verify[..], &keys].concat();
    let has_cut = |ended: &Ended| ended.code == 0 && verified(ended).get("cut").is_some();
    let found = verified(&up.until(&verify, has_cut));
    assert_eq!((&found["whole"], &found["checkpoints"][1]), (&true.into(), &700.into()));
    let (minimum, size) = (found["cut"]["entries"].as_u64().unwrap(), found["entries"].as_u64());
    assert!(minimum.is_multiple_of(256) && (1_024..=OLD).contains(&minimum), "{found}");
    assert!(size.unwrap() > OLD + YOUNG, "{found}");
    // Each component cuts its own.
    let of_gateway = ["audit", "verify", "--output", "json", "--log", "aims-data/log/gateway"];
    let other = up.until(&of_gateway, |ended| ended.out.contains("\"cut\""));
    let other: Value = serde_json::from_str(&other.out).unwrap();
    assert_eq!((&other[0]["whole"], &other[0]["cut"]["entries"]), (&true.into(), &minimum.into()));
    check_commands(&up, &found["cut"], minimum, now);
    check_served(&up, minimum, now, (&kept, &key));
    // What is there for people to read.
    let ended = aims(folder.path(), &["audit", "verify", "--log", "aims-data/log/server"]);
    let told = format!("the first {minimum}, on ");
    assert!(ended.out.contains(&format!("yes, entries {minimum} to ")), "{}", ended.out);
    assert!(ended.out.contains(&told), "{}", ended.out);
    // Another start changes nothing.
    up.stop();
    up.start();
    assert_eq!(verified(&aims(folder.path(), &verify))["cut"], found["cut"]);
    up.stop();
    check_forged(&mut up, &verify, &log);
}

fn check_commands(up: &Installation, cut: &Value, minimum: u64, now: UnixTime) {
    let folder = &up.folder;
    let record_of_cut = cut["audit_id"].as_str().unwrap();
    let ended = aims(folder, &["audit", "show", record_of_cut, "--output", "json"]);
    let shown: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(shown["record"]["event"], "log_cut");
    assert_eq!(shown["record"]["policy"], cut["policy"]);
    let facts = &shown["record"]["facts"];
    let expected = [("from", 0), ("minimum_index", minimum), ("tree_size", minimum)];
    for (name, value) in expected.into_iter().chain([("count", minimum)]) {
        assert_eq!(facts[name], value, "{name}");
    }
    assert_eq!(facts["root"], cut["root"]);
    assert_eq!(facts["first"], record(0, now).time.millis());
    assert_eq!(facts["last"], record(minimum - 1, now).time.millis());
    // Who asks for what is gone is told so, and no more than that.
    let id = |number| Record::decode(&record(number, now).bytes).unwrap().id.to_string();
    for gone in [["audit", "show", &id(3)], ["audit", "trace", "nothing"]] {
        let ended = aims(folder, &gone);
        assert_eq!(ended.code, 1, "{gone:?}: {}", ended.err);
        let told = format!("the records of `{ORIGIN}` up to ");
        assert!(ended.err.contains(&told) && ended.err.contains("were cut on"), "{}", ended.err);
    }
    let young = aims(folder, &["audit", "show", &id(OLD + 3)]);
    assert_eq!(young.code, 0, "{}", young.err);
    let begins = format!("`server` begins with entry {minimum}: ");
    for (command, last) in [("tail", &["--last", "9999"][..]), ("export", &[])] {
        let with = |more: &[&str]| {
            aims(folder, &[&["audit", command, "--log", "server"], last, more].concat())
        };
        let told = with(&[]);
        assert!(told.code == 0 && told.err.contains(&begins), "{command}: {}", told.err);
        let lines = with(&["--output", "json"]);
        let first: Value = serde_json::from_str(lines.out.lines().next().unwrap()).unwrap();
        assert_eq!(first["index"], minimum, "{command}");
    }
    let ended = aims(folder, &["audit", "trace", "root-young", "--output", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    // What stays is proved as before.
    let ended = aims(folder, &["audit", "prove", &id(OLD + 3)]);
    let proof = ProofFile::parse(ended.out.as_bytes()).unwrap();
    let own = fs::read_to_string(folder.join("aims-data/log/server/vkey")).unwrap();
    let own = VerifierKey::parse(own.trim()).unwrap();
    let leaf = hash_leaf(&record(OLD + 3, now).bytes);
    assert_eq!(proof.verify(&leaf, ORIGIN, &[own], &[]).unwrap().index(), OLD + 3);
}

/// tlog-tiles, Pruning, over HTTPS: bundles below the minimum index are gone; the rest, and every
/// hash, is there, so that a checkpoint of before can be compared.
fn check_served(up: &Installation, minimum: u64, now: UnixTime, kept: (&str, &VerifierKey)) {
    let bundle = |index: u64| format!("tile/entries/{index:03}");
    for index in 0..minimum / 256 {
        assert_eq!(up.get(&bundle(index)).0, 404, "{index}");
    }
    assert_eq!(up.get("tile/entries/000.p/7").0, 404);
    let (status, entries) = up.get(&bundle(minimum / 256));
    assert_eq!(status, 200);
    let first = tlog::bundle_entries(&entries).next().unwrap().unwrap();
    assert_eq!(first, record(minimum, now).bytes);
    assert_eq!(up.get("checkpoint").0, 200);
    let mut frontier = Frontier::new();
    for index in 0..3 {
        let (status, tile) = up.get(&format!("tile/0/{index:03}"));
        assert_eq!(status, 200);
        let hashes: Vec<Hash> = read_tile(&tile, 256).unwrap();
        let left = usize::try_from(700 - frontier.size()).unwrap();
        hashes.into_iter().take(left).for_each(|hash| frontier.append(hash));
    }
    let key = [kept.1.clone()];
    let opened = Checkpoint::open(kept.0.as_bytes(), ORIGIN, &key, &[]).unwrap();
    assert_eq!((700, frontier.root()), (opened.checkpoint().size(), opened.checkpoint().root()));
}

/// More is taken than the record says: the check finds it, and the server does not start.
fn check_forged(up: &mut Installation, verify: &[&str], log: &Path) {
    let mut segments: Vec<_> =
        fs::read_dir(log.join("segments")).unwrap().map(|file| file.unwrap().path()).collect();
    segments.sort();
    fs::remove_file(&segments[0]).unwrap();
    let ended = aims(&up.folder, verify);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert_eq!(verified(&ended)["broken"]["why"], "a segment is missing");
    let ended = aims(&up.folder, &["up", "--port-base", &up.port.to_string()]);
    assert_ne!(ended.code, 0);
    assert!(ended.err.contains("no segment begins with entry"), "{}", ended.err);
}
