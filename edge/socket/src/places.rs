//! A bound that is spent: how many of a thing there are at once, in all and of one source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Who has how many.
#[derive(Debug, Clone)]
pub struct Places {
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
pub enum Full {
    /// That of all.
    All,
    /// That of the source.
    Source,
}

impl Places {
    /// So many in all, and so many of one source.
    pub fn new(max: usize, per_source_max: usize) -> Self {
        Self { max, per_source_max, taken: Arc::default() }
    }

    /// Takes a place, or says which bound is met.
    pub fn take(&self, source: IpAddr) -> Result<Place, Full> {
        let source = network(source);
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
    pub fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place {
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

/// One subscriber of IPv6 has at least 64 bits of addresses.
fn network(source: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = source else { return source };
    if let Some(address) = address.to_ipv4_mapped() {
        return address.into();
    }
    let [a, b, c, d, ..] = address.segments();
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
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

    #[test]
    fn a_source_of_ipv6_is_its_network() {
        let places = Places::new(9, 1);
        let take = |text: &str| places.take(text.parse().unwrap());
        let _held = take("2001:db8:0:1::1").unwrap();
        assert_eq!(take("2001:db8:0:1:ffff::2").unwrap_err(), Full::Source);
        take("2001:db8:0:2::1").unwrap();
        let _mapped = take("::ffff:192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Full::Source);
    }
}
