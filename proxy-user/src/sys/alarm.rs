//! Waking whoever waits at a poller, at a time.
//!
//! A time limit to each wait has the kernel start a timer and stop it again, most often for
//! nothing; an alarm stays set from wait to wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A zero would be no alarm.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// An alarm, to be watched by a poller; it rings once for each time that it is set, or again and again.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// One that is not set.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// One that rings again and again.
    pub fn every(time: Duration) -> io::Result<Self> {
        let alarm = Self::new()?;
        alarm
            .0
            .set(Expiration::Interval(TimeSpec::from_duration(time)), TimerSetTimeFlags::empty())?;
        Ok(alarm)
    }

    /// Has it ring after so long, whatever it was set to before; `None`: never.
    pub fn set(&self, after: Option<Duration>) -> io::Result<()> {
        match after {
            Some(after) => {
                let at = Expiration::OneShot(TimeSpec::from_duration(after.max(AT_ONCE)));
                self.0.set(at, TimerSetTimeFlags::empty())?;
            }
            None => self.0.unset()?,
        }
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
