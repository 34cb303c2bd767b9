//! The counters of rules. They belong to a rule's name and a worker: they go on when the rule is changed,
//! and are kept when it is gone ([`former`]), so that no sum ever shrinks.

mod former;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use self::former::{Former, Gone};
use super::addresses::Addresses;
use super::rules::{ActiveRule, SharedUsage};
use super::tally::{Counts, Tally};
use crate::address::UpstreamAddr;
use crate::config::Settings;
use crate::config::settings::{Rule, UpstreamName};
use crate::policy::cutover::HeaderUsage;

/// What one worker counts for one rule.
#[derive(Clone, Debug)]
struct WorkerEntry {
    tally: Arc<Tally>,
    usage: Arc<SharedUsage>,
}

/// What all workers count for one rule.
#[derive(Debug)]
struct RuleEntry {
    workers: Vec<WorkerEntry>,
    /// Since the rule was removed; `None`: it is there.
    gone: Option<Gone>,
}

impl RuleEntry {
    fn counts(&self) -> Counts {
        Counts::sum(self.workers.iter().map(|worker| worker.tally.as_ref()))
    }

    fn open(&self) -> u64 {
        self.workers.iter().map(|worker| worker.tally.open()).sum()
    }
}

/// The counters of every rule that there is or has been.
#[derive(Debug)]
pub struct RuleStats {
    workers: usize,
    began: Instant,
    rules: BTreeMap<String, RuleEntry>,
    /// The largest number of rules at one time.
    most: usize,
    former: Former,
    /// Counters of connections that matched no rule, by worker.
    unmatched: Vec<Arc<Tally>>,
    /// The addresses of upstreams' names, for earlier rules as well.
    names: BTreeMap<UpstreamName, Arc<Addresses>>,
}

impl RuleStats {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            began: Instant::now(),
            rules: BTreeMap::new(),
            most: 0,
            former: Former::default(),
            unmatched: (0..workers).map(|_| Arc::default()).collect(),
            names: BTreeMap::new(),
        }
    }

    /// The rules of these settings with their counters, for one worker.
    pub fn activate(&mut self, settings: &Settings, worker: usize) -> Vec<Arc<ActiveRule>> {
        let active = |rule: &Rule| {
            let WorkerEntry { tally, usage } = self.entry(&rule.name, worker);
            let addresses = rule.upstream_name().map(|name| self.addresses(name));
            Arc::new(ActiveRule { rule: rule.clone(), tally, usage, addresses })
        };
        settings.rules.iter().map(active).collect()
    }

    /// Sets the addresses of a name, for new connections of any rule.
    pub fn set_addresses(&mut self, name: &UpstreamName, addresses: &[UpstreamAddr]) {
        self.addresses(name).change(addresses);
    }

    fn addresses(&mut self, name: &UpstreamName) -> Arc<Addresses> {
        Arc::clone(self.names.entry(name.clone()).or_default())
    }

    /// Marks all rules as gone that are not in these settings, which workers apply by now.
    pub fn retire_others(&mut self, settings: &Settings) {
        self.most = self.most.max(settings.rules.len());
        let names: BTreeSet<_> = settings.rules.iter().map(|rule| rule.name.as_str()).collect();
        for (name, entry) in &mut self.rules {
            let is_gone = !names.contains(name.as_str());
            entry.gone = is_gone.then(|| entry.gone.unwrap_or_default());
        }
    }

    /// The counters of these rules have been read at a time when they had no open connection.
    pub fn mark_seen<'a>(&mut self, rules: impl IntoIterator<Item = &'a str>) {
        for rule in rules {
            let gone = self.rules.get_mut(rule).and_then(|entry| entry.gone.as_mut());
            gone.into_iter().for_each(Gone::mark_seen);
        }
    }

    /// Adds up the counters of rules that need no name any more; to be called now and then.
    pub fn tidy(&mut self, now: Instant) {
        let mut rest: Vec<_> = Vec::new();
        for (name, entry) in &mut self.rules {
            let open = entry.open();
            let Some(gone) = &mut entry.gone else { continue };
            if let Some(since) = gone.update(open, now) {
                rest.push((gone.is_done(now), since, name.clone()));
            }
        }
        // If there are too many, those that went last stay.
        rest.sort_by_key(|(is_done, since, _)| (!is_done, *since));
        let too_many = rest.len().saturating_sub(former::most(self.most));
        let done = rest.iter().filter(|(is_done, ..)| *is_done).count();
        for (_, _, name) in rest.into_iter().take(done.max(too_many)) {
            let entry = self.rules.remove(&name).into_iter().flat_map(|it| it.workers);
            self.former.add(entry.map(|worker| worker.tally));
        }
        self.former.settle();
    }

    /// A worker's counters of connections that match no rule.
    pub fn unmatched(&self, worker: usize) -> Arc<Tally> {
        Arc::clone(&self.unmatched[worker])
    }

    fn entry(&mut self, name: &str, worker: usize) -> WorkerEntry {
        let (workers, began) = (self.workers, self.began);
        let new = || WorkerEntry {
            tally: Arc::default(),
            usage: Arc::new(SharedUsage::new(HeaderUsage::new(began))),
        };
        let of_rule = self.rules.entry(name.to_owned());
        let entry = of_rule.or_insert_with(|| RuleEntry {
            workers: (0..workers).map(|_| new()).collect(),
            gone: None,
        });
        entry.workers[worker].clone()
    }

    /// The sum of all counters.
    pub fn counts(&self) -> Counts {
        let mut sum = self.former.counts().unwrap_or_default();
        let rules = self.rules.values().flat_map(|entry| &entry.workers);
        rules.map(|worker| &worker.tally).chain(&self.unmatched).for_each(|it| sum.add(it));
        sum
    }

    /// The sum of connections that matched no rule.
    pub fn unmatched_counts(&self) -> Counts {
        Counts::sum(self.unmatched.iter().map(Arc::as_ref))
    }

    /// The sums of each rule that has a name, sorted by name.
    pub fn by_rule(&self) -> impl Iterator<Item = RuleCounts<'_>> {
        let rules = self.rules.iter();
        rules.map(|(rule, entry)| RuleCounts { rule, counts: entry.counts() })
    }

    /// The sum of all rules that are gone and have no name any more; `None`: there are none.
    pub fn of_former(&self) -> Option<Counts> {
        self.former.counts()
    }

    /// Which sources have sent headers to a rule, and which have not.
    pub fn header_usage(&self, rule: &str) -> HeaderUsage {
        let mut all = HeaderUsage::new(self.began);
        let of_rule = self.rules.get(rule).into_iter();
        for worker in of_rule.flat_map(|entry| &entry.workers) {
            all.merge(&worker.usage.copy());
        }
        all
    }
}

/// The counters of one rule.
#[derive(Debug)]
pub struct RuleCounts<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// The sums over all workers.
    pub counts: Counts,
}
