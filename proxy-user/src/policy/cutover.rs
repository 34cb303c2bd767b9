//! Which load balancers send headers already: this decides when a rule is ready for mode `require`.
//!
//! Connections of trusted sources are counted by source and minute. A bounded number of sources is
//! told apart; the rest are counted together. Nothing here reads a clock: the caller says what time
//! it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::settings::Mode;

/// How many minutes are counted apart; older connections are forgotten.
pub const MINUTES: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// How many sources are told apart; all others are counted as one.
const SOURCES: usize = 256;

/// The connections of one source.
#[derive(Clone, Debug, Default)]
pub struct SourceUsage {
    minutes: [Minute; MINUTES],
    /// When the first connection with a header was made.
    pub first_with: Option<Instant>,
    /// When the last connection without a header was made.
    pub last_without: Option<Instant>,
}

/// The connections of one minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// The minute's number, since counting began.
    number: u64,
    counts: HeaderCounts,
}

/// How many connections had a header, and how many had none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderCounts {
    /// With a header.
    pub with: u64,
    /// Without one.
    pub without: u64,
}

/// The connections of one rule, as counted by one worker or by all.
#[derive(Clone, Debug)]
pub struct HeaderUsage {
    began: Instant,
    sources: HashMap<IpAddr, SourceUsage>,
    /// Sources that are not told apart.
    others: SourceUsage,
}

impl HeaderUsage {
    /// Nothing counted yet. Only what began at the same time can be merged.
    pub fn new(began: Instant) -> Self {
        Self { began, sources: HashMap::new(), others: SourceUsage::default() }
    }

    /// Counts a connection of a trusted source.
    pub fn record(&mut self, source: IpAddr, has_header: bool, now: Instant) {
        let number = self.minute(now);
        let connections = self.source(source);
        let minute = connections.of(number);
        if has_header {
            minute.with += 1;
            connections.first_with.get_or_insert(now);
        } else {
            minute.without += 1;
            connections.last_without = Some(now);
        }
    }

    /// Adds what another worker has counted.
    pub fn merge(&mut self, other: &Self) {
        for (source, connections) in &other.sources {
            self.source(*source).merge(connections);
        }
        self.others.merge(&other.others);
    }

    /// Each source with its connections, sorted by address; `None` stands for all that are not told apart.
    pub fn sources(&self) -> Vec<(Option<IpAddr>, &SourceUsage)> {
        let mut sources: Vec<_> =
            self.sources.iter().map(|(source, connections)| (Some(*source), connections)).collect();
        sources.sort_by_key(|(source, _)| *source);
        sources.extend(Some((None, &self.others)).filter(|(_, connections)| connections.is_any()));
        sources
    }

    /// The connections of all sources in the last [`MINUTES`] minutes.
    pub fn recent(&self, now: Instant) -> HeaderCounts {
        self.sources().iter().fold(HeaderCounts::default(), |sum, (_, connections)| {
            let counts = self.recent_of(connections, now);
            HeaderCounts { with: sum.with + counts.with, without: sum.without + counts.without }
        })
    }

    /// The connections of one source in the last [`MINUTES`] minutes.
    pub fn recent_of(&self, connections: &SourceUsage, now: Instant) -> HeaderCounts {
        connections.since(self.minute(now).saturating_sub(MINUTES as u64 - 1))
    }

    /// How long it has been counting.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn source(&mut self, source: IpAddr) -> &mut SourceUsage {
        if self.sources.len() < SOURCES || self.sources.contains_key(&source) {
            return self.sources.entry(source).or_default();
        }
        &mut self.others
    }

    fn minute(&self, now: Instant) -> u64 {
        self.age(now).as_secs() / MINUTE.as_secs()
    }
}

impl SourceUsage {
    /// The counts of a minute. They may replace those of a minute long past.
    fn of(&mut self, number: u64) -> &mut HeaderCounts {
        let place = usize::try_from(number % MINUTES as u64).unwrap_or(0);
        let minute = &mut self.minutes[place];
        if minute.number != number {
            *minute = Minute { number, counts: HeaderCounts::default() };
        }
        &mut minute.counts
    }

