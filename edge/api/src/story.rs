//! The story of a task, gathered from all logs of this process: what carries its root, and what
//! operators did to those whom it concerns.

use std::collections::BTreeMap;

use monitoring::record::{Term, Unreadable};
use monitoring::trace::{AFTERMATH, RECORDS_MAX, subjects};
use monitoring::{Event, Outcome, Record, RecordId};
use time::UnixTime;

use crate::audit::{Audit, AuditFault, Entry};

/// Entries that are looked at in one go.
const BATCH: usize = 512;
/// What operators do that belongs to the story of a task.
const ACTS: &[Event] = &[
    Event::PolicyApplied,
    Event::AgentRegistered,
    Event::AgentLifecycle,
    Event::ClientRegistered,
    Event::UserLifecycle,
];

/// The records of a story, oldest first.
#[derive(Debug)]
pub struct Told {
    /// The root of its lineage.
    pub root: String,
    /// Each with its log, as it lies there and as it reads.
    pub records: Vec<(String, Entry, Record)>,
    /// Whether there are more than [`RECORDS_MAX`].
    pub cut: bool,
}

/// The story of the task with this root, transaction or token; `None` where nothing has it. It may
/// block on files.
pub fn of(audit: &dyn Audit, asked: &str) -> Result<Option<Told>, AuditFault> {
    Story::told(audit, asked)
}

/// Records as they are gathered, each once.
struct Story<'a> {
    audit: &'a dyn Audit,
    found: BTreeMap<(UnixTime, RecordId), (String, Entry, Record)>,
    cut: bool,
}

impl<'a> Story<'a> {
    fn told(audit: &'a dyn Audit, asked: &str) -> Result<Option<Told>, AuditFault> {
        let mut story = Story { audit, found: BTreeMap::new(), cut: false };
        let Some(root) = story.root(asked)? else { return Ok(None) };
        story.gather(Term::Root, &root, |_| true)?;
        let lineage: Vec<_> = story.found.values().map(|(.., record)| record.clone()).collect();
        let times = lineage.iter().map(|record| record.time);
        if let (Some(first), Some(last)) = (times.clone().min(), times.max()) {
            let until = last.plus(AFTERMATH);
            let belongs = |record: &Record| {
                ACTS.contains(&record.event)
                    && record.outcome != Outcome::Refused
                    && (first..=until).contains(&record.time)
            };
            for subject in subjects(&lineage) {
                story.gather(Term::Agent, &subject, belongs)?;
                story.gather(Term::Subject, &subject, belongs)?;
            }
            story.gather(Term::Event, Event::PolicyApplied.name(), belongs)?;
        }
        let records = story.found.into_values().collect();
        Ok(Some(Told { root, records, cut: story.cut }))
    }

    /// The root that a root, a transaction or a token stands for.
    fn root(&self, asked: &str) -> Result<Option<String>, AuditFault> {
        for log in self.audit.logs() {
            for term in [Term::Root, Term::Txn, Term::Jti] {
                let first = self.audit.by_term(&log, term, asked, None, 1)?;
                if let Some(entry) = first.first()
                    && let Some(root) = decode(entry)?.root
                {
                    return Ok(Some(root));
                }
            }
        }
        Ok(None)
    }

    fn gather(
        &mut self,
        term: Term,
        value: &str,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<(), AuditFault> {
        for log in self.audit.logs() {
            let mut after = None;
            loop {
                let entries = self.audit.by_term(&log, term, value, after, BATCH)?;
                let count = entries.len();
                for entry in entries {
                    after = Some(entry.index);
                    let record = decode(&entry)?;
                    if !wanted(&record) {
                        continue;
                    }
                    if self.found.len() >= RECORDS_MAX {
                        self.cut = true;
                        return Ok(());
                    }
                    let key = (record.time, record.id);
                    self.found.insert(key, (log.clone(), entry, record));
                }
                if count < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn decode(entry: &Entry) -> Result<Record, AuditFault> {
    let index = entry.index;
    Record::decode(&entry.bytes)
        .map_err(|Unreadable(why)| AuditFault::Unreadable { why: format!("entry {index}: {why}") })
}
