//! One connection's story, from accept to close.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use proxy_common::Reason;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::flow::Shared;
use super::log::Ended;
use super::preamble::{Arrival, Declined};
use super::tally::Outcome;
use super::transfer::{Ending, transfer};
use super::worker::Worker;
use crate::address::{OriginalDst, PeerAddr};
use crate::header::Origin;
use crate::sys::socket;

/// How long a connection that we end is read on after our last byte, so that the client reads
/// that byte before it learns that we are gone.
const LINGER: Duration = Duration::from_secs(2);

/// Serves an accepted connection to its end, counts it and logs it.
pub async fn serve(worker: Rc<Worker>, client: TcpStream) {
    let (Ok(peer), Ok(local)) = (client.peer_addr(), client.local_addr()) else {
        // It was reset before we came to it.
        worker.tally.accepted();
        return worker.tally.ended(Outcome::HealthCheck);
    };
    let (peer, destination) = (PeerAddr::new(peer), OriginalDst::new(local));
    let client = ResetUnlessClosed::new(client);
    let mut record = Record::open(&worker, peer, destination);
    let Some(rule) = worker.settings.rule_for(destination) else {
        // Steering and settings are made of the same ports.
        return record.outcome = Outcome::Refused(Reason::Internal);
    };
    let arrival = Arrival { rule, peer, destination, unique_ids: &worker.unique_ids };
    let (outcome, lingering) = carry(&worker, arrival, client, &mut record.ended).await;
    record.outcome = outcome;
    // What it came to is known now; how long the client takes to hear of it does not matter.
    drop(record);
    if let Some(client) = lingering {
        client.close_gently(&worker.shared).await;
    }
}

/// The story itself: what it came to, and the client's connection if it is still to be closed.
async fn carry(
    worker: &Worker,
    arrival: Arrival<'_>,
    mut client: ResetUnlessClosed,
    ended: &mut Ended,
) -> (Outcome, Option<ResetUnlessClosed>) {
    let opening = match arrival.preamble(&mut client).await {
        Ok(opening) => opening,
        Err(Declined::Refused(reason)) => return (Outcome::Refused(reason), Some(client)),
        Err(Declined::HealthCheck) => return (Outcome::HealthCheck, Some(client)),
    };
    ended.origin = opening.origin;
    ended.unique_id = opening.unique_id;
    let rule = arrival.rule;
    let client_address = opening.origin.and_then(Origin::client);
    let connecting =
        worker.departure.connect(&rule.upstream, arrival.destination, client_address).await;
    // A client whose upstream can't be reached is reset, as that upstream's kernel would do it.
    let (mut upstream, address) = match connecting {
        Ok((upstream, address)) => (ResetUnlessClosed::new(upstream), address),
        Err(reason) => return (Outcome::Refused(reason), None),
    };
    ended.upstream = Some(address);
    if upstream.write_all(&opening.first).await.is_err() {
        return (Outcome::Refused(Reason::UpstreamReset), None);
    }
    drop(opening.first);
    let moved =
        transfer(&client, &upstream, opening.gated, rule.idle_timeout, &worker.shared).await;
    ended.bytes = (opening.payload as u64 + moved.bytes_in, moved.bytes_out);
    worker.tally.moved(ended.bytes.0, ended.bytes.1);
    let outcome = outcome(opening.origin, moved.ending, ended.bytes);
    (outcome, finish(client, upstream, moved.ending))
}

/// Closes both sockets as the transfer's ending asks for, but for a client that is to be closed
/// gently.
fn finish(
    client: ResetUnlessClosed,
    upstream: ResetUnlessClosed,
    ending: Ending,
) -> Option<ResetUnlessClosed> {
    match ending {
        Ending::Complete => {
            client.close();
            upstream.close();
            None
        }
        Ending::UpstreamLeft => Some(client),
        Ending::Broken(_) => None,
    }
}

/// What it comes to. A connection that carried nothing was only a look, however it ended.
fn outcome(origin: Option<Origin>, ending: Ending, bytes: (u64, u64)) -> Outcome {
    let looked_only =
        bytes == (0, 0) && matches!(ending, Ending::Complete | Ending::Broken(Reason::ClientReset));
    match (origin, ending) {
        (Some(Origin::Local), _) => Outcome::HealthCheck,
        (Some(_), _) if looked_only => Outcome::HealthCheck,
        (_, Ending::UpstreamLeft) => Outcome::Refused(Reason::UpstreamReset),
        (_, Ending::Broken(reason)) => Outcome::Refused(reason),
        (None, Ending::Complete) => Outcome::Unchanged,
        (Some(_), Ending::Complete) => Outcome::Relayed,
    }
}

/// A connection's entry in the counters and the log. It is made also when the task is dropped
/// half-way, which happens at the end of a drain only.
struct Record<'a> {
    worker: &'a Worker,
    started: Instant,
    ended: Ended,
    outcome: Outcome,
}

impl<'a> Record<'a> {
    fn open(worker: &'a Worker, peer: PeerAddr, destination: OriginalDst) -> Self {
        worker.tally.accepted();
        Self {
            worker,
            started: Instant::now(),
            ended: Ended::new(peer, destination),
            outcome: Outcome::Refused(Reason::DrainTimeout),
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.worker.tally.ended(self.outcome);
        self.worker.log.ended(&self.ended, self.outcome, self.started.elapsed());
    }
}

/// A connection that is reset when it is dropped. A close in the middle of a stream would tell the
/// peer that it has everything; only whoever knows that it has may close.
#[derive(Debug)]
struct ResetUnlessClosed {
    stream: TcpStream,
    closed: bool,
}

impl ResetUnlessClosed {
    const fn new(stream: TcpStream) -> Self {
        Self { stream, closed: false }
    }

    /// Closes it: both directions have ended.
    fn close(mut self) {
        self.closed = true;
    }

    /// Ends our direction and reads the rest away, for a while. With unread bytes, a close would
    /// be a reset, and could overtake what we have written.
    async fn close_gently(mut self, shared: &RefCell<Shared>) {
        let discard = async {
            self.shutdown().await?;
            loop {
                self.readable().await?;
                match shared.borrow_mut().discard(&self) {
                    Ok(0) => return Ok(()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        };
        // Whether the peer closed, vanished or kept talking: there is nothing more to do for it.
        let _ = timeout(LINGER, discard).await;
        self.close();
    }
}

impl Drop for ResetUnlessClosed {
    fn drop(&mut self) {
        if !self.closed {
            // A socket that refuses the option is closed already.
            let _ = socket::reset_on_close(&self.stream);
        }
    }
}

impl Deref for ResetUnlessClosed {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for ResetUnlessClosed {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
