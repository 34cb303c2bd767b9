//! Where Foreword has to stand, and where it does.

use serde::Serialize;

use super::metric::Metric;
use super::plan::{Contender, Measure, Setup};
use super::results::Results;

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is.
    Reached,
    /// It is not, or Foreword has failed.
    Missed,
    /// Something that it needs was not part of the run, or a peer has failed.
    NotMeasured,
}

/// One goal, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What has to be good.
    pub what: String,
    /// How good, such as `≥ 1.25 × HAProxy`.
    pub limit: String,
    /// What it came to, from medians.
    pub measured: Option<f64>,
    /// Whether that is enough.
    pub verdict: Verdict,
}

/// What is compared with the limit, always from medians.
#[derive(Clone, Copy, Debug)]
enum Figure {
    /// How many times better than this contender; at least the limit.
    GainOver(Contender),
    /// How many times better than the best of HAProxy, tuned HAProxy and nginx; at least the limit.
    GainOverBestPeer,
    /// What is added to direct, as a part of what HAProxy adds; at most the limit.
    AddedOverHaproxys,
    /// Foreword's own value; at most the limit.
    Value,
}

/// Whom to be better than.
const PEERS: [Contender; 3] = [Contender::Haproxy, Contender::HaproxyTuned, Contender::Nginx];

type Target = (&'static str, Measure, Metric, &'static [Setup], Figure, f64);

const PLAIN: &[Setup] = &[Setup::Plain];
const TRANSPARENT: &[Setup] = &[Setup::Transparent];
const BOTH: &[Setup] = &[Setup::Plain, Setup::Transparent];

/// All goals.
const TARGETS: [Target; 16] = {
    use Contender::{Direct, Haproxy, HaproxyTuned};
    use Figure::{AddedOverHaproxys, GainOver, GainOverBestPeer, Value};
    use Measure::{Bulk1, Ebpf, Idle, PingPong1, PingPong256, Short};
    use Metric::{
        Descriptors, P50, ProxyPerConnection, ProxyPerGigabyte, Rate, Rss, SteerOthers, SteerOurs,
        Throughput,
    };
    const PER_CPU: &str = "connections per proxy CPU-second";
    const BULK: &str = "bulk, 1 stream";
    [
        (PER_CPU, Short, ProxyPerConnection, PLAIN, GainOver(Haproxy), 1.25),
        (PER_CPU, Short, ProxyPerConnection, PLAIN, GainOver(HaproxyTuned), 1.15),
        ("connections per second", Short, Rate, TRANSPARENT, GainOver(Haproxy), 1.4),
        ("connections per second", Short, Rate, TRANSPARENT, GainOver(HaproxyTuned), 1.4),
        ("connections per second", Short, Rate, TRANSPARENT, GainOver(Direct), 0.95),
        (BULK, Bulk1, Throughput, BOTH, GainOver(Direct), 0.85),
        (BULK, Bulk1, Throughput, BOTH, GainOver(Haproxy), 3.0),
        (BULK, Bulk1, Throughput, BOTH, GainOver(HaproxyTuned), 0.97),
        ("proxy CPU for bulk, 1 stream", Bulk1, ProxyPerGigabyte, BOTH, Value, 0.10),
        ("added p50, 1 connection, one CPU", PingPong1, P50, BOTH, AddedOverHaproxys, 0.8),
        ("ping-pong rate, 256 connections", PingPong256, Rate, BOTH, GainOverBestPeer, 1.05),
        ("memory of an idle connection", Idle, Rss, BOTH, Value, 1024.0),
        ("descriptors of a connection", Idle, Descriptors, BOTH, Value, 2.0),
        ("eBPF, a packet that is not ours", Ebpf, SteerOthers, BOTH, Value, 60.0),
        ("eBPF, a packet that is ours", Ebpf, SteerOurs, BOTH, Value, 300.0),
        ("eBPF, a reply", Ebpf, Metric::Return, BOTH, Value, 300.0),
    ]
};

/// Judges all goals, those of the transparent set-up after those of the plain one.
pub fn judge(results: &Results) -> Vec<Goal> {
    let of_setup = |setup| TARGETS.iter().filter(move |target| target.3.contains(&setup));
    let setups = [Setup::Plain, Setup::Transparent];
    setups
        .into_iter()
        .flat_map(|setup| of_setup(setup).map(move |target| judge_one(results, setup, target)))
        .collect()
}

