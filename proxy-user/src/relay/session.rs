//! One connection, from accept to close, in the hands of one worker. It goes through four stages, each a
//! type of its own with its start, its readiness and its deadline:
//!
//! ```text
//! ReadingHeader → Connecting → Relaying → Lingering
//! ```
//!
//! A session owns all of its sockets. Its worker calls it when a socket has news or its deadline is
//! there; it goes as far as it can and never waits. A connection is reset unless it is closed on purpose:
//! a FIN in the middle of a stream would tell the peer that it has everything.

use std::net::TcpStream;

use proxy_common::Reason;

use self::connecting::Connecting;
use self::connection::Connection;
use self::lingering::Lingering;
use self::reading_header::ReadingHeader;
use self::relaying::Relaying;
use super::clock::Clock;
use super::header_reader::Declined;
use super::open_connection::{OpenConnection, Stage};
use super::progress::Progress;
use super::resources::{Context, Resources};
use super::tally::Outcome;
use super::token::Side;
use super::wheel::Tick;
use crate::header::Origin;
use crate::sys::poll::Event;

mod connecting;
pub mod connection;
mod first_write;
mod lingering;
mod reading_header;
mod relaying;
mod upstream_socket;

/// The stage that a session is in.
#[derive(Debug)]
enum State {
    ReadingHeader(ReadingHeader),
    Connecting(Connecting),
    Relaying(Relaying),
    Lingering(Lingering),
}

/// What follows a stage.
#[allow(clippy::large_enum_variant, reason = "a stage is moved at once to where it stays")]
#[derive(Debug)]
enum Next {
    /// Another stage.
    Stage(State),
    /// The end: this became of the connection, and it is closed like this.
    End(Outcome, Close),
    /// The close of a connection whose end is recorded already.
    Close,
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug)]
enum Close {
    /// With a reset.
    Reset,
    /// With a FIN, since both directions have ended.
    InOrder,
    /// With a FIN after our last byte, but not before the client has had the time to read that byte.
    Linger,
}

impl Next {
    /// The connection is refused with a reset.
    const fn reset(reason: Reason) -> Self {
        Self::End(Outcome::Refused(reason), Close::Reset)
    }
}

impl From<Declined> for Next {
    /// The connection is closed in such a way that the client does not see an error.
    fn from(declined: Declined) -> Self {
        let outcome = match declined {
            Declined::Refused(reason) => Outcome::Refused(reason),
            Declined::HealthCheck => Outcome::HealthCheck,
        };
        Self::End(outcome, Close::Linger)
    }
}

