//! The second stage: an upstream is connected to, and given what comes first. Where it has several
//! addresses, they race ([`Connecting`]); the session's upstream is the attempt that leads, and the one
//! that has won in the end.

use std::mem;

use proxy_common::Reason;

use super::ending::ResetUnlessClosed;
use super::{Fate, Session, Side, Stage};
use crate::address::UpstreamAddr;
use crate::header::{ONE_SEGMENT, Origin};
use crate::relay::admission::Full;
use crate::relay::connecting::{ATTEMPT_DELAY, Attempt, Connecting, First};
use crate::relay::dialer::{Failed, Targets};
use crate::relay::header_reader::Preamble;
use crate::relay::resources::Context;
use crate::relay::stream::Socket;
use crate::relay::work::{ATTEMPT, ATTEMPTS};

impl Session {
    pub(super) fn connect(&mut self, cx: &mut Context<'_>, mut preamble: Preamble) -> Fate {
        if let Some(ended) = &mut self.ended {
            ended.origin = preamble.origin;
            ended.unique_id = preamble.unique_id.take();
        }
        if let Some(client) = preamble.origin.and_then(Origin::client) {
            match cx.resources.admission.admit_source(client.get().ip()) {
                Ok(place) => self.source_place = place,
                Err(Full) => return self.refuse(cx, Reason::SourceLimit),
            }
        }
        if preamble.header_length() > ONE_SEGMENT {
            self.active.tally.wrote_long_header();
            cx.resources.log.long_header(&self.active.rule, preamble.header_length());
        }
        let clock = &cx.resources.clock;
        let deadline = clock.after(self.active.rule.upstream.connect_timeout);
        let candidates = self.active.candidates(self.destination, clock.instant());
        self.try_addresses(cx, Connecting::new(preamble, candidates, deadline))
    }

    /// Begins to connect to one of the upstream's addresses after the other, until one does not
    /// fail at once.
    fn try_addresses(&mut self, cx: &mut Context<'_>, mut connecting: Connecting) -> Fate {
        for _ in 0..ATTEMPTS {
            cx.resources.scratch.work.count(ATTEMPT);
            let targets = Targets {
                upstream: &self.active.rule.upstream,
                candidates: &connecting.candidates,
                client: connecting.preamble.origin.and_then(Origin::client),
                speaks_first: !connecting.preamble.first.is_empty(),
            };
            let begun = cx.resources.dialer.connect(targets, &mut connecting.cursor);
            let attempt = match begun {
                Some(Ok((stream, address))) => Attempt { socket: Socket::new(stream), address },
                Some(Err(failed)) => {
                    self.note_failure(cx, failed);
                    connecting.fail(failed.reason);
                    continue;
                }
                None if self.upstream.is_some() => {
                    self.deadline = connecting.deadline;
                    return self.wait(connecting);
                }
                None => return self.fail_to_reach(cx, connecting.failed),
            };
            connecting.cursor = connecting.cursor.next_address();
            self.set_deadline(cx, &connecting);
            let first = connecting.begin(&attempt.socket, attempt.address);
            if let First::Failed(error) = first {
                let failed = Failed::to_reach(attempt.address, &error);
                self.note_failure(cx, failed);
                connecting.failed = failed.reason;
                continue;
            }
            let leads = self.upstream.is_none() || connecting.is_under_way();
            let side = if leads { Side::Upstream } else { Side::Racing };
            if cx.resources.poller.add(attempt.socket.get(), side.token(cx.key)).is_err() {
                return self.refuse(cx, Reason::Internal);
            }
            // What it has said already is reported, too.
            attempt.socket.await_more();
            if leads {
                self.lead(attempt);
                return self.take_first(cx, connecting, first);
            }
            connecting.racing.push(attempt);
            return self.wait(connecting);
        }
        if self.upstream.is_none() {
            self.stage = Stage::Connecting(connecting);
            return Fate::Busy;
        }
        // The rest of them comes with the next turn of the wheel.
        self.deadline = cx.resources.clock.now();
        self.wait(connecting)
    }

    /// Has the session be about this attempt.
    fn lead(&mut self, attempt: Attempt) {
        if let Some(ended) = &mut self.ended {
            ended.upstream = Some(attempt.address);
        }
        self.is_prompt = false;
        self.upstream = Some(ResetUnlessClosed::of(attempt.socket));
    }

    /// Has one that was not the first lead the others: its events are the upstream's from now on.
    fn overtake(&mut self, cx: &Context<'_>, attempt: Attempt) -> bool {
        let poller = &cx.resources.poller;
        let moved = poller.remove(attempt.socket.get());
        let token = Side::Upstream.token(cx.key);
        let moved = moved.and_then(|()| poller.add(attempt.socket.get(), token));
        self.lead(attempt);
        moved.is_ok()
    }

    /// The next address has its turn after a while, if there is one.
    fn set_deadline(&mut self, cx: &Context<'_>, connecting: &Connecting) {
        self.deadline = connecting.deadline;
        if connecting.has_next() {
            self.deadline = self.deadline.min(cx.resources.clock.after(ATTEMPT_DELAY));
        }
    }

    fn wait(&mut self, connecting: Connecting) -> Fate {
        self.stage = Stage::Connecting(connecting);
        Fate::Waiting
    }

