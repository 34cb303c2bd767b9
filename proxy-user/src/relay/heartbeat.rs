//! Whether workers still come round. Each is asked through its mailbox once a second, and answers by
//! looking into it; one that waits for events does so at once. So nothing is asked of traffic, and a
//! worker that hangs in a call or turns in a loop is seen all the same.

use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use crate::config::times::MISSED_BEATS;

/// A worker that does not come round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Its number.
    pub worker: usize,
    /// Since when.
    pub duration: Duration,
}

/// What is known of one worker.
#[derive(Debug)]
pub struct Heartbeat {
    asked: Instant,
    misses: u32,
}

impl Heartbeat {
    /// Of a worker that is about to begin.
    pub fn new() -> Self {
        Self { asked: Instant::now(), misses: 0 }
    }

    /// To be called once a second.
    pub fn check(&mut self, worker: usize, mailbox: &Mailbox) {
        if mailbox.is_pinged() {
            self.misses += 1;
            if self.misses == MISSED_BEATS {
                tracing::error!(
                    worker,
                    "a worker does not come round; its connections stand still"
                );
            }
            return;
        }
        if self.misses >= MISSED_BEATS {
            tracing::warn!(worker, after = ?self.asked.elapsed(), "the worker comes round again");
        }
        *self = Self::new();
        if let Err(error) = mailbox.ping() {
            tracing::warn!(worker, %error, "a worker can't be asked whether it comes round");
        }
    }

    /// How long the worker has not come round, if that is too long.
    pub fn stalled(&self, worker: usize, mailbox: &Mailbox) -> Option<Stalled> {
        let is_stalled = self.misses >= MISSED_BEATS && mailbox.is_pinged();
        is_stalled.then(|| Stalled { worker, duration: self.asked.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_is_alive_and_who_does_not_is_stalled() {
        let (mailbox, mut heartbeat) = (Mailbox::new().unwrap(), Heartbeat::new());
        for _ in 0..5 {
            heartbeat.check(0, &mailbox);
            mailbox.receive();
            assert_eq!(heartbeat.stalled(0, &mailbox), None);
        }
        heartbeat.check(0, &mailbox);
        heartbeat.check(0, &mailbox);
        assert_eq!(heartbeat.stalled(0, &mailbox), None, "one look may come early");
        heartbeat.check(0, &mailbox);
        assert!(heartbeat.stalled(0, &mailbox).is_some());
        mailbox.receive();
        assert_eq!(heartbeat.stalled(0, &mailbox), None, "it has come round, if late");
        heartbeat.check(0, &mailbox);
        heartbeat.check(0, &mailbox);
        assert_eq!(heartbeat.stalled(0, &mailbox), None, "it counts anew");
    }
}
