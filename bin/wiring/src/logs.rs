//! The logs of this process, as the server's origin and the operators' desk read them, and what the
//! process knows of its own health.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use api::{Audit, AuditFault, Entry, FeedState, Growing, Health, LogState, Tiles};
use flow::watch::Seen;
use log::{Cache, Log, ReadError, Stored, Term};
use provisioning::renewal::{Heard, Trouble};
use time::UnixTime;

use super::journal::LogJournal;

/// The logs of this process, the server's first.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Named>>);

/// Logs by name, the server's first.
type Named = Vec<(String, Arc<LogJournal>)>;

impl Logs {
    /// One more.
    pub fn add(&self, name: &str, journal: Arc<LogJournal>) {
        self.lock().push((name.to_owned(), journal));
    }

    /// All of them.
    pub fn all(&self) -> Named {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Named> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<Log, AuditFault> {
        let all = self.lock();
        if let Some((_, journal)) = all.iter().find(|(known, _)| known == name) {
            return Ok(journal.log.clone());
        }
        let known = all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ");
        Err(AuditFault::NoLog { log: name.to_owned(), known })
    }
}

impl Audit for Logs {
    fn logs(&self) -> Vec<String> {
        self.lock().iter().map(|(name, _)| name.clone()).collect()
    }

    fn size(&self, log: &str) -> Result<u64, AuditFault> {
        Ok(self.find(log)?.size())
    }

    fn first(&self, log: &str) -> Result<u64, AuditFault> {
        Ok(self.find(log)?.minimum())
    }

    fn record_of_cut(&self, log: &str) -> Result<Option<Entry>, AuditFault> {
        let log = self.find(log)?;
        log.last_cut().map_or(Ok(None), |(_, index)| one(&log, index))
    }

    fn read(&self, log: &str, from: u64, limit: usize) -> Result<Vec<Entry>, AuditFault> {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let read = self.find(log)?.read(from..from.saturating_add(limit)).map_err(fault)?;
        Ok(read.into_iter().map(entry).collect())
    }

    fn since(&self, log: &str, time: UnixTime) -> Result<u64, AuditFault> {
        let log = self.find(log)?;
        match log.tail_since(time).map_err(fault)?.next() {
            Some(first) => first.map(|stored| stored.index).map_err(fault),
            None => Ok(log.size()),
        }
    }

    fn by_id(&self, log: &str, id: &[u8; 16]) -> Result<Option<Entry>, AuditFault> {
        let log = self.find(log)?;
        match log.by_id(id).map_err(fault)? {
            Some(index) => one(&log, index),
            None => Ok(None),
        }
    }

    fn by_term(
        &self,
        log: &str,
        term: monitoring::record::Term,
        value: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Entry>, AuditFault> {
        let log = self.find(log)?;
        let found = log.by_term(Term(term.name()), value, limit, after).map_err(fault)?;
        let mut entries = Vec::with_capacity(found.len());
        for index in found {
            entries.extend(one(&log, index)?);
        }
        Ok(entries)
    }

    fn proof(&self, log: &str, index: u64) -> Result<String, AuditFault> {
        self.find(log)?.inclusion_proof(index).map_err(fault)
    }

    fn grown(&self, log: &str, size: u64) -> Growing<'_> {
        let found = self.find(log);
        Box::pin(async move {
            let Ok(log) = found else { return false };
            let mut durable = log.subscribe();
            durable.wait_for(|now| *now > size).await.is_ok()
        })
    }
}

impl Tiles for Logs {
    fn resource(&self, log: &str, path: &str) -> Option<(Vec<u8>, &'static str, bool)> {
        let found = self.find(log).ok()?.resource(path).ok()?;
        Some((found.bytes, found.content_type, found.cache == Cache::Forever))
    }
}

fn one(log: &Log, index: u64) -> Result<Option<Entry>, AuditFault> {
    let read = log.read(index..index.saturating_add(1)).map_err(fault)?;
    Ok(read.into_iter().next().map(entry))
}

fn entry(stored: Stored) -> Entry {
    Entry { index: stored.index, bytes: stored.bytes }
}

fn fault(error: ReadError) -> AuditFault {
    match error {
        ReadError::NotThere { index, size } => AuditFault::NoEntry { index, size },
        ReadError::Cut { index, minimum } => AuditFault::Cut { index, minimum },
        ReadError::NotPromised { index } => AuditFault::NotYet { index },
        other => AuditFault::Unreadable { why: other.to_string() },
    }
}

/// What this process knows of itself.
#[derive(Clone, Default)]
pub struct Pulse {
    /// Its logs.
    pub logs: Logs,
    /// The devices that hold its keys.
    pub devices: keys::Devices,
    ready: Arc<AtomicBool>,
    sealed: Arc<AtomicBool>,
    clock_was_ahead: Arc<AtomicBool>,
    feeds: Arc<Mutex<Vec<FeedState>>>,
    nodes: Arc<Mutex<BTreeMap<String, Heard>>>,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl Pulse {
    /// From now on it can serve.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The operator says that the clock was ahead before this start, and is right now.
    pub fn set_clock_was_ahead(&self, was_ahead: bool) {
        self.clock_was_ahead.store(was_ahead, Ordering::Release);
    }

    /// Whether the clock is taken as it is, though there are later records.
    pub fn takes_clock(&self) -> bool {
        self.clock_was_ahead.load(Ordering::Acquire)
    }

    /// Whether private keys are sealed at rest.
    pub fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Release);
    }

