//! The first stage: bytes are read until they decide what the connection begins with.

use std::io::ErrorKind;
use std::mem;

use super::{Fate, Session, Stage, Turn};
use crate::relay::log::Beginning;
use crate::relay::opening::{Declined, Preamble};
use crate::relay::work::STEPS;
use crate::relay::worker::Worker;

impl Session {
    pub(super) fn read_opening(&mut self, turn: &mut Turn<'_>) -> Fate {
        let Stage::Opening(mut opening) = mem::replace(&mut self.stage, Stage::Over) else {
            return Fate::Over;
        };
        for _ in 0..STEPS {
            let worker = &mut *turn.worker;
            let read = match self.client.read(&mut worker.shared.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stage = Stage::Opening(opening);
                    return Fate::Waiting;
                }
                Err(error) => return self.decline(turn, opening.take_error(&error)),
            };
            worker.shared.work.count(1);
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
            self.deadline = self.started.after(arrival.rule.inbound.timeout);
        }
        self.stage = Stage::Opening(opening);
        Fate::Busy
    }

    /// For whoever waits until all load balancers send headers.
    pub(super) fn note(&self, worker: &Worker, sighting: Option<bool>) {
        if let Some(has_header) = sighting {
            self.served.sightings.note(self.peer, has_header, worker.clock.instant());
        }
    }

    pub(super) fn go_on(
        &mut self,
        turn: &mut Turn<'_>,
        decided: Result<Preamble, Declined>,
    ) -> Fate {
        match decided {
            Ok(preamble) => self.connect(turn, preamble),
            Err(declined) => self.decline(turn, declined),
        }
    }
}
