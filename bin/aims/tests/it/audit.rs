//! `aims audit verify`: a folder alone, no server.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use log::{AppendMode, Entry, Log, NoteSigner, Options, SEGMENT_BYTES, SignError};
use time::{Span, UnixTime};
use tlog::note::{KeyKind, VerifierKey};

use crate::aims;

pub(crate) const ORIGIN: &str = "demo.example/log/server";

pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }
}

impl NoteSigner for Signer {
    fn name(&self) -> &str {
        ORIGIN
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}

/// A log of four entries in `FOLDER/aims-data/log/server`, with its key beside it.
fn log_in(folder: &Path) {
    let dir = folder.join("aims-data/log/server");
    fs::create_dir_all(&dir).unwrap();
    let signer = Arc::new(Signer::new(7));
    let key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, signer.public_key()).unwrap();
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes: SEGMENT_BYTES,
        checkpoint_every: Span::from_millis(10),
        signer,
        previous_keys: Vec::new(),
        remembered: None,
        read_cut: |_| None,
    };
    let entry = |number: u8| Entry {
        id: [number; 16],
        bytes: format!("{{\"record\":{number}}}").into_bytes(),
        terms: Vec::new(),
        time: UnixTime::from_seconds(1_795_220_000 + u64::from(number)),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = Log::open(&dir, options).unwrap();
        log.append((0..4).map(entry).collect(), AppendMode::Once).await.unwrap();
        log.close().await;
    });
    fs::write(dir.join("vkey"), format!("{key}\n")).unwrap();
}

/// req: OBS-06 (part)
#[test]
fn s11_a_whole_log_is_proved_whole() {
    let folder = tempfile::tempdir().unwrap();
    log_in(folder.path());
    let ended = aims(folder.path(), &["audit", "verify"]);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 0
    --- stdout
    log          ./aims-data/log/server
    origin       demo.example/log/server
    whole        yes, 4 entries
    root         b8rZaphOzbhy85Y2rqvUi8/8Ld/knpdwQb26tpUvw2I=
    checkpoints  at 4
    --- stderr
    "#);
}

/// req: OBS-06 (part)
#[test]
fn s11_one_changed_byte_names_the_record() {
    let folder = tempfile::tempdir().unwrap();
    log_in(folder.path());
    let segment = folder.path().join("aims-data/log/server/segments/00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let needle = b"{\"record\":2}";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at + 10] = b'9';
    fs::write(&segment, bytes).unwrap();
    let ended = aims(folder.path(), &["audit", "verify"]);
    insta::assert_snapshot!(ended.shown(folder.path()), @r#"
    exit 1
    --- stdout
    log       ./aims-data/log/server
    origin    demo.example/log/server
    whole     NO: an entry is damaged
    entry     2
    audit id  02020202-0202-0202-0202-020202020202
    file      ./aims-data/log/server/segments/00000000000000000000.seg
    --- stderr
    "#);
    let json = aims(folder.path(), &["audit", "verify", "--output", "json"]);
    assert_eq!(json.code, 1);
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(told[0]["whole"], false);
    assert_eq!(told[0]["broken"]["entry"], 2);
    assert_eq!(told[0]["broken"]["audit_id"], "02020202-0202-0202-0202-020202020202");
}

#[test]
fn a_checkpoint_kept_elsewhere_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    log_in(folder.path());
    let log = folder.path().join("aims-data/log/server");
    fs::copy(log.join("checkpoint"), folder.path().join("kept")).unwrap();
    fs::copy(log.join("vkey"), folder.path().join("key")).unwrap();
    let base = ["audit", "verify", "--log", "aims-data/log/server"];
    let with = |more: &[&str]| aims(folder.path(), &[&base[..], more].concat());
    let ended = with(&["--checkpoint", "kept", "--key", "key"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("at 4, 4"), "{}", ended.out);
    // A checkpoint that promised more than is there: the log was cut.
    let signer = Signer::new(7);
    let text = format!("{ORIGIN}\n9\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    let draft = tlog::note::Draft::new(text).unwrap();
    let signature = signer.sign(draft.signing_input()).unwrap();
    let key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, signer.public_key()).unwrap();
    let note = draft.attach(&key, &signature).unwrap().to_string();
    fs::write(folder.path().join("longer"), note).unwrap();
    let ended = with(&["--checkpoint", "longer"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.contains("has 4 entries, but a checkpoint promised 9"), "{}", ended.out);
    // A checkpoint of another log is not passed over in silence.
    fs::write(folder.path().join("other"), "other.example/log\n1\nAAAA\n\n").unwrap();
    let ended = with(&["--checkpoint", "other"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("a checkpoint of `other.example/log`"), "{}", ended.err);
}

#[test]
fn a_key_of_somebody_else_does_not_do() {
    let folder = tempfile::tempdir().unwrap();
    log_in(folder.path());
    let signer = Signer::new(8);
    let key = VerifierKey::new(ORIGIN, KeyKind::Ed25519, signer.public_key()).unwrap();
    fs::write(folder.path().join("key"), key.to_string()).unwrap();
    let ended = aims(folder.path(), &["audit", "verify", "--key", "key"]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.out.contains("the checkpoint is not believed"), "{}", ended.out);
}
