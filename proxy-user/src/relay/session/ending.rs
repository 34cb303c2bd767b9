//! The last stage: both sockets are closed as the ending asks for, and the connection is entered into
//! counters and log.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::ops::Deref;
use std::time::Duration;

use proxy_common::Reason;

use super::{Fate, Session, Stage};
use crate::header::Origin;
use crate::relay::header_reader::Declined;
use crate::relay::resources::{Context, Resources};
use crate::relay::stream::Socket;
use crate::relay::tally::Outcome;
use crate::relay::transfer::Ending;
use crate::relay::wheel::Tick;
use crate::relay::work::DISCARDS;
use crate::sys::socket;

/// How long a connection that we end is read on after our last byte, so that the client reads
/// that byte before it learns that we are gone.
const LINGER: Duration = Duration::from_secs(2);

impl Session {
    /// Closes both sockets as the ending asks for.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, ending: Ending) -> Fate {
        self.take_stock();
        if let Some(ended) = &self.ended {
            let outcome = outcome(ended.origin, ending, ended.bytes);
            self.record(cx.resources, outcome);
        }
        match ending {
            Ending::Complete => {
                self.upstream.iter().for_each(ResetUnlessClosed::close_in_order);
                self.close()
            }
            Ending::UpstreamLeft => self.close_gently(cx),
            Ending::Broken(_) => self.over(),
        }
    }

    /// The worker ends, and the connection with it.
    pub fn cut(mut self, resources: &Resources) {
        self.take_stock();
        self.record(resources, Outcome::Refused(Reason::DrainTimeout));
    }

    /// Enters what has been moved, once, before the connection is recorded.
    fn take_stock(&mut self) {
        if let (Stage::Relaying { transfer, .. }, Some(ended)) = (&self.stage, &mut self.ended) {
            let moved = transfer.moved();
            ended.bytes = (ended.bytes.0 + moved.0, moved.1);
            self.active.tally.moved(ended.bytes.0, ended.bytes.1);
        }
    }

    /// The client is gone before its upstream has anything. Nothing is delivered, and nobody's place
    /// is held.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>, payload: usize) -> Fate {
        let origin = self.ended.as_ref().and_then(|ended| ended.origin);
        let outcome = outcome(origin, Ending::Broken(Reason::ClientReset), (payload as u64, 0));
        self.record(cx.resources, outcome);
        self.over()
    }

    /// Opens no upstream, and ends the connection so that the client reads no error into it.
    pub(super) fn decline(&mut self, cx: &mut Context<'_>, declined: Declined) -> Fate {
        let outcome = match declined {
            Declined::Refused(reason) => Outcome::Refused(reason),
            Declined::HealthCheck => Outcome::HealthCheck,
        };
        self.record(cx.resources, outcome);
        self.close_gently(cx)
    }

    /// Ends it with a reset, however far it is, for a fault of our own.
    pub fn fail(&mut self, cx: &mut Context<'_>) -> Fate {
        self.finish(cx, Ending::Broken(Reason::Internal))
    }

    /// Ends it with a reset.
    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, reason: Reason) -> Fate {
        self.record(cx.resources, Outcome::Refused(reason));
        self.over()
    }

    /// Ends our direction and reads the rest away, for a while. With unread bytes, a close would
    /// be a reset, and could overtake what we have written.
    pub(super) fn close_gently(&mut self, cx: &mut Context<'_>) -> Fate {
        self.upstream = None;
        if self.client.end().is_err() {
            return self.close();
        }
        self.stage = Stage::Closing;
        self.deadline = cx.resources.clock.after(LINGER);
        self.discard(cx)
    }

    pub(super) fn discard(&mut self, cx: &mut Context<'_>) -> Fate {
        for _ in 0..DISCARDS {
            match self.client.read(&mut cx.resources.scratch.buffer) {
                Ok(1..) => cx.resources.scratch.work.count(1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Waiting,
                // Whether the peer closed or vanished: there is nothing more to do for it.
                Ok(0) | Err(_) => return self.close(),
            }
        }
        Fate::Busy
    }

    pub(super) fn close(&mut self) -> Fate {
        self.client.close_in_order();
        self.over()
    }

    pub(super) fn over(&mut self) -> Fate {
        self.stage = Stage::Over;
        self.deadline = Tick::NEVER;
        Fate::Over
    }

    /// Enters it into the counters and the log, once: what it came to is known, however long the
    /// client takes to hear of it.
    pub(super) fn record(&mut self, resources: &Resources, outcome: Outcome) {
        if let Some(ended) = self.ended.take() {
            self.active.tally.ended(outcome);
            resources.log.ended(&ended, outcome, resources.clock.age(self.started));
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

/// A connection that is reset when it is dropped, unless it was closed in message.
///
/// The socket itself is made so (see [`socket::upstream`] and [`socket::listen`]), not by `drop`: a
/// process that is killed drops nothing.
#[derive(Debug)]
pub(super) struct ResetUnlessClosed(Socket);

impl ResetUnlessClosed {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self::of(Socket::new(stream))
    }

    pub(super) const fn of(socket: Socket) -> Self {
        Self(socket)
    }

    /// Both directions have ended: dropping it, which is to follow at once, closes it.
    pub(super) fn close_in_order(&self) {
        // A socket that refuses the option is closed already.
        let _ = socket::end_on_close(self.get());
    }
}

impl Deref for ResetUnlessClosed {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}
