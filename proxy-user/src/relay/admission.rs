//! How many connections there may be at once: in the process, and of one client.
//!
//! A place is taken by a value that gives it back when it is dropped, so that none is ever lost.
//! Each worker counts its own connections; they are added up when one more asks, so that nothing is
//! written by two workers. What is counted by client is shared, and touched only where there is such
//! a limit.

use std::array;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::address::Ipv6Prefix;
use crate::config::settings::ConnectionLimits;

/// Clients are counted in so many tables, so that workers seldom wait for each other.
const SHARDS: usize = 64;

/// How many connections there may be, and how many there are.
#[derive(Debug)]
pub struct Admission {
    /// What open files allow.
    budget: u64,
    limit: AtomicU64,
    /// 0: any number.
    per_source: AtomicU32,
    /// [`Ipv6Prefix::length`].
    ipv6_prefix: AtomicU8,
    open: Box<[Open]>,
    sources: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    hasher: RandomState,
}

/// One worker's count, alone in its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Open(AtomicU64);

impl Admission {
    /// For so many workers, with no connection yet. No limit lets more in than `budget`.
    pub fn new(limits: ConnectionLimits, budget: u64, workers: usize) -> Self {
        let admission = Self {
            budget,
            limit: AtomicU64::new(budget),
            per_source: AtomicU32::new(0),
            ipv6_prefix: AtomicU8::new(0),
            open: (0..workers).map(|_| Open::default()).collect(),
            sources: array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        };
        admission.change(limits);
        admission
    }

    /// Sets other limits. What is open stays so.
    pub fn change(&self, limits: ConnectionLimits) {
        let limit = limits.connections.map_or(self.budget, |limit| u64::from(limit.get()));
        self.limit.store(limit.min(self.budget), Ordering::Relaxed);
        let per_source = limits.per_source.map_or(0, NonZeroU32::get);
        self.ipv6_prefix.store(limits.ipv6_prefix.length(), Ordering::Relaxed);
        self.per_source.store(per_source, Ordering::Relaxed);
    }

    /// How many there may be.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Takes a place for a connection of a worker's. Workers that ask in the same moment may each
    /// take the last one.
    pub fn admit(self: &Arc<Self>, worker: usize) -> Option<Place> {
        let open: u64 = self.open.iter().map(|open| open.0.load(Ordering::Relaxed)).sum();
        (open < self.limit()).then(|| {
            self.open[worker].0.fetch_add(1, Ordering::Relaxed);
            Place { admission: Arc::clone(self), worker }
        })
    }

    /// Takes a place for a connection of a client's.
    pub fn admit_source(self: &Arc<Self>, source: IpAddr) -> Result<Option<SourcePlace>, Full> {
        let limit = self.per_source.load(Ordering::Relaxed);
        if limit == 0 {
            return Ok(None);
        }
        let source = self.client(source);
        let mut sources = self.shard(source).lock().unwrap_or_else(PoisonError::into_inner);
        let open = sources.entry(source).or_default();
        if *open >= limit {
            return Err(Full);
        }
        *open += 1;
        Ok(Some(SourcePlace { admission: Arc::clone(self), source }))
    }

    /// What a client is counted as. The place remembers it, whatever the limits are by then.
    fn client(&self, source: IpAddr) -> IpAddr {
        let length = self.ipv6_prefix.load(Ordering::Relaxed);
        Ipv6Prefix::new(length).unwrap_or_default().client(source)
    }

    fn shard(&self, source: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        #[allow(clippy::cast_possible_truncation, reason = "any bits of it will do")]
        let hash = self.hasher.hash_one(source) as usize;
        &self.sources[hash % SHARDS]
    }
}

/// A client has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A connection's place in the process.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    worker: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open[self.worker].0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place among its client's.
#[derive(Debug)]
pub struct SourcePlace {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let shard = self.admission.shard(self.source);
        let mut sources = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = sources.entry(self.source) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: u32, per_source: u32, budget: u64) -> Arc<Admission> {
        let (connections, per_source) = (NonZeroU32::new(connections), NonZeroU32::new(per_source));
        let limits = ConnectionLimits { connections, per_source, ..ConnectionLimits::default() };
        Arc::new(Admission::new(limits, budget, 2))
    }

    #[test]
    fn the_sum_over_workers_counts() {
        let admission = admission(3, 0, 100);
        let places: Vec<_> = [0, 1, 1].map(|worker| admission.admit(worker)).into();
        assert!(places.iter().all(Option::is_some));
        assert!(admission.admit(0).is_none());
        drop(places.into_iter().next());
        assert!(admission.admit(1).is_some(), "the one that was given back");
    }

    #[test]
    fn open_files_have_the_last_word() {
        assert_eq!(admission(0, 0, 100).limit(), 100);
        assert_eq!(admission(1000, 0, 100).limit(), 100);
        assert_eq!(admission(10, 0, 100).limit(), 10);
    }

    #[test]
    fn a_client_is_not_counted_as_another() {
        let admission = admission(0, 2, 100);
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = admission.admit_source(one).unwrap();
        let second = admission.admit_source(one).unwrap();
        assert_eq!(admission.admit_source(one).unwrap_err(), Full);
        assert!(admission.admit_source(other).is_ok());
        drop(first);
        assert!(admission.admit_source(one).is_ok());
        drop(second);
        assert!(admission.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let admission = admission(0, 2, 100);
        let one = |number: u16| [0x2001, 0xdb8, 0, 1, 0, 0, 0, number].into();
        let places: Vec<_> = (1..3).map(|number| admission.admit_source(one(number))).collect();
        assert!(places.iter().all(Result::is_ok));
        assert_eq!(admission.admit_source(one(3)).unwrap_err(), Full);
        assert!(admission.admit_source([0x2001, 0xdb8, 0, 2, 0, 0, 0, 3].into()).is_ok());
        // Whoever is counted by another prefix meanwhile is given back as it was taken.
        let ipv6_prefix = Ipv6Prefix::new(128).unwrap();
        let per_source = NonZeroU32::new(2);
        admission.change(ConnectionLimits {
            per_source,
            ipv6_prefix,
            ..ConnectionLimits::default()
        });
        assert!(admission.admit_source(one(3)).is_ok());
        drop(places);
        assert!(admission.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_limit_that_comes_late_counts_from_then_on() {
        let admission = admission(0, 0, 100);
        let source = [10, 0, 0, 1].into();
        assert!(admission.admit_source(source).unwrap().is_none(), "nobody counts");
        let per_source = NonZeroU32::new(1);
        admission.change(ConnectionLimits { per_source, ..ConnectionLimits::default() });
        let first = admission.admit_source(source).unwrap();
        assert!(first.is_some());
        assert_eq!(admission.admit_source(source).unwrap_err(), Full);
        admission.change(ConnectionLimits::default());
        drop(first);
        assert!(admission.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
