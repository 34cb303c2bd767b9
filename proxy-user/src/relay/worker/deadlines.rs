//! Keeping deadlines.

use anyhow::{Context as _, Result};

use super::{TimerEntry, Worker};
use crate::relay::resources::Context;
use crate::relay::token::SessionKey;

/// How many entries of the wheel are handled in a round. Thousands may come at one time.
const DUE: usize = 128;

impl Worker {
    /// Has the next wait end when the next entry of the wheel comes.
    pub(super) fn set_timer(&mut self) -> Result<()> {
        let next = self.wheel.next();
        if next != self.wakes_at {
            let after = next.map(|tick| self.resources.clock.until(tick));
            self.timer.set(after).context("cannot set the timer")?;
            self.wakes_at = next;
        }
        Ok(())
    }

    /// Handles the entries of the wheel that have come, as far as the budget reaches.
    pub(super) fn handle_due(&mut self) {
        let now = self.resources.clock.now();
        self.wheel.turn(now, |entry| self.due.push_back(entry));
        self.resources.scratch.budget.reset();
        for _ in 0..DUE {
            if self.resources.scratch.budget.is_exhausted() {
                return;
            }
            match self.due.pop_front() {
                Some(TimerEntry::Session(key)) => self.on_timer(key),
                Some(TimerEntry::ResumeAccepting) => {
                    if let Err(error) = self.watch_listeners() {
                        tracing::warn!(error = %format!("{error:#}"), "still not accepting");
                        self.stop_accepting();
                    }
                }
                None => return,
            }
        }
    }

    fn on_timer(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.scheduled = None;
        let progress = session.on_timer(&mut Context { resources: &mut self.resources, key });
        self.follow_up(key, progress);
    }
}
