//! What both stores check before they touch anything: the bounds of a change, that its single-use
//! values stand in its records, and what a write expects to find.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use env::{Change, CommitFault, Expect, Key, Receipt, Sealed, SingleUse, Unavailable, Write};
use monitoring::{Record, RecordId};
use time::UnixTime;

/// The most rows that one change writes.
pub const CHANGE_WRITES_MAX: usize = 4_096;
/// The most single-use values that one change uses up.
pub const CHANGE_USES_MAX: usize = 16;
/// The most records of one change.
pub const CHANGE_RECORDS_MAX: usize = 1_024;
/// The longest stored row, in bytes: a policy set is the largest there is.
pub const ROW_BYTES_MAX: usize = 8 << 20;
/// The longest id of a row, in bytes (SPIFFE-ID §2.3: an identifier has at most 2048).
pub const ID_BYTES_MAX: usize = 4_096;
/// The most keys of one snapshot.
pub const SNAPSHOT_KEYS_MAX: usize = 4_096;
/// The most rows of a page, whatever is asked for: what a replica holds at most, so that it can be
/// scanned whole. A page of changes may exceed it to keep a commit whole.
pub const PAGE_ROWS_MAX: usize = 100_000;

/// A change that may be tried: bounded, its records in the form of the log.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) writes: Vec<Write>,
    pub(crate) uses: Vec<SingleUse>,
    pub(crate) entries: Vec<Sealed>,
    pub(crate) ids: Vec<RecordId>,
    /// The latest time of its records.
    pub(crate) now: UnixTime,
}

impl Prepared {
    /// Checks `change` and encodes its records.
    pub(crate) fn new(change: Change) -> Result<Self, Unavailable> {
        check(&change).map_err(|misuse| Unavailable::of("store", misuse))?;
        let Change { writes, uses, records } = change;
        Ok(Self {
            writes,
            uses,
            entries: records.iter().map(Sealed::from).collect(),
            ids: records.iter().map(|record| record.id).collect(),
            now: records.iter().map(|record| record.time).max().unwrap_or_default(),
        })
    }
}

/// The word of a store: call it when the commit is durable and its records are in the log.
pub(crate) fn receipt(ids: Vec<RecordId>) -> Receipt {
    Receipt::assertion(ids)
}

/// What a store knows of a row before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// Its version; 0 if it never was.
    pub(crate) version: u64,
    /// Whether it is there and not deleted.
    pub(crate) is_live: bool,
}

/// Whether `write` finds what it expects.
pub(crate) fn expected(write: &Write, found: Found) -> Result<(), CommitFault> {
    let is_met = match write.expect {
        Expect::Absent => !found.is_live,
        Expect::Version(version) => found.is_live && found.version == version,
        Expect::Any => true,
    };
    if is_met { Ok(()) } else { Err(CommitFault::Conflict(write.key.clone())) }
}

/// Whether `write` changes anything: deleting what is not there does not.
pub(crate) fn has_effect(write: &Write, found: Found) -> bool {
    write.bytes.is_some() || found.is_live
}

/// Refuses a snapshot of too many keys.
pub(crate) fn check_keys(keys: &[Key]) -> Result<(), Unavailable> {
    if keys.len() > SNAPSHOT_KEYS_MAX {
        return Err(Unavailable::of("store", Misuse::ManyKeys { count: keys.len() }));
    }
    Ok(())
}

