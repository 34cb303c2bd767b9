//! Rules with their counters. A counter belongs to a rule's name and a worker: it goes on when the
//! rule is changed, and is kept when it is gone, so that no sum ever shrinks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::tally::{Counts, Tally};
use crate::address::OriginalDst;
use crate::config::Settings;
use crate::config::settings::Rule;

/// Under this name stands what no rule wants.
const NOBODYS: &str = "";

/// A rule, as one worker serves it.
#[derive(Debug)]
pub struct Served {
    /// The rule. Each worker has a copy of its own.
    pub rule: Rule,
    /// Its counters, which only that worker writes.
    pub tally: Arc<Tally>,
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

    /// The rule for a connection, by the port that it was made to. If there is none any more, the
    /// last one that there was: steering has let the connection in by it.
    pub fn find(&self, destination: OriginalDst) -> Option<&Arc<Served>> {
        let port = destination.get().port();
        let has_port = |served: &&Arc<Served>| served.rule.ports.contains(port);
        self.0.iter().find_map(|rules| rules.iter().find(has_port))
    }
}

/// The counters of every rule that there has been, by name and worker.
#[derive(Debug)]
pub struct Ledger {
    workers: usize,
    tallies: BTreeMap<String, Vec<Arc<Tally>>>,
}

impl Ledger {
    /// One for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers, tallies: BTreeMap::new() }
    }

    /// The rules for a worker.
    pub fn serve(&mut self, settings: &Settings, worker: usize) -> Vec<Arc<Served>> {
        let served = |rule: &Arc<Rule>| {
            let tally = self.tally(&rule.name, worker);
            Arc::new(Served { rule: Rule::clone(rule), tally })
        };
        settings.rules.iter().map(served).collect()
    }

    /// A worker's counters of connections that no rule wants.
    pub fn nobodys(&mut self, worker: usize) -> Arc<Tally> {
        self.tally(NOBODYS, worker)
    }

    fn tally(&mut self, name: &str, worker: usize) -> Arc<Tally> {
        let workers = self.workers;
        let of_rule = self.tallies.entry(name.to_owned());
        let of_rule = of_rule.or_insert_with(|| (0..workers).map(|_| Arc::default()).collect());
        Arc::clone(&of_rule[worker])
    }

    /// The sum of everything.
    pub fn counts(&self) -> Counts {
        Counts::sum(self.tallies.values().flatten().map(AsRef::as_ref))
    }

    /// What became of connections that no rule wanted.
    pub fn of_nobody(&self) -> Counts {
        Counts::sum(self.tallies.get(NOBODYS).into_iter().flatten().map(AsRef::as_ref))
    }

    /// What became of each rule's connections, in the order of their names.
    pub fn by_rule(&self) -> impl Iterator<Item = RuleCounts<'_>> {
        self.tallies.iter().filter(|(name, _)| *name != NOBODYS).map(|(name, tallies)| RuleCounts {
            rule: name,
            counts: Counts::sum(tallies.iter().map(AsRef::as_ref)),
        })
    }
}

/// What became of a rule's connections.
#[derive(Debug)]
pub struct RuleCounts<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// All workers' counters.
    pub counts: Counts,
}
