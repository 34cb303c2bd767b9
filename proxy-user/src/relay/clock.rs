//! A worker's clock, which is read once a round, since nothing in a round takes long.
//!
//! Deadlines are in the time that the worker has run. While the whole process stands still (a stop signal,
//! the freezer, a machine that is paused), nothing can be read or answered, so that time counts towards no
//! deadline. Such a pause shows as a jump of the clock: a worker that waits is woken every [`PULSE`].

use std::time::{Duration, Instant};

use super::wheel::Tick;

/// How long a worker sleeps at most.
pub const PULSE: Duration = Duration::from_secs(1);
/// From how many milliseconds on a jump is a pause. A smaller one can be an overloaded machine.
const PAUSE: u64 = 2 * milliseconds(PULSE);

/// The time since the worker's start, as of the last update.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    now: Moment,
}

/// A moment, in milliseconds since the worker's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    elapsed: u64,
    /// Without pauses.
    run: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now(), now: Moment::default() }
    }

    /// Reads the time. Returns how long the process stood still, if it did.
    pub fn update(&mut self) -> Option<Duration> {
        let before = self.now;
        self.now = before.at(milliseconds(self.start.elapsed()));
        let pause = (self.now.elapsed - before.elapsed) - (self.now.run - before.run);
        (pause > 0).then(|| Duration::from_millis(pause))
    }

    /// The time, to be compared with other clocks.
    pub fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now.elapsed)
    }

    /// The time, to be compared with later times of this clock.
    pub const fn moment(&self) -> Moment {
        self.now
    }

    /// How long ago a moment was, pauses included.
    pub const fn age(&self, moment: Moment) -> Duration {
        Duration::from_millis(self.now.elapsed - moment.elapsed)
    }

    /// The current tick.
    pub const fn now(&self) -> Tick {
        Tick::at(self.now.run)
    }

    /// The first tick that is not earlier than so long from now.
    pub fn after(&self, time: Duration) -> Tick {
        self.now.after(time)
    }

    /// How long it is until a tick begins, without a pause.
    pub fn until(&self, tick: Tick) -> Duration {
        let now = self.now.at(milliseconds(self.start.elapsed()));
        Duration::from_millis(tick.milliseconds().saturating_sub(now.run))
    }
}

impl Moment {
    /// The moment so long after the start, as the next one after this. Of a pause, only what the worker may
    /// have slept by itself counts.
    fn at(self, elapsed: u64) -> Self {
        let passed = elapsed.saturating_sub(self.elapsed);
        let run = if passed < PAUSE { passed } else { milliseconds(PULSE) };
        Self { elapsed: self.elapsed + passed, run: self.run + run }
    }

    /// The first tick that is not earlier than so long after it.
    pub fn after(self, time: Duration) -> Tick {
        Tick::not_before(self.run.saturating_add(milliseconds(time)))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "half a billion years")]
const fn milliseconds(time: Duration) -> u64 {
    let milliseconds = time.as_millis();
    if milliseconds > u64::MAX as u128 { u64::MAX } else { milliseconds as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_may_sleep_is_no_pause() {
        let (mut moment, start) = (Moment::default(), Moment::default());
        for elapsed in [1, 1000, 2500, 4499] {
            moment = moment.at(elapsed);
            assert_eq!(moment, Moment { elapsed, run: elapsed });
        }
        assert_eq!(start.after(Duration::from_secs(4)), Tick::not_before(4000));
        assert!(Tick::at(moment.run) >= start.after(Duration::from_secs(4)));
    }

    #[test]
    fn a_pause_puts_deadlines_off_by_as_much() {
        let begun = Moment::default().at(300);
        let deadline = begun.after(Duration::from_secs(5));
        let paused = begun.at(800).at(8800);
        assert_eq!(paused, Moment { elapsed: 8800, run: 1800 });
        assert!(Tick::at(paused.run) < deadline, "3.5 s of it are left");
        assert!(Tick::at(paused.at(10_200).at(11_900).run) < deadline);
        assert!(Tick::at(paused.at(10_200).at(12_100).at(12_350).run) >= deadline);
        // Another pause counts on its own.
        let again = paused.at(9000).at(19_000);
        assert_eq!(again, Moment { elapsed: 19_000, run: 3000 });
    }

    #[test]
    fn a_clock_never_goes_back() {
        let moment = Moment { elapsed: 5000, run: 4000 };
        assert_eq!(moment.at(4000), moment);
    }
}
