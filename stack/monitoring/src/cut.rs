//! The record of a cut: what the retention policy took off the beginning of a log, and the root by
//! which that can still be checked (OBS-06).
//!
//! In scope: what the record says, and reading it. Not here: when and how it is done (`edge/log`).

use serde::{Deserialize, Serialize};
use time::UnixTime;

use crate::record::{Component, Event, Record, RecordId};

/// What was cut off a log. Made durable in the log itself before anything is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The origin of the log.
    pub log: String,
    /// The first entry that goes; those before went earlier.
    pub from: u64,
    /// The first entry that stays, and the size of the tree of all before it.
    pub minimum: u64,
    /// The root of that tree, in base64.
    pub root: String,
    /// The earliest time of a record that goes.
    pub first: UnixTime,
    /// The latest.
    pub last: UnixTime,
}

/// As it stands in a record. Names are part of the contract.
#[derive(Serialize, Deserialize)]
struct Facts {
    from: u64,
    minimum_index: u64,
    tree_size: u64,
    root: String,
    count: u64,
    first: UnixTime,
    last: UnixTime,
}

impl Cut {
    /// The record of it, under the policy of this version.
    pub fn record(
        &self,
        id: RecordId,
        now: UnixTime,
        component: Component,
        policy: String,
    ) -> Record {
        let mut record = Record::new(id, now, component, Event::LogCut);
        record.action = "log.cut".to_owned();
        record.resource = Some(self.log.clone());
        record.policy = Some(policy);
        let facts = Facts {
            from: self.from,
            minimum_index: self.minimum,
            tree_size: self.minimum,
            root: self.root.clone(),
            count: self.count(),
            first: self.first,
            last: self.last,
        };
        record.facts = serde_json::to_value(facts).unwrap_or_default();
        record
    }

    /// The cut that a record is of.
    pub fn of(record: &Record) -> Option<Self> {
        if record.event != Event::LogCut {
            return None;
        }
        let facts: Facts = serde_json::from_value(record.facts.clone()).ok()?;
        let Facts { from, minimum_index: minimum, root, first, last, .. } = facts;
        let cut = Self { log: record.resource.clone()?, from, minimum, root, first, last };
        (facts.tree_size == minimum && facts.count == cut.count()).then_some(cut)
    }

    /// How many records it took.
    pub fn count(&self) -> u64 {
        self.minimum.saturating_sub(self.from)
    }

    /// In a sentence, for somebody who asks for what is gone; `record` is that of the cut.
    pub fn told(&self, record: &Record) -> String {
        let Self { log, last, .. } = self;
        let policy = record.policy.as_deref().unwrap_or("unknown");
        let on = record.time;
        format!("the records of `{log}` up to {last} were cut on {on} under policy {policy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_220_013);

    fn cut() -> Cut {
        Cut {
            log: "demo.example/log/server".to_owned(),
            from: 512,
            minimum: 2_048,
            root: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned(),
            first: UnixTime::from_seconds(1_780_000_000),
            last: UnixTime::from_seconds(1_790_000_000),
        }
    }

    fn record() -> Record {
        let id = RecordId::new(NOW, [7; 10]);
        cut().record(id, NOW, Component("server".to_owned()), "sha256:77".to_owned())
    }

    /// req: OBS-06 (part)
    #[test]
    fn s11_the_record_of_a_cut_says_what_went_and_under_which_policy() {
        insta::assert_snapshot!(String::from_utf8(record().encode()).unwrap());
        assert_eq!(Cut::of(&Record::decode(&record().encode()).unwrap()), Some(cut()));
        insta::assert_snapshot!(
            cut().told(&record()),
            @"the records of `demo.example/log/server` up to 2026-09-21T14:13:20.000Z were cut on 2026-11-21T00:13:33.000Z under policy sha256:77"
        );
    }

    #[test]
    fn s11_what_does_not_fit_is_no_cut() {
        let check = |edit: &dyn Fn(&mut Record)| {
            let mut other = record();
            edit(&mut other);
            assert_eq!(Cut::of(&other), None);
        };
        check(&|record| record.event = Event::PolicyApplied);
        check(&|record| record.resource = None);
        check(&|record| record.facts["tree_size"] = 2_049.into());
        check(&|record| record.facts["count"] = 1.into());
        check(&|record| record.facts["root"] = serde_json::Value::Null);
    }
}