/// What the code that made a change did wrong: it is refused before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misuse {
    #[error("a change writes {count} rows, more than {CHANGE_WRITES_MAX}")]
    ManyWrites { count: usize },
    #[error("a change uses up {count} values, more than {CHANGE_USES_MAX}")]
    ManyUses { count: usize },
    #[error("a change has {count} records, more than {CHANGE_RECORDS_MAX}")]
    ManyRecords { count: usize },
    #[error("a snapshot asks for {count} rows, more than {SNAPSHOT_KEYS_MAX}")]
    ManyKeys { count: usize },
    #[error("a row of `{table}` has {bytes} bytes, more than {ROW_BYTES_MAX}")]
    LongRow { table: &'static str, bytes: usize },
    #[error("an id of `{table}` has {bytes} bytes, more than {ID_BYTES_MAX}")]
    LongId { table: &'static str, bytes: usize },
    #[error("a change writes `{id}` of `{table}` twice")]
    WrittenTwice { table: &'static str, id: String },
    #[error("no record of the change lists its single-use value `{hash}` until {until}")]
    Unlisted { hash: String, until: UnixTime },
}

fn check(change: &Change) -> Result<(), Misuse> {
    if change.writes.len() > CHANGE_WRITES_MAX {
        return Err(Misuse::ManyWrites { count: change.writes.len() });
    }
    if change.uses.len() > CHANGE_USES_MAX {
        return Err(Misuse::ManyUses { count: change.uses.len() });
    }
    if change.records.len() > CHANGE_RECORDS_MAX {
        return Err(Misuse::ManyRecords { count: change.records.len() });
    }
    let mut written = HashSet::with_capacity(change.writes.len());
    for write in &change.writes {
        check_write(write)?;
        if !written.insert(&write.key) {
            let id = write.key.id.clone();
            return Err(Misuse::WrittenTwice { table: write.key.table.name(), id });
        }
    }
    change.uses.iter().try_for_each(|single| check_listed(single, &change.records))
}

fn check_write(write: &Write) -> Result<(), Misuse> {
    let table = write.key.table.name();
    let (row, id) = (write.bytes.as_ref().map_or(0, Vec::len), write.key.id.len());
    if row > ROW_BYTES_MAX {
        return Err(Misuse::LongRow { table, bytes: row });
    }
    if id > ID_BYTES_MAX {
        return Err(Misuse::LongId { table, bytes: id });
    }
    Ok(())
}

/// A value that stands in no record would be forgotten by a restart: the window of a replay would
/// open again (Keycloak CVE-2026-9802 is of this kind).
fn check_listed(single: &SingleUse, records: &[Record]) -> Result<(), Misuse> {
    let hash = URL_SAFE_NO_PAD.encode(single.hash);
    let mut listed = records.iter().flat_map(|record| &record.used);
    if listed.any(|used| used.hash == hash && used.until >= single.until) {
        return Ok(());
    }
    Err(Misuse::Unlisted { hash, until: single.until })
}

/// The single-use values that `record` lists; what is no hash is left out.
pub(crate) fn uses_of(record: &Record) -> impl Iterator<Item = SingleUse> {
    record.used.iter().filter_map(|used| {
        let hash = URL_SAFE_NO_PAD.decode(&used.hash).ok()?.try_into().ok()?;
        Some(SingleUse { hash, until: used.until })
    })
}

#[cfg(test)]
mod tests {
    use env::Table;
    use monitoring::record::Used;
    use monitoring::{Component, Event};

    use super::*;

    const T: UnixTime = UnixTime::from_seconds(1_000);

    fn write(id: &str, bytes: usize) -> Write {
        Write {
            key: Key::new(Table::Agents, id),
            expect: Expect::Any,
            bytes: Some(vec![0; bytes]),
            terms: Vec::new(),
            expires: None,
        }
    }

    fn record(used: Vec<Used>) -> Record {
        let id = RecordId::new(T, [0; 10]);
        let mut record = Record::new(id, T, Component("server".into()), Event::TokenIssued);
        record.used = used;
        record
    }

    fn used(byte: u8, until: UnixTime) -> Used {
        Used { hash: URL_SAFE_NO_PAD.encode([byte; 32]), until }
    }

    #[test]
    fn each_misuse_is_refused_by_its_name() {
        let table = "agents";
        let writes = |writes| Change { writes, ..Change::default() };
        let many = (0..=CHANGE_WRITES_MAX).map(|n| write(&n.to_string(), 0)).collect();
        let single = SingleUse { hash: [7; 32], until: T };
        let uses = |uses, used| Change { uses, records: vec![record(used)], ..Change::default() };
        let unlisted = Misuse::Unlisted { hash: URL_SAFE_NO_PAD.encode([7; 32]), until: T };
        for (change, expect) in [
            (writes(many), Err(Misuse::ManyWrites { count: CHANGE_WRITES_MAX + 1 })),
            (writes(vec![write("a", ROW_BYTES_MAX)]), Ok(())),
            (
                writes(vec![write("a", ROW_BYTES_MAX + 1)]),
                Err(Misuse::LongRow { table, bytes: ROW_BYTES_MAX + 1 }),
            ),
            (writes(vec![write(&"a".repeat(ID_BYTES_MAX), 0)]), Ok(())),
            (
                writes(vec![write(&"a".repeat(ID_BYTES_MAX + 1), 0)]),
                Err(Misuse::LongId { table, bytes: ID_BYTES_MAX + 1 }),
            ),
            (
                writes(vec![write("a", 0), write("b", 0), write("a", 1)]),
                Err(Misuse::WrittenTwice { table, id: "a".into() }),
            ),
            (uses(vec![single.clone()], vec![used(7, T)]), Ok(())),
            (uses(vec![single.clone()], vec![used(8, T), used(7, T)]), Ok(())),
            (uses(vec![single.clone()], vec![used(8, T)]), Err(unlisted.clone())),
            (
                uses(vec![single.clone()], vec![used(7, UnixTime::from_seconds(999))]),
                Err(unlisted.clone()),
            ),
            (Change { uses: vec![single.clone()], ..Change::default() }, Err(unlisted)),
            (
                Change {
                    records: vec![record(Vec::new()); CHANGE_RECORDS_MAX + 1],
                    ..Change::default()
                },
                Err(Misuse::ManyRecords { count: CHANGE_RECORDS_MAX + 1 }),
            ),
            (
                uses(vec![single; CHANGE_USES_MAX + 1], vec![used(7, T)]),
                Err(Misuse::ManyUses { count: CHANGE_USES_MAX + 1 }),
            ),
        ] {
            assert_eq!(check(&change), expect);
        }
    }

    #[test]
    fn too_many_keys_are_refused() {
        let keys = vec![Key::new(Table::Agents, "a"); SNAPSHOT_KEYS_MAX + 1];
        assert_eq!(check_keys(&keys[1..]), Ok(()));
        let count = keys.len();
        let refused = Unavailable::of("store", Misuse::ManyKeys { count });
        assert_eq!(check_keys(&keys), Err(refused));
    }

    #[test]
    fn a_write_finds_what_it_expects_or_is_a_conflict() {
        let (never, dead) = (Found::default(), Found { version: 2, is_live: false });
        let live = Found { version: 2, is_live: true };
        for (expect, found, is_met) in [
            (Expect::Absent, never, true),
            (Expect::Absent, dead, true),
            (Expect::Absent, live, false),
            (Expect::Version(2), live, true),
            (Expect::Version(1), live, false),
            (Expect::Version(3), live, false),
            (Expect::Version(2), dead, false),
            (Expect::Version(0), never, false),
            (Expect::Any, never, true),
            (Expect::Any, dead, true),
            (Expect::Any, live, true),
        ] {
            let write = Write { expect, ..write("a", 0) };
            assert_eq!(expected(&write, found).is_ok(), is_met, "{expect:?} {found:?}");
        }
    }

    #[test]
    fn what_a_record_lists_is_read_back() {
        let mut listed = record(vec![used(1, T), used(2, T)]);
        listed.used.push(Used { hash: "no hash".into(), until: T });
        let hashes: Vec<_> = uses_of(&listed).map(|single| single.hash).collect();
        assert_eq!(hashes, [[1; 32], [2; 32]]);
    }
}
