//! One connection's story, from accept to close: [`Session::begin`], then one stage after the
//! other.
//!
//! A session owns both sockets. It is told when one of them may be used or when its time is up,
//! goes as far as it can, and says how it stands; nothing here waits. A connection is reset unless
//! it is closed on purpose: a FIN in the middle of a stream would tell the peer that it has
//! everything.

use std::io::ErrorKind;
use std::mem;
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use proxy_common::Reason;

use super::admission::{Full, Place, SourcePlace};
use super::clock::Clock;
use super::connecting::{Connecting, First};
use super::gate::{Gate, Look};
use super::ledger::Served;
use super::live::{self, Live};
use super::log::{Beginning, Ended};
use super::opening::{Arrival, Beginnings, Declined, Opening, Preamble};
use super::stream::{Socket, Stream as _};
use super::tally::Outcome;
use super::transfer::{Ending, Stand, Transfer};
use super::upstream::{Attempts, reason_for};
use super::wheel::Tick;
use super::worker::Worker;
use crate::address::{OriginalDst, PeerAddr};
use crate::header::Origin;
use crate::sys::poll::Event;
use crate::sys::socket;

/// How long a connection that we end is read on after our last byte, so that the client reads
/// that byte before it learns that we are gone.
const LINGER: Duration = Duration::from_secs(2);

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
}

/// Where the story has got to.
#[derive(Debug)]
enum Stage {
    /// The inbound header is being read.
    Opening(Opening),
    /// The upstream is being connected to, and given what comes first.
    Connecting(Connecting),
    /// Bytes go both ways.
    Relaying { transfer: Transfer, gate: Gate, progress: (u64, u64) },
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
    stage: Stage,
    client: ResetUnlessClosed,
    upstream: Option<ResetUnlessClosed>,
    peer: PeerAddr,
    destination: OriginalDst,
    /// Its rule, for all its life, whatever others are served by.
    served: Arc<Served>,
    /// For the log and the counters, until they have it.
    ended: Option<Ended>,
    /// When it was accepted, in milliseconds of the worker's clock.
    started: u64,
    is_settled: bool,
    /// Given back when it is dropped.
    _place: Place,
    source_place: Option<SourcePlace>,
    /// When its time is up.
    pub deadline: Tick,
    /// When the worker's wheel will ask.
    pub scheduled: Option<Tick>,
}

/// A session's turn to act: the worker, and how the session is known there.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The worker.
    pub worker: &'a mut Worker,
    /// What events of the upstream's socket are to be called.
    pub upstream_token: u64,
}

