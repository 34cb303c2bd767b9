//! Deadlines: each is looked at when it may be there.

use anyhow::{Context as _, Result};

use super::{Due, Worker};
use crate::relay::resources::Context;
use crate::relay::session::Fate;
use crate::relay::wheel::Tick;

/// Entries of the wheel that are looked at in a round. Thousands may come at one time.
const DUE: usize = 128;

impl Worker {
    /// Has the next wait end when the next entry of the wheel comes.
    pub(super) fn set_alarm(&mut self) -> Result<()> {
        let next = self.wheel.next();
        if next != self.wakes_at {
            let after = next.map(|tick| self.resources.clock.until(tick));
            self.alarm.set(after).context("cannot set the timer")?;
            self.wakes_at = next;
        }
        Ok(())
    }

    /// Looks at the sessions whose deadline may be there, as many as there is time for in a round.
    pub(super) fn turn_wheel(&mut self) {
        let now = self.resources.clock.now();
        self.wheel.turn(now, |entry| self.due.push_back(entry));
        self.resources.scratch.work.begin_part();
        for _ in 0..DUE {
            if self.resources.scratch.work.is_enough() {
                return;
            }
            match self.due.pop_front() {
                Some(Due::Session { key, born }) => self.look_at(key, born, now),
                Some(Due::Accepting) => {
                    if let Err(error) = self.watch_listeners() {
                        tracing::warn!(error = %format!("{error:#}"), "still not accepting");
                        self.stop_accepting();
                    }
                }
                None => return,
            }
        }
    }

    fn look_at(&mut self, key: usize, born: u64, now: Tick) {
        let is_same = self.born.get(key) == Some(&born);
        let Some(session) = self.sessions.get_mut(key).filter(|_| is_same) else { return };
        if session.is_over() {
            return;
        }
        session.scheduled = None;
        let fate = if session.deadline <= now {
            session.time_out(&mut Context { resources: &mut self.resources, key })
        } else {
            // It came early, since the deadline is further ahead than the wheel is round.
            session.settle_in();
            Fate::Waiting
        };
        self.settle(key, fate);
    }
}