fn judge_one(results: &Results, setup: Setup, target: &Target) -> Goal {
    let &(what, measure, metric, _, figure, limit) = target;
    let case = |contender| (setup, measure, contender);
    let median = |contender| results.summary(case(contender), metric).map(|it| it.median);
    let foreword =
        if measure == Measure::Ebpf { Contender::steered_in(setup) } else { Contender::Foreword };
    let own = median(foreword);
    let gain = |over| Some(metric.gain(own?, median(over)?));
    let least = |least: f64, peer| Some(gain(peer)?.min(least));
    let (measured, at_least) = match figure {
        Figure::GainOver(contender) => (gain(contender), true),
        Figure::GainOverBestPeer => (PEERS.into_iter().try_fold(f64::MAX, least), true),
        Figure::AddedOverHaproxys => {
            let added = |contender| Some(median(contender)? - median(Contender::Direct)?);
            let share = || Some(added(Contender::Foreword)? / added(Contender::Haproxy)?);
            (share(), false)
        }
        Figure::Value => (own, false),
    };
    let is_enough = |value| if at_least { value >= limit } else { value <= limit };
    let verdict = match measured {
        Some(value) if is_enough(value) => Verdict::Reached,
        None if !results.has_failed(case(foreword)) => Verdict::NotMeasured,
        _ => Verdict::Missed,
    };
    let what = format!("{what}, {}", setup.title());
    Goal { what, limit: figure.describe(limit, metric), measured, verdict }
}

impl Figure {
    fn describe(self, limit: f64, metric: Metric) -> String {
        match self {
            Self::GainOver(contender) => format!("≥ {limit} × {}", contender.title()),
            Self::GainOverBestPeer => format!("≥ {limit} × the best peer"),
            Self::AddedOverHaproxys => format!("≤ {limit} × what HAProxy adds"),
            Self::Value => format!("≤ {limit} {}", metric.unit()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(measure: Measure, metric: Metric, medians: &[(Contender, f64)]) -> Results {
        let mut results = Results::default();
        for &(contender, value) in medians {
            let case = (Setup::Plain, measure, contender);
            results.add(case, 1, Ok(vec![(metric, value)]));
        }
        results
    }

    fn goal(results: &Results, what: &str, goal: &str) -> (Verdict, Option<f64>) {
        let goals = judge(results);
        let found = goals.iter().find(|it| it.what.starts_with(what) && it.limit.contains(goal));
        let found = found.unwrap();
        (found.verdict, found.measured)
    }

    #[test]
    fn less_time_is_a_gain() {
        let medians = [(Contender::Haproxy, 75.0), (Contender::Foreword, 50.0)];
        let results = results(Measure::Short, Metric::ProxyPerConnection, &medians);
        let what = "connections per proxy CPU-second";
        assert_eq!(goal(&results, what, "× HAProxy"), (Verdict::Reached, Some(1.5)));
        assert_eq!(goal(&results, what, "tuned"), (Verdict::NotMeasured, None));
    }

    #[test]
    fn the_best_peer_is_the_one_to_beat() {
        use Contender::{Foreword, Haproxy, HaproxyTuned, Nginx};
        let medians = [(Haproxy, 50.0), (HaproxyTuned, 80.0), (Nginx, 100.0), (Foreword, 104.0)];
        let mut results = results(Measure::PingPong256, Metric::Rate, &medians);
        let what = "ping-pong rate";
        assert_eq!(goal(&results, what, "best"), (Verdict::Missed, Some(1.04)));
        let nginx = (Setup::Plain, Measure::PingPong256, Nginx);
        results.add(nginx, 2, Err(anyhow::anyhow!("reset")));
        assert_eq!(goal(&results, what, "best"), (Verdict::NotMeasured, None));
        results.absent(Setup::Plain, Foreword, &anyhow::anyhow!("no such program"));
        assert_eq!(goal(&results, what, "best"), (Verdict::Missed, None));
    }

    #[test]
    fn added_time_is_compared_with_what_haproxy_adds() {
        use Contender::{Direct, Foreword, Haproxy};
        let medians = [(Direct, 10.0), (Haproxy, 30.0), (Foreword, 25.0)];
        let results = results(Measure::PingPong1, Metric::P50, &medians);
        assert_eq!(goal(&results, "added p50", "HAProxy adds"), (Verdict::Reached, Some(0.75)));
    }

    #[test]
    fn a_value_may_be_the_limit_itself() {
        let two = results(Measure::Idle, Metric::Descriptors, &[(Contender::Foreword, 2.0)]);
        assert_eq!(goal(&two, "descriptors", "2").0, Verdict::Reached);
        let three = results(Measure::Idle, Metric::Descriptors, &[(Contender::Foreword, 3.0)]);
        assert_eq!(goal(&three, "descriptors", "2").0, Verdict::Missed);
    }
}
