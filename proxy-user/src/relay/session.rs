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
use super::preamble::{self, Declined, Preamble};
use super::transfer::{Ending, Transfer, transfer};
use super::upstream;
use super::worker::Worker;
use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::Rule;
use crate::header::Origin;
use crate::sys::socket;

/// How long a connection that we end is read on after our last byte, so that the client reads
/// that byte before it learns that we are gone.
const LINGER: Duration = Duration::from_secs(2);

/// Serves an accepted connection to its end, counts it and logs it.
pub async fn serve(worker: Rc<Worker>, client: TcpStream) {
    worker.tally.accepted();
    // Also when the task is dropped half-way.
    let _closed = Closed(&worker);
    let started = Instant::now();
    let (Ok(peer), Ok(local)) = (client.peer_addr(), client.local_addr()) else {
        // It was reset before we came to it.
        worker.tally.refused(Reason::ClientReset);
        return;
    };
    let (peer, destination) = (PeerAddr::new(peer), OriginalDst::new(local));
    let mut ended = Ended::new(peer, destination);
    let outcome = match worker.settings.rule_for(destination) {
        Some(rule) => {
            let client = ResetUnlessClosed::new(client);
            carry(&worker, rule, client, peer, destination, &mut ended).await
        }
        // Steering and settings are made of the same ports.
        None => Err(Declined::Refused(Reason::Internal)),
    };
    match outcome {
        Ok(()) => {}
        Err(Declined::HealthCheck) => worker.tally.health_check(),
        Err(Declined::Refused(reason)) => {
            worker.tally.refused(reason);
            ended.reason = Some(reason);
        }
    }
    worker.log.ended(&ended, started.elapsed());
}

/// The story itself.
async fn carry(
    worker: &Worker,
    rule: &Rule,
    mut client: ResetUnlessClosed,
    peer: PeerAddr,
    destination: OriginalDst,
    ended: &mut Ended,
) -> Result<(), Declined> {
    let opening = match preamble::read(&mut client, rule, peer, destination).await {
        Ok(opening) => opening,
        Err(declined) => {
            client.close_gently(&worker.shared).await;
            return Err(declined);
        }
    };
    ended.origin = opening.origin;
    // A client whose upstream can't be reached is reset, as that upstream's kernel would do it.
    let (upstream, address) =
        upstream::connect(&rule.upstream, destination, worker.upstream_mark).await?;
    let mut upstream = ResetUnlessClosed::new(upstream);
    ended.upstream = Some(address);
    upstream.write_all(&opening.first).await.map_err(|_| Reason::UpstreamReset)?;
    count_opened(worker, &opening);
    drop(opening.first);
    let moved = transfer(&client, &upstream, rule.idle_timeout, &worker.shared).await;
    worker.tally.moved(opening.payload as u64 + moved.bytes_in, moved.bytes_out);
    ended.bytes = (opening.payload as u64 + moved.bytes_in, moved.bytes_out);
    finish(worker, client, upstream, &moved).await
}

fn count_opened(worker: &Worker, opening: &Preamble) {
    match opening.origin {
        None => worker.tally.unchanged(),
        Some(Origin::Local) => worker.tally.health_check(),
        Some(_) => worker.tally.relayed(),
    }
}

/// Closes both sockets as the transfer's ending asks for.
async fn finish(
    worker: &Worker,
    client: ResetUnlessClosed,
    upstream: ResetUnlessClosed,
    moved: &Transfer,
) -> Result<(), Declined> {
    match moved.ending {
        Ending::Complete => {
            client.close();
            upstream.close();
            Ok(())
        }
        Ending::UpstreamLeft => {
            drop(upstream);
            client.close_gently(&worker.shared).await;
            Err(Reason::UpstreamReset.into())
        }
        Ending::Broken(reason) => Err(reason.into()),
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

/// Counts the connection out.
struct Closed<'a>(&'a Worker);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.tally.closed();
    }
}
