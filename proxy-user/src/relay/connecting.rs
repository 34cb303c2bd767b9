//! An upstream on its way: connected to, and given what comes first.
//!
//! The first write goes out right behind the connect, without waiting to hear that it came about:
//! on a fast network it has, and a round of events is spared. If not, the write says so.

use std::io::{self, ErrorKind};

use proxy_common::Reason;

use super::opening::Preamble;
use super::stream::Socket;
use super::upstream::Attempt;
use super::work::STEPS;
use crate::sys::socket;

/// What an upstream is to get first, and how much of it it has.
#[derive(Debug)]
pub struct Connecting {
    /// What it is to get.
    pub preamble: Preamble,
    written: usize,
    /// The attempt that it is at.
    pub attempt: Attempt,
    /// Why the last one has failed.
    pub failed: Reason,
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
    pub fn new(preamble: Preamble) -> Self {
        let (attempt, failed) = (Attempt::default(), Reason::UpstreamUnreachable);
        Self { preamble, written: 0, attempt, failed }
    }

    /// An attempt has failed: on to the next one.
    pub fn fail(&mut self, reason: Reason) {
        self.failed = reason;
        self.attempt = self.attempt.next(reason);
    }

    /// Whether some of it is written.
    pub const fn is_under_way(&self) -> bool {
        self.written > 0
    }

    /// Writes to a connection that has just been begun.
    pub fn begin(&mut self, upstream: &Socket) -> First {
        self.written = 0;
        if self.preamble.first.is_empty() {
            // Nothing to ask with: wait to be told.
            upstream.await_writable();
            return First::Blocked;
        }
        self.write(upstream)
    }

    /// Writes on.
    pub fn write(&mut self, upstream: &Socket) -> First {
        let first = &self.preamble.first;
        if first.is_empty() {
            return Self::ask(upstream);
        }
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
            Ok(None) => First::Sent,
            Ok(Some(error)) | Err(error) => First::Failed(error),
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || socket::is_in_progress(error)
}
