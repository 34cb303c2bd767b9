//! What a session has in all of its stages.

use std::net::TcpStream;
use std::ops::Deref;
use std::sync::Arc;

use proxy_common::Reason;

use crate::address::{OriginalDst, PeerAddr};
use crate::header::Origin;
use crate::relay::admission::{Permit, SourcePermit};
use crate::relay::clock::Moment;
use crate::relay::outbound::ConnectionInfo;
use crate::relay::record::Record;
use crate::relay::resources::Resources;
use crate::relay::rules::ActiveRule;
use crate::relay::stream::Socket;
use crate::relay::tally::Outcome;
use crate::relay::transfer::Ending;
use crate::sys::socket;

/// A connection as the kernel hands it over.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub client: TcpStream,
    /// Who connected.
    pub peer: PeerAddr,
    /// To what.
    pub destination: OriginalDst,
}

/// The client's side of a connection, its rule and its record.
#[derive(Debug)]
pub struct Connection {
    // In the order in which they are dropped: see `Session`.
    pub(super) permit: Permit,
    pub(super) source_permit: Option<SourcePermit>,
    pub(super) client: ResetUnlessClosed,
    /// Its rule to the end, whatever rules apply to later connections.
    pub(super) active: Arc<ActiveRule>,
    pub(super) record: Record,
    /// When it was accepted.
    pub(super) started: Moment,
}

impl Connection {
    /// A connection that has just been accepted.
    pub fn new(
        resources: &Resources,
        active: Arc<ActiveRule>,
        accepted: Accepted,
        permit: Permit,
    ) -> Self {
        let Accepted { client, peer, destination } = accepted;
        active.tally.accepted();
        Self {
            permit,
            source_permit: None,
            client: ResetUnlessClosed::new(Socket::new(client)),
            active,
            record: Record::new(peer, destination),
            started: resources.clock.moment(),
        }
    }

    /// What headers depend on.
    pub(super) fn info<'a>(&'a self, resources: &'a Resources) -> ConnectionInfo<'a> {
        ConnectionInfo {
            rule: &self.active.rule,
            peer: self.record.peer,
            destination: self.record.destination,
            unique_ids: &resources.unique_ids,
            pods: &resources.pods,
        }
    }

    /// What became of a connection that has ended like this, with so many payload bytes from and to the
    /// client. One that carried nothing was only a health check, however it ended.
    pub(super) fn outcome(&self, ending: Ending, bytes: (u64, u64)) -> Outcome {
        let is_empty = bytes == (0, 0)
            && matches!(ending, Ending::Complete | Ending::Broken(Reason::ClientReset));
        match (self.record.origin, ending) {
            (Some(Origin::Local), _) => Outcome::HealthCheck,
            (Some(_), _) if is_empty => Outcome::HealthCheck,
            (_, Ending::UpstreamLeft) => Outcome::Refused(Reason::UpstreamReset),
            (_, Ending::Broken(reason)) => Outcome::Refused(reason),
            (None, Ending::Complete) => Outcome::Unchanged,
            (Some(_), Ending::Complete) => Outcome::Relayed,
        }
    }

    /// Enters the connection into counters and log, however long the client takes to hear of its end.
    /// To be called once.
    pub(super) fn finish(&self, resources: &Resources, outcome: Outcome) {
        self.active.tally.ended(outcome);
        resources.log.write(&self.record, outcome, resources.clock.age(self.started));
    }
}

/// A socket whose connection is reset when it is dropped, unless it was closed in order.
///
/// It was made to do so (see [`socket::upstream`] and [`socket::listen`]); no `drop` could, since a
/// process that is killed drops nothing.
#[derive(Debug)]
pub(super) struct ResetUnlessClosed(Socket);

impl ResetUnlessClosed {
    /// A socket that was made to reset its connection.
    pub(super) const fn new(socket: Socket) -> Self {
        Self(socket)
    }

    /// Both directions have ended: dropping the socket, which is to follow at once, closes it.
    pub(super) fn close_in_order(&self) {
        // A socket that refuses the option is closed already.
        let _ = socket::end_on_close(self.get());
    }
}

impl Deref for ResetUnlessClosed {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}
