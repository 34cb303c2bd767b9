//! A worker: one thread with listeners of its own, and every connection that it accepts there,
//! from beginning to end. Nothing here is shared with other workers but counters, which only this
//! one writes.

use std::mem;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use proxy_common::Reason;
use slab::Slab;

use super::admission::Admission;
use super::clock::Clock;
use super::flow::{BUFFER, Shared};
use super::ledger::{Rules, Served};
use super::log::{Ended, Log};
use super::mailbox::{Mailbox, Order};
use super::session::{Accepted, Fate, Session, Side, Turn};
use super::tally::{Outcome, Tally};
use super::unique_id::UniqueIds;
use super::upstream::Departure;
use super::wheel::{Tick, Wheel};
use crate::address::{OriginalDst, PeerAddr};
use crate::sys::alarm::Alarm;
use crate::sys::poll::{Event, Poller};
use crate::sys::socket::{self, Listeners};

/// Connections accepted in a row before others get their turn.
const ACCEPTS: usize = 64;
/// How long a worker that can't accept for want of descriptors or memory leaves it be.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What events of the listeners, the mailbox and the alarm are called; sessions count up from 0.
const LISTENERS: [u64; 2] = [u64::MAX, u64::MAX - 1];
const MAILBOX: u64 = u64::MAX - 2;
const ALARM: u64 = u64::MAX - 3;

/// What a worker's sessions act with.
#[derive(Debug)]
pub struct Worker {
    /// The rules that new connections are served by.
    pub rules: Rules,
    /// Where upstream sockets come from.
    pub departure: Departure,
    /// Buffer and pipes.
    pub shared: Shared,
    /// Where sockets are watched.
    pub poller: Poller,
    /// The time.
    pub clock: Clock,
    /// Counters of connections that no rule wants.
    pub nobodys: Arc<Tally>,
    /// Names for connections.
    pub unique_ids: UniqueIds,
    /// The log of connections.
    pub log: Log,
    /// How many connections there may be.
    pub admission: Arc<Admission>,
    /// Which of the workers it is.
    pub number: usize,
}

impl Worker {
    /// One without connections and rules.
    pub fn new(
        number: usize,
        departure: Departure,
        nobodys: Arc<Tally>,
        admission: Arc<Admission>,
    ) -> Result<Self> {
        Ok(Self {
            rules: Rules::default(),
            departure,
            shared: Shared::new(BUFFER),
            poller: Poller::new().context("cannot watch sockets")?,
            clock: Clock::start(),
            nobodys,
            unique_ids: UniqueIds::default(),
            log: Log::default(),
            admission,
            number,
        })
    }
}

/// An entry of the wheel: a session, or the listeners that are left be.
#[derive(Clone, Copy, Debug)]
enum Due {
    Session { key: usize, born: u64 },
    Accepting,
}

/// A worker at work.
#[derive(Debug)]
pub struct Round {
    worker: Worker,
    listeners: Vec<TcpListener>,
    mailbox: Mailbox,
    sessions: Slab<Session>,
    /// How many sessions there have been when each of these began: tells one from a later one in
    /// the same place.
    born: Vec<u64>,
    births: u64,
    wheel: Wheel<Due>,
    alarm: Alarm,
    /// What the alarm is set to.
    wakes_at: Option<Tick>,
    /// Sessions that could go on at once.
    busy: Vec<usize>,
    /// Sessions that are over. They keep their places for the rest of a round, in which there may
    /// still be events of theirs.
    over: Vec<usize>,
    stopped: bool,
}

