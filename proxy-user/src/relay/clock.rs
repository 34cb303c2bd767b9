//! A worker's clock: read once a round, since nothing in a round takes long.

use std::time::{Duration, Instant};

use super::wheel::Tick;

/// The time since the worker's start, as of the last look.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    milliseconds: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now(), milliseconds: 0 }
    }

    /// Looks anew.
    pub fn look(&mut self) {
        self.milliseconds = milliseconds(self.start.elapsed());
    }

    /// The time, for what is compared with other clocks.
    pub fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.milliseconds)
    }

    /// Milliseconds since the start.
    pub const fn milliseconds(&self) -> u64 {
        self.milliseconds
    }

    /// The tick that has begun.
    pub const fn now(&self) -> Tick {
        Tick::at(self.milliseconds)
    }

    /// The first tick that is not earlier than so long from now.
    pub fn after(&self, time: Duration) -> Tick {
        Self::since(self.milliseconds, time)
    }

    /// The first tick that is not earlier than so long after a time, in milliseconds.
    pub fn since(began: u64, time: Duration) -> Tick {
        Tick::not_before(began.saturating_add(milliseconds(time)))
    }

    /// How long it is until a tick begins.
    pub fn until(&self, tick: Tick) -> Duration {
        let then = Duration::from_millis(tick.milliseconds());
        then.saturating_sub(self.start.elapsed())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