impl Session {
    /// A connection that has just been accepted.
    pub fn new(worker: &Worker, served: Arc<Served>, accepted: Accepted, place: Place) -> Self {
        let Accepted { client, peer, destination } = accepted;
        served.tally.accepted();
        Self {
            stage: Stage::Over,
            client: ResetUnlessClosed::new(client),
            upstream: None,
            peer,
            destination,
            ended: Some(Ended::new(peer, destination)),
            served,
            started: worker.clock.milliseconds(),
            is_settled: false,
            _place: place,
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
        match (side, &self.upstream) {
            (Side::Client, _) => self.client.notice(event),
            (Side::Upstream, Some(upstream)) => upstream.notice(event),
            // Of one that was given up in the same round.
            (Side::Upstream, None) => {}
        }
    }

    /// Judges the connection by its source, and goes on from there.
    pub fn begin(&mut self, turn: &mut Turn<'_>) -> Fate {
        match self.arrival(turn.worker).judge() {
            Err(declined) => self.decline(turn, declined),
            Ok(Beginnings::Ready(preamble)) => self.connect(turn, preamble),
            Ok(Beginnings::Read(opening)) => {
                let rule = &self.served.rule;
                let wait = opening.server_first(rule).unwrap_or(rule.inbound.timeout);
                self.deadline = turn.worker.clock.after(wait);
                self.stage = Stage::Opening(opening);
                self.read_opening(turn)
            }
        }
    }

    /// Goes as far as it can.
    pub fn advance(&mut self, turn: &mut Turn<'_>) -> Fate {
        match &self.stage {
            Stage::Opening(_) => self.read_opening(turn),
            Stage::Connecting(_) => self.write_first(turn),
            Stage::Relaying { .. } => self.relay(turn),
            Stage::Closing => self.discard(turn),
            Stage::Over => Fate::Over,
        }
    }

    /// Its deadline is there.
    pub fn time_out(&mut self, turn: &mut Turn<'_>) -> Fate {
        match &self.stage {
            Stage::Opening(opening) => {
                // It may only have been the time for a server to speak first.
                if opening.server_first(&self.served.rule).is_none() {
                    if let (Some(read), Some(ended)) = (opening.kept(), &mut self.ended) {
                        ended.beginning = Beginning::of(read, Reason::HeaderTimeout);
                    }
                    return self.decline(turn, Reason::HeaderTimeout.into());
                }
                let decided = Opening::take_silence(self.arrival(turn.worker));
                self.note(turn.worker, opening.sighting(&decided));
                self.go_on(turn, decided)
            }
            Stage::Connecting(_) => self.refuse(turn, Reason::UpstreamTimeout),
            Stage::Relaying { .. } => self.finish(turn, Ending::Broken(Reason::IdleTimeout)),
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

    /// Whether there is nothing left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// How it stands, unless what it came to is known.
    pub fn live(&self, clock: &Clock) -> Option<Live> {
        let Ended { origin, upstream, mut bytes, .. } = *self.ended.as_ref()?;
        let stand = match &self.stage {
            Stage::Opening(_) => live::Stand::Opening,
            Stage::Connecting(_) => live::Stand::Connecting,
            Stage::Relaying { transfer, .. } => {
                let moved = transfer.moved();
                bytes = (bytes.0 + moved.0, moved.1);
                live::Stand::Relaying
            }
            Stage::Closing | Stage::Over => return None,
        };
        Some(Live {
            rule: self.served.rule.name.clone(),
            peer: self.peer,
            client: origin.and_then(Origin::client),
            destination: self.destination,
            upstream,
            bytes,
            age: Duration::from_millis(clock.milliseconds() - self.started),
            stand,
        })
    }

    /// The worker ends, and the connection with it.
    pub fn cut(mut self, worker: &Worker) {
        self.record(worker, Outcome::Refused(Reason::DrainTimeout));
    }

    fn arrival<'a>(&'a self, worker: &'a Worker) -> Arrival<'a> {
        Arrival {
            rule: &self.served.rule,
            peer: self.peer,
            destination: self.destination,
            unique_ids: &worker.unique_ids,
        }
    }

    fn read_opening(&mut self, turn: &mut Turn<'_>) -> Fate {
        let Stage::Opening(mut opening) = mem::replace(&mut self.stage, Stage::Over) else {
            return Fate::Over;
        };
        loop {
            let worker = &mut *turn.worker;
            let read = match self.client.read(&mut worker.shared.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stage = Stage::Opening(opening);
                    return Fate::Waiting;
                }
                Err(error) => return self.decline(turn, opening.take_error(&error)),
            };
            let arrival = self.arrival(worker);
            if let Some(decided) = opening.take(&worker.shared.buffer[..read], arrival) {
                self.note(worker, opening.sighting(&decided));
                if let (Err(Declined::Refused(reason)), Some(ended)) = (&decided, &mut self.ended) {
                    let read = opening.kept().unwrap_or(&worker.shared.buffer[..read]);
                    ended.beginning = Beginning::of(read, *reason);
                }
                return self.go_on(turn, decided);
            }
            // It does not wait for the server to speak: the header's own deadline holds.
            self.deadline = Clock::since(self.started, arrival.rule.inbound.timeout);
        }
    }

    /// For whoever waits until all load balancers send headers.
    fn note(&self, worker: &Worker, sighting: Option<bool>) {
        if let Some(has_header) = sighting {
            self.served.sightings.note(self.peer, has_header, worker.clock.instant());
        }
    }

    fn go_on(&mut self, turn: &mut Turn<'_>, decided: Result<Preamble, Declined>) -> Fate {
        match decided {
            Ok(preamble) => self.connect(turn, preamble),
            Err(declined) => self.decline(turn, declined),
        }
    }

    fn connect(&mut self, turn: &mut Turn<'_>, mut preamble: Preamble) -> Fate {
        if let Some(ended) = &mut self.ended {
            ended.origin = preamble.origin;
            ended.unique_id = preamble.unique_id.take();
        }
        if let Some(client) = preamble.origin.and_then(Origin::client) {
            match turn.worker.admission.admit_source(client.get().ip()) {
                Ok(place) => self.source_place = place,
                Err(Full) => return self.refuse(turn, Reason::SourceLimit),
            }
        }
        let timeout = self.served.rule.upstream.connect_timeout;
        self.deadline = turn.worker.clock.after(timeout);
        self.try_addresses(turn, Connecting::new(preamble), Reason::UpstreamUnreachable)
    }

    /// Begins to connect to one of the upstream's addresses after the other, until one does not
    /// fail at once.
    fn try_addresses(
        &mut self,
        turn: &mut Turn<'_>,
        mut connecting: Connecting,
        mut failed: Reason,
    ) -> Fate {
        loop {
            let worker = &*turn.worker;
            let attempts = Attempts {
                upstream: &self.served.rule.upstream,
                destination: self.destination,
                client: connecting.preamble.origin.and_then(Origin::client),
            };
            let begun = worker.departure.connect(attempts, &mut connecting.attempt, failed);
            // A client whose upstream can't be reached is reset, as that upstream's kernel would.
            let (stream, address) = match begun {
                Ok(begun) => begun,
                Err(reason) => return self.refuse(turn, reason),
            };
            if let Some(ended) = &mut self.ended {
                ended.upstream = Some(address);
            }
            let upstream = self.upstream.insert(ResetUnlessClosed::new(stream));
            let first = connecting.begin(upstream);
            if let First::Failed(error) = first {
                failed = reason_for(&error);
                continue;
            }
            if worker.poller.add(upstream.get(), turn.upstream_token).is_err() {
                return self.refuse(turn, Reason::Internal);
            }
            return self.take_first(turn, connecting, first);
        }
    }

    fn write_first(&mut self, turn: &mut Turn<'_>) -> Fate {
        match (mem::replace(&mut self.stage, Stage::Over), &self.upstream) {
            (Stage::Connecting(mut connecting), Some(upstream)) => {
                let first = connecting.write(upstream);
                self.take_first(turn, connecting, first)
            }
            _ => Fate::Over,
        }
    }

    fn take_first(&mut self, turn: &mut Turn<'_>, connecting: Connecting, first: First) -> Fate {
        match first {
            First::Sent => self.start_relay(turn, &connecting.preamble),
            First::Blocked => {
                self.stage = Stage::Connecting(connecting);
                Fate::Waiting
            }
            First::Failed(error) => self.try_addresses(turn, connecting, reason_for(&error)),
            First::Broken(error) => {
                tracing::debug!(%error, "the upstream left before it had the beginning");
                self.refuse(turn, Reason::UpstreamReset)
            }
        }
    }

    fn start_relay(&mut self, turn: &mut Turn<'_>, preamble: &Preamble) -> Fate {
        if let Some(ended) = &mut self.ended {
            ended.bytes.0 = preamble.payload as u64;
        }
        let (transfer, gate) = (Transfer::new(preamble.gated), Gate::default());
        self.stage = Stage::Relaying { transfer, gate, progress: (0, 0) };
        self.put_off_idle_deadline(turn);
        self.relay(turn)
    }

    fn put_off_idle_deadline(&mut self, turn: &Turn<'_>) {
        let idle = self.served.rule.idle_timeout;
        self.deadline = turn.worker.clock.after(idle);
    }

    fn relay(&mut self, turn: &mut Turn<'_>) -> Fate {
        let Stage::Relaying { transfer, gate, progress } = &mut self.stage else {
            return Fate::Over;
        };
        let Some(upstream) = &self.upstream else { return Fate::Over };
        if transfer.is_gated() {
            match gate.look(&self.client) {
                Look::Closed => {}
                Look::Open => transfer.open_gate(),
                Look::Header => return self.finish(turn, Ending::Broken(Reason::SecondHeader)),
                Look::Failed => return self.finish(turn, Ending::Broken(Reason::ClientReset)),
            }
        }
        let shared = &mut turn.worker.shared;
        let stand = transfer.advance::<Socket>(&self.client, upstream, shared);
        if transfer.moved() != *progress {
            *progress = transfer.moved();
            self.put_off_idle_deadline(turn);
        }
        match stand {
            Stand::Waiting => Fate::Waiting,
            Stand::Busy => Fate::Busy,
            Stand::Over(ending) => self.finish(turn, ending),
        }
    }

    /// Closes both sockets as the ending asks for.
    fn finish(&mut self, turn: &mut Turn<'_>, ending: Ending) -> Fate {
        if let (Stage::Relaying { transfer, .. }, Some(ended)) = (&self.stage, &mut self.ended) {
            let moved = transfer.moved();
            ended.bytes = (ended.bytes.0 + moved.0, moved.1);
            self.served.tally.moved(ended.bytes.0, ended.bytes.1);
            let outcome = outcome(ended.origin, ending, ended.bytes);
            self.record(turn.worker, outcome);
        }
        match ending {
            Ending::Complete => {
                self.upstream.iter_mut().for_each(ResetUnlessClosed::close_in_order);
                self.close()
            }
            Ending::UpstreamLeft => self.close_gently(turn),
            Ending::Broken(_) => self.over(),
        }
    }

    /// Opens no upstream, and ends the connection so that the client reads no error into it.
    fn decline(&mut self, turn: &mut Turn<'_>, declined: Declined) -> Fate {
        let outcome = match declined {
            Declined::Refused(reason) => Outcome::Refused(reason),
            Declined::HealthCheck => Outcome::HealthCheck,
        };
        self.record(turn.worker, outcome);
        self.close_gently(turn)
    }

    /// Ends it with a reset.
    fn refuse(&mut self, turn: &mut Turn<'_>, reason: Reason) -> Fate {
        self.record(turn.worker, Outcome::Refused(reason));
        self.over()
    }

    /// Ends our direction and reads the rest away, for a while. With unread bytes, a close would
    /// be a reset, and could overtake what we have written.
    fn close_gently(&mut self, turn: &mut Turn<'_>) -> Fate {
        self.upstream = None;
        if self.client.end().is_err() {
            return self.close();
        }
        self.stage = Stage::Closing;
        self.deadline = turn.worker.clock.after(LINGER);
        self.discard(turn)
    }

    fn discard(&mut self, turn: &mut Turn<'_>) -> Fate {
        loop {
            match self.client.read(&mut turn.worker.shared.buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Waiting,
                // Whether the peer closed or vanished: there is nothing more to do for it.
                Ok(0) | Err(_) => return self.close(),
            }
        }
    }

    fn close(&mut self) -> Fate {
        self.client.close_in_order();
        self.over()
    }

    fn over(&mut self) -> Fate {
        self.stage = Stage::Over;
        self.deadline = Tick::NEVER;
        Fate::Over
    }

    /// Enters it into the counters and the log, once: what it came to is known, however long the
    /// client takes to hear of it.
    fn record(&mut self, worker: &Worker, outcome: Outcome) {
        if let Some(ended) = self.ended.take() {
            self.served.tally.ended(outcome);
            let age = worker.clock.milliseconds() - self.started;
            worker.log.ended(&ended, outcome, Duration::from_millis(age));
        }
    }
}

/// What it comes to. A connection that carried nothing was only a look, however it ended.
fn outcome(origin: Option<Origin>, ending: Ending, bytes: (u64, u64)) -> Outcome {
    let looked_only =
        bytes == (0, 0) && matches!(ending, Ending::Complete | Ending::Broken(Reason::ClientReset));
    match (origin, ending) {
        (Some(Origin::Local), _) => Outcome::HealthCheck,
        (Some(_), _) if looked_only => Outcome::HealthCheck,
        (_, Ending::UpstreamLeft) => Outcome::Refused(Reason::UpstreamReset),
        (_, Ending::Broken(reason)) => Outcome::Refused(reason),
        (None, Ending::Complete) => Outcome::Unchanged,
        (Some(_), Ending::Complete) => Outcome::Relayed,
    }
}

/// A connection that is reset when it is dropped, unless it was closed in order.
#[derive(Debug)]
struct ResetUnlessClosed {
    socket: Socket,
    closed: bool,
}

impl ResetUnlessClosed {
    const fn new(stream: TcpStream) -> Self {
        Self { socket: Socket::new(stream), closed: false }
    }

    /// Both directions have ended: dropping it closes it.
    fn close_in_order(&mut self) {
        self.closed = true;
    }
}

impl Drop for ResetUnlessClosed {
    fn drop(&mut self) {
        if !self.closed {
            // A socket that refuses the option is closed already.
            let _ = socket::reset_on_close(self.socket.get());
        }
    }
}

impl Deref for ResetUnlessClosed {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}
