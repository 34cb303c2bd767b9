//! Timers that a poller waits for (`timerfd`).
//!
//! A timeout on each `epoll_wait` makes the kernel start and cancel a timer every time, mostly for
//! nothing. A timer of its own stays armed from wait to wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// An expiration of zero would disarm the timer.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// A timer for a poller. It expires once each time it is set, or periodically.
#[derive(Debug)]
pub struct Timer(TimerFd);

impl Timer {
    /// Makes a timer that is not armed.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Makes a timer that expires every `period`.
    pub fn every(period: Duration) -> io::Result<Self> {
        let timer = Self::new()?;
        let expiration = Expiration::Interval(TimeSpec::from_duration(period));
        timer.0.set(expiration, TimerSetTimeFlags::empty())?;
        Ok(timer)
    }

    /// Arms the timer to expire once after this long, whatever it was set to before; `None` disarms
    /// it.
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

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
