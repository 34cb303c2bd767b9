//! Rules that are gone. Their counters keep the rules' names until somebody has read their final values,
//! and are added to one sum then. So nothing that was counted is lost, and names don't pile up, however
//! often rules are renamed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::relay::tally::{Counts, Tally};

/// How long counters that nobody reads keep their rule's name.
const KEPT: Duration = Duration::from_secs(3600);
/// So many may keep their names in any case.
const FEW: usize = 256;

/// A rule that is gone, while its counters have a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// When it was first found without an open connection.
    idle_since: Option<Instant>,
    /// Whether its counters have been read since.
    seen: bool,
}

impl Gone {
    /// Takes in how many connections are open. Returns since when there have been none.
    pub fn update(&mut self, open: u64, now: Instant) -> Option<Instant> {
        if open > 0 {
            *self = Self::default();
            return None;
        }
        Some(*self.idle_since.get_or_insert(now))
    }

    /// Its counters have been read while it had no open connection.
    pub const fn mark_seen(&mut self) {
        self.seen = true;
    }

    /// Whether it needs no name any more.
    pub fn is_done(&self, now: Instant) -> bool {
        let is_old = |since| now.saturating_duration_since(since) >= KEPT;
        self.idle_since.is_some_and(|since| self.seen || is_old(since))
    }
}

/// How many may keep their names, if there were so many rules at one time: all of them may be renamed.
pub fn most(rules: usize) -> usize {
    rules.max(FEW)
}

/// The sum of the rules that have no name any more.
#[derive(Debug, Default)]
pub struct Former {
    counts: Counts,
    /// Counters that a worker may still write, since it keeps earlier rules for connections that come late.
    written: Vec<Arc<Tally>>,
    rules: u64,
}

impl Former {
    /// Adds the counters of a rule, one for each worker.
    pub fn add(&mut self, tallies: impl IntoIterator<Item = Arc<Tally>>) {
        self.rules += 1;
        self.written.extend(tallies);
    }

    /// Adds up the counters that no worker writes any more.
    pub fn settle(&mut self) {
        let Self { counts, written, .. } = self;
        written.retain_mut(|tally| match Arc::get_mut(tally) {
            Some(tally) => {
                counts.add(tally);
                false
            }
            None => true,
        });
    }

    /// The sum; `None` if there was none.
    pub fn counts(&self) -> Option<Counts> {
        let mut counts = self.counts.clone();
        self.written.iter().for_each(|tally| counts.add(tally));
        (self.rules > 0).then_some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_keeps_its_name_until_it_is_idle_and_was_read() {
        let now = Instant::now();
        let mut gone = Gone::default();
        gone.mark_seen();
        assert!(gone.update(1, now).is_none() && !gone.is_done(now), "it has a connection");
        assert_eq!(gone.update(0, now), Some(now));
        assert!(!gone.is_done(now), "what was seen was not the end");
        gone.mark_seen();
        assert!(gone.is_done(now));
        assert!(gone.update(1, now).is_none() && !gone.is_done(now), "one has come late");
    }

    #[test]
    fn an_hour_is_enough() {
        let now = Instant::now();
        let mut gone = Gone::default();
        gone.update(0, now);
        assert!(!gone.is_done(now + KEPT.mul_f32(0.99)));
        assert_eq!(gone.update(0, now + KEPT), Some(now));
        assert!(gone.is_done(now + KEPT));
    }

    #[test]
    fn what_is_written_late_counts() {
        let (mut former, tally) = (Former::default(), Arc::new(Tally::default()));
        assert!(former.counts().is_none());
        former.add([Arc::clone(&tally)]);
        former.settle();
        tally.accepted();
        let accepted = |former: &Former| former.counts().map(|counts| counts.accepted);
        assert_eq!((accepted(&former), former.written.len()), (Some(1), 1));
        drop(tally);
        former.settle();
        assert_eq!((accepted(&former), former.written.len()), (Some(1), 0));
    }
}