    fn since(&self, number: u64) -> HeaderCounts {
        let minutes = self.minutes.iter().filter(|minute| minute.number >= number);
        minutes.fold(HeaderCounts::default(), |sum, minute| HeaderCounts {
            with: sum.with + minute.counts.with,
            without: sum.without + minute.counts.without,
        })
    }

    fn merge(&mut self, other: &Self) {
        for minute in &other.minutes {
            // An older minute must not replace a newer one.
            let place = usize::try_from(minute.number % MINUTES as u64).unwrap_or(0);
            if self.minutes[place].number <= minute.number {
                let counts = self.of(minute.number);
                counts.with += minute.counts.with;
                counts.without += minute.counts.without;
            }
        }
        self.first_with = self.first_with.into_iter().chain(other.first_with).min();
        self.last_without = self.last_without.max(other.last_without);
    }

    fn is_any(&self) -> bool {
        self.first_with.is_some() || self.last_without.is_some()
    }
}

/// How close a rule is to requiring headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The rule does not read headers.
    NotRead,
    /// No trusted source has connected recently.
    NoTraffic,
    /// Nobody sends a header.
    NotStarted,
    /// Some sources send headers, and these have recently connected without one.
    Partial {
        /// The sources; `None` stands for some that are not told apart.
        missing: Vec<Option<IpAddr>>,
    },
    /// Everybody sends a header, but has not been watched for long enough.
    TooEarly {
        /// How long it still takes.
        left: Duration,
    },
    /// Everybody has sent headers for long enough.
    Ready,
    /// The rule requires headers already; these sources are refused because they send none.
    Required {
        /// The sources, as in [`Readiness::Partial`].
        missing: Vec<Option<IpAddr>>,
    },
}

