//! How much of the memory for buffers a connection counts as taking.
//!
//! The kernel lets a socket's buffers grow while bytes move, up to megabytes, and they stay grown. A peer
//! that then stops reading pins as much as they hold. So buffers are counted by what they may hold, not by
//! what they hold at the moment: the sum stays true without being updated all the time. A connection's
//! share is updated after each [`INTERVAL`] that it has moved, and when it gets stuck or free; most are
//! over before, and cost nothing.
//!
//! A small buffer, as each socket has from the start, counts only while bytes are stuck behind it.
//! Otherwise thousands of idle connections would count for memory that none of them takes.
//!
//! When memory is short, buffers are kept from growing. They are never shrunk: see [`buffers`].

use std::io;
use std::net::TcpStream;

use super::admission::Permit;
use crate::sys::buffers;

/// Bytes moved between two updates: what buffers may hold beyond what is counted.
const INTERVAL: u64 = 256 * 1024;
/// The size of a new buffer, roughly: the default of `tcp_rmem`.
const SMALL: u64 = 128 * 1024;
/// What the four small buffers of a connection may hold beyond what is counted.
pub const UNCOUNTED: u64 = 4 * SMALL;

/// The sizes of one direction's buffers: its source's, for what is received, and its sink's, for what
/// is sent; in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    receive: u64,
    send: u64,
}

impl Sizes {
    fn of(source: &TcpStream, sink: &TcpStream) -> io::Result<Self> {
        Ok(Self { receive: buffers::receive_size(source)?, send: buffers::send_size(sink)? })
    }

    /// What they count as, while the sink does not take so many bytes that are held between them.
    fn count(self, held: u64) -> u64 {
        let free = if held > 0 { 0 } else { SMALL };
        held + self.receive.saturating_sub(free) + self.send.saturating_sub(free)
    }
}

/// A connection's buffers, as of the last update.
#[derive(Debug)]
pub struct Buffers {
    /// How many bytes will have been moved by the next update.
    next: u64,
    /// Whether its two flows were stuck.
    stuck: [bool; 2],
    /// Whether they are kept from growing.
    are_locked: bool,
}

impl Buffers {
    /// Of a connection that has moved nothing. If memory is short, an update is due at once.
    pub const fn new(is_short: bool) -> Self {
        let next = if is_short { 0 } else { INTERVAL };
        Self { next, stuck: [false; 2], are_locked: false }
    }

    /// Whether an update is due, after so many bytes were moved, with so many held between source and sink
    /// in each flow.
    pub fn is_due(&self, moved: u64, held: [u64; 2]) -> bool {
        moved >= self.next || held.map(|bytes| bytes > 0) != self.stuck
    }

    /// Counts the buffers, and keeps them from growing while memory is short.
    pub fn update(
        &mut self,
        [client, upstream]: [&TcpStream; 2],
        moved: u64,
        held: [u64; 2],
        permit: &mut Permit,
    ) -> io::Result<()> {
        (self.next, self.stuck) = (moved + INTERVAL, held.map(|bytes| bytes > 0));
        let (inward, outward) = (Sizes::of(client, upstream)?, Sizes::of(upstream, client)?);
        permit.count(inward.count(held[0]) + outward.count(held[1]));
        let is_short = permit.is_memory_short();
        if is_short != self.are_locked {
            self.are_locked = is_short;
            buffers::keep_from_growing(client, is_short)?;
            buffers::keep_from_growing(upstream, is_short)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_counts_only_when_bytes_are_stuck() {
        let small = Sizes { receive: SMALL, send: SMALL / 2 };
        assert_eq!(small.count(0), 0);
        assert_eq!(small.count(1), 1 + SMALL + SMALL / 2);
        let grown = Sizes { receive: 6 * SMALL, send: 4 * SMALL };
        assert_eq!(grown.count(0), 8 * SMALL);
        assert_eq!(grown.count(100), 100 + 10 * SMALL);
    }

    #[test]
    fn an_update_is_due_after_an_interval_or_a_change() {
        let buffers = Buffers::new(false);
        assert!(!buffers.is_due(INTERVAL - 1, [0, 0]));
        assert!(buffers.is_due(INTERVAL, [0, 0]));
        assert!(buffers.is_due(0, [0, 1]));
        assert!(Buffers::new(true).is_due(0, [0, 0]), "at once where memory is short");
    }
}
