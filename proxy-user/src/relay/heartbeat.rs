//! Detects workers that hang. Each is pinged through its mailbox once a second, and answers by reading it;
//! a worker that waits for events does so at once. So no traffic is needed to find a worker that is stuck
//! in a system call or in a loop.

use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use crate::config::times::MISSED_BEATS;

/// A worker that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Its number.
    pub worker: usize,
    /// Since when.
    pub duration: Duration,
}

/// The pings of one worker.
#[derive(Debug)]
pub struct Heartbeat {
    asked: Instant,
    misses: u32,
}

impl Heartbeat {
    /// Of a worker that is about to start.
    pub fn new() -> Self {
        Self { asked: Instant::now(), misses: 0 }
    }

    /// Checks the last ping and sends the next; to be called once a second.
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

    /// How long the worker has not answered, if that is too long.
    pub fn stalled(&self, worker: usize, mailbox: &Mailbox) -> Option<Stalled> {
        let is_stalled = self.misses >= MISSED_BEATS && mailbox.is_pinged();
        is_stalled.then(|| Stalled { worker, duration: self.asked.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_answer_is_stalled() {
        let (mailbox, mut heartbeat) = (Mailbox::new().unwrap(), Heartbeat::new());
        for _ in 0..5 {
            heartbeat.check(0, &mailbox);
            mailbox.receive();
            assert_eq!(heartbeat.stalled(0, &mailbox), None);
        }
        heartbeat.check(0, &mailbox);
        heartbeat.check(0, &mailbox);
        assert_eq!(heartbeat.stalled(0, &mailbox), None, "one check may come early");
        heartbeat.check(0, &mailbox);
        assert!(heartbeat.stalled(0, &mailbox).is_some());
        mailbox.receive();
        assert_eq!(heartbeat.stalled(0, &mailbox), None, "it has answered, if late");
        heartbeat.check(0, &mailbox);
        heartbeat.check(0, &mailbox);
        assert_eq!(heartbeat.stalled(0, &mailbox), None, "counting begins again");
    }
}
