//! The first write to an upstream. It goes out right behind the connect, without waiting to hear that the
//! connection is established: on a fast network it is, and a round of events is spared. If it is not, the
//! write says so.

use std::io::{self, ErrorKind};

use super::upstream_socket::UpstreamSocket;
use crate::header::Endpoints;
use crate::relay::outbound::Preamble;
use crate::relay::progress::Progress;
use crate::relay::step_budget::STEPS;
use crate::sys::socket;

/// The preamble, and how much of it the upstream has.
#[derive(Debug)]
pub(super) struct FirstWrite {
    pub(super) preamble: Preamble,
    written: usize,
}

/// Why the first write has failed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The connection was never established.
    NotConnected(io::Error),
    /// It was established, and broke.
    Broken(io::Error),
}

impl FirstWrite {
    pub(super) const fn new(preamble: Preamble) -> Self {
        Self { preamble, written: 0 }
    }

    /// Whether an upstream has some of it. No other may get any then.
    pub(super) const fn is_under_way(&self) -> bool {
        self.written > 0
    }

    /// Begins with a socket that has just been told to connect.
    pub(super) fn begin(&mut self, upstream: &UpstreamSocket) -> Result<Progress, WriteError> {
        if self.preamble.bytes.is_empty() {
            // Nothing to find out with: wait to be told.
            upstream.clear_writable();
            return Ok(Progress::Blocked);
        }
        self.advance(upstream)
    }

    /// Writes as much as the upstream takes. With nothing to write, it is done when the connection is
    /// established.
    pub(super) fn advance(&mut self, upstream: &UpstreamSocket) -> Result<Progress, WriteError> {
        if self.preamble.bytes.is_empty() {
            return check_connected(upstream);
        }
        if self.written == 0 && self.preamble.states_node() {
            // Which of our addresses it is depends on the attempt, and only the socket knows.
            let node = upstream.get().local_addr();
            let stated = node.and_then(|node| {
                self.preamble.state_node(Endpoints::new(node, upstream.address.get()))
            });
            stated.map_err(WriteError::NotConnected)?;
        }
        let bytes = &self.preamble.bytes;
        for _ in 0..STEPS {
            if self.written == bytes.len() {
                return Ok(Progress::Done(()));
            }
            match upstream.write(&bytes[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if is_not_yet(&error) => return Ok(Progress::Blocked),
                Err(error) if self.written == 0 => return Err(WriteError::NotConnected(error)),
                Err(error) => return Err(WriteError::Broken(error)),
            }
        }
        Ok(Progress::Yielded)
    }
}

fn check_connected(upstream: &UpstreamSocket) -> Result<Progress, WriteError> {
    if !upstream.is_writable() {
        return Ok(Progress::Blocked);
    }
    match upstream.get().take_error() {
        // Another of the attempts has news, or this one's time is up without any.
        Ok(None) if upstream.get().peer_addr().is_err() => {
            upstream.clear_writable();
            Ok(Progress::Blocked)
        }
        Ok(None) => Ok(Progress::Done(())),
        Ok(Some(error)) | Err(error) => Err(WriteError::NotConnected(error)),
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || socket::is_in_progress(error)
}
