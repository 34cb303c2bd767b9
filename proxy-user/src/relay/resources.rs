//! What a worker lends to the session whose turn it is.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::admission::Admission;
use super::clock::Clock;
use super::dialer::Dialer;
use super::flow::{BUFFER, Scratch};
use super::health::Health;
use super::log::Log;
use super::pods::Pods;
use super::rule_stats::Rules;
use super::tally::Tally;
use super::unique_id::UniqueIds;
use crate::sys::poll::Poller;

/// A worker's resources: one of each, for all of its sessions.
#[derive(Debug)]
pub struct Resources {
    /// The rules that new connections are served by.
    pub rules: Rules,
    /// Where upstream sockets come from.
    pub dialer: Dialer,
    /// Buffer and pipes.
    pub scratch: Scratch,
    /// Where sockets are watched.
    pub poller: Poller,
    /// The time.
    pub clock: Clock,
    /// Counters of connections that no rule wants.
    pub unmatched: Arc<Tally>,
    /// Names for connections.
    pub unique_ids: UniqueIds,
    /// The log of connections.
    pub log: Log,
    /// How many connections there may be.
    pub admission: Arc<Admission>,
    /// The connections of the node's own pods.
    pub pods: Pods,
    /// Which addresses of upstreams fail.
    pub health: Arc<Health>,
    /// Which of the workers it is.
    pub number: usize,
}

impl Resources {
    /// One without connections and rules.
    pub fn new(
        number: usize,
        dialer: Dialer,
        unmatched: Arc<Tally>,
        admission: Arc<Admission>,
        pods: Pods,
        health: Arc<Health>,
    ) -> Result<Self> {
        Ok(Self {
            rules: Rules::default(),
            dialer,
            scratch: Scratch::new(BUFFER),
            poller: Poller::new().context("cannot watch sockets")?,
            clock: Clock::start(),
            unmatched,
            unique_ids: UniqueIds::default(),
            log: Log::default(),
            admission,
            pods,
            health,
            number,
        })
    }
}

/// What a session acts with while it is its turn.
#[derive(Debug)]
pub struct Context<'a> {
    /// Its worker's resources.
    pub resources: &'a mut Resources,
    /// The key by which it knows the session.
    pub key: usize,
}
