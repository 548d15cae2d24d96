//! `aims audit verify`: every entry, tile and checkpoint of a log's folder, read and recomputed.

use std::path::{Path, PathBuf};

use clap::Args;
use log::{Broken, Recorded, Verified, verify_dir};
use monitoring::{Record, RecordId};
use serde::Serialize;
use time::UnixTime;
use tlog::note::VerifierKey;
use wiring::retention::read_cut;

use crate::commands::Context;
use crate::exit::Failure;
use crate::files;
use crate::output::{pairs, plain, when};

/// The public keys of a log, beside its checkpoint: one verifier key (signed-note) a line.
pub(crate) const KEYS_FILE: &str = "vkey";
/// What every log's folder has.
const CHECKPOINT_FILE: &str = "checkpoint";

/// What the help ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  aims audit verify
  aims audit verify --log ./copy/server --key server.vkey --checkpoint kept-in-march.txt

Every entry is read, every hash computed again, and compared with the tiles and the signed
checkpoint. What a checkpoint promised can be proved against a copy of it, and of the log's key
(LOG/vkey), kept where nobody who can change the log can change them too.

What policy no longer keeps (`[audit]` in domain.toml) is gone; its hashes are not, and are checked
the same way, against the record of the cut and every checkpoint.

Exit code 1: something was changed, or is missing; the record concerned is named.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder of a log; may be given several times [default: every log of DIR]
    #[arg(long = "log", value_name = "FOLDER")]
    logs: Vec<PathBuf>,
    /// A checkpoint that was kept elsewhere; may be given several times
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The log's verifier keys, kept elsewhere; may be given several times [default: LOG/vkey]
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// What came of one log.
#[derive(Serialize)]
struct Found {
    log: PathBuf,
    origin: String,
    whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checkpoints: Vec<u64>,
    torn: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<CutOff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Wrong>,
}

/// What policy took off the beginning, as a record of the log says.
#[derive(Serialize)]
struct CutOff {
    /// How many entries are gone, and the first that is there.
    entries: u64,
    /// The root of the tree of those.
    root: String,
    /// The record.
    audit_id: String,
    time: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

/// What does not fit.
#[derive(Serialize)]
struct Wrong {
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Checks every log that was named, and says of each what was found.
pub(crate) fn run(context: &Context, args: &Arguments) -> Result<(), Failure> {
    let logs =
        if args.logs.is_empty() { all_below(&context.place.logs())? } else { args.logs.clone() };
    let read = args.checkpoints.iter().map(|path| Ok((path, files::read(path)?)));
    let kept = read.collect::<Result<Vec<_>, Failure>>()?;
    let texts: Vec<_> = kept.iter().map(|(_, text)| text.clone()).collect();
    let mut found = Vec::new();
    for log in logs {
        found.push(check(&log, &args.keys, &texts)?);
    }
    for (path, text) in kept {
        let of = text.lines().next().unwrap_or_default();
        if found.iter().all(|one| one.origin != of) {
            return Err(Failure::file(
                path,
                format!("a checkpoint of `{of}`, which is none of these"),
            ));
        }
    }
    context.output.show(&found, || found.iter().map(human).collect::<Vec<_>>().join("\n"))?;
    if found.iter().all(|one| one.whole) {
        return Ok(());
    }
    Err(Failure::shown("log::Broken"))
}

/// The logs of an installation: each has a folder with a checkpoint.
fn all_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let hint = "name the folder of a log: `--log FOLDER`, or that of the installation: `--dir DIR`";
    let read =
        std::fs::read_dir(folder).map_err(|error| Failure::file(folder, error).hint(hint))?;
    let mut logs = Vec::new();
    for entry in read {
        let path = entry.map_err(|error| Failure::file(folder, error))?.path();
        if path.is_dir() {
            logs.push(path);
        }
    }
    logs.sort();
    if logs.is_empty() {
        return Err(Failure::file(folder, "no log here").hint(hint));
    }
    Ok(logs)
}

fn check(log: &Path, keys: &[PathBuf], kept: &[String]) -> Result<Found, Failure> {
    let keys = verifier_keys(log, keys)?;
    // tlog-checkpoint: the origin is by convention the name of the key that signs.
    let origin = origin(log, &keys)?;
    // Checkpoints of other logs that were given along are for those.
    let kept: Vec<_> =
        kept.iter().filter(|text| text.lines().next() == Some(origin.as_str())).cloned().collect();
    let verified = verify_dir(log, &origin, &keys, &kept, read_cut, |_| {});
    Ok(match verified {
        Ok(verified) => whole(log, origin, &verified),
        Err(broken) => wrong(log, origin, &broken),
    })
}

/// The keys that were named, or those beside the log.
fn verifier_keys(log: &Path, named: &[PathBuf]) -> Result<Vec<VerifierKey>, Failure> {
    let beside = [log.join(KEYS_FILE)];
    let paths = if named.is_empty() { &beside[..] } else { named };
    let mut keys = Vec::new();
    for path in paths {
        let hint = "name the file with the log's verifier key: `--key FILE`";
        let text = files::read(path).map_err(|failure| failure.hint(hint))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let key = VerifierKey::parse(line);
            keys.push(key.map_err(|error| Failure::file(path, error).hint(hint))?);
        }
    }
    Ok(keys)
}

