//! A bound that is spent: how many of a thing there are at once, in all and of one source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who has how many.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    max: usize,
    per_source_max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// That of all.
    All,
    /// That of the source.
    Source,
}

impl Places {
    pub(crate) fn new(max: usize, per_source_max: usize) -> Self {
        Self { max, per_source_max, taken: Arc::default() }
    }

    /// Takes a place, or says which bound is met.
    pub(crate) fn take(&self, source: IpAddr) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.max {
            return Err(Full::All);
        }
        let here = taken.by_source.get(&source).copied().unwrap_or_default();
        if here >= self.per_source_max {
            return Err(Full::Source);
        }
        taken.by_source.insert(source, here.saturating_add(1));
        taken.all = taken.all.saturating_add(1);
        Ok(Place { places: self.clone(), source })
    }

    /// How many there are.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(here) = taken.by_source.get_mut(&self.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_all_and_for_each() {
        let places = Places::new(3, 2);
        let of = |last| IpAddr::from([192, 0, 2, last]);
        let first = places.take(of(1)).unwrap();
        let _second = places.take(of(1)).unwrap();
        assert_eq!(places.take(of(1)).unwrap_err(), Full::Source);
        let _third = places.take(of(2)).unwrap();
        assert_eq!(places.take(of(3)).unwrap_err(), Full::All);
        drop(first);
        assert_eq!(places.taken(), 2);
        drop(places.take(of(1)).unwrap());
        assert_eq!(places.taken.lock().unwrap().by_source.get(&of(1)), Some(&1));
        assert_eq!(places.taken.lock().unwrap().by_source.get(&of(3)), None);
    }
}
