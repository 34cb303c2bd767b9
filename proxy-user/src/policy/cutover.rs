//! Who sends a header, and who does not yet: what the time for `require` is told by.
//!
//! Only what trusted sources send is noted, by source and minute, and only for as many sources as
//! fit; the rest are noted together. Nothing here reads a clock: whoever notes says when.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::settings::Mode;

/// Minutes that are told apart; what is older counts as long ago.
pub const MINUTES: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Sources that are told apart: more load balancers than these are seen as one.
const SOURCES: usize = 256;

/// What was noted of one source.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    minutes: [Minute; MINUTES],
    /// When a header came for the first time.
    pub first_with: Option<Instant>,
    /// When a connection without one came last.
    pub last_without: Option<Instant>,
}

/// Connections of one minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// Which, since the beginning of the notes.
    number: u64,
    counts: Counts,
}

/// Connections with a header, and without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// With.
    pub with: u64,
    /// Without.
    pub without: u64,
}

/// What was noted of one rule, by one worker or by all.
#[derive(Clone, Debug)]
pub struct Sightings {
    began: Instant,
    sources: HashMap<IpAddr, Seen>,
    /// Of those that did not fit.
    others: Seen,
}

impl Sightings {
    /// Nothing noted yet. What is to be merged has to begin at the same time.
    pub fn new(began: Instant) -> Self {
        Self { began, sources: HashMap::new(), others: Seen::default() }
    }

    /// Notes a connection of a trusted source.
    pub fn note(&mut self, source: IpAddr, has_header: bool, now: Instant) {
        let number = self.minute(now);
        let seen = self.seen(source);
        let minute = seen.of(number);
        if has_header {
            minute.with += 1;
            seen.first_with.get_or_insert(now);
        } else {
            minute.without += 1;
            seen.last_without = Some(now);
        }
    }

    /// Adds what another worker has noted.
    pub fn merge(&mut self, other: &Self) {
        for (source, seen) in &other.sources {
            self.seen(*source).merge(seen);
        }
        self.others.merge(&other.others);
    }

    /// Each source that was seen, in order of the addresses; `None`: the rest.
    pub fn sources(&self) -> Vec<(Option<IpAddr>, &Seen)> {
        let mut sources: Vec<_> =
            self.sources.iter().map(|(source, seen)| (Some(*source), seen)).collect();
        sources.sort_by_key(|(source, _)| *source);
        sources.extend(Some((None, &self.others)).filter(|(_, seen)| seen.is_any()));
        sources
    }

    /// How many there were in the last minutes, of all sources.
    pub fn lately(&self, now: Instant) -> Counts {
        self.sources().iter().fold(Counts::default(), |sum, (_, seen)| {
            let counts = self.lately_of(seen, now);
            Counts { with: sum.with + counts.with, without: sum.without + counts.without }
        })
    }

    /// How many there were in the last minutes, of one source.
    pub fn lately_of(&self, seen: &Seen, now: Instant) -> Counts {
        seen.since(self.minute(now).saturating_sub(MINUTES as u64 - 1))
    }

    /// How long notes have been taken.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn seen(&mut self, source: IpAddr) -> &mut Seen {
        if self.sources.len() < SOURCES || self.sources.contains_key(&source) {
            return self.sources.entry(source).or_default();
        }
        &mut self.others
    }

    fn minute(&self, now: Instant) -> u64 {
        self.age(now).as_secs() / MINUTE.as_secs()
    }
}

impl Seen {
    /// The counts of a minute, which may be in the place of a long gone one.
    fn of(&mut self, number: u64) -> &mut Counts {
        let place = usize::try_from(number % MINUTES as u64).unwrap_or(0);
        let minute = &mut self.minutes[place];
        if minute.number != number {
            *minute = Minute { number, counts: Counts::default() };
        }
        &mut minute.counts
    }

    fn since(&self, number: u64) -> Counts {
        let minutes = self.minutes.iter().filter(|minute| minute.number >= number);
        minutes.fold(Counts::default(), |sum, minute| Counts {
            with: sum.with + minute.counts.with,
            without: sum.without + minute.counts.without,
        })
    }

