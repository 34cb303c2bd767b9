//! Rules with their counters. A counter belongs to a rule's name and a worker: it goes on when the
//! rule is changed, and is kept when it is gone ([`former`]), so that no sum ever shrinks.

mod former;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use self::former::{Former, Gone};
use super::addresses::{Addresses, Candidates};
use super::tally::{Counts, Tally};
use crate::address::{OriginalDst, PeerAddr, UpstreamAddr};
use crate::config::Settings;
use crate::config::settings::{Rule, UpstreamAddress, UpstreamName};
use crate::policy::cutover::HeaderUsage;

/// A rule, as one worker serves it.
#[derive(Debug)]
pub struct ActiveRule {
    /// The rule. Each worker has a copy of its own.
    pub rule: Rule,
    /// Its counters, which only that worker writes.
    pub tally: Arc<Tally>,
    /// Who sent a header, and who did not.
    pub usage: Arc<SharedUsage>,
    /// The addresses of its upstream's name, if it has one.
    pub addresses: Option<Arc<Addresses>>,
}

impl ActiveRule {
    /// Where a connection to this destination is to go.
    pub fn candidates(&self, destination: OriginalDst, now: Instant) -> Candidates {
        match (&self.addresses, &self.rule.upstream.address) {
            (Some(addresses), _) => addresses.candidates(now),
            (None, UpstreamAddress::Fixed(address)) => Candidates::One(*address),
            (None, _) => Candidates::One(UpstreamAddr::from(destination)),
        }
    }
}

/// What one worker notes and others read. Nobody waits for it but for the time that a reader takes
/// to copy it.
#[derive(Debug)]
pub struct SharedUsage(Mutex<HeaderUsage>);

impl SharedUsage {
    /// Notes a connection.
    pub fn record(&self, peer: PeerAddr, has_header: bool, now: Instant) {
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usage.record(peer.ip(), has_header, now);
    }

    fn copy(&self) -> HeaderUsage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is kept of one rule and worker.
#[derive(Clone, Debug)]
struct Account {
    tally: Arc<Tally>,
    usage: Arc<SharedUsage>,
}

/// What is kept of one rule, by worker.
#[derive(Debug)]
struct Accounts {
    of_workers: Vec<Account>,
    /// `None`: there is such a rule.
    gone: Option<Gone>,
}

impl Accounts {
    fn counts(&self) -> Counts {
        Counts::sum(self.of_workers.iter().map(|account| account.tally.as_ref()))
    }

    fn open(&self) -> u64 {
        self.of_workers.iter().map(|account| account.tally.open()).sum()
    }
}

/// Generations of rules that a connection may still be for: its first packet was let in by one,
/// and it is accepted after the next has come.
const GENERATIONS: usize = 8;

/// The rules that a worker serves new connections by, and those before them.
#[derive(Debug, Default)]
pub struct Rules(VecDeque<Vec<Arc<ActiveRule>>>);

impl Rules {
    /// From now on new connections follow these.
    pub fn replace(&mut self, rules: Vec<Arc<ActiveRule>>) {
        self.0.push_front(rules);
        self.0.truncate(GENERATIONS);
    }

    /// The rule for a connection, by what it was made to. If there is none any more, the
    /// last one that there was: steering has let the connection in by it.
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

/// The counters of every rule that there has been.
#[derive(Debug)]
pub struct RuleStats {
    workers: usize,
    began: Instant,
    rules: BTreeMap<String, Accounts>,
    /// The most rules that there have been at once.
    most: usize,
    former: Former,
    /// Connections that no rule wanted, by worker.
    unmatched: Vec<Arc<Tally>>,
    /// What upstreams' names stand for, for rules that were and rules that are.
    names: BTreeMap<UpstreamName, Arc<Addresses>>,
}

impl RuleStats {
    /// One for so many workers.
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

    /// The rules for a worker.
    pub fn activate(&mut self, settings: &Settings, worker: usize) -> Vec<Arc<ActiveRule>> {
        let active = |rule: &Rule| {
            let Account { tally, usage } = self.account(&rule.name, worker);
            let addresses = rule.upstream_name().map(|name| self.addresses(name));
            Arc::new(ActiveRule { rule: rule.clone(), tally, usage, addresses })
        };
        settings.rules.iter().map(active).collect()
    }

