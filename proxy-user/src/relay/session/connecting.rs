//! The second stage: an upstream is connected to, and given what comes first.
//!
//! Where it has several addresses, the next is tried as soon as one has failed, or has not answered for
//! [`ATTEMPT_DELAY`], and the earlier attempts stay in the race (RFC 8305). The first that takes a byte has
//! won, and the sockets of the others are closed, so that none of them ever gets one.

use std::time::Duration;

use proxy_common::Reason;

use super::connection::Connection;
use super::first_write::{FirstWrite, WriteError};
use super::relaying::Relaying;
use super::upstream_socket::UpstreamSocket;
use super::{Close, Next, State};
use crate::address::UpstreamAddr;
use crate::header::{ONE_SEGMENT, Origin};
use crate::relay::addresses::Candidates;
use crate::relay::dialer::{Cursor, Failed, Targets};
use crate::relay::outbound::Preamble;
use crate::relay::progress::Progress;
use crate::relay::resources::Context;
use crate::relay::step_budget::{ATTEMPT, ATTEMPTS};
use crate::relay::token::Side;
use crate::relay::transfer::Ending;
use crate::relay::wheel::Tick;
use crate::sys::poll::Event;

/// RFC 8305's Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A connection whose upstream has not got all of the preamble.
#[derive(Debug)]
pub(super) struct Connecting {
    first: FirstWrite,
    candidates: Candidates,
    /// The next target.
    cursor: Cursor,
    /// The attempt that comes before the others, if any is in progress.
    leader: Option<UpstreamSocket>,
    /// The other attempts in progress.
    racing: Vec<UpstreamSocket>,
    /// Why the last attempt has failed.
    failed: Reason,
    /// When the next address is tried, or the time for all attempts is up.
    deadline: Tick,
    /// When the time for all attempts is up.
    connect_deadline: Tick,
}

impl Connecting {
    /// Begins with a connection of which it is known what its upstream gets.
    pub(super) fn start(
        connection: &mut Connection,
        cx: &Context<'_>,
        mut preamble: Preamble,
    ) -> Next {
        let resources = &*cx.resources;
        connection.record.origin = preamble.origin;
        connection.record.unique_id = preamble.unique_id.take();
        if let Some(client) = preamble.origin.and_then(Origin::client) {
            match resources.admission.admit_source(client.get().ip()) {
                Ok(permit) => connection.source_permit = permit,
                Err(reason) => return Next::reset(reason),
            }
        }
        let active = &connection.active;
        if preamble.header_length() > ONE_SEGMENT {
            active.tally.wrote_long_header();
            resources.log.long_header(&active.rule, preamble.header_length());
        }
        let connect_deadline = resources.clock.after(active.rule.upstream.connect_timeout);
        let now = resources.clock.instant();
        Next::Stage(State::Connecting(Self {
            first: FirstWrite::new(preamble),
            candidates: active.candidates(connection.record.destination, now),
            cursor: Cursor::default(),
            leader: None,
            racing: Vec::new(),
            failed: Reason::UpstreamUnreachable,
            deadline: connect_deadline,
            connect_deadline,
        }))
    }

    pub(super) fn advance(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        // The client has reset the connection, and the upstream has none of it yet: nothing is delivered,
        // and nobody's place is taken. A client that has only ended waits for an answer.
        if connection.client.has_failed() && !self.first.is_under_way() {
            let bytes = (self.first.preamble.payload as u64, 0);
            let outcome = connection.outcome(Ending::Broken(Reason::ClientReset), bytes);
            return Progress::Done(Next::End(outcome, Close::Reset));
        }
        match &self.leader {
            Some(leader) => {
                let written = self.first.advance(leader);
                self.after_write(connection, cx, written)
            }
            None => self.try_addresses(connection, cx),
        }
    }

    /// It is time for the next address, or the time for all of them is up.
    pub(super) fn time_out(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        if cx.resources.clock.now() >= self.connect_deadline {
            self.note_silence(connection, cx);
            return Progress::Done(Next::reset(Reason::UpstreamTimeout));
        }
        if self.first.is_under_way() {
            // It is connected, and takes its time to read.
            self.deadline = self.connect_deadline;
            return Progress::Blocked;
        }
        self.try_addresses(connection, cx)
    }

