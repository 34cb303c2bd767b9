//! An upstream on its way: connected to, and given what comes first.
//!
//! The first write goes out right behind the connect, without waiting to hear that it came about:
//! on a fast network it has, and a round of events is spared. If not, the write says so.
//!
//! Where there are several addresses, the next is tried as soon as one has failed, or has not been
//! reached for [`ATTEMPT_DELAY`], and the others stay in the race (RFC 8305). The first that takes a byte
//! has won, and the sockets of the others are closed, so that none of them ever gets one.

use std::io::{self, ErrorKind};
use std::time::Duration;

use proxy_common::Reason;

use super::addresses::Candidates;
use super::dialer::{Cursor, Failed};
use super::header_reader::Preamble;
use super::stream::Socket;
use super::wheel::Tick;
use super::work::STEPS;
use crate::address::UpstreamAddr;
use crate::header::Endpoints;
use crate::sys::socket;

/// How long an address may leave us without an answer before the next one is tried as well: RFC 8305's
/// Connection Attempt Delay.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What an upstream is to get first, and how much of it it has.
#[derive(Debug)]
pub struct Connecting {
    /// What it is to get.
    pub preamble: Preamble,
    written: usize,
    /// The addresses.
    pub candidates: Candidates,
    /// The next target.
    pub cursor: Cursor,
    /// Attempts in progress, apart from the leading one.
    pub racing: Vec<Attempt>,
    /// Why the last one has failed.
    pub failed: Reason,
    /// When the time for all of them is up.
    pub deadline: Tick,
}

/// An attempt to connect to one of the upstream's addresses, in progress.
#[derive(Debug)]
pub struct Attempt {
    /// Its socket.
    pub socket: Socket,
    /// Where it leads.
    pub address: UpstreamAddr,
}

/// How a write of the first bytes went.
#[derive(Debug)]
pub enum First {
    /// The upstream has all of them.
    Sent,
    /// It takes more at once, and others come first.
    Busy,
    /// It will be reported when it takes more, or when the connection comes about.
    Blocked,
    /// There is no connection.
    Failed(io::Error),
    /// There was one, and it broke.
    Broken(io::Error),
}

impl Connecting {
    /// With these bytes, and no address tried yet.
    pub fn new(preamble: Preamble, candidates: Candidates, deadline: Tick) -> Self {
        let (cursor, failed) = (Cursor::default(), Reason::UpstreamUnreachable);
        Self { preamble, written: 0, candidates, cursor, racing: Vec::new(), failed, deadline }
    }

    /// Whether there is an address that has not been tried.
    pub fn has_next(&self) -> bool {
        self.cursor.address_of(&self.candidates).is_some()
    }

    /// Something has happened to one of the racing attempts.
    pub fn notice_racing(&self) {
        self.racing.iter().for_each(|attempt| attempt.socket.try_writing());
    }

    /// Writes to the racing attempts in turn until one takes something, and so has won. Those that have
    /// failed are dropped and reported to `tell`.
    pub fn write_to_racing(&mut self, tell: impl Fn(Failed)) -> Option<(Attempt, First)> {
        let mut at = 0;
        while at < self.racing.len() {
            let attempt = self.racing.remove(at);
            match self.write(&attempt.socket, Some(attempt.address)) {
                First::Failed(error) => {
                    let failed = Failed::to_reach(attempt.address, &error);
                    self.failed = failed.reason;
                    tell(failed);
                }
                First::Blocked if !self.is_under_way() => {
                    self.racing.insert(at, attempt);
                    at += 1;
                }
                first => return Some((attempt, first)),
            }
        }
        None
    }

    /// An attempt has failed before it was under way: on to the next one.
    pub fn fail(&mut self, reason: Reason) {
        self.failed = reason;
        self.cursor = self.cursor.next(reason);
    }

    /// Whether some of it is written.
    pub const fn is_under_way(&self) -> bool {
        self.written > 0
    }

    /// Writes to a connection that has just been begun, to this address.
    pub fn begin(&mut self, upstream: &Socket, address: UpstreamAddr) -> First {
        self.written = 0;
        if self.preamble.first.is_empty() {
            // Nothing to ask with: wait to be told.
            upstream.await_writable();
            return First::Blocked;
        }
        self.write(upstream, Some(address))
    }

    /// Writes on.
    pub fn write(&mut self, upstream: &Socket, address: Option<UpstreamAddr>) -> First {
        if self.preamble.first.is_empty() {
            return Self::ask(upstream);
        }
        if let (0, true, Some(address)) = (self.written, self.preamble.states_node(), address) {
            // Only the socket knows which of our addresses it has, each its own.
            let stated = upstream
                .get()
                .local_addr()
                .and_then(|node| self.preamble.state_node(Endpoints::new(node, address.get())));
            if let Err(error) = stated {
                return First::Failed(error);
            }
        }
        let first = &self.preamble.first;
        for _ in 0..STEPS {
            if self.written == first.len() {
                return First::Sent;
            }
            match upstream.write(&first[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if is_not_yet(&error) => return First::Blocked,
                Err(error) if self.written == 0 => return First::Failed(error),
                Err(error) => return First::Broken(error),
            }
        }
        First::Busy
    }

    /// Whether the connection has come about, where there is nothing to write.
    fn ask(upstream: &Socket) -> First {
        if !upstream.is_writable() {
            return First::Blocked;
        }
        match upstream.get().take_error() {
            // Of several that are under way, only one has news; and one whose time is up may have none.
            Ok(None) if upstream.get().peer_addr().is_err() => {
                upstream.await_writable();
                First::Blocked
            }
            Ok(None) => First::Sent,
            Ok(Some(error)) | Err(error) => First::Failed(error),
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || socket::is_in_progress(error)
}
