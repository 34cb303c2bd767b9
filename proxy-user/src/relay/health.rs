//! Passive health checks: which addresses of upstreams fail. Workers report each failure to reach one, and
//! the next success. Nothing is kept about an address that works, and a connection to it costs one load of
//! an atomic number.
//!
//! These are suspicions only. A client can make connections fail that would succeed for others, so an
//! address among [`Health::suspects`] has to be tried once more before it is taken for down.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proxy_common::Reason;

use crate::address::UpstreamAddr;

/// How many failures in a row make a suspect.
const FAILURES: u32 = 3;
/// For how long there must have been no success.
const UNREACHED: Duration = Duration::from_secs(1);
/// After how long fewer failures than that are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How many addresses are remembered. With the original destination as upstream, clients choose them.
const MAX_ADDRESSES: usize = 1 << 10;

/// The addresses that fail, shared by all workers.
#[derive(Debug, Default)]
pub struct Health {
    count: AtomicUsize,
    failing: Mutex<HashMap<UpstreamAddr, Failing>>,
}

/// An address that could not be reached the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How often it has failed without a success in between.
    failures: u32,
    /// When it first failed.
    since: Instant,
    /// When it last failed.
    pub last: Instant,
    /// Why it last failed.
    pub why: Reason,
    /// Whether the last attempt came from the client's address, which may be the reason.
    pub as_client: bool,
}

impl Health {
    /// A connection to the address could not be made.
    pub fn failed(&self, address: UpstreamAddr, why: Reason, as_client: bool, now: Instant) {
        let mut failing = self.lock();
        if failing.len() >= MAX_ADDRESSES && !failing.contains_key(&address) {
            return;
        }
        let first = Failing { failures: 0, since: now, last: now, why, as_client };
        let entry = failing.entry(address).or_insert(first);
        let failures = entry.failures.saturating_add(1);
        *entry = Failing { failures, last: now, why, as_client, ..*entry };
        self.count.store(failing.len(), Ordering::Relaxed);
    }

    /// A connection to the address was made.
    pub fn reached(&self, address: UpstreamAddr) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut failing = self.lock();
            failing.remove(&address);
            self.count.store(failing.len(), Ordering::Relaxed);
        }
    }

    /// The addresses that have failed three times in a row, and were not reached for a second.
    pub fn suspects(&self, now: Instant) -> HashMap<UpstreamAddr, Failing> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return HashMap::new();
        }
        let mut failing = self.lock();
        failing.retain(|_, it| it.failures >= FAILURES || now.duration_since(it.last) < FORGOTTEN);
        self.count.store(failing.len(), Ordering::Relaxed);
        let is_suspect = |it: &Failing| {
            it.failures >= FAILURES && now.saturating_duration_since(it.since) >= UNREACHED
        };
        failing.iter().filter(|(_, it)| is_suspect(it)).map(|(at, it)| (*at, *it)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UpstreamAddr, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error of connecting is about the other end or the way to it, rather than about us: a lack of
/// ports, files, memory or rights is nobody else's fault.
pub fn is_upstream_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    const REFUSED: Reason = Reason::UpstreamRefused;

    fn address(port: u16) -> UpstreamAddr {
        UpstreamAddr::new(([10, 0, 0, 1], port).into())
    }

    #[test]
    fn three_failures_in_a_row_and_a_second_without_success_make_a_suspect() {
        let (health, now) = (Health::default(), Instant::now());
        for _ in 0..2 {
            health.failed(address(1), REFUSED, false, now);
        }
        assert!(health.suspects(now + UNREACHED).is_empty(), "two are not three");
        health.failed(address(1), Reason::UpstreamTimeout, false, now);
        assert!(health.suspects(now).is_empty(), "a burst is not a second");
        let suspects = health.suspects(now + UNREACHED);
        assert_eq!(suspects[&address(1)].why, Reason::UpstreamTimeout);
        assert!(!suspects.contains_key(&address(2)), "another port is another address");
    }

    #[test]
    fn a_success_clears_the_failures() {
        let (health, now) = (Health::default(), Instant::now());
        for _ in 0..2 {
            (0..2).for_each(|_| health.failed(address(1), REFUSED, false, now));
            health.reached(address(1));
            health.reached(address(2));
        }
        health.failed(address(1), REFUSED, false, now + UNREACHED);
        assert!(health.suspects(now + 2 * UNREACHED).is_empty());
    }

    #[test]
    fn old_failures_are_forgotten_and_suspects_are_not() {
        let (health, now) = (Health::default(), Instant::now());
        (0..2).for_each(|_| health.failed(address(1), REFUSED, false, now));
        (0..3).for_each(|_| health.failed(address(2), REFUSED, false, now));
        let later = now + FORGOTTEN;
        assert_eq!(health.suspects(later).len(), 1);
        health.failed(address(1), REFUSED, false, later);
        assert_eq!(health.suspects(later + UNREACHED).len(), 1, "it begins anew");
    }

    #[test]
    fn memory_is_bounded_whatever_addresses_clients_choose() {
        let (health, now) = (Health::default(), Instant::now());
        for port in 1..=2000 {
            (0..3).for_each(|_| health.failed(address(port), REFUSED, false, now));
        }
        assert_eq!(health.suspects(now + UNREACHED).len(), MAX_ADDRESSES);
    }

    #[test]
    fn what_we_lack_ourselves_is_no_fault_of_the_upstream() {
        let is = |code: Errno| is_upstream_fault(&io::Error::from(code));
        for code in [Errno::ECONNREFUSED, Errno::ETIMEDOUT, Errno::EHOSTUNREACH, Errno::ENETUNREACH]
        {
            assert!(is(code), "{code}");
        }
        for code in
            [Errno::EMFILE, Errno::EADDRNOTAVAIL, Errno::ENOBUFS, Errno::EPERM, Errno::EINVAL]
        {
            assert!(!is(code), "{code}");
        }
    }
}
