//! The third stage: bytes go both ways.

use proxy_common::Reason;

use super::{Fate, Session, Stage};
use crate::relay::buffers::Buffers;
use crate::relay::gate::Look;
use crate::relay::header_reader::Preamble;
use crate::relay::resources::Context;
use crate::relay::transfer::{Ending, Stand, Transfer};

impl Session {
    pub(super) fn start_relay(&mut self, cx: &mut Context<'_>, preamble: &Preamble) -> Fate {
        if let Some(ended) = &mut self.ended {
            ended.bytes.0 = preamble.payload as u64;
        }
        let (transfer, gate) = (Transfer::new(preamble.gate.is_some()), preamble.gate);
        let buffers = Buffers::new(self.place.is_memory_short());
        self.stage = Stage::Relaying { transfer, gate, buffers, progress: (0, 0) };
        self.put_off_idle_deadline(cx);
        self.relay(cx)
    }

    pub(super) fn put_off_idle_deadline(&mut self, cx: &Context<'_>) {
        let idle = self.active.rule.idle_timeout;
        self.deadline = cx.resources.clock.after(idle);
    }

    pub(super) fn relay(&mut self, cx: &mut Context<'_>) -> Fate {
        // What is the client's last goes out together with its end.
        if self.client.may_have_more() && !self.client.has_ended() {
            self.be_prompt();
        }
        let Stage::Relaying { transfer, gate, buffers, progress } = &mut self.stage else {
            return Fate::Over;
        };
        let Some(upstream) = &self.upstream else { return Fate::Over };
        if let Some(gate) = gate.as_mut().filter(|_| transfer.is_gated()) {
            match gate.look(&self.client) {
                Look::Closed => {}
                Look::Open => transfer.open_gate(),
                Look::Header(reason) => return self.finish(cx, Ending::Broken(reason)),
                Look::Failed => return self.finish(cx, Ending::Broken(Reason::ClientReset)),
            }
        }
        let scratch = &mut cx.resources.scratch;
        let stand = transfer.advance(&self.client, upstream, scratch);
        let (moved, held) = (transfer.moved(), transfer.held());
        let moved = moved.0 + moved.1;
        if buffers.is_due(moved, held) && !matches!(stand, Stand::Over(_)) {
            let ends = [self.client.get(), upstream.get()];
            if let Err(error) = buffers.look(ends, moved, held, &mut self.place) {
                tracing::debug!(%error, "a connection's buffers can't be looked at");
            }
        }
        if transfer.moved() != *progress {
            *progress = transfer.moved();
            self.put_off_idle_deadline(cx);
        }
        match stand {
            Stand::Waiting => Fate::Waiting,
            Stand::Busy => Fate::Busy,
            Stand::Over(ending) => self.finish(cx, ending),
        }
    }
}
