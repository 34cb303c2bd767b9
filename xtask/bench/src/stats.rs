//! Medians, percentiles, and numbers that have to become fractions.

use std::time::Duration;

use hdrhistogram::Histogram;
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

/// What longer latencies count as, in nanoseconds.
const LONGEST: u64 = 4_000_000_000;

/// How long each of many round trips took, to a thousandth.
#[derive(Debug)]
pub struct Latencies(Histogram<u32>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_max(LONGEST, 3).expect("three digits of it are allowed"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` of 100 do not exceed, in microseconds; `None` without any.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let nanoseconds = (!self.0.is_empty()).then(|| self.0.value_at_percentile(percent))?;
        Some(float(nanoseconds) / 1e3)
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
        assert_eq!(latencies.percentile(50.0), None);
        (1..=100).rev().for_each(|us| latencies.add(Duration::from_micros(us)));
        for percent in [50.0, 99.0] {
            let latency = latencies.percentile(percent).unwrap();
            assert!((latency - percent).abs() < percent / 1000.0, "{latency}");
        }
        assert_eq!(latencies.count(), 100);
    }
}
