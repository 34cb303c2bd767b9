//! A worker: one thread with listeners of its own, and every connection that it accepts there,
//! from beginning to end. Nothing here is shared with other workers but counters, which only this
//! one writes.

use std::collections::VecDeque;
use std::mem;
use std::net::TcpListener;

use anyhow::{Context as _, Result};
use slab::Slab;

use self::messages::Listing;
use super::clock;
use super::mailbox::Mailbox;
use super::resources::{Context, Resources};
use super::session::{Fate, Session, Side};
use super::wheel::{Tick, Wheel};
use crate::sys::poll::Event;
use crate::sys::socket::Listeners;
use crate::sys::timer::Timer;

mod accepting;
mod deadlines;
mod messages;

/// What events of the listeners, the mailbox, the alarm and the pulse are called; sessions count up from
/// 0.
const LISTENERS: [u64; 2] = [u64::MAX, u64::MAX - 1];
const MAILBOX: u64 = u64::MAX - 2;
const ALARM: u64 = u64::MAX - 3;
const PULSE: u64 = u64::MAX - 4;

/// An entry of the wheel: a session, or the listeners that are left be.
#[derive(Clone, Copy, Debug)]
enum Due {
    Session { key: usize, born: u64 },
    Accepting,
}

/// A worker: the event loop.
#[derive(Debug)]
pub struct Worker {
    resources: Resources,
    listeners: Vec<TcpListener>,
    mailbox: Mailbox,
    sessions: Slab<Session>,
    /// How many sessions there have been when each of these began: tells one from a later one in
    /// the same place.
    born: Vec<u64>,
    births: u64,
    wheel: Wheel<Due>,
    alarm: Timer,
    /// Wakes it now and then, so that the clock can tell a pause from a wait.
    _pulse: Timer,
    /// What the alarm is set to.
    wakes_at: Option<Tick>,
    /// Entries of the wheel that have come and are yet to be looked at.
    due: VecDeque<Due>,
    /// Sessions that can go on, each once, in the order of their turns.
    ready: VecDeque<usize>,
    /// Lists that are being made.
    lists: VecDeque<Listing>,
    /// Sessions that are over. They keep their places for the rest of a round, in which there may
    /// still be events of theirs.
    over: Vec<usize>,
    stopped: bool,
}

impl Worker {
    /// With these listeners; it is told in the mailbox what to do.
    pub fn new(resources: Resources, listeners: Listeners, mailbox: Mailbox) -> Result<Self> {
        let listeners: Vec<_> = [Some(listeners.v4), listeners.v6].into_iter().flatten().collect();
        resources.poller.add_level(&mailbox, MAILBOX).context("cannot watch the mailbox")?;
        let alarm = Timer::new().context("cannot make a timer")?;
        resources.poller.add(&alarm, ALARM).context("cannot watch the timer")?;
        let pulse = Timer::every(clock::PULSE).context("cannot make a timer")?;
        resources.poller.add(&pulse, PULSE).context("cannot watch a timer")?;
        let worker = Self {
            resources,
            listeners,
            mailbox,
            sessions: Slab::new(),
            born: Vec::new(),
            births: 0,
            wheel: Wheel::new(),
            alarm,
            _pulse: pulse,
            wakes_at: None,
            due: VecDeque::new(),
            ready: VecDeque::new(),
            lists: VecDeque::new(),
            over: Vec::new(),
            stopped: false,
        };
        worker.watch_listeners()?;
        Ok(worker)
    }

    /// Serves until it is told to stop. Connections that are left then are reset.
    pub fn run(mut self) -> Result<()> {
        while !self.stopped {
            let events = self.wait()?;
            if let Some(pause) = self.resources.clock.look() {
                tracing::warn!(?pause, "the process stood still; deadlines are put off by as much");
            }
            self.resources.scratch.work.begin_part();
            for number in 0..events {
                let event = self.resources.poller.event(number);
                self.dispatch(event);
            }
            self.serve_ready();
            self.turn_wheel();
            self.continue_listing();
            for key in self.over.drain(..) {
                self.sessions.remove(key);
            }
        }
        for session in self.sessions.drain() {
            session.cut(&self.resources);
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<usize> {
        let is_idle = self.ready.is_empty() && self.due.is_empty() && self.lists.is_empty();
        if is_idle {
            self.set_alarm()?;
        }
        self.resources.poller.wait(is_idle).context("cannot wait for events")
    }

    fn dispatch(&mut self, event: Event) {
        match event.token {
            MAILBOX => self.handle_messages(),
            // It is for the wheel, which is turned in every round.
            ALARM => self.wakes_at = None,
            PULSE => {}
            token => match LISTENERS.iter().position(|listener| *listener == token) {
                Some(listener) => self.accept(listener),
                None => self.notice(token, event),
            },
        }
    }

    /// Has a session take in what an event says, and go on when its turn comes.
    fn notice(&mut self, token: u64, event: Event) {
        let (key, side) = Side::of_token(token);
        if let Some(session) = self.sessions.get(key) {
            session.notice(side, event);
            self.make_ready(key);
        }
    }

    fn make_ready(&mut self, key: usize) {
        if !mem::replace(&mut self.sessions[key].is_ready, true) {
            self.ready.push_back(key);
        }
    }

    /// Gives each session that was ready before a cx, as far as the round reaches.
    fn serve_ready(&mut self) {
        self.resources.scratch.work.begin_part();
        for _ in 0..self.ready.len() {
            if self.resources.scratch.work.is_enough() {
                return;
            }
            let Some(key) = self.ready.pop_front() else { return };
            self.advance(key);
        }
    }

    fn advance(&mut self, key: usize) {
        // It may be over by now, and another one in its place, which loses nothing by a cx.
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.is_ready = false;
        if session.is_over() {
            return;
        }
        let fate = session.advance(&mut Context { resources: &mut self.resources, key });
        self.settle(key, fate);
    }

    /// Takes in how a session stands.
    fn settle(&mut self, key: usize, fate: Fate) {
        match fate {
            Fate::Waiting => {}
            Fate::Busy => self.make_ready(key),
            Fate::Over => return self.over.push(key),
        }
        let session = &mut self.sessions[key];
        if session.scheduled.is_none_or(|scheduled| session.deadline < scheduled) {
            session.scheduled = Some(session.deadline);
            self.wheel.insert(session.deadline, Due::Session { key, born: self.born[key] });
        }
    }
}
