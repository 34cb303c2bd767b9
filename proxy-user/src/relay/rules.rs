//! The rules that a worker applies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::addresses::{Addresses, Candidates};
use super::tally::Tally;
use crate::address::{OriginalDst, PeerAddr, UpstreamAddr};
use crate::config::settings::{Rule, UpstreamAddress};
use crate::policy::cutover::HeaderUsage;

/// A rule that a worker applies, with its counters.
#[derive(Debug)]
pub struct ActiveRule {
    /// The rule. Each worker has a copy of its own.
    pub rule: Rule,
    /// The counters, which only that worker writes.
    pub tally: Arc<Tally>,
    /// Which sources send headers.
    pub usage: Arc<SharedUsage>,
    /// The addresses of the upstream's name, if it has one.
    pub addresses: Option<Arc<Addresses>>,
}

impl ActiveRule {
    /// The upstream's addresses for a connection to this destination.
    pub fn candidates(&self, destination: OriginalDst, now: Instant) -> Candidates {
        match (&self.addresses, &self.rule.upstream.address) {
            (Some(addresses), _) => addresses.candidates(now),
            (None, UpstreamAddress::Fixed(address)) => Candidates::One(*address),
            (None, _) => Candidates::One(UpstreamAddr::from(destination)),
        }
    }
}

/// What one worker counts and others read. The lock is held no longer than a reader takes to copy it.
#[derive(Debug)]
pub struct SharedUsage(Mutex<HeaderUsage>);

impl SharedUsage {
    /// Shares what was counted so far.
    pub const fn new(usage: HeaderUsage) -> Self {
        Self(Mutex::new(usage))
    }

    /// Counts a connection.
    pub fn record(&self, peer: PeerAddr, has_header: bool, now: Instant) {
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usage.record(peer.ip(), has_header, now);
    }

    /// A copy of it.
    pub fn copy(&self) -> HeaderUsage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many generations of rules are kept. A connection may be let in by one generation and accepted after
/// the next has been applied.
const GENERATIONS: usize = 8;

/// The rules for new connections, and earlier generations of them.
#[derive(Debug, Default)]
pub struct Rules(VecDeque<Vec<Arc<ActiveRule>>>);

impl Rules {
    /// Applies these rules to new connections from now on.
    pub fn replace(&mut self, rules: Vec<Arc<ActiveRule>>) {
        self.0.push_front(rules);
        self.0.truncate(GENERATIONS);
    }

    /// The rule for a connection to this destination. If there is none any more, it is the last one that
    /// there was, by which steering has let the connection in.
    pub fn find(&self, destination: OriginalDst) -> Option<&Arc<ActiveRule>> {
        let narrowest = |rules: &'_ Vec<Arc<ActiveRule>>| {
            let fitting = rules
                .iter()
                .enumerate()
                .filter_map(|(at, active)| Some((active.rule.narrowness(destination)?, at)));
            fitting.max().map(|(_, at)| at)
        };
        self.0.iter().find_map(|rules| Some(&rules[narrowest(rules)?]))
    }
}
