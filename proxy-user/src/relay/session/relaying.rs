//! The third stage: bytes go both ways.

use std::time::Duration;

use proxy_common::Reason;

use super::connection::Connection;
use super::upstream_socket::UpstreamSocket;
use super::{Close, Next, State};
use crate::relay::buffers::Buffers;
use crate::relay::gate::Gate;
use crate::relay::outbound::Preamble;
use crate::relay::progress::Progress;
use crate::relay::resources::Context;
use crate::relay::transfer::{Ending, Transfer};
use crate::relay::wheel::Tick;
use crate::sys::poll::Event;

/// After how long the kernel is asked to look after the upstream, as it does after every client because of
/// the listener's options. Most connections are over before, and are spared the call.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);

/// A connection that has reached its upstream.
#[derive(Debug)]
pub(super) struct Relaying {
    upstream: UpstreamSocket,
    transfer: Transfer,
    gate: Option<Gate>,
    buffers: Buffers,
    /// Payload that the upstream got before, with the header.
    payload: u64,
    /// What had been moved when the idle deadline was last put off.
    moved: (u64, u64),
    idle_deadline: Tick,
    /// When TCP keep-alive is switched on for the upstream; afterwards never.
    keep_alive_at: Tick,
}

impl Relaying {
    /// Begins with an upstream that has got the preamble.
    pub(super) fn start(
        connection: &Connection,
        cx: &Context<'_>,
        upstream: UpstreamSocket,
        preamble: &Preamble,
    ) -> Next {
        let clock = &cx.resources.clock;
        Next::Stage(State::Relaying(Self {
            upstream,
            transfer: Transfer::new(preamble.gate.is_some()),
            gate: preamble.gate,
            buffers: Buffers::new(connection.permit.is_memory_short()),
            payload: preamble.payload as u64,
            moved: (0, 0),
            idle_deadline: clock.after(connection.active.rule.idle_timeout),
            keep_alive_at: clock.after(KEEP_ALIVE_AFTER),
        }))
    }

    pub(super) fn advance(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Progress<Next> {
        let client = &connection.client;
        // The client's last bytes leave together with its end.
        if client.is_readable() && !client.has_ended() {
            self.upstream.set_nodelay();
        }
        if let Some(gate) = self.gate.as_mut().filter(|_| self.transfer.is_gated()) {
            match gate.opens(client) {
                Ok(false) => {}
                Ok(true) => self.transfer.open_gate(),
                Err(reason) => return self.finish(connection, Ending::Broken(reason)),
            }
        }
        let scratch = &mut cx.resources.scratch;
        let progress = self.transfer.advance(client, &self.upstream, scratch);
        if let Progress::Done(ending) = progress {
            return self.finish(connection, ending);
        }
        self.count_buffers(connection);
        if self.transfer.moved() != self.moved {
            self.moved = self.transfer.moved();
            self.idle_deadline = cx.resources.clock.after(connection.active.rule.idle_timeout);
        }
        if progress == Progress::Yielded { Progress::Yielded } else { Progress::Blocked }
    }

    pub(super) fn time_out(&self, connection: &mut Connection) -> Progress<Next> {
        self.finish(connection, Ending::Broken(Reason::IdleTimeout))
    }

    pub(super) fn deadline(&self) -> Tick {
        self.idle_deadline.min(self.keep_alive_at)
    }

    pub(super) fn on_event(&self, event: Event) {
        self.upstream.on_event(event);
    }

    pub(super) fn set_ready(&self) {
        self.upstream.set_ready();
    }

    /// Switches keep-alive on when its time has come.
    pub(super) fn keep_alive(&mut self, now: Tick) {
        if self.keep_alive_at <= now {
            self.keep_alive_at = Tick::NEVER;
            self.upstream.keep_alive();
        }
    }

    /// Payload bytes from the client and to it.
    pub(super) const fn bytes(&self) -> (u64, u64) {
        let (from_client, to_client) = self.transfer.moved();
        (self.payload + from_client, to_client)
    }

    /// Enters the bytes into the counters and the record, once, before the connection is recorded.
    pub(super) fn count_bytes(&self, connection: &mut Connection) {
        connection.record.bytes = self.bytes();
        connection.active.tally.moved(connection.record.bytes.0, connection.record.bytes.1);
    }

    fn count_buffers(&mut self, connection: &mut Connection) {
        let (moved, held) = (self.transfer.moved(), self.transfer.held());
        let moved = moved.0 + moved.1;
        if self.buffers.is_due(moved, held) {
            let sockets = [connection.client.get(), self.upstream.get()];
            let counted = self.buffers.update(sockets, moved, held, &mut connection.permit);
            if let Err(error) = counted {
                tracing::debug!(%error, "a connection's buffers can't be looked at");
            }
        }
    }

    fn finish(&self, connection: &mut Connection, ending: Ending) -> Progress<Next> {
        self.count_bytes(connection);
        let outcome = connection.outcome(ending, connection.record.bytes);
        let close = match ending {
            Ending::Complete => {
                self.upstream.close_in_order();
                Close::InOrder
            }
            Ending::UpstreamLeft => Close::Linger,
            Ending::Broken(_) => Close::Reset,
        };
        Progress::Done(Next::End(outcome, close))
    }
}
