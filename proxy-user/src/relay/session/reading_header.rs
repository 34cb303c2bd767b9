//! The first stage: bytes are read until they decide what the connection begins with.

use std::io::ErrorKind;
use std::mem;

use super::{Fate, Session, Stage};
use crate::relay::header_reader::{Declined, Preamble};
use crate::relay::log::FirstBytes;
use crate::relay::resources::{Context, Resources};
use crate::relay::work::STEPS;

impl Session {
    pub(super) fn read_header(&mut self, cx: &mut Context<'_>) -> Fate {
        let Stage::ReadingHeader(mut reader) = mem::replace(&mut self.stage, Stage::Over) else {
            return Fate::Over;
        };
        for _ in 0..STEPS {
            let resources = &mut *cx.resources;
            let read = match self.client.read(&mut resources.scratch.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stage = Stage::ReadingHeader(reader);
                    return Fate::Waiting;
                }
                Err(error) => return self.decline(cx, reader.take_error(&error)),
            };
            resources.scratch.work.count(1);
            let connection = self.connection(resources);
            if let Some(decided) = reader.take(&resources.scratch.buffer[..read], connection) {
                self.record_usage(resources, reader.sent_header(&decided));
                if let (Err(Declined::Refused(reason)), Some(ended)) = (&decided, &mut self.ended) {
                    let read = reader.kept().unwrap_or(&resources.scratch.buffer[..read]);
                    ended.first_bytes = FirstBytes::of(read, *reason);
                }
                return self.go_on(cx, decided);
            }
            // It does not wait for the server to speak: the header's own deadline holds.
            self.deadline = self.started.after(connection.rule.inbound.timeout);
        }
        self.stage = Stage::ReadingHeader(reader);
        Fate::Busy
    }

    /// For whoever waits until all load balancers send headers.
    pub(super) fn record_usage(&self, resources: &Resources, has_header: Option<bool>) {
        if let Some(has_header) = has_header {
            self.active.usage.record(self.peer, has_header, resources.clock.instant());
        }
    }

    pub(super) fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        decided: Result<Preamble, Declined>,
    ) -> Fate {
        match decided {
            Ok(preamble) => self.connect(cx, preamble),
            Err(declined) => self.decline(cx, declined),
        }
    }
}
