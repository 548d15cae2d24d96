//! Where each record hangs. Nothing here recurses: records come from several logs, and a chain may
//! be as long as there are records.

use std::collections::BTreeMap;

use super::{Gap, Missing, Node, Place};
use crate::record::{Event, Outcome, Record, RecordId};

/// The nodes of a tree in the order of a reader, and what was missing. Both lists come sorted by
/// time.
pub(super) fn tree(lineage: &[&Record], acts: &[&Record]) -> (Vec<Node>, Vec<Gap>) {
    let index = Index::of(lineage);
    let links: Vec<_> = lineage.iter().map(|record| index.link(lineage, record)).collect();
    let parents = without_circles(links.iter().map(|link| link.parent).collect());
    let mut forest = Forest::new(lineage, &parents);
    for act in acts {
        forest.put_in(act);
    }
    let gaps = lineage.iter().zip(&links).filter_map(|(record, link)| {
        Some(Gap { record: record.id, missing: link.missing.clone()? })
    });
    let missing = |at: usize| links.get(at).is_some_and(|link| link.missing.is_some());
    (forest.in_order(missing), gaps.collect())
}

/// What records can be found by.
struct Index<'a> {
    tokens: BTreeMap<&'a str, usize>,
    transactions: BTreeMap<&'a str, usize>,
    ids: BTreeMap<RecordId, usize>,
}

/// What a record hangs on, and what it should hang on if that is not there.
struct Link {
    parent: Option<usize>,
    missing: Option<Missing>,
}

impl<'a> Index<'a> {
    fn of(lineage: &[&'a Record]) -> Self {
        let mut index =
            Self { tokens: BTreeMap::new(), transactions: BTreeMap::new(), ids: BTreeMap::new() };
        for (at, record) in lineage.iter().enumerate() {
            index.ids.insert(record.id, at);
            if record.outcome != Outcome::Permitted {
                continue;
            }
            if let (Event::TokenIssued, Some(jti)) = (record.event, &record.jti) {
                index.tokens.entry(jti).or_insert(at);
            }
            if let (Event::TokenIssued | Event::CallDecided, Some(txn)) =
                (record.event, &record.txn)
            {
                index.transactions.entry(txn).or_insert(at);
            }
        }
        index
    }

    fn link(&self, lineage: &[&Record], record: &Record) -> Link {
        let Some(wanted) = follows(record) else { return Link { parent: None, missing: None } };
        let found = match &wanted {
            Missing::Record(id) => self.ids.get(id),
            // The token that a gateway makes of a call has no record of its own: what is done with
            // it belongs to the call that began the transaction.
            Missing::Token(jti) => self.tokens.get(jti.as_str()).or_else(|| {
                let call = record.txn.as_ref().and_then(|txn| self.transactions.get(txn.as_str()));
                call.filter(|at| lineage.get(**at).is_some_and(|other| other.id != record.id))
            }),
        };
        let missing = found.is_none().then_some(wanted);
        Link { parent: found.copied(), missing }
    }
}

/// What a record follows from: its call, the token it came from, or the token that was presented.
fn follows(record: &Record) -> Option<Missing> {
    if let Some(id) = record.after {
        return Some(Missing::Record(id));
    }
    let token = match record.event {
        Event::TokenIssued => &record.parent,
        _ if record.jti.is_some() => &record.jti,
        _ => &record.parent,
    };
    token.clone().map(Missing::Token)
}

/// Cuts what would hang on itself. Honest records have no circle; a damaged log may.
fn without_circles(mut parents: Vec<Option<usize>>) -> Vec<Option<usize>> {
    // Nodes of a finished walk lead to the root; those of the walk in hand carry its number.
    let mut walk_of = vec![usize::MAX; parents.len()];
    for start in 0..parents.len() {
        let (mut at, mut last) = (Some(start), None);
        while let Some(here) = at {
            match walk_of.get_mut(here) {
                Some(walk) if *walk == usize::MAX => *walk = start,
                Some(walk) if *walk == start => {
                    if let Some(parent) = last.and_then(|last: usize| parents.get_mut(last)) {
                        *parent = None;
                    }
                    break;
                }
                _ => break,
            }
            last = Some(here);
            at = parents.get(here).copied().flatten();
        }
    }
    parents
}

/// The tree while it is made. The last branch is the root's own.
struct Forest<'a> {
    records: Vec<&'a Record>,
    lineage: usize,
    ends: Vec<time::UnixTime>,
    branches: Vec<Vec<usize>>,
    root: Vec<usize>,
}

impl<'a> Forest<'a> {
    fn new(lineage: &[&'a Record], parents: &[Option<usize>]) -> Self {
        let count = lineage.len();
        let (mut branches, mut root) = (vec![Vec::new(); count], Vec::new());
        for (at, parent) in parents.iter().enumerate() {
            match parent.and_then(|parent| branches.get_mut(parent)) {
                Some(branch) => branch.push(at),
                None => root.push(at),
            }
        }
        let ends = lineage.iter().map(|record| record.time).collect();
        let mut forest = Self { records: lineage.to_vec(), lineage: count, ends, branches, root };
        forest.find_ends();
        forest
    }

    /// When the last thing below each record happened.
    fn find_ends(&mut self) {
        let (mut order, mut next) = (self.root.clone(), 0);
        while let Some(at) = order.get(next).copied() {
            order.extend(self.branches.get(at).into_iter().flatten());
            next += 1;
        }
        for at in order.into_iter().rev() {
            let below = self.branches.get(at).into_iter().flatten();
            let last = below.filter_map(|child| self.ends.get(*child)).max().copied();
            if let (Some(end), Some(last)) = (self.ends.get_mut(at), last) {
                *end = last.max(*end);
            }
        }
    }

    /// Puts an act where it happened: below the innermost record under which something still came
    /// after it, among what came before and after.
    fn put_in(&mut self, act: &'a Record) {
        let mut place = None;
        while let Some(inner) = self.open_below(place, act) {
            place = Some(inner);
        }
        let new = self.records.len();
        let branch = match place {
            Some(at) => self.branches.get_mut(at),
            None => Some(&mut self.root),
        };
        if let Some(branch) = branch {
            let key = |at: &usize| self.records.get(*at).map(|one| (one.time, one.id));
            let at = branch.partition_point(|one| key(one) <= Some((act.time, act.id)));
            branch.insert(at, new);
        }
        self.records.push(act);
    }

    /// The last branch of `place` that had begun by then and went on afterwards.
    fn open_below(&self, place: Option<usize>, act: &Record) -> Option<usize> {
        let branch = match place {
            Some(at) => self.branches.get(at)?,
            None => &self.root,
        };
        branch.iter().rev().copied().find(|at| {
            let begun = self.records.get(*at).is_some_and(|one| one.time <= act.time);
            begun && self.ends.get(*at).is_some_and(|end| act.time < *end)
        })
    }

    fn in_order(&self, missing: impl Fn(usize) -> bool) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(self.records.len());
        let mut left: Vec<_> = self.root.iter().rev().map(|at| (*at, 1, None)).collect();
        while let Some((at, depth, under)) = left.pop() {
            let Some(record) = self.records.get(at) else { continue };
            let place = match at {
                at if at >= self.lineage => Place::Meanwhile,
                at if missing(at) => Place::Gap,
                _ => Place::Lineage,
            };
            nodes.push(Node { depth, under, place, record: (*record).clone() });
            let below = self.branches.get(at).into_iter().flatten().rev();
            left.extend(below.map(|child| (*child, depth + 1, Some(record.id))));
        }
        nodes
    }
}
