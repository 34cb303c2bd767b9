//! A worker: one thread with listeners of its own, and every connection that it accepts there, from
//! accept to close. It shares nothing with other workers but counters, which only it writes.
//!
//! What happens between two waits for events is a round: events are taken in, connections accepted,
//! sessions that can go on get their turns, and deadlines are kept, each only so much of it
//! ([`StepBudget`](super::step_budget::StepBudget)).

use std::collections::VecDeque;
use std::mem;
use std::net::TcpListener;

use anyhow::{Context as _, Result};
use proxy_common::Reason;
use slotmap::SlotMap;

use self::messages::Listing;
use super::clock;
use super::mailbox::Mailbox;
use super::progress::Progress;
use super::resources::{Context, Resources};
use super::session::Session;
use super::token::{SessionKey, Side};
use super::wheel::{Tick, Wheel};
use crate::sys::poll::Event;
use crate::sys::socket::Listeners;
use crate::sys::timer::Timer;

mod accepting;
mod deadlines;
mod messages;

/// Tokens of what is no session's socket; those of sessions are larger ([`Side::token`]).
const LISTENERS: [u64; 2] = [0, 1];
const MAILBOX: u64 = 2;
const TIMER: u64 = 3;
const PULSE: u64 = 4;

/// What an entry of the timer wheel is for.
#[derive(Clone, Copy, Debug)]
enum TimerEntry {
    Session(SessionKey),
    /// The listeners are to be watched again.
    ResumeAccepting,
}

/// A worker's event loop.
#[derive(Debug)]
pub struct Worker {
    resources: Resources,
    listeners: Vec<TcpListener>,
    mailbox: Mailbox,
    sessions: SlotMap<SessionKey, Session>,
    /// Sessions that can go on, each once, in the order of their turns.
    ready: VecDeque<SessionKey>,
    wheel: Wheel<TimerEntry>,
    /// Entries of the wheel that have come, and are still to be handled.
    due: VecDeque<TimerEntry>,
    timer: Timer,
    /// What the timer is set to.
    wakes_at: Option<Tick>,
    /// Wakes the worker regularly, so that the clock can tell a pause from a wait.
    _pulse: Timer,
    /// Lists of open connections that are being made.
    listings: VecDeque<Listing>,
    is_stopped: bool,
}

impl Worker {
    /// A worker with these listeners; the mailbox is how others talk to it.
    pub fn new(resources: Resources, listeners: Listeners, mailbox: Mailbox) -> Result<Self> {
        let listeners: Vec<_> = [Some(listeners.v4), listeners.v6].into_iter().flatten().collect();
        resources.poller.add_level(&mailbox, MAILBOX).context("cannot watch the mailbox")?;
        let timer = Timer::new().context("cannot make a timer")?;
        resources.poller.add(&timer, TIMER).context("cannot watch the timer")?;
        let pulse = Timer::every(clock::PULSE).context("cannot make a timer")?;
        resources.poller.add(&pulse, PULSE).context("cannot watch a timer")?;
        let worker = Self {
            resources,
            listeners,
            mailbox,
            sessions: SlotMap::with_key(),
            ready: VecDeque::new(),
            wheel: Wheel::new(),
            due: VecDeque::new(),
            timer,
            wakes_at: None,
            _pulse: pulse,
            listings: VecDeque::new(),
            is_stopped: false,
        };
        worker.watch_listeners()?;
        Ok(worker)
    }

    /// Serves until it is told to stop. Connections that are left then are reset.
    pub fn run(mut self) -> Result<()> {
        while !self.is_stopped {
            let events = self.wait()?;
            if let Some(pause) = self.resources.clock.update() {
                tracing::warn!(?pause, "the process stood still; deadlines are put off by as much");
            }
            self.resources.scratch.budget.reset();
            for number in 0..events {
                let event = self.resources.poller.event(number);
                self.dispatch(event);
            }
            self.advance_ready();
            self.handle_due();
            self.continue_listing();
        }
        for (_, session) in self.sessions.drain() {
            session.abort(&self.resources, Reason::DrainTimeout);
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<usize> {
        let is_idle = self.ready.is_empty() && self.due.is_empty() && self.listings.is_empty();
        if is_idle {
            self.set_timer()?;
        }
        self.resources.poller.wait(is_idle).context("cannot wait for events")
    }

    fn dispatch(&mut self, event: Event) {
        match event.token {
            MAILBOX => self.handle_messages(),
            // The wheel is turned in every round.
            TIMER => self.wakes_at = None,
            PULSE => {}
            token => match LISTENERS.iter().position(|listener| *listener == token) {
                Some(listener) => self.accept(listener),
                None => self.on_event(token, event),
            },
        }
    }

    /// Has a session remember what an event says, and go on when its turn comes.
    fn on_event(&mut self, token: u64, event: Event) {
        let (key, side) = Side::of_token(token);
        if let Some(session) = self.sessions.get(key) {
            session.on_event(side, event);
            self.make_ready(key);
        }
    }

    fn make_ready(&mut self, key: SessionKey) {
        if !mem::replace(&mut self.sessions[key].is_ready, true) {
            self.ready.push_back(key);
        }
    }

    /// Gives a turn to each session that was ready before, as far as the budget reaches.
    fn advance_ready(&mut self) {
        self.resources.scratch.budget.reset();
        for _ in 0..self.ready.len() {
            if self.resources.scratch.budget.is_exhausted() {
                return;
            }
            let Some(key) = self.ready.pop_front() else { return };
            // It may have ended at a deadline since.
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.is_ready = false;
            let progress = session.advance(&mut Context { resources: &mut self.resources, key });
            self.follow_up(key, progress);
        }
    }

    /// Does what a session needs after its turn.
    fn follow_up(&mut self, key: SessionKey, progress: Progress) {
        match progress {
            Progress::Blocked => {}
            Progress::Yielded => self.make_ready(key),
            Progress::Done(()) => {
                self.sessions.remove(key);
                return;
            }
        }
        let session = &mut self.sessions[key];
        let deadline = session.deadline();
        if session.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            session.scheduled = Some(deadline);
            self.wheel.insert(deadline, TimerEntry::Session(key));
        }
    }
}
