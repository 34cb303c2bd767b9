//! Counters of what became of connections. Each worker has its own; readers add them up.

use std::sync::atomic::{AtomicU64, Ordering};

use proxy_common::Reason;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reached its upstream, and both sides ended it in order.
    Relayed,
    /// A connection of a loopback source reached its upstream, and both sides ended it in order.
    Unchanged,
    /// A load balancer's health check: closed without payload, or made on its own behalf (LOCAL).
    HealthCheck,
    /// It was refused or cut short.
    Refused(Reason),
}

/// One worker's counters. Only that worker writes them.
#[derive(Debug)]
pub struct Tally {
    accepted: AtomicU64,
    open: AtomicU64,
    relayed: AtomicU64,
    unchanged: AtomicU64,
    health_checks: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    long_headers: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            relayed: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            health_checks: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            long_headers: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Reason::ALL.len()],
        }
    }
}

impl Tally {
    /// A connection was accepted.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// A connection is over. Each is counted in exactly one way.
    pub fn ended(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Relayed => &self.relayed,
            Outcome::Unchanged => &self.unchanged,
            Outcome::HealthCheck => &self.health_checks,
            Outcome::Refused(reason) => &self.refused[reason as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Release);
    }

    /// A connection was over before anything was done for it.
    pub fn count_only(&self, outcome: Outcome) {
        self.accepted();
        self.ended(outcome);
    }

    /// An upstream gets a header that may not fit into one segment.
    pub fn wrote_long_header(&self) {
        self.long_headers.fetch_add(1, Ordering::Relaxed);
    }

    /// Payload bytes moved: from clients, to clients.
    pub fn moved(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }
}

/// All workers' counters at one moment.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections that reached their upstream and ended in order.
    pub relayed: u64,
    /// Connections of loopback sources that did.
    pub unchanged: u64,
    /// Load balancers' health checks.
    pub health_checks: u64,
    /// Payload bytes from clients to upstreams.
    pub bytes_in: u64,
    /// Payload bytes from upstreams to clients.
    pub bytes_out: u64,
    /// Headers written that may not fit into one segment.
    pub long_headers: u64,
    refused: [u64; Reason::ALL.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            accepted: 0,
            open: 0,
            relayed: 0,
            unchanged: 0,
            health_checks: 0,
            bytes_in: 0,
            bytes_out: 0,
            long_headers: 0,
            refused: [0; Reason::ALL.len()],
        }
    }
}

impl Counts {
    /// Adds up the workers' counters.
    pub fn sum<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        let mut sum = Self::default();
        tallies.into_iter().for_each(|tally| sum.add(tally));
        sum
    }

    /// Adds a worker's counters.
    pub fn add(&mut self, tally: &Tally) {
        // The number of open connections is read first: if it is 0, the others are final.
        self.open += tally.open.load(Ordering::Acquire);
        self.accepted += tally.accepted.load(Ordering::Relaxed);
        self.relayed += tally.relayed.load(Ordering::Relaxed);
        self.unchanged += tally.unchanged.load(Ordering::Relaxed);
        self.health_checks += tally.health_checks.load(Ordering::Relaxed);
        self.bytes_in += tally.bytes_in.load(Ordering::Relaxed);
        self.bytes_out += tally.bytes_out.load(Ordering::Relaxed);
        self.long_headers += tally.long_headers.load(Ordering::Relaxed);
        for (total, count) in self.refused.iter_mut().zip(&tally.refused) {
            *total += count.load(Ordering::Relaxed);
        }
    }

    /// How many connections ended for each reason, zeros included.
    pub fn refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().copied().zip(self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_sum_over_workers() {
        let (one, two) = (Tally::default(), Tally::default());
        for tally in [&one, &two] {
            tally.accepted();
            tally.accepted();
            tally.ended(Outcome::Refused(Reason::NoHeader));
            tally.moved(3, 5);
        }
        one.ended(Outcome::Relayed);
        let counts = Counts::sum([&one, &two]);
        assert_eq!((counts.accepted, counts.open, counts.relayed), (4, 1, 1));
        assert_eq!((counts.bytes_in, counts.bytes_out), (6, 10));
        let named: Vec<_> = counts.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(named, [(Reason::NoHeader, 2)]);
    }
}
