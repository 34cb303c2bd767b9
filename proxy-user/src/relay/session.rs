//! One connection's story, from accept to close: [`Session::begin`], then one stage after the
//! other.
//!
//! A session owns both sockets. It is told when one of them may be used or when its time is up,
//! goes as far as it can, and says how it stands; nothing here waits. A connection is reset unless
//! it is closed on purpose: a FIN in the middle of a stream would tell the peer that it has
//! everything.

use std::mem;
use std::net::TcpStream;
use std::sync::Arc;

use proxy_common::Reason;

use self::ending::ResetUnlessClosed;
use super::admission::{Place, SourcePlace};
use super::buffers::Buffers;
use super::clock::{Clock, Moment};
use super::connecting::Connecting;
use super::gate::Gate;
use super::header_reader::{ConnectionInfo, HeaderReader, NextStep};
use super::log::{Ended, FirstBytes};
use super::open_connection::{self, OpenConnection};
use super::resources::{Context, Resources};
use super::rule_stats::ActiveRule;
use super::transfer::{Ending, Transfer};
use super::wheel::Tick;
use crate::address::{OriginalDst, PeerAddr};
use crate::header::Origin;
use crate::sys::poll::Event;
use crate::sys::socket;

mod connecting;
mod ending;
mod reading_header;
mod relaying;

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on with the next event, or at its deadline.
    Waiting,
    /// It could go on at once, and others come first.
    Busy,
    /// It is over, and can be dropped.
    Over,
}

/// One of its two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The accepted one.
    Client,
    /// The one to the upstream.
    Upstream,
    /// One of those to other addresses of the upstream, while none of them has been reached.
    Racing,
}

impl Side {
    /// What events of the socket are called, where the worker knows the session by this key.
    pub const fn token(self, key: usize) -> u64 {
        (key as u64) << 2 | self as u64
    }

    /// The key and the side that make up a token.
    #[allow(clippy::cast_possible_truncation, reason = "it was made of a key")]
    pub const fn of_token(token: u64) -> (usize, Self) {
        let side = match token & 3 {
            0 => Self::Client,
            1 => Self::Upstream,
            _ => Self::Racing,
        };
        ((token >> 2) as usize, side)
    }
}

/// Where the story has got to.
#[derive(Debug)]
enum Stage {
    /// The inbound header is being read.
    ReadingHeader(HeaderReader),
    /// The upstream is being connected to, and given what comes first.
    Connecting(Connecting),
    /// Bytes go both ways.
    Relaying { transfer: Transfer, gate: Option<Gate>, buffers: Buffers, progress: (u64, u64) },
    /// We have said our last byte, and read the client's away.
    Closing,
    /// There is nothing left to do.
    Over,
}

/// A connection as the kernel hands it over.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub client: TcpStream,
    /// Who connected.
    pub peer: PeerAddr,
    /// To what.
    pub destination: OriginalDst,
}

/// A connection, in the hands of one worker.
#[derive(Debug)]
pub struct Session {
    // Given back before the sockets are closed, in the order of the fields: whoever learns of the end
    // may come again at once.
    place: Place,
    source_place: Option<SourcePlace>,
    stage: Stage,
    client: ResetUnlessClosed,
    upstream: Option<ResetUnlessClosed>,
    peer: PeerAddr,
    destination: OriginalDst,
    /// Its rule, for all its life, whatever others are active by.
    active: Arc<ActiveRule>,
    /// For the log and the counters, until they have it.
    ended: Option<Ended>,
    /// When it was accepted.
    started: Moment,
    is_settled: bool,
    /// Whether small writes to the upstream leave at once.
    is_prompt: bool,
    /// Whether it waits for its cx.
    pub is_ready: bool,
    /// When its time is up.
    pub deadline: Tick,
    /// When the worker's wheel will ask.
    pub scheduled: Option<Tick>,
}

impl Session {
    /// A connection that has just been accepted.
    pub fn new(
        resources: &Resources,
        active: Arc<ActiveRule>,
        accepted: Accepted,
        place: Place,
    ) -> Self {
        let Accepted { client, peer, destination } = accepted;
        active.tally.accepted();
        Self {
            stage: Stage::Over,
            client: ResetUnlessClosed::new(client),
            upstream: None,
            peer,
            destination,
            ended: Some(Ended::new(peer, destination)),
            active,
            started: resources.clock.moment(),
            is_settled: false,
            is_prompt: false,
            is_ready: false,
            place,
            source_place: None,
            deadline: Tick::NEVER,
            scheduled: None,
        }
    }

    /// The client's socket, to be watched.
    pub fn client(&self) -> &TcpStream {
        self.client.get()
    }

    /// Takes in what an event says of one of the sockets.
    pub fn notice(&self, side: Side, event: Event) {
        match (side, &self.upstream, &self.stage) {
            (Side::Client, ..) => self.client.notice(event),
            (Side::Upstream, Some(upstream), _) => upstream.notice(event),
            (Side::Racing, _, Stage::Connecting(connecting)) => connecting.notice_racing(),
            // Of one that was given up in the same round.
            (Side::Upstream | Side::Racing, ..) => {}
        }
    }