    /// It is time for the next address, or the time for all of them is up.
    pub(super) fn go_on_connecting(&mut self, cx: &mut Context<'_>) -> Fate {
        let Stage::Connecting(connecting) = mem::replace(&mut self.stage, Stage::Over) else {
            return Fate::Over;
        };
        if cx.resources.clock.now() >= connecting.deadline {
            self.note_silence(cx, &connecting);
            return self.refuse(cx, Reason::UpstreamTimeout);
        }
        if connecting.is_under_way() {
            // It has been reached, and takes its time to read.
            self.deadline = connecting.deadline;
            return self.wait(connecting);
        }
        self.try_addresses(cx, connecting)
    }

    /// None of those that were tried has answered.
    fn note_silence(&self, cx: &Context<'_>, connecting: &Connecting) {
        if connecting.is_under_way() {
            return;
        }
        let racing = connecting.racing.iter().map(|attempt| attempt.address);
        for address in racing.chain(self.leading()) {
            let failed = Failed { reason: Reason::UpstreamTimeout, blamed: Some(address) };
            self.note_failure(cx, failed);
        }
    }

    /// Where the attempt that leads goes to.
    fn leading(&self) -> Option<UpstreamAddr> {
        self.ended.as_ref().filter(|_| self.upstream.is_some())?.upstream
    }

    fn note_failure(&self, cx: &Context<'_>, failed: Failed) {
        if let Some(address) = failed.blamed {
            let (resources, is_clients) = (&cx.resources, self.active.rule.shows_clients());
            resources.health.failed(address, failed.reason, is_clients, resources.clock.instant());
        }
    }

    /// Whether the client has reset the connection, and the upstream has none of it yet. A client that
    /// has only ended waits for an answer.
    fn is_abandoned(&self, connecting: &Connecting) -> bool {
        self.client.has_failed() && !connecting.is_under_way()
    }

    /// A client whose upstream can't be reached is reset, as that upstream's kernel would.
    fn fail_to_reach(&mut self, cx: &mut Context<'_>, reason: Reason) -> Fate {
        if reason == Reason::NoLocalPort {
            cx.resources.log.no_local_port(&self.active.rule);
        }
        self.refuse(cx, reason)
    }

    pub(super) fn write_first(&mut self, cx: &mut Context<'_>) -> Fate {
        match (mem::replace(&mut self.stage, Stage::Over), &self.upstream) {
            (Stage::Connecting(connecting), _) if self.is_abandoned(&connecting) => {
                self.abandon(cx, connecting.preamble.payload)
            }
            (Stage::Connecting(mut connecting), Some(upstream)) => {
                let address = self.ended.as_ref().and_then(|ended| ended.upstream);
                let first = connecting.write(upstream, address);
                self.take_first(cx, connecting, first)
            }
            (Stage::Connecting(connecting), None) => self.try_addresses(cx, connecting),
            _ => Fate::Over,
        }
    }

    fn take_first(
        &mut self,
        cx: &mut Context<'_>,
        mut connecting: Connecting,
        first: First,
    ) -> Fate {
        if connecting.is_under_way() || matches!(first, First::Sent) {
            self.win(cx, &mut connecting);
        }
        match first {
            First::Sent => self.start_relay(cx, &connecting.preamble),
            First::Blocked if !connecting.is_under_way() => self.ask_racing(cx, connecting),
            First::Blocked | First::Busy => {
                self.be_prompt();
                self.stage = Stage::Connecting(connecting);
                if matches!(first, First::Busy) { Fate::Busy } else { Fate::Waiting }
            }
            First::Failed(error) => {
                if let Some(address) = self.leading() {
                    let failed = Failed::to_reach(address, &error);
                    self.note_failure(cx, failed);
                    connecting.failed = failed.reason;
                }
                self.upstream = None;
                if !connecting.racing.is_empty() {
                    let attempt = connecting.racing.remove(0);
                    if !self.overtake(cx, attempt) {
                        return self.refuse(cx, Reason::Internal);
                    }
                }
                self.try_addresses(cx, connecting)
            }
            First::Broken(error) => {
                tracing::debug!(%error, "the upstream left before it had the beginning");
                self.refuse(cx, Reason::UpstreamReset)
            }
        }
    }

    /// The one that leads has no answer yet: perhaps another has.
    fn ask_racing(&mut self, cx: &mut Context<'_>, mut connecting: Connecting) -> Fate {
        let begun = connecting.racing.len();
        let tell = |failed| self.note_failure(cx, failed);
        if let Some((attempt, first)) = connecting.write_to_racing(tell) {
            if !self.overtake(cx, attempt) {
                return self.refuse(cx, Reason::Internal);
            }
            return self.take_first(cx, connecting, first);
        }
        if connecting.racing.len() < begun {
            return self.try_addresses(cx, connecting);
        }
        self.wait(connecting)
    }

    /// The one that leads has been reached. The others are closed without a byte.
    fn win(&self, cx: &Context<'_>, connecting: &mut Connecting) {
        connecting.racing.clear();
        let Some(winner) = self.leading() else { return };
        // What leaves with the first packet is taken before anybody has answered.
        if !self.active.rule.upstream.fast_open || connecting.candidates.are_several() {
            cx.resources.health.reached(winner);
        }
        if let Some(addresses) = &self.active.addresses
            && connecting.candidates.get(0) != Some(winner)
        {
            addresses.prefer(winner, cx.resources.clock.instant());
        }
    }
}
