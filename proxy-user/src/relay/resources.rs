//! What a worker has only one of, and lends to the session whose turn it is.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::admission::Admission;
use super::clock::Clock;
use super::dialer::Dialer;
use super::flow::{BUFFER, Scratch};
use super::health::Health;
use super::log::Log;
use super::pods::Pods;
use super::rules::Rules;
use super::tally::Tally;
use super::token::SessionKey;
use super::unique_id::UniqueIds;
use crate::sys::poll::Poller;

/// A worker's resources, shared by its sessions.
#[derive(Debug)]
pub struct Resources {
    /// The rules for new connections.
    pub rules: Rules,
    /// Connects to upstreams.
    pub dialer: Dialer,
    /// The buffer, the pipes and the budget of the current round.
    pub scratch: Scratch,
    /// Reports events of sockets.
    pub poller: Poller,
    /// The time.
    pub clock: Clock,
    /// Counters of connections that match no rule.
    pub unmatched: Arc<Tally>,
    /// Makes unique ids for connections.
    pub unique_ids: UniqueIds,
    /// The log of connections.
    pub log: Log,
    /// The limits of connections and memory.
    pub admission: Arc<Admission>,
    /// Knows the connections of the node's own pods.
    pub pods: Pods,
    /// Which addresses of upstreams fail.
    pub health: Arc<Health>,
    /// The worker's number.
    pub number: usize,
}

impl Resources {
    /// For a worker without connections and rules.
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

/// What a session has at its disposal in its turn.
#[derive(Debug)]
pub struct Context<'a> {
    /// Its worker's resources.
    pub resources: &'a mut Resources,
    /// The session's own key.
    pub key: SessionKey,
}
