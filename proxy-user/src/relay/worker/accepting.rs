//! Accepting connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use proxy_common::Reason;

use super::{LISTENERS, TimerEntry, Worker};
use crate::address::{OriginalDst, PeerAddr};
use crate::relay::progress::Progress;
use crate::relay::record::Record;
use crate::relay::resources::Context;
use crate::relay::rules::ActiveRule;
use crate::relay::session::Session;
use crate::relay::session::connection::{Accepted, Connection};
use crate::relay::tally::Outcome;
use crate::relay::token::{SessionKey, Side};
use crate::sys::socket;

/// How many connections are accepted in a row before others get their turn. The listener is reported
/// again.
const ACCEPTS: usize = 64;
/// How long a worker that cannot accept, because descriptors or memory have run out, leaves the listeners
/// alone.
const BACK_OFF: Duration = Duration::from_millis(100);

impl Worker {
    /// Accepts the connections that are waiting, as far as the budget reaches.
    pub(super) fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS {
            if self.resources.scratch.budget.is_exhausted() {
                return;
            }
            self.resources.scratch.budget.spend(1);
            match socket::accept(&self.listeners[listener]) {
                Ok((client, peer)) => {
                    // A connection that was reset meanwhile has no address any more.
                    let Ok(local) = client.local_addr() else {
                        self.resources.unmatched.count_only(Outcome::HealthCheck);
                        continue;
                    };
                    let (peer, destination) = (PeerAddr::new(peer), OriginalDst::new(local));
                    self.admit(Accepted { client, peer, destination });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if socket::is_exhaustion(&error) => {
                    tracing::warn!(%error, "cannot accept; trying again soon");
                    return self.stop_accepting();
                }
                // That connection was gone before it was accepted; the next one need not be.
                Err(error) => tracing::debug!(%error, "not accepted"),
            }
        }
    }

    /// Leaves the listeners alone for a while: one that cannot be served would be reported without end.
    pub(super) fn stop_accepting(&mut self) {
        for listener in &self.listeners {
            // Fails for one that is not watched, which is just as well.
            let _ = self.resources.poller.remove(listener);
        }
        self.wheel.insert(self.resources.clock.after(BACK_OFF), TimerEntry::ResumeAccepting);
    }

    pub(super) fn watch_listeners(&self) -> Result<()> {
        for (listener, token) in self.listeners.iter().zip(LISTENERS) {
            self.resources.poller.add_level(listener, token).context("cannot watch a listener")?;
        }
        Ok(())
    }

    fn admit(&mut self, accepted: Accepted) {
        let Some(active) = self.resources.rules.find(accepted.destination) else {
            // Steering and rules are made from the same ports.
            return self.resources.unmatched.count_only(Outcome::Refused(Reason::Internal));
        };
        let active = Arc::clone(active);
        match self.resources.admission.admit(self.resources.number) {
            Ok(permit) => {
                self.start(Connection::new(&self.resources, active, accepted, permit));
            }
            Err(reason) => self.turn_away(&active, &accepted, reason),
        }
    }

    /// Records a connection that exceeds a limit. It is reset when it is dropped.
    fn turn_away(&self, active: &ActiveRule, accepted: &Accepted, reason: Reason) {
        let outcome = Outcome::Refused(reason);
        active.tally.count_only(outcome);
        let record = Record::new(accepted.peer, accepted.destination);
        self.resources.log.write(&record, outcome, Duration::ZERO);
    }

    fn start(&mut self, connection: Connection) {
        let resources = &mut self.resources;
        let mut progress = Progress::Blocked;
        let started = self.sessions.try_insert_with_key(|key| {
            let (session, so_far) =
                Session::start(&mut Context { resources, key }, connection).ok_or(())?;
            progress = so_far;
            Ok::<_, ()>(session)
        });
        if let Ok(key) = started
            && self.watch_client(key)
        {
            self.follow_up(key, progress);
        }
    }

    /// Watches the client of a session that waits. Most have sent everything that is needed by the first
    /// read, and some are over by then.
    fn watch_client(&mut self, key: SessionKey) -> bool {
        let client = self.sessions[key].client();
        let Err(error) = self.resources.poller.add(client, Side::Client.token(key)) else {
            return true;
        };
        tracing::warn!(%error, "a client can't be watched");
        if let Some(session) = self.sessions.remove(key) {
            session.abort(&self.resources, Reason::Internal);
        }
        false
    }
}