/// Tells how close a rule in this mode is. It is ready when, for the time `quiet`, no trusted source has
/// connected without a header.
pub fn readiness(mode: Mode, usage: &HeaderUsage, quiet: Duration, now: Instant) -> Readiness {
    let is_recent = |at: &Instant| now.saturating_duration_since(*at) < quiet;
    let missing = |(source, connections): (Option<IpAddr>, &SourceUsage)| {
        connections.last_without.as_ref().is_some_and(is_recent).then_some(source)
    };
    let missing: Vec<_> = usage.sources().into_iter().filter_map(missing).collect();
    let recent = usage.recent(now);
    match mode {
        Mode::Off => Readiness::NotRead,
        Mode::Require => Readiness::Required { missing },
        Mode::Optional if !missing.is_empty() && recent.with == 0 => Readiness::NotStarted,
        Mode::Optional if !missing.is_empty() => Readiness::Partial { missing },
        Mode::Optional if recent == HeaderCounts::default() => Readiness::NoTraffic,
        Mode::Optional if recent.with == 0 => Readiness::NotStarted,
        Mode::Optional => match quiet.checked_sub(usage.age(now)) {
            Some(left) if !left.is_zero() => Readiness::TooEarly { left },
            _ => Readiness::Ready,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(300);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// So many minutes after counting began.
    fn at(usage: &HeaderUsage, minutes: u32) -> Instant {
        usage.began + MINUTE * minutes
    }

    fn recorded(connections: &[(&str, bool, u32)]) -> HeaderUsage {
        let mut usage = HeaderUsage::new(Instant::now());
        for (source, has_header, minute) in connections {
            let now = at(&usage, *minute);
            usage.record(ip(source), *has_header, now);
        }
        usage
    }

    fn optional(usage: &HeaderUsage, minute: u32) -> Readiness {
        readiness(Mode::Optional, usage, QUIET, at(usage, minute))
    }

    #[test]
    fn a_cut_over_goes_from_not_started_to_ready() {
        let (one, two) = ("10.0.0.1", "10.0.0.2");
        let mut usage = recorded(&[]);
        assert_eq!(optional(&usage, 0), Readiness::NoTraffic);
        let mut record = |source, has_header, minute| {
            let now = at(&usage, minute);
            usage.record(ip(source), has_header, now);
            optional(&usage, minute)
        };
        assert_eq!(record(one, false, 1), Readiness::NotStarted);
        assert_eq!(record(two, false, 1), Readiness::NotStarted);
        let both = Readiness::Partial { missing: vec![Some(ip(one)), Some(ip(two))] };
        assert_eq!(record(one, true, 2), both);
        assert_eq!(record(two, false, 3), both, "the first one's last is not long ago");
        assert_eq!(record(two, true, 7), Readiness::Partial { missing: vec![Some(ip(two))] });
        assert_eq!(
            record(one, true, 8),
            Readiness::Ready,
            "five minutes after the last one without"
        );
        assert_eq!(record(one, false, 9), Readiness::Partial { missing: vec![Some(ip(one))] });
    }

    #[test]
    fn a_rule_watched_too_briefly_is_not_ready() {
        let usage = recorded(&[("10.0.0.1", true, 1)]);
        let left = Duration::from_secs(180);
        assert_eq!(optional(&usage, 2), Readiness::TooEarly { left });
        assert_eq!(optional(&usage, 5), Readiness::Ready);
    }

    #[test]
    fn sources_silent_for_long_are_no_traffic() {
        let usage = recorded(&[("10.0.0.1", true, 0)]);
        assert_eq!(optional(&usage, 9), Readiness::Ready);
        assert_eq!(optional(&usage, 10), Readiness::NoTraffic);
    }

    #[test]
    fn other_modes_say_so() {
        let usage = recorded(&[("10.0.0.1", false, 0)]);
        let now = at(&usage, 1);
        assert_eq!(readiness(Mode::Off, &usage, QUIET, now), Readiness::NotRead);
        let missing = vec![Some(ip("10.0.0.1"))];
        assert_eq!(readiness(Mode::Require, &usage, QUIET, now), Readiness::Required { missing });
    }

    #[test]
    fn a_minute_is_forgotten_after_ten() {
        let usage =
            recorded(&[("::1", true, 0), ("::1", false, 3), ("::1", true, 9), ("::1", true, 13)]);
        let recent = |minute| usage.recent(at(&usage, minute));
        assert_eq!(recent(13), HeaderCounts { with: 2, without: 0 }, "13 is in the place of 3");
        assert_eq!(recent(22), HeaderCounts { with: 1, without: 0 });
        assert_eq!(recent(23), HeaderCounts::default());
    }

    #[test]
    fn merging_equals_counting_in_one_place() {
        let connections = [
            ("10.0.0.1", true, 0),
            ("10.0.0.1", false, 2),
            ("10.0.0.2", true, 2),
            ("10.0.0.1", true, 12),
        ];
        let whole = recorded(&connections);
        for split in 0..=connections.len() {
            let part = |connections: &[(&str, bool, u32)]| {
                let mut part = HeaderUsage::new(whole.began);
                for (source, has_header, minute) in connections {
                    part.record(ip(source), *has_header, at(&whole, *minute));
                }
                part
            };
            let (mut one, other) = (part(&connections[split..]), part(&connections[..split]));
            one.merge(&other);
            for minute in [2, 9, 12] {
                let now = at(&whole, minute);
                assert_eq!(one.recent(now), whole.recent(now), "{split} {minute}");
            }
            let ends = |usage: &HeaderUsage| {
                let sources = usage.sources();
                let ends = sources.iter().map(|(at, connections)| {
                    (*at, connections.first_with, connections.last_without)
                });
                ends.collect::<Vec<_>>()
            };
            assert_eq!(ends(&one), ends(&whole), "{split}");
        }
    }

    #[test]
    fn memory_is_bounded_however_many_sources_there_are() {
        let mut usage = HeaderUsage::new(Instant::now());
        let now = usage.began;
        for source in 0..10_000_u32 {
            usage.record(IpAddr::V4(source.into()), source % 2 == 0, now);
        }
        assert_eq!(usage.sources().len(), SOURCES + 1);
        assert_eq!(usage.recent(now), HeaderCounts { with: 5_000, without: 5_000 });
        let Readiness::Partial { missing } = optional(&usage, 0) else { panic!() };
        assert_eq!(missing.last(), Some(&None), "the rest are missing as well");
    }
}
