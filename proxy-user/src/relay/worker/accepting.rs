//! Connections are accepted, and begin.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use proxy_common::Reason;

use super::{Due, LISTENERS, Worker};
use crate::address::{OriginalDst, PeerAddr};
use crate::relay::log::Ended;
use crate::relay::resources::Context;
use crate::relay::rule_stats::ActiveRule;
use crate::relay::session::{Accepted, Fate, Session, Side};
use crate::relay::tally::Outcome;
use crate::sys::socket;

/// Connections accepted in a row before others get their turn. A listener is reported again.
const ACCEPTS: usize = 64;
/// How long a worker that can't accept for want of descriptors or memory leaves it be.
const BACK_OFF: Duration = Duration::from_millis(100);

impl Worker {
    /// Accepts what is there, as far as it is this worker's turn.
    pub(super) fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS {
            if self.resources.scratch.work.is_enough() {
                return;
            }
            self.resources.scratch.work.count(1);
            match socket::accept(&self.listeners[listener]) {
                Ok((client, peer)) => {
                    // One that is reset by now has no address any more.
                    let Ok(local) = client.local_addr() else {
                        self.resources.unmatched.only_counted(Outcome::HealthCheck);
                        continue;
                    };
                    let (peer, destination) = (PeerAddr::new(peer), OriginalDst::new(local));
                    self.receive(Accepted { client, peer, destination });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if socket::is_exhaustion(&error) => {
                    tracing::warn!(%error, "cannot accept; trying again soon");
                    return self.stop_accepting();
                }
                // That one connection is gone before it was accepted; the next one need not be.
                Err(error) => tracing::debug!(%error, "not accepted"),
            }
        }
    }

    /// A listener that can't be active would be reported without end.
    pub(super) fn stop_accepting(&mut self) {
        for listener in &self.listeners {
            // One that is not watched needs not be left be.
            let _ = self.resources.poller.remove(listener);
        }
        self.wheel.insert(self.resources.clock.after(BACK_OFF), Due::Accepting);
    }

    pub(super) fn watch_listeners(&self) -> Result<()> {
        for (listener, token) in self.listeners.iter().zip(LISTENERS) {
            self.resources.poller.add_level(listener, token).context("cannot watch a listener")?;
        }
        Ok(())
    }

    fn receive(&mut self, accepted: Accepted) {
        let Some(active) = self.resources.rules.find(accepted.destination) else {
            // Steering and rules are made of the same ports.
            return self.resources.unmatched.only_counted(Outcome::Refused(Reason::Internal));
        };
        let active = Arc::clone(active);
        match self.resources.admission.admit(self.resources.number) {
            Ok(place) => self.start(Session::new(&self.resources, active, accepted, place)),
            Err(reason) => self.turn_away(&active, &accepted, reason),
        }
    }

    /// Counts a connection for which there is no place. It is reset, as any that is only dropped.
    fn turn_away(&self, active: &ActiveRule, accepted: &Accepted, reason: Reason) {
        let outcome = Outcome::Refused(reason);
        active.tally.only_counted(outcome);
        let ended = Ended::new(accepted.peer, accepted.destination);
        self.resources.log.ended(&ended, outcome, Duration::ZERO);
    }

    fn start(&mut self, session: Session) {
        let key = self.sessions.insert(session);
        self.births += 1;
        if key == self.born.len() {
            self.born.push(self.births);
        }
        self.born[key] = self.births;
        let session = &mut self.sessions[key];
        let mut cx = Context { resources: &mut self.resources, key };
        let mut fate = session.begin(&mut cx);
        if fate != Fate::Over {
            // Watched only now: most have said everything that is needed by the first read.
            let poller = &cx.resources.poller;
            let watched = poller.add(session.client(), Side::Client.token(key));
            if let Err(error) = watched {
                tracing::warn!(%error, "a client can't be watched");
                fate = session.fail(&mut cx);
            }
        }
        self.settle(key, fate);
    }
}
