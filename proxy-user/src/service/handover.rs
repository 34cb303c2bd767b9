//! The end of a run: a successor takes over or a signal comes, and open connections are drained.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep, sleep_until};

use super::Service;
use super::events::Events;
use crate::config::times::HANDSHAKES;
use crate::logging::say;
use crate::operate::report::State;
use crate::steer::{Steering, Successor};

/// How long a successor may take until it serves.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a drain checks whether it is over.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// How a handover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The successor serves; our connections are to be drained.
    Done,
    /// We go on serving.
    Undone,
}

impl Service {
    /// Gives a successor the interfaces if its programs are attached there, and accepts the connections
    /// that are still on their way to us. A signal ends the wait.
    pub async fn hand_over(&mut self, mut successor: Successor, events: &mut Events) -> Handover {
        if let Err(error) = self.steering.verify_successor(&successor) {
            refuse(successor, &error).await;
            return Handover::Undone;
        }
        if let Some(left) = self.steering.interfaces_left_by(&successor) {
            tracing::warn!("the successor does not steer {left}: nobody does from now on");
        }
        say(format_args!("succeeded: another Foreword takes new connections"));
        self.steering.hand_over();
        let wanted = successor.listener();
        let listener = self.admin.http.as_mut().and_then(|http| http.pass_on(wanted));
        let passes = listener.is_some();
        if let Err(error) = successor.tell_released(listener).await {
            tracing::warn!(%error, "the successor did not wait for an answer");
            return self.come_back();
        }
        if !self.await_successor(&mut successor, events).await {
            return self.come_back();
        }
        self.state = State::Draining;
        if passes {
            self.admin.http.iter_mut().for_each(super::admin::Http::pause);
        }
        if !self.outlives_handshakes(&mut successor, events).await {
            return self.come_back();
        }
        if passes {
            self.admin.http = None;
        }
        Handover::Done
    }

    /// Waits until the successor serves or a signal comes; false if the successor ends instead.
    async fn await_successor(&mut self, successor: &mut Successor, events: &mut Events) -> bool {
        let late = Instant::now() + TAKEOVER_TIMEOUT;
        loop {
            tokio::select! {
                serves = successor.serves() => return serves,
                () = sleep_until(late) => return false,
                () = events.signals.end() => return true,
                () = events.seconds.next() => self.every_second(),
                Some(request) = events.pending.recv() => self.answer(request),
            }
        }
    }

    /// Accepts what is still on its way to us; false if the successor ends meanwhile.
    async fn outlives_handshakes(
        &mut self,
        successor: &mut Successor,
        events: &mut Events,
    ) -> bool {
        let over = Instant::now() + HANDSHAKES;
        loop {
            tokio::select! {
                () = successor.ended() => return false,
                () = sleep_until(over) => return true,
                () = events.signals.end() => return true,
                () = events.seconds.next() => self.every_second(),
                Some(request) = events.pending.recv() => self.answer(request),
            }
        }
    }

    /// The successor has ended: takes everything back, unless another Foreword has it by now.
    fn come_back(&mut self) -> Handover {
        if !self.steering.take_back() {
            return Handover::Done;
        }
        self.state = State::Serving;
        let resumed = self.admin.http.as_mut().map(|http| http.resume(&self.steering));
        if let Some(Err(error)) = resumed {
            tracing::error!(%error, "HTTP is answered no more");
        }
        self.admin.lead();
        say(format_args!("back: the successor has ended, and new connections are taken here"));
        Handover::Undone
    }

    /// Stops taking new connections, releases what a successor needs, and waits until ours have ended,
    /// the drain timeout is over, or the second signal cuts it short. (After a handover none has come yet.)
    pub async fn drain(&mut self, events: &mut Events) -> Result<()> {
        self.state = State::Draining;
        // Whoever waits for the reload hears that it does not happen.
        self.pending = None;
        self.steering.stop_new().context("cannot stop taking connections")?;
        self.steering.hand_over();
        self.steering.forget_predecessors();
        let mut is_asked = events.signals.have_come();
        let mut deadline = self.begin_draining();
        loop {
            // A closed connection may still have bytes on their way to the client.
            if self.relay.counts().open == 0 && !self.steering.is_busy()? {
                return Ok(());
            }
            tokio::select! {
                () = sleep(DRAIN_CHECK) => {}
                () = sleep_until(deadline) => return Ok(()),
                () = events.signals.end() => {
                    if is_asked {
                        return Ok(());
                    }
                    is_asked = true;
                    deadline = self.begin_draining();
                }
                Some(successor) = events.successors.recv() => self.make_way(successor).await,
                () = events.looks.next() => self.observe(&mut events.observer),
                () = events.news.next() => self.observe(&mut events.observer),
                seen = events.observer.next() => {
                    self.apply_observation(seen, Steering::repair_only, &mut events.observer);
                }
                () = events.seconds.next() => self.every_second(),
                Some(request) = events.pending.recv() => self.answer(request),
            }
        }
    }

    /// Says how long the drain lasts at most, and returns when that is over.
    fn begin_draining(&self) -> Instant {
        let (open, limit) = (self.relay.counts().open, self.settings.drain_timeout);
        if open > 0 {
            let limit = humantime::format_duration(limit);
            say(format_args!("draining {open} connections for at most {limit}"));
        }
        Instant::now() + limit
    }

    /// A successor of a draining run needs nothing from it but the HTTP listener.
    async fn make_way(&mut self, mut successor: Successor) {
        if let Err(error) = self.steering.verify_successor(&successor) {
            return refuse(successor, &error).await;
        }
        let wanted = successor.listener();
        let Some(http) = &mut self.admin.http else { return };
        let listener = http.pass_on(wanted);
        let passes = listener.is_some();
        if successor.tell_released(listener).await.is_ok() && passes {
            self.admin.http = None;
        }
    }
}

async fn refuse(successor: Successor, why: &anyhow::Error) {
    let why = format!("{why:#}");
    tracing::warn!(why, "a successor is refused");
    // It may be gone.
    let _ = successor.refuse(why).await;
}
