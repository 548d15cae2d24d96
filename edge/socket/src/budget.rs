//! How much one holder (a process, a user) and all together may have at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A number of permits, so many for each holder and so many in all.
#[derive(Debug)]
pub struct Budget {
    holder_max: usize,
    total_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_holder: HashMap<i64, usize>,
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(holder_max: usize, total_max: usize) -> Arc<Self> {
        Arc::new(Self { holder_max, total_max, held: Mutex::default() })
    }

    /// One more for this holder; given back when it is dropped.
    pub fn take(self: &Arc<Self>, holder: i64) -> Result<Permit, Exhausted> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= self.total_max {
            return Err(Exhausted::Total { max: self.total_max });
        }
        let own = held.by_holder.get(&holder).copied().unwrap_or(0);
        if own >= self.holder_max {
            return Err(Exhausted::Holder { holder, max: self.holder_max });
        }
        held.total += 1;
        held.by_holder.insert(holder, own + 1);
        Ok(Permit { budget: Arc::clone(self), holder })
    }
}

/// One of them.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    holder: i64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total = held.total.saturating_sub(1);
        match held.by_holder.get(&self.holder).copied() {
            Some(own) if own > 1 => held.by_holder.insert(self.holder, own - 1),
            _ => held.by_holder.remove(&self.holder),
        };
    }
}

/// Why there is none left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// This holder has as much as one may have.
    #[error("`{holder}` holds {max} already")]
    Holder {
        /// Who.
        holder: i64,
        /// How much that is.
        max: usize,
    },
    /// All together have as much as there is.
    #[error("{max} are held already")]
    Total {
        /// How much that is.
        max: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_given_back() {
        let budget = Budget::new(2, 3);
        let first = budget.take(1).unwrap();
        let second = budget.take(1).unwrap();
        assert_eq!(budget.take(1).err(), Some(Exhausted::Holder { holder: 1, max: 2 }));
        let _third = budget.take(2).unwrap();
        assert_eq!(budget.take(3).err(), Some(Exhausted::Total { max: 3 }));
        drop(first);
        let _fourth = budget.take(3).unwrap();
        drop(second);
        assert!(budget.take(1).is_ok());
        assert_eq!(budget.held.lock().unwrap().by_holder.len(), 2, "nothing is kept of who left");
    }
}
