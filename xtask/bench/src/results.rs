//! What was measured: samples by set-up, measure, contender and metric, and what failed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::measure::Sample;
use super::metric::Metric;
use super::plan::{Contender, Measure, Setup};
use super::stats::Summary;

/// Whose sample it is, and of what.
pub type Case = (Setup, Measure, Contender);

/// A sample that could not be taken.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Where.
    pub setup: Setup,
    /// On which work, and in which round from 1 on; none if it did not even start.
    pub at: Option<(Measure, usize)>,
    /// Who.
    pub contender: Contender,
    /// Why.
    pub error: String,
}

/// Everything that a run has found out.
#[derive(Debug, Default)]
pub struct Results {
    samples: BTreeMap<Case, BTreeMap<Metric, Vec<f64>>>,
    failures: Vec<Failure>,
    configurations: BTreeMap<(Setup, Contender), String>,
}

impl Results {
    /// Adds a sample, or why there is none.
    pub fn add(&mut self, case: Case, round: usize, outcome: anyhow::Result<Sample>) {
        match outcome {
            Ok(sample) => {
                let metrics = self.samples.entry(case).or_default();
                for (metric, value) in sample {
                    metrics.entry(metric).or_default().push(value);
                }
            }
            Err(error) => {
                let (setup, measure, contender) = case;
                let error = format!("{error:#}");
                self.failures.push(Failure { setup, at: Some((measure, round)), contender, error });
            }
        }
    }

    /// Notes that a contender could not be started, which fails all that was planned for it.
    pub fn absent(&mut self, setup: Setup, contender: Contender, error: &anyhow::Error) {
        let error = format!("{error:#}");
        self.failures.push(Failure { setup, at: None, contender, error });
    }

    /// Notes how a contender was configured.
    pub fn configure(&mut self, setup: Setup, contender: Contender, configuration: String) {
        self.configurations.insert((setup, contender), configuration);
    }

    /// A metric of a case; `None` if it does not have it, or has failed even once.
    pub fn summary(&self, case: Case, metric: Metric) -> Option<Summary> {
        if self.has_failed(case) {
            return None;
        }
        Summary::of(self.values(case, metric)?)
    }

    /// How many times better than `base` a contender is on the same work, by medians.
    pub fn gain(&self, case: Case, base: Contender, metric: Metric) -> Option<f64> {
        let (setup, measure, _) = case;
        let own = self.summary(case, metric)?;
        let other = self.summary((setup, measure, base), metric)?;
        Some(metric.gain(own.median, other.median))
    }

    /// The samples of a metric, in the order of the rounds.
    pub fn values(&self, case: Case, metric: Metric) -> Option<&[f64]> {
        self.samples.get(&case)?.get(&metric).map(Vec::as_slice)
    }

    /// Whether any sample of a case could not be taken.
    pub fn has_failed(&self, case: Case) -> bool {
        let (setup, measure, contender) = case;
        let mut of_contender = self
            .failures
            .iter()
            .filter(|failure| (failure.setup, failure.contender) == (setup, contender));
        of_contender.any(|failure| failure.at.is_none_or(|(failed, _)| failed == measure))
    }

    /// The metrics that any contender has here, in their order.
    pub fn metrics(&self, setup: Setup, measure: Measure) -> Vec<Metric> {
        let of_measure = self.samples.iter().filter(|((s, m, _), _)| (*s, *m) == (setup, measure));
        let mut metrics: Vec<Metric> =
            of_measure.flat_map(|(_, metrics)| metrics.keys().copied()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }

    /// All failures, in the order in which they came.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// All configurations.
    pub fn configurations(&self) -> impl Iterator<Item = (Setup, Contender, &str)> {
        self.configurations.iter().map(|(&(setup, contender), text)| (setup, contender, &**text))
    }

    /// All cases and metrics with their samples.
    pub fn all(&self) -> impl Iterator<Item = (Case, Metric, &[f64])> {
        self.samples.iter().flat_map(|(&case, metrics)| {
            metrics.iter().map(move |(&metric, values)| (case, metric, &**values))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_failed_once_has_no_numbers() {
        let case = (Setup::Plain, Measure::Short, Contender::Nginx);
        let mut results = Results::default();
        results.add(case, 1, Ok(vec![(Metric::Rate, 10.0)]));
        assert!(results.summary(case, Metric::Rate).is_some());
        results.add(case, 2, Err(anyhow::anyhow!("reset")));
        assert_eq!(results.summary(case, Metric::Rate), None);
        assert_eq!(results.failures()[0].at, Some((Measure::Short, 2)));
        assert_eq!(results.metrics(Setup::Plain, Measure::Short), [Metric::Rate]);
        assert!(results.metrics(Setup::Plain, Measure::Bulk1).is_empty());
        assert!(!results.has_failed((Setup::Plain, Measure::Bulk1, Contender::Nginx)));
    }

    #[test]
    fn a_contender_that_did_not_start_has_failed_everything_of_that_set_up() {
        let mut results = Results::default();
        results.absent(Setup::Plain, Contender::Nginx, &anyhow::anyhow!("no such program"));
        assert!(results.has_failed((Setup::Plain, Measure::Idle, Contender::Nginx)));
        assert!(!results.has_failed((Setup::Transparent, Measure::Idle, Contender::Nginx)));
        assert!(!results.has_failed((Setup::Plain, Measure::Idle, Contender::Haproxy)));
    }
}