    /// From now on a name stands for these addresses, for new connections of any rule.
    pub fn set_addresses(&mut self, name: &UpstreamName, addresses: &[UpstreamAddr]) {
        self.addresses(name).change(addresses);
    }

    fn addresses(&mut self, name: &UpstreamName) -> Arc<Addresses> {
        Arc::clone(self.names.entry(name.clone()).or_default())
    }

    /// Workers serve these rules now, and all others are gone.
    pub fn retire_others(&mut self, settings: &Settings) {
        self.most = self.most.max(settings.rules.len());
        let names: BTreeSet<_> = settings.rules.iter().map(|rule| rule.name.as_str()).collect();
        for (name, accounts) in &mut self.rules {
            let is_gone = !names.contains(name.as_str());
            accounts.gone = is_gone.then(|| accounts.gone.unwrap_or_default());
        }
    }

    /// The counters of these rules were seen as they are without connections.
    pub fn mark_seen<'a>(&mut self, rules: impl IntoIterator<Item = &'a str>) {
        for rule in rules {
            let gone = self.rules.get_mut(rule).and_then(|accounts| accounts.gone.as_mut());
            gone.into_iter().for_each(Gone::mark_seen);
        }
    }

    /// Adds up the rules that need no name any more; to be called now and then.
    pub fn tidy(&mut self, now: Instant) {
        let mut rest: Vec<_> = Vec::new();
        for (name, accounts) in &mut self.rules {
            let open = accounts.open();
            let Some(gone) = &mut accounts.gone else { continue };
            if let Some(since) = gone.look(open, now) {
                rest.push((gone.is_done(now), since, name.clone()));
            }
        }
        // The last ones to go stay, if there are too many.
        rest.sort_by_key(|(is_done, since, _)| (!is_done, *since));
        let too_many = rest.len().saturating_sub(former::most(self.most));
        let done = rest.iter().filter(|(is_done, ..)| *is_done).count();
        for (_, _, name) in rest.into_iter().take(done.max(too_many)) {
            let accounts = self.rules.remove(&name).into_iter().flat_map(|it| it.of_workers);
            self.former.add(accounts.map(|account| account.tally));
        }
        self.former.settle();
    }

    /// A worker's counters of connections that no rule wants.
    pub fn unmatched(&self, worker: usize) -> Arc<Tally> {
        Arc::clone(&self.unmatched[worker])
    }

    fn account(&mut self, name: &str, worker: usize) -> Account {
        let (workers, began) = (self.workers, self.began);
        let new = || Account {
            tally: Arc::default(),
            usage: Arc::new(SharedUsage(Mutex::new(HeaderUsage::new(began)))),
        };
        let of_rule = self.rules.entry(name.to_owned());
        let accounts = of_rule.or_insert_with(|| Accounts {
            of_workers: (0..workers).map(|_| new()).collect(),
            gone: None,
        });
        accounts.of_workers[worker].clone()
    }

    /// The sum of everything.
    pub fn counts(&self) -> Counts {
        let mut sum = self.former.counts().unwrap_or_default();
        let rules = self.rules.values().flat_map(|accounts| &accounts.of_workers);
        rules.map(|account| &account.tally).chain(&self.unmatched).for_each(|it| sum.add(it));
        sum
    }

    /// What became of connections that no rule wanted.
    pub fn unmatched_counts(&self) -> Counts {
        Counts::sum(self.unmatched.iter().map(Arc::as_ref))
    }

    /// What became of each rule's connections, in the order of their names.
    pub fn by_rule(&self) -> impl Iterator<Item = RuleCounts<'_>> {
        let rules = self.rules.iter();
        rules.map(|(rule, accounts)| RuleCounts { rule, counts: accounts.counts() })
    }

    /// What became of the connections of rules that are gone and have no name any more; `None`: there is
    /// no such rule.
    pub fn of_former(&self) -> Option<Counts> {
        self.former.counts()
    }

    /// Who sent a rule's connections a header, and who did not.
    pub fn header_usage(&self, rule: &str) -> HeaderUsage {
        let mut all = HeaderUsage::new(self.began);
        let of_rule = self.rules.get(rule).into_iter();
        for account in of_rule.flat_map(|accounts| &accounts.of_workers) {
            all.merge(&account.usage.copy());
        }
        all
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
