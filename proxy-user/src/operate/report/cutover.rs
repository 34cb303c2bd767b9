//! How far the cut-over of a rule is.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use humantime::format_duration;
use serde::{Deserialize, Serialize};

use crate::config::settings::Mode;
use crate::policy::cutover::{HeaderUsage, MINUTES, Readiness, readiness};

/// How far a rule's cut-over is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cutover {
    /// The rule.
    pub rule: String,
    /// Its mode.
    pub mode: String,
    /// The verdict in a word.
    pub verdict: CutoverState,
    /// The verdict in a sentence.
    pub says: String,
    /// Each trusted source that has connected.
    pub sources: Vec<Source>,
}

/// The verdict in a word.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutoverState {
    /// Headers are not read.
    NotRead,
    /// Nobody has connected lately.
    #[default]
    NoTraffic,
    /// Nobody sends one.
    NotStarted,
    /// Some do.
    InBetween,
    /// All do, and not for long enough.
    TooEarly,
    /// All do.
    ReadyForRequire,
    /// The rule requires one.
    Required,
}

/// A trusted source.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Source {
    /// Its address; `None`: all that are too many to be told apart.
    pub source: Option<IpAddr>,
    /// Connections with a header, in the last ten minutes.
    pub with: u64,
    /// Connections without.
    pub without: u64,
    /// Seconds since the first one with.
    pub first_with: Option<u64>,
    /// Seconds since the last one without.
    pub last_without: Option<u64>,
}

impl Cutover {
    /// Evaluates what workers have noted. A rule is ready if no trusted source has connected without a header
    /// for `quiet`.
    pub fn judge(
        rule: &str,
        mode: Mode,
        usage: &HeaderUsage,
        quiet: Duration,
        now: Instant,
    ) -> Self {
        let readiness = readiness(mode, usage, quiet, now);
        let ago = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at).as_secs());
        let sources = usage.sources().into_iter().map(|(source, seen)| {
            let counts = usage.recent_of(seen, now);
            Source {
                source,
                with: counts.with,
                without: counts.without,
                first_with: ago(seen.first_with),
                last_without: ago(seen.last_without),
            }
        });
        Self {
            rule: rule.to_owned(),
            mode: mode.to_string(),
            verdict: state(&readiness),
            says: sentence(&readiness, quiet),
            sources: sources.collect(),
        }
    }

    /// Whether requiring headers would refuse no one, as far as can be told.
    pub fn is_ready(&self) -> bool {
        matches!(self.verdict, CutoverState::ReadyForRequire | CutoverState::Required)
    }
}

const fn state(readiness: &Readiness) -> CutoverState {
    match readiness {
        Readiness::NotRead => CutoverState::NotRead,
        Readiness::NoTraffic => CutoverState::NoTraffic,
        Readiness::NotStarted => CutoverState::NotStarted,
        Readiness::Partial { .. } => CutoverState::InBetween,
        Readiness::TooEarly { .. } => CutoverState::TooEarly,
        Readiness::Ready => CutoverState::ReadyForRequire,
        Readiness::Required { .. } => CutoverState::Required,
    }
}

fn sentence(readiness: &Readiness, quiet: Duration) -> String {
    let quiet = format_duration(quiet);
    match readiness {
        Readiness::NotRead => {
            "headers are not read; with mode optional they are, and nobody is refused".to_owned()
        }
        Readiness::NoTraffic => {
            format!("no trusted source has connected in the last {MINUTES} minutes")
        }
        Readiness::NotStarted => "not started: no load balancer sends a header".to_owned(),
        Readiness::Partial { missing } => {
            let missing = names(missing);
            format!("in between: without a header in the last {quiet}: {missing}")
        }
        Readiness::TooEarly { left } => {
            let left = format_duration(Duration::from_secs(left.as_secs().max(1)));
            format!("everybody sends a header; watched for {quiet}, it is ready: {left} to go")
        }
        Readiness::Ready => {
            format!("ready for require: nobody was without a header in the last {quiet}")
        }
        Readiness::Required { missing } if missing.is_empty() => {
            "a header is required, and nobody is without one".to_owned()
        }
        Readiness::Required { missing } => {
            let missing = names(missing);
            format!("a header is required; refused for want of one in the last {quiet}: {missing}")
        }
    }
}

fn names(sources: &[Option<IpAddr>]) -> String {
    sources.iter().copied().map(name).collect::<Vec<_>>().join(", ")
}

/// A source in words.
pub fn name(source: Option<IpAddr>) -> String {
    source.map_or_else(|| "others".to_owned(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(300);

    fn judged(notes: &[(u8, bool)], mode: Mode, after: u64) -> Cutover {
        let began = Instant::now();
        let mut usage = HeaderUsage::new(began);
        for (source, has_header) in notes {
            usage.record([10, 0, 0, *source].into(), *has_header, began);
        }
        Cutover::judge("web", mode, &usage, QUIET, began + Duration::from_secs(after))
    }

    #[test]
    fn who_is_missing_is_named() {
        let between = judged(&[(1, true), (2, true), (2, false)], Mode::Optional, 60);
        assert_eq!(between.verdict, CutoverState::InBetween);
        assert!(!between.is_ready());
        assert_eq!(between.says, "in between: without a header in the last 5m: 10.0.0.2");
    }

    #[test]
    fn each_verdict_has_its_sentence() {
        for (notes, mode, after, verdict, says) in [
            (&[][..], Mode::Off, 0, CutoverState::NotRead, "headers are not read"),
            (&[], Mode::Optional, 0, CutoverState::NoTraffic, "no trusted source"),
            (&[(1, false)], Mode::Optional, 0, CutoverState::NotStarted, "not started"),
            (&[(1, true)], Mode::Optional, 60, CutoverState::TooEarly, "everybody sends a header"),
            (&[(1, true)], Mode::Optional, 300, CutoverState::ReadyForRequire, "ready for require"),
            (
                &[(1, true)],
                Mode::Require,
                0,
                CutoverState::Required,
                "a header is required, and nobody",
            ),
            (
                &[(1, false)],
                Mode::Require,
                0,
                CutoverState::Required,
                "a header is required; refused",
            ),
        ] {
            let judged = judged(notes, mode, after);
            assert_eq!(judged.verdict, verdict);
            assert!(judged.says.starts_with(says), "{}", judged.says);
        }
    }
}
