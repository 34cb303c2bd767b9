//! Writes the maps of rules: all of a change, or nothing.
//!
//! Ranges are written under numbers that nothing in the maps refers to, then the ports are exchanged
//! for those that refer to them, each at one moment. What was there before stays until no packet can
//! be about to ask for it, and until then it can be gone back to. The writer knows what is in the
//! maps, since nobody else writes them. What the kernel lets neither be written nor taken back is
//! owed: nothing else is written or removed before, so that there are never more than two generations.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::tables::{Key, Numbers, Table, Tables, Value};
use crate::config::Settings;
use crate::config::settings::UpstreamAddress;

/// For how long a program may still look for the ranges of a rule that it has read before it was
/// exchanged. They run for microseconds, on a CPU that may be taken away from them meanwhile.
const GRACE_PERIOD: Duration = Duration::from_millis(100);

/// The maps that rules are written to.
pub trait Maps {
    /// How many entries a map has room for.
    fn capacity(&self, table: Table) -> usize;
    /// Writes an entry, or writes it over.
    fn set(&mut self, key: Key, value: Value) -> Result<()>;
    /// Removes an entry that is there.
    fn remove(&mut self, key: Key) -> Result<()>;
}

/// What is in the maps, and the numbers for what comes.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    written: Tables,
    numbers: Numbers,
    /// When rules were last exchanged.
    swapped_at: Option<Instant>,
    /// What entries of a change that failed are to be again, in the order of its writes.
    undo: Vec<(Key, Option<Value>)>,
}

impl Writer {
    /// Has the maps say what the settings say. An error leaves them as they were.
    pub fn apply(&mut self, maps: &mut impl Maps, settings: &Settings) -> Result<()> {
        // What a change that failed has left is nobody's rule, and not to be kept.
        self.roll_back(maps)?;
        let mut wanted = Tables::of(settings, &mut self.numbers);
        wanted.keep(&self.written);
        self.swap(maps, &wanted)
    }

    /// The number by which the maps know an upstream; 0: it is what clients aim at.
    pub fn number_of(&mut self, upstream: &UpstreamAddress) -> u32 {
        self.numbers.of_upstream(upstream)
    }

    /// Has no port any rule. An error leaves the maps as they were.
    pub fn retire_all(&mut self, maps: &mut impl Maps) -> Result<()> {
        self.roll_back(maps)?;
        self.swap(maps, &self.written.retired())
    }

    /// Removes what no port's rule refers to any more, unless it may still be asked for.
    pub fn tidy(&mut self, maps: &mut impl Maps) -> Result<()> {
        self.roll_back(maps)?;
        let is_asked_for = self.swapped_at.is_some_and(|at| at.elapsed() < GRACE_PERIOD);
        if is_asked_for { Ok(()) } else { self.remove_stale(maps) }
    }

    /// Needs nothing to be owed.
    fn swap(&mut self, maps: &mut impl Maps, wanted: &Tables) -> Result<()> {
        self.make_room(maps, wanted)?;
        let result = self.write(maps, wanted);
        if self.undo.iter().any(|(key, _)| key.table() == Table::Ports) {
            self.swapped_at = Some(Instant::now());
        }
        if result.is_ok() {
            self.undo.clear();
        } else if let Err(error) = self.tidy(maps) {
            let error = format!("{error:#}");
            tracing::error!(error, "the rules are not all as they were; it is tried again");
        }
        result
    }

    /// Sees to it that all that is wanted fits in beside what is there. Two generations always do.
    fn make_room(&mut self, maps: &mut impl Maps, wanted: &Tables) -> Result<()> {
        if self.overfull(maps, wanted).is_some() {
            if let Some(swapped_at) = self.swapped_at {
                sleep(GRACE_PERIOD.saturating_sub(swapped_at.elapsed()));
            }
            self.remove_stale(maps)?;
        }
        match self.overfull(maps, wanted) {
            Some((table, entries)) => bail!(
                "{} would have {entries} entries, and has room for {}: name fewer ports or ranges",
                table.name(),
                maps.capacity(table)
            ),
            None => Ok(()),
        }
    }

    /// A map that could not have both what is there and what is wanted, and how much that is.
    fn overfull(&self, maps: &impl Maps, wanted: &Tables) -> Option<(Table, usize)> {
        let mut counts: BTreeMap<Table, usize> = BTreeMap::new();
        let new = wanted.0.keys().filter(|key| !self.written.0.contains_key(*key));
        for key in self.written.0.keys().chain(new) {
            *counts.entry(key.table()).or_default() += 1;
        }
        counts.into_iter().find(|(table, entries)| *entries > maps.capacity(*table))
    }

    /// Writes what differs, ports last; then ports that are held no more are let go. Notes what was
    /// there as owed.
    fn write(&mut self, maps: &mut impl Maps, wanted: &Tables) -> Result<()> {
        for (&key, &value) in &wanted.0 {
            let before = self.written.0.get(&key).copied();
            if before != Some(value) {
                self.set(maps, key, value)?;
                self.undo.push((key, before));
            }
        }
        let held = |key: &Key| key.table() == Table::Held && !wanted.0.contains_key(key);
        let detach: Vec<_> = self.written.0.keys().copied().filter(held).collect();
        for key in detach {
            self.remove(maps, key)?;
            self.undo.push((key, Some(Value::Member)));
        }
        Ok(())
    }

    /// Takes the writes of a change that failed back, the last one first. Ranges are left to be found
    /// stale.
    fn roll_back(&mut self, maps: &mut impl Maps) -> Result<()> {
        while let Some(&(key, before)) = self.undo.last() {
            match before {
                _ if key.owner().is_some() => {}
                Some(value) => self.set(maps, key, value)?,
                None => self.remove(maps, key)?,
            }
            self.undo.pop();
        }
        Ok(())
    }

    fn remove_stale(&mut self, maps: &mut impl Maps) -> Result<()> {
        let mut stale = self.written.stale().into_iter();
        stale.try_for_each(|key| self.remove(maps, key))
    }

    fn set(&mut self, maps: &mut impl Maps, key: Key, value: Value) -> Result<()> {
        maps.set(key, value).with_context(|| format!("cannot write to {}", key.table().name()))?;
        self.written.0.insert(key, value);
        Ok(())
    }

    fn remove(&mut self, maps: &mut impl Maps, key: Key) -> Result<()> {
        maps.remove(key).with_context(|| format!("cannot remove from {}", key.table().name()))?;
        self.written.0.remove(&key);
        Ok(())
    }
}

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;
