//! Rules that are gone. Their counters stay under their names until somebody has seen where they ended;
//! from then on they are one sum. So nothing that was counted is lost, and however often rules are renamed,
//! there are not more and more of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::relay::tally::{Counts, Tally};

/// How long counters that nobody looks at stay under their rule's name.
const KEPT: Duration = Duration::from_secs(3600);
/// So many may stay at least, whoever looks.
const FEW: usize = 256;

/// How far a rule is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Since when it has had no connection any more.
    rests: Option<Instant>,
    /// Whether its counters were seen since.
    seen: bool,
}

impl Gone {
    /// Takes in how many connections it has. Whether it has none, since when.
    pub fn look(&mut self, open: u64, now: Instant) -> Option<Instant> {
        if open > 0 {
            *self = Self::default();
            return None;
        }
        Some(*self.rests.get_or_insert(now))
    }

    /// Its counters were seen, and it had no connection then.
    pub const fn mark_seen(&mut self) {
        self.seen = true;
    }

    /// Whether it needs no name any more.
    pub fn is_done(&self, now: Instant) -> bool {
        let is_old = |rests| now.saturating_duration_since(rests) >= KEPT;
        self.rests.is_some_and(|rests| self.seen || is_old(rests))
    }
}

/// How many may stay under their names, if there were so many rules at once: all of them may be renamed.
pub fn most(rules: usize) -> usize {
    rules.max(FEW)
}

/// The sum of those that have no name any more.
#[derive(Debug, Default)]
pub struct Former {
    counts: Counts,
    /// What a worker may still write: it keeps earlier rules for connections that come late.
    written: Vec<Arc<Tally>>,
    rules: u64,
}

impl Former {
    /// Adds a rule, by all workers' counters.
    pub fn add(&mut self, tallies: impl IntoIterator<Item = Arc<Tally>>) {
        self.rules += 1;
        self.written.extend(tallies);
    }

    /// Adds up what no worker writes any more.
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
    fn a_rule_keeps_its_name_until_it_rests_and_was_seen() {
        let now = Instant::now();
        let mut gone = Gone::default();
        gone.mark_seen();
        assert!(gone.look(1, now).is_none() && !gone.is_done(now), "it has a connection");
        assert_eq!(gone.look(0, now), Some(now));
        assert!(!gone.is_done(now), "what was seen was not the end");
        gone.mark_seen();
        assert!(gone.is_done(now));
        assert!(gone.look(1, now).is_none() && !gone.is_done(now), "one has come late");
    }

    #[test]
    fn an_hour_is_enough() {
        let now = Instant::now();
        let mut gone = Gone::default();
        gone.look(0, now);
        assert!(!gone.is_done(now + KEPT.mul_f32(0.99)));
        assert_eq!(gone.look(0, now + KEPT), Some(now));
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