    fn merge(&mut self, other: &Self) {
        for minute in &other.minutes {
            // An older minute must not take the place of a newer one.
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

/// How far a cut-over is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The rule does not read headers.
    NotRead,
    /// No trusted source has connected lately.
    NoTraffic,
    /// Nobody sends a header.
    NotStarted,
    /// These have connected without a header in the time that must be without such.
    Between {
        /// `None`: some of the sources that are seen as one.
        missing: Vec<Option<IpAddr>>,
    },
    /// Everybody has sent one, and not for long enough to be sure.
    TooEarly {
        /// How long it takes still.
        left: Duration,
    },
    /// Everybody has sent one for long enough.
    Ready,
    /// The rule requires one already, and these are refused for want of it.
    Required {
        /// As in [`Progress::Between`].
        missing: Vec<Option<IpAddr>>,
    },
}

/// Judges it. For `quiet`, no trusted source may have connected without a header.
pub fn progress(mode: Mode, sightings: &Sightings, quiet: Duration, now: Instant) -> Progress {
    let is_recent = |at: &Instant| now.saturating_duration_since(*at) < quiet;
    let missing = |(source, seen): (Option<IpAddr>, &Seen)| {
        seen.last_without.as_ref().is_some_and(is_recent).then_some(source)
    };
    let missing: Vec<_> = sightings.sources().into_iter().filter_map(missing).collect();
    let lately = sightings.lately(now);
    match mode {
        Mode::Off => Progress::NotRead,
        Mode::Require => Progress::Required { missing },
        Mode::Optional if !missing.is_empty() && lately.with == 0 => Progress::NotStarted,
        Mode::Optional if !missing.is_empty() => Progress::Between { missing },
        Mode::Optional if lately == Counts::default() => Progress::NoTraffic,
        Mode::Optional if lately.with == 0 => Progress::NotStarted,
        Mode::Optional => match quiet.checked_sub(sightings.age(now)) {
            Some(left) if !left.is_zero() => Progress::TooEarly { left },
            _ => Progress::Ready,
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

    /// Minutes after the beginning.
    fn at(sightings: &Sightings, minutes: u32) -> Instant {
        sightings.began + MINUTE * minutes
    }

    fn noted(notes: &[(&str, bool, u32)]) -> Sightings {
        let mut sightings = Sightings::new(Instant::now());
        for (source, has_header, minute) in notes {
            let now = at(&sightings, *minute);
            sightings.note(ip(source), *has_header, now);
        }
        sightings
    }

    fn optional(sightings: &Sightings, minute: u32) -> Progress {
        progress(Mode::Optional, sightings, QUIET, at(sightings, minute))
    }

    #[test]
    fn a_cut_over_goes_from_not_started_to_ready() {
        let (one, two) = ("10.0.0.1", "10.0.0.2");
        let mut sightings = noted(&[]);
        assert_eq!(optional(&sightings, 0), Progress::NoTraffic);
        let mut note = |source, has_header, minute| {
            let now = at(&sightings, minute);
            sightings.note(ip(source), has_header, now);
            optional(&sightings, minute)
        };
        assert_eq!(note(one, false, 1), Progress::NotStarted);
        assert_eq!(note(two, false, 1), Progress::NotStarted);
        let both = Progress::Between { missing: vec![Some(ip(one)), Some(ip(two))] };
        assert_eq!(note(one, true, 2), both);
        assert_eq!(note(two, false, 3), both, "the first one's last is not long ago");
        assert_eq!(note(two, true, 7), Progress::Between { missing: vec![Some(ip(two))] });
        assert_eq!(note(one, true, 8), Progress::Ready, "five minutes after the last one without");
        assert_eq!(note(one, false, 9), Progress::Between { missing: vec![Some(ip(one))] });
    }

    #[test]
    fn what_is_watched_for_too_short_is_not_ready() {
        let sightings = noted(&[("10.0.0.1", true, 1)]);
        let left = Duration::from_secs(180);
        assert_eq!(optional(&sightings, 2), Progress::TooEarly { left });
        assert_eq!(optional(&sightings, 5), Progress::Ready);
    }

    #[test]
    fn who_is_silent_for_long_is_no_traffic() {
        let sightings = noted(&[("10.0.0.1", true, 0)]);
        assert_eq!(optional(&sightings, 9), Progress::Ready);
        assert_eq!(optional(&sightings, 10), Progress::NoTraffic);
    }

    #[test]
    fn other_modes_say_so() {
        let sightings = noted(&[("10.0.0.1", false, 0)]);
        let now = at(&sightings, 1);
        assert_eq!(progress(Mode::Off, &sightings, QUIET, now), Progress::NotRead);
        let missing = vec![Some(ip("10.0.0.1"))];
        assert_eq!(progress(Mode::Require, &sightings, QUIET, now), Progress::Required { missing });
    }

    #[test]
    fn a_minute_is_forgotten_after_ten() {
        let sightings =
            noted(&[("::1", true, 0), ("::1", false, 3), ("::1", true, 9), ("::1", true, 13)]);
        let lately = |minute| sightings.lately(at(&sightings, minute));
        assert_eq!(lately(13), Counts { with: 2, without: 0 }, "13 is in the place of 3");
        assert_eq!(lately(22), Counts { with: 1, without: 0 });
        assert_eq!(lately(23), Counts::default());
    }

    #[test]
    fn merging_is_noting_in_one_place() {
        let notes = [
            ("10.0.0.1", true, 0),
            ("10.0.0.1", false, 2),
            ("10.0.0.2", true, 2),
            ("10.0.0.1", true, 12),
        ];
        let whole = noted(&notes);
        for split in 0..=notes.len() {
            let part = |notes: &[(&str, bool, u32)]| {
                let mut part = Sightings::new(whole.began);
                for (source, has_header, minute) in notes {
                    part.note(ip(source), *has_header, at(&whole, *minute));
                }
                part
            };
            let (mut one, other) = (part(&notes[split..]), part(&notes[..split]));
            one.merge(&other);
            for minute in [2, 9, 12] {
                let now = at(&whole, minute);
                assert_eq!(one.lately(now), whole.lately(now), "{split} {minute}");
            }
            let ends = |sightings: &Sightings| {
                let sources = sightings.sources();
                let ends =
                    sources.iter().map(|(at, seen)| (*at, seen.first_with, seen.last_without));
                ends.collect::<Vec<_>>()
            };
            assert_eq!(ends(&one), ends(&whole), "{split}");
        }
    }

    #[test]
    fn any_number_of_sources_takes_so_much_room() {
        let mut sightings = Sightings::new(Instant::now());
        let now = sightings.began;
        for source in 0..10_000_u32 {
            sightings.note(IpAddr::V4(source.into()), source % 2 == 0, now);
        }
        assert_eq!(sightings.sources().len(), SOURCES + 1);
        assert_eq!(sightings.lately(now), Counts { with: 5_000, without: 5_000 });
        let Progress::Between { missing } = optional(&sightings, 0) else { panic!() };
        assert_eq!(missing.last(), Some(&None), "the rest are missing as well");
    }
}
