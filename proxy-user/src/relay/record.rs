//! What is logged about a connection when it is over.

use std::fmt;

use proxy_common::Reason;

use crate::address::{OriginalDst, PeerAddr, UpstreamAddr};
use crate::header::Origin;

/// Everything that the log says about one connection; filled in as it becomes known.
#[derive(Debug)]
pub struct Record {
    /// Who connected.
    pub peer: PeerAddr,
    /// To what.
    pub destination: OriginalDst,
    /// On whose behalf the upstream was opened.
    pub origin: Option<Origin>,
    /// The upstream's address.
    pub upstream: Option<UpstreamAddr>,
    /// Payload bytes from the client and to it.
    pub bytes: (u64, u64),
    /// The unique id that the upstream was told.
    pub unique_id: Option<String>,
    /// The first bytes of a connection that was refused because of them; boxed, since few are.
    pub first_bytes: Option<Box<FirstBytes>>,
}

impl Record {
    /// A connection of which only the addresses are known.
    pub const fn new(peer: PeerAddr, destination: OriginalDst) -> Self {
        Self {
            peer,
            destination,
            origin: None,
            upstream: None,
            bytes: (0, 0),
            unique_id: None,
            first_bytes: None,
        }
    }
}

/// As many of a connection's first bytes as fit into a line of the log, in the hex that
/// `foreword decode` takes.
#[derive(Clone, Copy)]
pub struct FirstBytes {
    bytes: [u8; Self::HEADER],
    length: usize,
}

impl FirstBytes {
    /// How many bytes of a header are kept: enough for any v1 line, and for a v2 header's addresses.
    const HEADER: usize = 107;
    /// How many bytes of payload are kept: enough to recognise the protocol, too few for its contents.
    const PAYLOAD: usize = 16;

    /// Of bytes for which a connection was refused; `None` if there are none.
    pub fn of(read: &[u8], reason: Reason) -> Option<Box<Self>> {
        let room = if reason == Reason::NoHeader { Self::PAYLOAD } else { Self::HEADER };
        let length = read.len().min(room);
        let mut bytes = [0; Self::HEADER];
        bytes[..length].copy_from_slice(&read[..length]);
        (length > 0).then(|| Box::new(Self { bytes, length }))
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes[..self.length].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_shown_only_so_far() {
        let bytes = [0xab; 200];
        let shown = |reason| FirstBytes::of(&bytes, reason).unwrap().to_string();
        assert_eq!(shown(Reason::NoHeader), "ab".repeat(16));
        assert_eq!(shown(Reason::V1Port), "ab".repeat(107));
        let some = FirstBytes::of(b"PROXY", Reason::HeaderTimeout).unwrap();
        assert_eq!(some.to_string(), "50524f5859");
        assert!(FirstBytes::of(b"", Reason::HeaderTimeout).is_none());
    }
}