    /// Judges the connection by its source, and goes on from there.
    pub fn begin(&mut self, cx: &mut Context<'_>) -> Fate {
        match self.connection(cx.resources).judge() {
            Err(declined) => self.decline(cx, declined),
            Ok(NextStep::Ready(preamble)) => self.connect(cx, preamble),
            Ok(NextStep::Read(reader)) => {
                let rule = &self.active.rule;
                let wait = reader.server_first(rule).unwrap_or(rule.inbound.timeout);
                self.deadline = cx.resources.clock.after(wait);
                self.stage = Stage::ReadingHeader(reader);
                self.read_header(cx)
            }
        }
    }

    /// Goes as far as it can.
    pub fn advance(&mut self, cx: &mut Context<'_>) -> Fate {
        match &self.stage {
            Stage::ReadingHeader(_) => self.read_header(cx),
            Stage::Connecting(_) => self.write_first(cx),
            Stage::Relaying { .. } => self.relay(cx),
            Stage::Closing => self.discard(cx),
            Stage::Over => Fate::Over,
        }
    }

    /// Its deadline is there. Whatever has arrived comes first, even if nobody was told of it yet: what
    /// was sent in time is in time.
    pub fn time_out(&mut self, cx: &mut Context<'_>) -> Fate {
        for socket in [Some(&self.client), self.upstream.as_ref()].into_iter().flatten() {
            socket.try_again();
        }
        if let Stage::Connecting(connecting) = &self.stage {
            connecting.notice_racing();
        }
        let fate = self.advance(cx);
        let is_over_time = self.deadline <= cx.resources.clock.now();
        if fate == Fate::Waiting && is_over_time { self.give_up(cx) } else { fate }
    }

    fn give_up(&mut self, cx: &mut Context<'_>) -> Fate {
        match &self.stage {
            Stage::ReadingHeader(reader) => {
                // It may only have been the time for a server to speak first.
                if reader.server_first(&self.active.rule).is_none() {
                    if let (Some(read), Some(ended)) = (reader.kept(), &mut self.ended) {
                        ended.first_bytes = FirstBytes::of(read, Reason::HeaderTimeout);
                    }
                    return self.decline(cx, Reason::HeaderTimeout.into());
                }
                let decided = reader.take_silence(self.connection(cx.resources));
                self.record_usage(cx.resources, reader.sent_header(&decided));
                self.go_on(cx, decided)
            }
            Stage::Connecting(_) => self.go_on_connecting(cx),
            Stage::Relaying { .. } => self.finish(cx, Ending::Broken(Reason::IdleTimeout)),
            Stage::Closing => self.close(),
            Stage::Over => Fate::Over,
        }
    }

    /// It has lived for a while: from now on the kernel is to look after the upstream, as it does
    /// after the client by the listener's example. Most connections are over before.
    pub fn settle_in(&mut self) {
        let is_news = !mem::replace(&mut self.is_settled, true);
        if let Some(upstream) = self.upstream.as_ref().filter(|_| is_news) {
            // A connection that has failed will say so by itself.
            let _ = socket::keep_alive(upstream.get());
        }
    }

    /// The first write to the upstream is not the last one: the next may be small, and must not
    /// wait until the first is acknowledged. Many connections have only one.
    fn be_prompt(&mut self) {
        let is_news = !mem::replace(&mut self.is_prompt, true);
        if let Some(upstream) = self.upstream.as_ref().filter(|_| is_news) {
            let _ = socket::send_at_once(upstream.get());
        }
    }

    /// Whether there is nothing left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// How it stands, unless what it came to is known.
    pub fn snapshot(&self, clock: &Clock) -> Option<OpenConnection> {
        let Ended { origin, upstream, mut bytes, .. } = *self.ended.as_ref()?;
        let stage = match &self.stage {
            Stage::ReadingHeader(_) => open_connection::Stage::Opening,
            Stage::Connecting(_) => open_connection::Stage::Connecting,
            Stage::Relaying { transfer, .. } => {
                let moved = transfer.moved();
                bytes = (bytes.0 + moved.0, moved.1);
                open_connection::Stage::Relaying
            }
            Stage::Closing | Stage::Over => return None,
        };
        Some(OpenConnection {
            rule: self.active.rule.name.clone(),
            peer: self.peer,
            client: origin.and_then(Origin::client),
            destination: self.destination,
            upstream,
            bytes,
            age: clock.age(self.started),
            stage,
        })
    }

    fn connection<'a>(&'a self, resources: &'a Resources) -> ConnectionInfo<'a> {
        ConnectionInfo {
            rule: &self.active.rule,
            peer: self.peer,
            destination: self.destination,
            unique_ids: &resources.unique_ids,
            pods: &resources.pods,
        }
    }
}