impl State {
    /// Begins the stage, and goes as far as it can.
    fn begin(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Progress<Next> {
        match self {
            Self::Connecting(stage) => stage.try_addresses(connection, cx),
            Self::ReadingHeader(_) | Self::Relaying(_) | Self::Lingering(_) => {
                self.advance(connection, cx)
            }
        }
    }

    /// Goes as far as it can.
    fn advance(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Progress<Next> {
        match self {
            Self::ReadingHeader(stage) => stage.advance(connection, cx),
            Self::Connecting(stage) => stage.advance(connection, cx),
            Self::Relaying(stage) => stage.advance(connection, cx),
            Self::Lingering(_) => Lingering::advance(connection, cx),
        }
    }

    /// The deadline is there, and nothing has arrived in time.
    fn time_out(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Progress<Next> {
        match self {
            Self::ReadingHeader(stage) => stage.time_out(connection, cx),
            Self::Connecting(stage) => stage.time_out(connection, cx),
            Self::Relaying(stage) => stage.time_out(connection),
            Self::Lingering(_) => Lingering::time_out(),
        }
    }

    fn deadline(&self) -> Tick {
        match self {
            Self::ReadingHeader(stage) => stage.deadline(),
            Self::Connecting(stage) => stage.deadline(),
            Self::Relaying(stage) => stage.deadline(),
            Self::Lingering(stage) => stage.deadline(),
        }
    }

    /// An event of a socket that belongs to the stage.
    fn on_event(&self, side: Side, event: Event) {
        match (self, side) {
            (Self::Connecting(stage), _) => stage.on_event(side, event),
            (Self::Relaying(stage), Side::Upstream) => stage.on_event(event),
            // Of an attempt that was given up in the same round.
            _ => {}
        }
    }

    /// Has each socket of the stage tried again, whether there was an event or not.
    fn set_ready(&self) {
        match self {
            Self::Connecting(stage) => stage.set_ready(),
            Self::Relaying(stage) => stage.set_ready(),
            Self::ReadingHeader(_) | Self::Lingering(_) => {}
        }
    }
}

/// A connection and the stage that it is in.
#[derive(Debug)]
pub struct Session {
    // First, so that its place is given back before any socket is closed: a peer that sees the close may
    // connect again at once.
    connection: Connection,
    state: State,
    /// Whether it is in the worker's queue of sessions that can go on.
    pub is_ready: bool,
    /// When the timer wheel will come back to it.
    pub scheduled: Option<Tick>,
}

impl Session {
    /// Begins with a connection that has just been accepted; `None`: it is over already.
    pub fn start(cx: &mut Context<'_>, mut connection: Connection) -> Option<(Self, Progress)> {
        let next = ReadingHeader::start(&mut connection, cx);
        let (state, progress) = run(&mut connection, cx, next)?;
        Some((Self { connection, state, is_ready: false, scheduled: None }, progress))
    }

    /// The client's socket, to be watched.
    pub fn client(&self) -> &TcpStream {
        self.connection.client.get()
    }

    /// Remembers what an event says about one of the sockets.
    pub fn on_event(&self, side: Side, event: Event) {
        match side {
            Side::Client => self.connection.client.on_event(event),
            Side::Upstream | Side::Racing => self.state.on_event(side, event),
        }
    }

    /// Goes as far as it can.
    pub fn advance(&mut self, cx: &mut Context<'_>) -> Progress {
        let progress = self.state.advance(&mut self.connection, cx);
        self.follow(cx, progress)
    }

    /// When it is to be called even without an event.
    pub fn deadline(&self) -> Tick {
        self.state.deadline()
    }

    /// The time that the timer wheel was given has come. Most deadlines have been put off by then.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) -> Progress {
        let now = cx.resources.clock.now();
        if let State::Relaying(relaying) = &mut self.state {
            relaying.keep_alive(now);
        }
        if self.deadline() > now {
            return Progress::Blocked;
        }
        // What was sent in time is in time, even if its event is still to come.
        self.connection.client.set_ready();
        self.state.set_ready();
        let progress = self.state.advance(&mut self.connection, cx);
        if matches!(progress, Progress::Blocked) && self.deadline() <= now {
            let progress = self.state.time_out(&mut self.connection, cx);
            return self.follow(cx, progress);
        }
        self.follow(cx, progress)
    }

    /// Ends it with a reset, whatever it is doing.
    pub fn abort(mut self, resources: &Resources, reason: Reason) {
        match &self.state {
            State::Lingering(_) => return,
            State::Relaying(relaying) => relaying.count_bytes(&mut self.connection),
            State::ReadingHeader(_) | State::Connecting(_) => {}
        }
        self.connection.finish(resources, Outcome::Refused(reason));
    }

    /// What it looks like now; `None`: its end is recorded already.
    pub fn snapshot(&self, clock: &Clock) -> Option<OpenConnection> {
        let record = &self.connection.record;
        let (stage, bytes) = match &self.state {
            State::ReadingHeader(_) => (Stage::ReadingHeader, record.bytes),
            State::Connecting(_) => (Stage::Connecting, record.bytes),
            State::Relaying(relaying) => (Stage::Relaying, relaying.bytes()),
            State::Lingering(_) => return None,
        };
        Some(OpenConnection {
            rule: self.connection.active.rule.name.clone(),
            peer: record.peer,
            client: record.origin.and_then(Origin::client),
            destination: record.destination,
            upstream: record.upstream,
            bytes,
            age: clock.age(self.connection.started),
            stage,
        })
    }

    /// Enters the next stages as long as one ends.
    fn follow(&mut self, cx: &mut Context<'_>, progress: Progress<Next>) -> Progress {
        let next = match progress {
            Progress::Blocked => return Progress::Blocked,
            Progress::Yielded => return Progress::Yielded,
            Progress::Done(next) => next,
        };
        let Some((state, progress)) = run(&mut self.connection, cx, next) else {
            return Progress::Done(());
        };
        self.state = state;
        progress
    }
}

/// Goes through stages until one of them has to wait; `None`: the connection is over.
fn run(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    mut next: Next,
) -> Option<(State, Progress)> {
    loop {
        let mut state = match next {
            Next::Stage(state) => state,
            Next::End(outcome, close) => {
                connection.finish(cx.resources, outcome);
                match close {
                    Close::Reset => return None,
                    Close::InOrder => {
                        connection.client.close_in_order();
                        return None;
                    }
                    Close::Linger => Lingering::start(connection, cx)?,
                }
            }
            Next::Close => {
                connection.client.close_in_order();
                return None;
            }
        };
        match state.begin(connection, cx) {
            Progress::Blocked => return Some((state, Progress::Blocked)),
            Progress::Yielded => return Some((state, Progress::Yielded)),
            Progress::Done(following) => next = following,
        }
    }
}
