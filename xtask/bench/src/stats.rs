//! Medians, percentiles, and numbers that have to become fractions.

use std::time::Duration;

use serde::Serialize;

/// A count as a fraction's part.
#[allow(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// What became of several samples of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The middle one, or the mean of both in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// `None` without samples.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let even = sorted.len().is_multiple_of(2);
        let median = if even { f64::midpoint(sorted[middle - 1], upper) } else { upper };
        Some(Self { median, min, max })
    }
}

/// How long each of many round trips took.
#[derive(Debug, Default)]
pub struct Latencies {
    nanoseconds: Vec<u32>,
    is_sorted: bool,
}

impl Latencies {
    /// Adds one; what is longer than four seconds counts as four.
    pub fn add(&mut self, latency: Duration) {
        self.nanoseconds.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
        self.is_sorted = false;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    /// The latency that `percent` of 100 do not exceed, in microseconds; `None` without any.
    pub fn percentile(&mut self, percent: usize) -> Option<f64> {
        if !self.is_sorted {
            self.nanoseconds.sort_unstable();
            self.is_sorted = true;
        }
        let last = self.nanoseconds.len().checked_sub(1)?;
        let nanoseconds = *self.nanoseconds.get(last * percent / 100)?;
        Some(f64::from(nanoseconds) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        let summary = |samples: &[f64]| Summary::of(samples);
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[7.0]), Some(Summary { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(summary(&[9.0, 1.0, 4.0]), Some(Summary { median: 4.0, min: 1.0, max: 9.0 }));
        let even = summary(&[9.0, 1.0, 5.0, 4.0]);
        assert_eq!(even, Some(Summary { median: 4.5, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), None);
        (0..=100).rev().for_each(|us| latencies.add(Duration::from_micros(us)));
        assert_eq!(latencies.percentile(50), Some(50.0));
        assert_eq!(latencies.percentile(99), Some(99.0));
        latencies.add(Duration::from_secs(60));
        assert_eq!(latencies.percentile(100), Some(f64::from(u32::MAX) / 1e3));
        assert_eq!(latencies.count(), 102);
    }
}
