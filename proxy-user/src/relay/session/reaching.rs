//! The second stage: an upstream is connected to, and given what comes first.

use std::mem;

use proxy_common::Reason;

use super::ending::ResetUnlessClosed;
use super::{Fate, Session, Stage, Turn};
use crate::header::Origin;
use crate::relay::admission::Full;
use crate::relay::connecting::{Connecting, First};
use crate::relay::opening::Preamble;
use crate::relay::upstream::{Attempts, reason_for};
use crate::relay::work::{ATTEMPT, ATTEMPTS};

impl Session {
    pub(super) fn connect(&mut self, turn: &mut Turn<'_>, mut preamble: Preamble) -> Fate {
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
        self.try_addresses(turn, Connecting::new(preamble))
    }

    /// Begins to connect to one of the upstream's addresses after the other, until one does not
    /// fail at once.
    pub(super) fn try_addresses(
        &mut self,
        turn: &mut Turn<'_>,
        mut connecting: Connecting,
    ) -> Fate {
        for _ in 0..ATTEMPTS {
            turn.worker.shared.work.count(ATTEMPT);
            let worker = &*turn.worker;
            let attempts = Attempts {
                upstream: &self.served.rule.upstream,
                destination: self.destination,
                client: connecting.preamble.origin.and_then(Origin::client),
                speaks_first: !connecting.preamble.first.is_empty(),
            };
            let begun = worker.departure.connect(attempts, &mut connecting.attempt);
            let (stream, address) = match begun {
                Some(Ok(begun)) => begun,
                Some(Err(reason)) => {
                    connecting.fail(reason);
                    continue;
                }
                None => return self.give_up(turn, connecting.failed),
            };
            if let Some(ended) = &mut self.ended {
                ended.upstream = Some(address);
            }
            self.is_prompt = false;
            let upstream = self.upstream.insert(ResetUnlessClosed::new(stream));
            let first = connecting.begin(upstream);
            if let First::Failed(error) = first {
                connecting.fail(reason_for(&error));
                continue;
            }
            if worker.poller.add(upstream.get(), turn.upstream_token).is_err() {
                return self.refuse(turn, Reason::Internal);
            }
            // What it has said already is reported, too.
            upstream.await_more();
            return self.take_first(turn, connecting, first);
        }
        self.upstream = None;
        self.stage = Stage::Connecting(connecting);
        Fate::Busy
    }

    /// Whether the client has reset the connection, and the upstream has none of it yet. A client that
    /// has only ended waits for an answer.
    fn is_abandoned(&self, connecting: &Connecting) -> bool {
        self.client.has_failed() && !connecting.is_under_way()
    }

    /// A client whose upstream can't be reached is reset, as that upstream's kernel would.
    fn give_up(&mut self, turn: &mut Turn<'_>, reason: Reason) -> Fate {
        if reason == Reason::NoLocalPort {
            turn.worker.log.no_local_port(&self.served.rule);
        }
        self.refuse(turn, reason)
    }

    pub(super) fn write_first(&mut self, turn: &mut Turn<'_>) -> Fate {
        match (mem::replace(&mut self.stage, Stage::Over), &self.upstream) {
            (Stage::Connecting(connecting), _) if self.is_abandoned(&connecting) => {
                self.abandon(turn, connecting.preamble.payload)
            }
            (Stage::Connecting(mut connecting), Some(upstream)) => {
                let first = connecting.write(upstream);
                self.take_first(turn, connecting, first)
            }
            (Stage::Connecting(connecting), None) => self.try_addresses(turn, connecting),
            _ => Fate::Over,
        }
    }

    pub(super) fn take_first(
        &mut self,
        turn: &mut Turn<'_>,
        mut connecting: Connecting,
        first: First,
    ) -> Fate {
        match first {
            First::Sent => self.start_relay(turn, &connecting.preamble),
            First::Blocked | First::Busy => {
                if connecting.is_under_way() {
                    self.be_prompt();
                }
                self.stage = Stage::Connecting(connecting);
                if matches!(first, First::Busy) { Fate::Busy } else { Fate::Waiting }
            }
            First::Failed(error) => {
                connecting.fail(reason_for(&error));
                self.try_addresses(turn, connecting)
            }
            First::Broken(error) => {
                tracing::debug!(%error, "the upstream left before it had the beginning");
                self.refuse(turn, Reason::UpstreamReset)
            }
        }
    }
}
