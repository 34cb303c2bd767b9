//! Limits: how many connections there may be at once in the process and from one client, and how much
//! memory their buffers may take.
//!
//! A permit is given back when it is dropped, so that none is ever lost. Each worker counts its own
//! connections, and the sums are made when a connection asks for a permit, so no counter is written by two
//! workers. Counts by client are shared, but touched only if there is such a limit.

use std::array;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proxy_common::Reason;

use crate::address::Ipv6Prefix;
use crate::config::settings::{ConnectionLimits, MemoryLimit};

/// How many tables clients are counted in, so that workers seldom wait for each other.
const SHARDS: usize = 64;

/// What this process can take, whatever the settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// How many connections the limit of open files allows.
    pub connections: u64,
    /// [`MemoryLimit::Quarter`], in bytes.
    pub memory: u64,
}

/// The limits, and what is counted against them.
#[derive(Debug)]
pub struct Admission {
    ceilings: Ceilings,
    limit: AtomicU64,
    /// In bytes.
    memory: AtomicU64,
    /// 0: any number.
    per_source: AtomicU32,
    /// [`Ipv6Prefix::length`].
    ipv6_prefix: AtomicU8,
    open: Box<[WorkerUsage]>,
    sources: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    hasher: RandomState,
}

/// What one worker counts, alone in its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerUsage {
    connections: AtomicU64,
    /// What their buffers count as, in bytes.
    memory: AtomicU64,
}

impl Admission {
    /// For so many workers, with no connection yet. No limit exceeds the ceilings.
    pub fn new(limits: ConnectionLimits, ceilings: Ceilings, workers: usize) -> Self {
        let admission = Self {
            ceilings,
            limit: AtomicU64::new(ceilings.connections),
            memory: AtomicU64::new(ceilings.memory),
            per_source: AtomicU32::new(0),
            ipv6_prefix: AtomicU8::new(0),
            open: (0..workers).map(|_| WorkerUsage::default()).collect(),
            sources: array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        };
        admission.change(limits);
        admission
    }

    /// Changes the limits. What is open stays open.
    pub fn change(&self, limits: ConnectionLimits) {
        let ceiling = self.ceilings.connections;
        let limit = limits.connections.map_or(ceiling, |limit| u64::from(limit.get()));
        self.limit.store(limit.min(ceiling), Ordering::Relaxed);
        let memory = match limits.memory {
            MemoryLimit::Quarter => self.ceilings.memory,
            MemoryLimit::Any => u64::MAX,
            MemoryLimit::Bytes(bytes) => bytes.get(),
        };
        self.memory.store(memory, Ordering::Relaxed);
        let per_source = limits.per_source.map_or(0, NonZeroU32::get);
        self.ipv6_prefix.store(limits.ipv6_prefix.length(), Ordering::Relaxed);
        self.per_source.store(per_source, Ordering::Relaxed);
    }

    /// How many connections there may be.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// How much memory the buffers of all connections may take, in bytes; `None`: any amount.
    pub fn memory_limit(&self) -> Option<u64> {
        Some(self.memory.load(Ordering::Relaxed)).filter(|limit| *limit != u64::MAX)
    }

    /// How much memory they are counted as taking, in bytes.
    pub fn memory(&self) -> u64 {
        self.open.iter().map(|open| open.memory.load(Ordering::Relaxed)).sum()
    }

    /// Admits a connection to a worker. Workers that ask in the same moment may each get the last permit.
    pub fn admit(self: &Arc<Self>, worker: usize) -> Result<Permit, Reason> {
        let (connections, memory) = self.open.iter().fold((0, 0), |(connections, memory), open| {
            let connections = connections + open.connections.load(Ordering::Relaxed);
            (connections, memory + open.memory.load(Ordering::Relaxed))
        });
        if connections >= self.limit() {
            return Err(Reason::ConnectionLimit);
        }
        if memory >= self.memory.load(Ordering::Relaxed) {
            return Err(Reason::MemoryLimit);
        }
        self.open[worker].connections.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { admission: Arc::clone(self), worker, memory: 0 })
    }

    /// Admits a connection of a client; `None`: there is no limit.
    pub fn admit_source(self: &Arc<Self>, source: IpAddr) -> Result<Option<SourcePermit>, Reason> {
        let limit = self.per_source.load(Ordering::Relaxed);
        if limit == 0 {
            return Ok(None);
        }
        let source = self.client(source);
        let mut sources = self.shard(source).lock().unwrap_or_else(PoisonError::into_inner);
        let open = sources.entry(source).or_default();
        if *open >= limit {
            return Err(Reason::SourceLimit);
        }
        *open += 1;
        Ok(Some(SourcePermit { admission: Arc::clone(self), source }))
    }

    /// What a client is counted as. Its permit remembers it, in case the prefix changes.
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

/// A connection's permit to be open.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    worker: usize,
    /// What its buffers are counted as, in bytes.
    memory: u64,
}

