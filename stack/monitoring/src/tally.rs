//! Counting the refusals of strangers: callers that proved nothing get no record each, or a
//! stranger could fill the log; they are counted per source and reason, and one record a window
//! says how many there were (docs/design.md §2, idea 3; OBS-05).
//!
//! In scope: the arithmetic. Not here: the lock around it, and the clock.

use std::collections::BTreeMap;

use time::{Span, UnixTime};

use crate::record::{Component, Event, Outcome, Record, RecordId, Why};

/// How long refusals are counted before they are recorded.
pub const WINDOW: Span = Span::from_seconds(60);
/// The most sources that are told apart in one window.
pub const SOURCES_MAX: usize = 1_024;
/// The longest source that is told apart, in bytes.
pub const SOURCE_BYTES_MAX: usize = 128;
/// What all further sources are counted under.
pub const OTHERS: &str = "others";

/// The count of the window that is open.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<String, BTreeMap<&'static str, Count>>,
    from: Option<UnixTime>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    count: u64,
    from: UnixTime,
    to: UnixTime,
}

/// How often one source was refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Where the calls came from; [`OTHERS`] for those over the bound.
    pub source: String,
    /// The check that refused them.
    pub reason: &'static str,
    /// How often.
    pub count: u64,
    /// The first time.
    pub from: UnixTime,
    /// The last time.
    pub to: UnixTime,
}

impl Tally {
    /// Counts one refusal. `reason` is the name of a check: there are only so many, so that the
    /// number of sources bounds the whole.
    pub fn count(&mut self, source: &str, reason: &'static str, now: UnixTime) {
        self.from.get_or_insert(now);
        let fits = source.len() <= SOURCE_BYTES_MAX
            && (self.counts.contains_key(source) || self.counts.len() < SOURCES_MAX);
        let source = if fits { source } else { OTHERS };
        let reasons = match self.counts.get_mut(source) {
            Some(reasons) => reasons,
            None => self.counts.entry(source.to_owned()).or_default(),
        };
        let count = reasons.entry(reason).or_insert(Count { count: 0, from: now, to: now });
        count.count = count.count.saturating_add(1);
        count.from = count.from.min(now);
        count.to = count.to.max(now);
    }

    /// What was counted, if the window is over; nothing before. A clock that went back ends it too.
    pub fn close(&mut self, now: UnixTime) -> Vec<Closed> {
        match self.from {
            Some(from) if now < from || now.since(from) >= WINDOW => self.drain(),
            _ => Vec::new(),
        }
    }

    /// What was counted so far, whether the window is over or not: for a stop in good order.
    pub fn drain(&mut self) -> Vec<Closed> {
        self.from = None;
        let counts = std::mem::take(&mut self.counts).into_iter();
        let each = counts.flat_map(|(source, reasons)| {
            reasons.into_iter().map(move |(reason, Count { count, from, to })| Closed {
                source: source.clone(),
                reason,
                count,
                from,
                to,
            })
        });
        each.collect()
    }
}

impl Closed {
    /// The one record of them all.
    pub fn record(&self, id: RecordId, now: UnixTime, component: Component) -> Record {
        let mut record = Record::new(id, now, component, Event::StrangersRefused);
        record.outcome = Outcome::Refused;
        let message = match self.count {
            1 => format!("1 call from `{}`", self.source),
            count => format!("{count} calls from `{}`", self.source),
        };
        record.why = Some(Why { check: self.reason.to_owned(), message, needs: None });
        record.facts = serde_json::json!({
            "source": self.source,
            "count": self.count,
            "from": self.from,
            "to": self.to,
        });
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn closed(source: &str, reason: &'static str, count: u64, from: u64, to: u64) -> Closed {
        Closed { source: source.to_owned(), reason, count, from: at(from), to: at(to) }
    }

    /// req: OBS-05 (part)
    #[test]
    fn s11_strangers_are_counted_by_source_and_reason_over_a_window() {
        let mut tally = Tally::default();
        assert_eq!(tally.close(at(1_000)), [], "nothing was counted");
        for (source, reason, now) in [
            ("a", "gateway::NoToken", 10),
            ("b", "gateway::NoToken", 20),
            ("a", "gateway::Path", 30),
        ] {
            tally.count(source, reason, at(now));
        }
        tally.count("a", "gateway::NoToken", at(40));
        assert_eq!(tally.close(at(69)), [], "the window is open");
        assert_eq!(
            tally.close(at(70)),
            [
                closed("a", "gateway::NoToken", 2, 10, 40),
                closed("a", "gateway::Path", 1, 30, 30),
                closed("b", "gateway::NoToken", 1, 20, 20),
            ]
        );
        assert_eq!(tally.close(at(500)), [], "each refusal is told once");
        tally.count("a", "gateway::Path", at(500));
        assert_eq!(tally.close(at(559)), [], "the next window begins with its first refusal");
        assert_eq!(tally.close(at(560)), [closed("a", "gateway::Path", 1, 500, 500)]);
    }

    #[test]
    fn s11_a_stranger_cannot_fill_the_log_with_sources() {
        let mut tally = Tally::default();
        for source in 0..SOURCES_MAX + 500 {
            tally.count(&format!("source-{source:05}"), "gateway::NoToken", at(1));
        }
        tally.count("source-00000", "gateway::NoToken", at(1));
        tally.count(&"x".repeat(SOURCE_BYTES_MAX + 1), "gateway::NoToken", at(1));
        let closed = tally.close(at(61));
        assert_eq!(closed.len(), SOURCES_MAX + 1);
        let of = |name: &str| closed.iter().find(|one| one.source == name).map(|one| one.count);
        assert_eq!(of("source-00000"), Some(2), "a known source is still told apart");
        assert_eq!(of(OTHERS), Some(501));
    }

    #[test]
    fn s11_a_clock_that_goes_back_ends_the_window() {
        let mut tally = Tally::default();
        tally.count("a", "gateway::NoToken", at(1_000));
        tally.count("a", "gateway::NoToken", at(400));
        assert_eq!(tally.close(at(400)), [closed("a", "gateway::NoToken", 2, 400, 1_000)]);
    }

    /// req: OBS-05 (part)
    #[test]
    fn s11_the_count_becomes_one_record() {
        let closed = closed("192.0.2.7", "gateway::NoToken", 7, 10, 40);
        let id = RecordId::new(at(70), [0; 10]);
        let record = closed.record(id, at(70), Component("gateway:edge".to_owned()));
        insta::assert_snapshot!(String::from_utf8(record.encode()).unwrap());
    }
}