impl Round {
    /// With these listeners; it is told in the mailbox what to do.
    pub fn new(worker: Worker, listeners: Listeners, mailbox: Mailbox) -> Result<Self> {
        let listeners: Vec<_> = [Some(listeners.v4), listeners.v6].into_iter().flatten().collect();
        worker.poller.add_level(&mailbox, MAILBOX).context("cannot watch the mailbox")?;
        let alarm = Alarm::new().context("cannot make a timer")?;
        worker.poller.add(&alarm, ALARM).context("cannot watch the timer")?;
        let round = Self {
            worker,
            listeners,
            mailbox,
            sessions: Slab::new(),
            born: Vec::new(),
            births: 0,
            wheel: Wheel::new(),
            alarm,
            wakes_at: None,
            busy: Vec::new(),
            over: Vec::new(),
            stopped: false,
        };
        round.watch_listeners()?;
        Ok(round)
    }

    /// Serves until it is told to stop. Connections that are left then are reset.
    pub fn run(mut self) -> Result<()> {
        while !self.stopped {
            let events = self.wait()?;
            self.worker.clock.look();
            for number in 0..events {
                let event = self.worker.poller.event(number);
                self.dispatch(event);
            }
            for key in mem::take(&mut self.busy) {
                self.advance(key);
            }
            self.turn_wheel();
            for key in self.over.drain(..) {
                self.sessions.remove(key);
            }
        }
        for session in self.sessions.drain() {
            session.cut(&self.worker);
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<usize> {
        let is_idle = self.busy.is_empty();
        if is_idle {
            self.set_alarm()?;
        }
        self.worker.poller.wait(is_idle).context("cannot wait for events")
    }

    fn set_alarm(&mut self) -> Result<()> {
        let next = self.wheel.next();
        if next != self.wakes_at {
            let after = next.map(|tick| self.worker.clock.until(tick));
            self.alarm.set(after).context("cannot set the timer")?;
            self.wakes_at = next;
        }
        Ok(())
    }

    fn dispatch(&mut self, event: Event) {
        match event.token {
            MAILBOX => self.obey(),
            // It is for the wheel, which is turned in every round.
            ALARM => self.wakes_at = None,
            token => match LISTENERS.iter().position(|listener| *listener == token) {
                Some(listener) => self.accept(listener),
                None => self.tell(token, event),
            },
        }
    }

    /// Carries out what it is told.
    fn obey(&mut self) {
        for order in self.mailbox.take() {
            match order {
                Order::Serve(rules, heard) => {
                    self.worker.rules.exchange(rules);
                    // Whoever asked may have lost patience.
                    let _ = heard.send(());
                }
                Order::List(listed) => {
                    let sessions = self.sessions.iter().map(|(_, session)| session);
                    let live = sessions.filter_map(|session| session.live(&self.worker.clock));
                    let _ = listed.send(live.collect());
                }
                Order::Stop => self.stopped = true,
            }
        }
    }

    /// Has a session go on.
    fn tell(&mut self, token: u64, event: Event) {
        let (key, side) = session_of(token);
        if let Some(session) = self.sessions.get(key) {
            session.notice(side, event);
            self.advance(key);
        }
    }

    /// Accepts what is there, as far as it is this worker's turn.
    fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS {
            match socket::accept(&self.listeners[listener]) {
                Ok((client, peer)) => {
                    // One that is reset by now has no address any more.
                    let Ok(local) = client.local_addr() else {
                        self.worker.nobodys.only_counted(Outcome::HealthCheck);
                        continue;
                    };
                    let (peer, destination) = (PeerAddr::new(peer), OriginalDst::new(local));
                    self.receive(Accepted { client, peer, destination });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if socket::is_exhaustion(&error) => {
                    tracing::warn!(%error, "cannot accept; trying again soon");
                    return self.stop_accepting();
                }
                // That one connection is gone before it was accepted; the next one need not be.
                Err(error) => tracing::debug!(%error, "not accepted"),
            }
        }
    }

    /// A listener that can't be served would be reported without end.
    fn stop_accepting(&mut self) {
        for listener in &self.listeners {
            // One that is not watched needs not be left be.
            let _ = self.worker.poller.remove(listener);
        }
        self.wheel.insert(self.worker.clock.after(BACK_OFF), Due::Accepting);
    }

    fn watch_listeners(&self) -> Result<()> {
        for (listener, token) in self.listeners.iter().zip(LISTENERS) {
            self.worker.poller.add_level(listener, token).context("cannot watch a listener")?;
        }
        Ok(())
    }

    fn receive(&mut self, accepted: Accepted) {
        let Some(served) = self.worker.rules.find(accepted.destination) else {
            // Steering and rules are made of the same ports.
            return self.worker.nobodys.only_counted(Outcome::Refused(Reason::Internal));
        };
        let served = Arc::clone(served);
        let Some(place) = self.worker.admission.admit(self.worker.number) else {
            return self.turn_away(&served, &accepted);
        };
        self.start(Session::new(&self.worker, served, accepted, place));
    }

    /// Counts a connection for which there is no place. It is reset, as any that is only dropped.
    fn turn_away(&self, served: &Served, accepted: &Accepted) {
        let outcome = Outcome::Refused(Reason::ConnectionLimit);
        served.tally.only_counted(outcome);
        let ended = Ended::new(accepted.peer, accepted.destination);
        self.worker.log.ended(&ended, outcome, Duration::ZERO);
    }

    fn start(&mut self, session: Session) {
        let key = self.sessions.insert(session);
        self.births += 1;
        if key == self.born.len() {
            self.born.push(self.births);
        }
        self.born[key] = self.births;
        let session = &mut self.sessions[key];
        let mut turn =
            Turn { worker: &mut self.worker, upstream_token: token(key, Side::Upstream) };
        let mut fate = session.begin(&mut turn);
        if fate != Fate::Over {
            // Watched only now: most have said everything that is needed by the first read.
            let watched = self.worker.poller.add(session.client(), token(key, Side::Client));
            if watched.is_err() {
                fate = Fate::Over;
            }
        }
        self.settle(key, fate);
    }

    fn advance(&mut self, key: usize) {
        if self.sessions[key].is_over() {
            return;
        }
        let mut turn =
            Turn { worker: &mut self.worker, upstream_token: token(key, Side::Upstream) };
        let fate = self.sessions[key].advance(&mut turn);
        self.settle(key, fate);
    }

    /// Takes in how a session stands.
    fn settle(&mut self, key: usize, fate: Fate) {
        let session = &mut self.sessions[key];
        match fate {
            Fate::Waiting => {}
            Fate::Busy => self.busy.push(key),
            Fate::Over => return self.over.push(key),
        }
        if session.scheduled.is_none_or(|scheduled| session.deadline < scheduled) {
            session.scheduled = Some(session.deadline);
            self.wheel.insert(session.deadline, Due::Session { key, born: self.born[key] });
        }
    }

    /// Looks at the sessions whose deadline may be there.
    fn turn_wheel(&mut self) {
        let now = self.worker.clock.now();
        let mut due = Vec::new();
        self.wheel.turn(now, |entry| due.push(entry));
        for entry in due {
            match entry {
                Due::Session { key, born } => self.look_at(key, born, now),
                Due::Accepting => {
                    if let Err(error) = self.watch_listeners() {
                        tracing::warn!(error = %format!("{error:#}"), "still not accepting");
                        self.stop_accepting();
                    }
                }
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
            let upstream_token = token(key, Side::Upstream);
            session.time_out(&mut Turn { worker: &mut self.worker, upstream_token })
        } else {
            // It came early, since the deadline is further ahead than the wheel is round.
            session.settle_in();
            Fate::Waiting
        };
        self.settle(key, fate);
    }
}

/// What events of a session's socket are called.
const fn token(key: usize, side: Side) -> u64 {
    (key as u64) << 1 | side as u64
}

/// The session that an event is for.
#[allow(clippy::cast_possible_truncation, reason = "it was made of a key")]
const fn session_of(token: u64) -> (usize, Side) {
    let side = if token & 1 == 0 { Side::Client } else { Side::Upstream };
    ((token >> 1) as usize, side)
}