    /// The server heard a host or gateway, which perhaps told which renewals fail there.
    pub fn heard_of(&self, component: &str, at: UnixTime, troubles: Option<Vec<Trouble>>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        match nodes.get_mut(component) {
            Some(known) => {
                known.at = at;
                if let Some(troubles) = troubles {
                    known.troubles = troubles;
                }
            }
            None => {
                let troubles = troubles.unwrap_or_default();
                nodes.insert(component.to_owned(), Heard { at, troubles });
            }
        }
    }

    /// The server looked over what has to be renewed in time, which it began at `begun`. Whose
    /// credential ended and who was not heard since is forgotten: hosts of one job come and go.
    pub fn looked(&self, seen: Seen, begun: UnixTime) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &seen.gone {
            if nodes.get(id).is_some_and(|heard| heard.at < begun) {
                nodes.remove(id);
            }
        }
        drop(nodes);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// Of whom the server heard since it started.
    pub fn nodes(&self) -> BTreeMap<String, Heard> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A component of this process heard the server.
    pub fn heard(&self, state: FeedState) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|known| known.component != state.component);
        feeds.push(state);
    }
}

impl Health for Pulse {
    fn ready(&self) -> Result<(), String> {
        for (name, journal) in self.logs.all() {
            if let Some(why) = journal.log.stopped() {
                return Err(format!("the log `{name}` has stopped until a restart: {why}"));
            }
        }
        if self.ready.load(Ordering::Acquire) { Ok(()) } else { Err("starting".to_owned()) }
    }

    fn logs(&self) -> Vec<LogState> {
        let states = self.logs.all().into_iter().map(|(name, journal)| {
            let (entries, promised) = (journal.log.size(), journal.log.promised().0);
            LogState { name, first: journal.log.minimum(), entries, promised }
        });
        states.collect()
    }

    fn durable_commits(&self) -> u64 {
        self.logs.all().iter().map(|(_, journal)| journal.appended()).sum()
    }

    fn keys_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    fn heard(&self, component: &str) -> Option<Heard> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(component).cloned()
    }

    fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn feeds(&self) -> Vec<FeedState> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use time::Span;

    use super::*;

    #[test]
    fn s8_hosts_that_came_and_went_are_not_remembered_for_ever() {
        let at = |seconds: u64| UnixTime::from_seconds(1_000 + seconds);
        let pulse = Pulse::default();
        for job in 0..100 {
            pulse.heard_of(&format!("spiffe://a/job/{job}"), at(0), None);
        }
        pulse.heard_of("spiffe://a/stays", at(0), None);
        // It joins again while somebody looks.
        pulse.heard_of("spiffe://a/job/7", at(10), None);
        let life = Span::from_seconds(10);
        let seen = Seen {
            alarms: Vec::new(),
            outage: provisioning::alarm::Outage {
                decides: life,
                x509_svid: life,
                wit: life,
                component: life,
            },
            nodes: 1,
            first_end: None,
            oldest_bundle: None,
            keys: Vec::new(),
            gone: (0..100).map(|job| format!("spiffe://a/job/{job}")).collect(),
        };
        pulse.looked(seen, at(10));
        let left: Vec<_> = pulse.nodes().into_keys().collect();
        assert_eq!(left, ["spiffe://a/job/7", "spiffe://a/stays"]);
    }
}
