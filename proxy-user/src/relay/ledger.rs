//! Rules with their counters. A counter belongs to a rule's name and a worker: it goes on when the
//! rule is changed, and is kept when it is gone, so that no sum ever shrinks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::addresses::{Addresses, Candidates};
use super::tally::{Counts, Tally};
use crate::address::{OriginalDst, PeerAddr, UpstreamAddr};
use crate::config::Settings;
use crate::config::settings::{Rule, UpstreamAddress, UpstreamName};
use crate::policy::cutover::Sightings;

/// Under this name stands what no rule wants.
const NOBODYS: &str = "";

/// A rule, as one worker serves it.
#[derive(Debug)]
pub struct Served {
    /// The rule. Each worker has a copy of its own.
    pub rule: Rule,
    /// Its counters, which only that worker writes.
    pub tally: Arc<Tally>,
    /// Who sent a header, and who did not.
    pub sightings: Arc<SharedSightings>,
    /// The addresses of its upstream's name, if it has one.
    pub addresses: Option<Arc<Addresses>>,
}

impl Served {
    /// Where a connection to this destination is to go.
    pub fn candidates(&self, destination: OriginalDst, now: Instant) -> Candidates {
        match (&self.addresses, &self.rule.upstream.address) {
            (Some(addresses), _) => addresses.candidates(now),
            (None, UpstreamAddress::Fixed(address)) => Candidates::One(*address),
            (None, _) => Candidates::One(destination.as_upstream()),
        }
    }
}

/// What one worker notes and others read. Nobody waits for it but for the time that a reader takes
/// to copy it.
#[derive(Debug)]
pub struct SharedSightings(Mutex<Sightings>);

impl SharedSightings {
    /// Notes a connection.
    pub fn note(&self, peer: PeerAddr, has_header: bool, now: Instant) {
        let mut sightings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sightings.note(peer.ip(), has_header, now);
    }

    fn copy(&self) -> Sightings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is kept of one rule and worker.
#[derive(Clone, Debug)]
struct Account {
    tally: Arc<Tally>,
    sightings: Arc<SharedSightings>,
}

/// Generations of rules that a connection may still be for: its first packet was let in by one,
/// and it is accepted after the next has come.
const GENERATIONS: usize = 8;

/// The rules that a worker serves new connections by, and those before them.
#[derive(Debug, Default)]
pub struct Rules(VecDeque<Vec<Arc<Served>>>);

impl Rules {
    /// From now on new connections are served by these.
    pub fn exchange(&mut self, rules: Vec<Arc<Served>>) {
        self.0.push_front(rules);
        self.0.truncate(GENERATIONS);
    }

    /// The rule for a connection, by what it was made to. If there is none any more, the
    /// last one that there was: steering has let the connection in by it.
    pub fn find(&self, destination: OriginalDst) -> Option<&Arc<Served>> {
        let narrowest = |rules: &'_ Vec<Arc<Served>>| {
            let fitting = rules
                .iter()
                .enumerate()
                .filter_map(|(at, served)| Some((served.rule.narrowness(destination)?, at)));
            fitting.max().map(|(_, at)| at)
        };
        self.0.iter().find_map(|rules| Some(&rules[narrowest(rules)?]))
    }
}

/// The counters of every rule that there has been, by name and worker.
#[derive(Debug)]
pub struct Ledger {
    workers: usize,
    began: Instant,
    accounts: BTreeMap<String, Vec<Account>>,
    /// What upstreams' names stand for, for rules that were and rules that are.
    names: BTreeMap<UpstreamName, Arc<Addresses>>,
}

impl Ledger {
    /// One for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers, began: Instant::now(), accounts: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// The rules for a worker.
    pub fn serve(&mut self, settings: &Settings, worker: usize) -> Vec<Arc<Served>> {
        let served = |rule: &Rule| {
            let Account { tally, sightings } = self.account(&rule.name, worker);
            let addresses = rule.upstream_name().map(|name| self.addresses(name));
            Arc::new(Served { rule: rule.clone(), tally, sightings, addresses })
        };
        settings.rules.iter().map(served).collect()
    }

    /// From now on a name stands for these addresses, for new connections of any rule.
    pub fn learn(&mut self, name: &UpstreamName, addresses: &[UpstreamAddr]) {
        self.addresses(name).change(addresses);
    }

    fn addresses(&mut self, name: &UpstreamName) -> Arc<Addresses> {
        Arc::clone(self.names.entry(name.clone()).or_default())
    }

    /// A worker's counters of connections that no rule wants.
    pub fn nobodys(&mut self, worker: usize) -> Arc<Tally> {
        self.account(NOBODYS, worker).tally
    }

    fn account(&mut self, name: &str, worker: usize) -> Account {
        let (workers, began) = (self.workers, self.began);
        let new = || Account {
            tally: Arc::default(),
            sightings: Arc::new(SharedSightings(Mutex::new(Sightings::new(began)))),
        };
        let of_rule = self.accounts.entry(name.to_owned());
        of_rule.or_insert_with(|| (0..workers).map(|_| new()).collect())[worker].clone()
    }

    /// The sum of everything.
    pub fn counts(&self) -> Counts {
        sum(self.accounts.values().flatten())
    }

    /// What became of connections that no rule wanted.
    pub fn of_nobody(&self) -> Counts {
        sum(self.accounts.get(NOBODYS).into_iter().flatten())
    }

    /// What became of each rule's connections, in the order of their names.
    pub fn by_rule(&self) -> impl Iterator<Item = RuleCounts<'_>> {
        let rules = self.accounts.iter().filter(|(name, _)| *name != NOBODYS);
        rules.map(|(rule, accounts)| RuleCounts { rule, counts: sum(accounts) })
    }

    /// Who sent a rule's connections a header, and who did not.
    pub fn sightings(&self, rule: &str) -> Sightings {
        let mut all = Sightings::new(self.began);
        for account in self.accounts.get(rule).into_iter().flatten() {
            all.merge(&account.sightings.copy());
        }
        all
    }
}

fn sum<'a>(accounts: impl IntoIterator<Item = &'a Account>) -> Counts {
    Counts::sum(accounts.into_iter().map(|account| account.tally.as_ref()))
}

/// What became of a rule's connections.
#[derive(Debug)]
pub struct RuleCounts<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// All workers' counters.
    pub counts: Counts,
}