    pub(super) const fn deadline(&self) -> Tick {
        self.deadline
    }

    pub(super) fn on_event(&self, side: Side, event: Event) {
        match (side, &self.leader) {
            (Side::Upstream, Some(leader)) => leader.on_event(event),
            // It is not known which of them.
            (Side::Racing, _) => self.racing.iter().for_each(|attempt| attempt.set_writable()),
            _ => {}
        }
    }

    pub(super) fn set_ready(&self) {
        self.leader.iter().for_each(|leader| leader.set_ready());
        self.racing.iter().for_each(|attempt| attempt.set_writable());
    }

    /// Begins to connect to one address after the other, until an attempt does not fail at once.
    pub(super) fn try_addresses(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        for _ in 0..ATTEMPTS {
            cx.resources.scratch.budget.spend(ATTEMPT);
            let targets = Targets {
                upstream: &connection.active.rule.upstream,
                candidates: &self.candidates,
                client: connection.record.origin.and_then(Origin::client),
                speaks_first: !self.first.preamble.bytes.is_empty(),
            };
            let attempt = match cx.resources.dialer.connect(targets, &mut self.cursor) {
                Some(Ok((stream, address))) => UpstreamSocket::new(stream, address),
                Some(Err(failed)) => {
                    note_failure(connection, cx, failed);
                    self.failed = failed.reason;
                    self.cursor = self.cursor.next(failed.reason);
                    continue;
                }
                None if self.leader.is_some() => {
                    self.deadline = self.connect_deadline;
                    return Progress::Blocked;
                }
                None => return Progress::Done(self.give_up(connection, cx)),
            };
            self.cursor = self.cursor.next_address();
            self.schedule_next(cx);
            let written = self.first.begin(&attempt);
            if let Err(WriteError::NotConnected(error)) = written {
                self.fail(connection, cx, attempt.address, &error);
                continue;
            }
            let leads = self.leader.is_none() || self.first.is_under_way();
            let side = if leads { Side::Upstream } else { Side::Racing };
            if cx.resources.poller.add(attempt.get(), side.token(cx.key)).is_err() {
                return Progress::Done(Next::reset(Reason::Internal));
            }
            // The poller reports what has happened already, too.
            attempt.clear_readable();
            if leads {
                self.lead(connection, attempt);
                return self.after_write(connection, cx, written);
            }
            self.racing.push(attempt);
            return Progress::Blocked;
        }
        if self.leader.is_none() {
            return Progress::Yielded;
        }
        // The next addresses are tried in the next round.
        self.deadline = cx.resources.clock.now();
        Progress::Blocked
    }

    /// Sets the time for the next address, if there is one.
    fn schedule_next(&mut self, cx: &Context<'_>) {
        self.deadline = self.connect_deadline;
        if self.cursor.address_of(&self.candidates).is_some() {
            self.deadline = self.connect_deadline.min(cx.resources.clock.after(ATTEMPT_DELAY));
        }
    }

    /// Makes this attempt the one that the record names.
    fn lead(&mut self, connection: &mut Connection, attempt: UpstreamSocket) {
        connection.record.upstream = Some(attempt.address);
        self.leader = Some(attempt);
    }

    /// Makes one of the racing attempts the leader: its events are the upstream's from now on.
    fn promote(
        &mut self,
        connection: &mut Connection,
        cx: &Context<'_>,
        attempt: UpstreamSocket,
    ) -> Result<(), Reason> {
        let poller = &cx.resources.poller;
        let moved = poller.remove(attempt.get());
        let token = Side::Upstream.token(cx.key);
        let moved = moved.and_then(|()| poller.add(attempt.get(), token));
        self.lead(connection, attempt);
        moved.map_err(|_| Reason::Internal)
    }