impl Permit {
    /// Whether no buffer is to grow any more. The last quarter of the memory is kept for the small buffers
    /// of connections that get stuck.
    pub fn is_memory_short(&self) -> bool {
        let limit = self.admission.memory.load(Ordering::Relaxed);
        self.admission.memory() > limit / 4 * 3
    }

    /// Counts its buffers as this many bytes.
    pub fn count(&mut self, bytes: u64) {
        let open = &self.admission.open[self.worker].memory;
        // Only this connection's worker writes it.
        open.fetch_add(bytes.wrapping_sub(self.memory), Ordering::Relaxed);
        self.memory = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let open = &self.admission.open[self.worker];
        open.connections.fetch_sub(1, Ordering::Relaxed);
        if self.memory > 0 {
            open.memory.fetch_sub(self.memory, Ordering::Relaxed);
        }
    }
}

/// A connection's permit to be one of its client's.
#[derive(Debug)]
pub struct SourcePermit {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Drop for SourcePermit {
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
    use std::num::NonZeroU64;

    use super::*;

    fn admission(connections: u32, per_source: u32, budget: u64) -> Arc<Admission> {
        let (connections, per_source) = (NonZeroU32::new(connections), NonZeroU32::new(per_source));
        let limits = ConnectionLimits { connections, per_source, ..ConnectionLimits::default() };
        let ceilings = Ceilings { connections: budget, memory: 1 << 20 };
        Arc::new(Admission::new(limits, ceilings, 2))
    }

    #[test]
    fn the_sum_over_workers_counts() {
        let admission = admission(3, 0, 100);
        let permits: Vec<_> = [0, 1, 1].map(|worker| admission.admit(worker)).into();
        assert!(permits.iter().all(Result::is_ok));
        assert_eq!(admission.admit(0).err(), Some(Reason::ConnectionLimit));
        drop(permits.into_iter().next());
        assert!(admission.admit(1).is_ok(), "the one that was given back");
    }

    #[test]
    fn buffers_grow_up_to_three_quarters_and_count_up_to_all() {
        let admission = admission(0, 0, 100);
        let memory = NonZeroU64::new(1000);
        let limits = |memory| ConnectionLimits { memory, ..ConnectionLimits::default() };
        admission.change(limits(memory.map_or(MemoryLimit::Any, MemoryLimit::Bytes)));
        let (mut one, mut other) = (admission.admit(0).unwrap(), admission.admit(1).unwrap());
        one.count(600);
        other.count(150);
        assert!(!one.is_memory_short());
        other.count(151);
        assert!(one.is_memory_short() && other.is_memory_short(), "it is shared");
        other.count(399);
        assert!(admission.admit(0).is_ok());
        other.count(400);
        assert_eq!(admission.memory(), 1000);
        assert_eq!(admission.admit(0).err(), Some(Reason::MemoryLimit));
        drop(one);
        assert_eq!(admission.memory(), 400);
        assert!(!other.is_memory_short());
        other.count(2000);
        assert!(admission.admit(0).is_err());
        admission.change(limits(MemoryLimit::Any));
        assert!(admission.admit(0).is_ok() && !other.is_memory_short());
        drop(other);
        assert_eq!(admission.memory(), 0);
    }

    #[test]
    fn no_limit_exceeds_what_open_files_allow() {
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
        assert_eq!(admission.admit_source(one).unwrap_err(), Reason::SourceLimit);
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
        let permits: Vec<_> = (1..3).map(|number| admission.admit_source(one(number))).collect();
        assert!(permits.iter().all(Result::is_ok));
        assert_eq!(admission.admit_source(one(3)).unwrap_err(), Reason::SourceLimit);
        assert!(admission.admit_source([0x2001, 0xdb8, 0, 2, 0, 0, 0, 3].into()).is_ok());
        // A permit that was taken under another prefix is given back under that one.
        let ipv6_prefix = Ipv6Prefix::new(128).unwrap();
        let per_source = NonZeroU32::new(2);
        admission.change(ConnectionLimits {
            per_source,
            ipv6_prefix,
            ..ConnectionLimits::default()
        });
        assert!(admission.admit_source(one(3)).is_ok());
        drop(permits);
        assert!(admission.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_new_limit_counts_from_then_on() {
        let admission = admission(0, 0, 100);
        let source = [10, 0, 0, 1].into();
        assert!(admission.admit_source(source).unwrap().is_none(), "nothing is counted");
        let per_source = NonZeroU32::new(1);
        admission.change(ConnectionLimits { per_source, ..ConnectionLimits::default() });
        let first = admission.admit_source(source).unwrap();
        assert!(first.is_some());
        assert_eq!(admission.admit_source(source).unwrap_err(), Reason::SourceLimit);
        admission.change(ConnectionLimits::default());
        drop(first);
        assert!(admission.sources.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
