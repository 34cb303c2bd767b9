//! The first stage: the client's first bytes are read until they decide what its upstream gets.

use std::io::ErrorKind;

use proxy_common::Reason;

use super::connecting::Connecting;
use super::connection::Connection;
use super::{Next, State};
use crate::relay::header_reader::{Declined, HeaderReader, NextStep};
use crate::relay::outbound::Preamble;
use crate::relay::progress::Progress;
use crate::relay::record::FirstBytes;
use crate::relay::resources::{Context, Resources};
use crate::relay::step_budget::STEPS;
use crate::relay::wheel::Tick;

/// A connection whose first bytes are awaited.
#[derive(Debug)]
pub(super) struct ReadingHeader {
    reader: HeaderReader,
    deadline: Tick,
}

impl ReadingHeader {
    /// Decides by its source what to do with a connection that has just been accepted.
    pub(super) fn start(connection: &mut Connection, cx: &mut Context<'_>) -> Next {
        match NextStep::of(connection.info(cx.resources)) {
            Err(declined) => declined.into(),
            Ok(NextStep::Connect(preamble)) => Connecting::start(connection, cx, preamble),
            Ok(NextStep::ReadHeader(reader)) => {
                let rule = &connection.active.rule;
                let wait = reader.server_first(rule).unwrap_or(rule.inbound.timeout);
                let deadline = cx.resources.clock.after(wait);
                Next::Stage(State::ReadingHeader(Self { reader, deadline }))
            }
        }
    }

    pub(super) fn advance(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        for _ in 0..STEPS {
            let resources = &mut *cx.resources;
            let read = match connection.client.read(&mut resources.scratch.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Blocked,
                Err(error) => return Progress::Done(self.reader.take_error(&error).into()),
            };
            resources.scratch.budget.spend(1);
            let bytes = &resources.scratch.buffer[..read];
            if let Some(decision) = self.reader.take(bytes, connection.info(resources)) {
                self.count_header(connection, resources, &decision);
                if let Err(Declined::Refused(reason)) = &decision {
                    let read = self.reader.kept().unwrap_or(bytes);
                    connection.record.first_bytes = FirstBytes::of(read, *reason);
                }
                return Progress::Done(go_on(connection, cx, decision));
            }
            // The client does not wait for the server to speak: the header's own deadline applies.
            self.deadline = connection.started.after(connection.active.rule.inbound.timeout);
        }
        Progress::Yielded
    }

    pub(super) fn time_out(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        // It may only have been the time after which the server is to speak first.
        if self.reader.server_first(&connection.active.rule).is_none() {
            if let Some(read) = self.reader.kept() {
                connection.record.first_bytes = FirstBytes::of(read, Reason::HeaderTimeout);
            }
            return Progress::Done(Declined::from(Reason::HeaderTimeout).into());
        }
        let decision = self.reader.take_silence(connection.info(cx.resources));
        self.count_header(connection, cx.resources, &decision);
        Progress::Done(go_on(connection, cx, decision))
    }

    pub(super) const fn deadline(&self) -> Tick {
        self.deadline
    }

    /// Counts trusted connections with and without a header, so that one can tell when all load
    /// balancers send headers.
    fn count_header(
        &self,
        connection: &Connection,
        resources: &Resources,
        decision: &Result<Preamble, Declined>,
    ) {
        if let Some(has_header) = self.reader.sent_header(decision) {
            let usage = &connection.active.usage;
            usage.record(connection.record.peer, has_header, resources.clock.instant());
        }
    }
}

fn go_on(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    decision: Result<Preamble, Declined>,
) -> Next {
    match decision {
        Ok(preamble) => Connecting::start(connection, cx, preamble),
        Err(declined) => declined.into(),
    }
}