    /// Goes on after a write to the leader.
    fn after_write(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        written: Result<Progress, WriteError>,
    ) -> Progress<Next> {
        let is_under_way = self.first.is_under_way();
        if is_under_way || matches!(written, Ok(Progress::Done(()))) {
            self.win(connection, cx);
        }
        match written {
            Ok(Progress::Done(())) => Progress::Done(self.start_relaying(connection, cx)),
            Ok(Progress::Blocked) if !is_under_way => self.write_to_racing(connection, cx),
            Ok(progress) => {
                self.leader.iter_mut().for_each(UpstreamSocket::set_nodelay);
                if progress == Progress::Yielded { Progress::Yielded } else { Progress::Blocked }
            }
            Err(WriteError::NotConnected(error)) => {
                if let Some(leader) = self.leader.take() {
                    self.fail(connection, cx, leader.address, &error);
                }
                if !self.racing.is_empty() {
                    let attempt = self.racing.remove(0);
                    if let Err(reason) = self.promote(connection, cx, attempt) {
                        return Progress::Done(Next::reset(reason));
                    }
                }
                self.try_addresses(connection, cx)
            }
            Err(WriteError::Broken(error)) => {
                tracing::debug!(%error, "the upstream left before it had the beginning");
                Progress::Done(Next::reset(Reason::UpstreamReset))
            }
        }
    }

    /// The leader has not answered yet: writes to the others in turn, until one of them takes something
    /// and so has won. Attempts that have failed are dropped.
    fn write_to_racing(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        let (before, mut at) = (self.racing.len(), 0);
        while at < self.racing.len() {
            let attempt = self.racing.remove(at);
            match self.first.advance(&attempt) {
                Err(WriteError::NotConnected(error)) => {
                    self.fail(connection, cx, attempt.address, &error);
                }
                Ok(Progress::Blocked) if !self.first.is_under_way() => {
                    self.racing.insert(at, attempt);
                    at += 1;
                }
                written => {
                    return match self.promote(connection, cx, attempt) {
                        Ok(()) => self.after_write(connection, cx, written),
                        Err(reason) => Progress::Done(Next::reset(reason)),
                    };
                }
            }
        }
        if self.racing.len() < before {
            return self.try_addresses(connection, cx);
        }
        Progress::Blocked
    }

    /// The leader is connected. The other attempts are closed without a byte.
    fn win(&mut self, connection: &Connection, cx: &Context<'_>) {
        self.racing.clear();
        let Some(winner) = self.leader.as_ref().map(|leader| leader.address) else { return };
        let active = &connection.active;
        // Data in the SYN is taken before anybody has answered.
        if !active.rule.upstream.fast_open || self.candidates.are_several() {
            cx.resources.health.reached(winner);
        }
        if let Some(addresses) = &active.addresses
            && self.candidates.get(0) != Some(winner)
        {
            addresses.prefer(winner, cx.resources.clock.instant());
        }
    }

    fn start_relaying(&mut self, connection: &Connection, cx: &Context<'_>) -> Next {
        match self.leader.take() {
            Some(upstream) => Relaying::start(connection, cx, upstream, &self.first.preamble),
            None => Next::reset(Reason::Internal),
        }
    }

    /// All addresses have failed. The client is reset, as the upstream's kernel would reset it.
    fn give_up(&self, connection: &Connection, cx: &Context<'_>) -> Next {
        if self.failed == Reason::NoLocalPort {
            cx.resources.log.no_local_port(&connection.active.rule);
        }
        Next::reset(self.failed)
    }

    /// An attempt has failed after it was begun.
    fn fail(
        &mut self,
        connection: &Connection,
        cx: &Context<'_>,
        address: UpstreamAddr,
        error: &std::io::Error,
    ) {
        let failed = Failed::to_reach(address, error);
        note_failure(connection, cx, failed);
        self.failed = failed.reason;
    }

    /// None of the attempts in progress has been answered.
    fn note_silence(&self, connection: &Connection, cx: &Context<'_>) {
        if self.first.is_under_way() {
            return;
        }
        for attempt in self.racing.iter().chain(&self.leader) {
            let blamed = Some(attempt.address);
            note_failure(connection, cx, Failed { reason: Reason::UpstreamTimeout, blamed });
        }
    }
}

/// Remembers that an address could not be reached.
fn note_failure(connection: &Connection, cx: &Context<'_>, failed: Failed) {
    if let Some(address) = failed.blamed {
        let resources = &*cx.resources;
        let as_client = connection.active.rule.shows_clients();
        resources.health.failed(address, failed.reason, as_client, resources.clock.instant());
    }
}
