//! How much one process, and all together, may hold at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A number of permits, so many for each process and so many in all.
#[derive(Debug)]
pub(crate) struct Budget {
    process_max: usize,
    total_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_process: HashMap<i32, usize>,
}

impl Budget {
    pub(crate) fn new(process_max: usize, total_max: usize) -> Arc<Self> {
        Arc::new(Self { process_max, total_max, held: Mutex::default() })
    }

    /// One more for this process; given back when it is dropped.
    pub(crate) fn take(self: &Arc<Self>, process: i32) -> Result<Permit, Exhausted> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= self.total_max {
            return Err(Exhausted::Total { max: self.total_max });
        }
        let own = held.by_process.get(&process).copied().unwrap_or(0);
        if own >= self.process_max {
            return Err(Exhausted::Process { process, max: self.process_max });
        }
        held.total += 1;
        held.by_process.insert(process, own + 1);
        Ok(Permit { budget: Arc::clone(self), process })
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    process: i32,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total = held.total.saturating_sub(1);
        match held.by_process.get(&self.process).copied() {
            Some(own) if own > 1 => held.by_process.insert(self.process, own - 1),
            _ => held.by_process.remove(&self.process),
        };
    }
}

/// Why there is none left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exhausted {
    #[error("process {process} holds {max} already")]
    Process { process: i32, max: usize },
    #[error("{max} are held already")]
    Total { max: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_given_back() {
        let budget = Budget::new(2, 3);
        let first = budget.take(1).unwrap();
        let second = budget.take(1).unwrap();
        assert_eq!(budget.take(1).err(), Some(Exhausted::Process { process: 1, max: 2 }));
        let _third = budget.take(2).unwrap();
        assert_eq!(budget.take(3).err(), Some(Exhausted::Total { max: 3 }));
        drop(first);
        let _fourth = budget.take(3).unwrap();
        drop(second);
        assert!(budget.take(1).is_ok());
        assert_eq!(budget.held.lock().unwrap().by_process.len(), 2, "nothing is kept of who left");
    }
}