/// Whose log it is: what its checkpoint says, if one of the keys has that name.
fn origin(log: &Path, keys: &[VerifierKey]) -> Result<String, Failure> {
    let names: Vec<_> = keys.iter().map(VerifierKey::name).collect();
    let path = log.join(CHECKPOINT_FILE);
    let said = std::fs::read_to_string(&path).ok();
    let said = said.as_deref().and_then(|text| text.lines().next());
    let mut fitting = names.iter().filter(|name| said.is_none_or(|said| said == **name));
    // Where the checkpoint is gone or is that of another log, the check itself will say so.
    let name = fitting.next().or(names.first());
    name.map(|name| (*name).to_owned()).ok_or_else(|| {
        Failure::file(log, "no verifier key for this log")
            .hint("name the file with the log's verifier key: `--key FILE`")
    })
}

fn whole(log: &Path, origin: String, verified: &Verified) -> Found {
    Found {
        log: log.to_owned(),
        origin,
        whole: true,
        entries: Some(verified.size),
        root: Some(verified.root.to_string()),
        checkpoints: verified.checkpoints.iter().map(|(size, _)| *size).collect(),
        torn: verified.torn,
        cut: verified.cut.as_ref().and_then(cut_off),
        broken: None,
    }
}

fn cut_off(found: &Recorded) -> Option<CutOff> {
    let record = Record::decode(&found.bytes).ok()?;
    let (entries, root) = (found.cut.minimum, found.cut.root.to_string());
    let (audit_id, time, policy) = (record.id.to_string(), record.time, record.policy);
    Some(CutOff { entries, root, audit_id, time, policy })
}

fn wrong(log: &Path, origin: String, broken: &Broken) -> Found {
    // The id of an entry is that of its record: a UUID.
    let id = broken.id.map(|id| uuid::Uuid::from_bytes(id).to_string());
    let audit_id = id.and_then(|id| RecordId::parse(&id)).map(|id| id.to_string());
    let wrong =
        Wrong { why: broken.to_string(), entry: broken.index, audit_id, file: broken.file.clone() };
    Found {
        log: log.to_owned(),
        origin,
        whole: false,
        entries: None,
        root: None,
        checkpoints: Vec::new(),
        torn: false,
        cut: None,
        broken: Some(wrong),
    }
}

/// Of what is gone, the hashes were checked, up to the checkpoint.
fn cut_rows(cut: &CutOff, entries: u64) -> [(&'static str, String); 4] {
    let CutOff { entries: count, root, audit_id, time, policy } = cut;
    let policy = policy.as_deref().unwrap_or("unknown");
    let on = when(*time);
    [
        ("whole", format!("yes, entries {count} to {}", entries.saturating_sub(1))),
        ("cut", format!("the first {count}, on {on} under policy {policy}")),
        ("cut root", root.clone()),
        ("cut record", audit_id.clone()),
    ]
}

fn human(found: &Found) -> String {
    let mut rows =
        vec![("log", plain(&found.log.display().to_string())), ("origin", found.origin.clone())];
    match &found.broken {
        None => {
            let entries = found.entries.unwrap_or_default();
            match &found.cut {
                None => rows.push(("whole", format!("yes, {entries} entries"))),
                Some(cut) => rows.extend(cut_rows(cut, entries)),
            }
            let promised = found.checkpoints.first().copied().unwrap_or_default();
            let young = entries.saturating_sub(promised);
            if young > 0 {
                let text = "more than the checkpoint covers; the next one, within a second, will";
                rows.push(("young", format!("{young} {text}")));
            }
            rows.extend(found.root.iter().map(|root| ("root", root.clone())));
            let sizes: Vec<_> = found.checkpoints.iter().map(ToString::to_string).collect();
            rows.push(("checkpoints", format!("at {}", sizes.join(", "))));
            if found.torn {
                let torn = "the end holds a write that was never acknowledged: no record is lost";
                rows.push(("torn", torn.to_owned()));
            }
        }
        Some(wrong) => {
            rows.push(("whole", format!("NO: {}", wrong.why)));
            rows.extend(wrong.entry.map(|entry| ("entry", entry.to_string())));
            rows.extend(wrong.audit_id.iter().map(|id| ("audit id", id.clone())));
            let file = wrong.file.iter().map(|file| ("file", file.display().to_string()));
            rows.extend(file);
        }
    }
    pairs(rows)
}
