//! One line for each connection at debug; at info, those that were refused or broke, and of these
//! only so many a second: a flood of them must not become a flood of lines.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use proxy_common::Reason;
use tracing::Level;

use super::tally::Outcome;
use crate::address::{OriginalDst, PeerAddr, UpstreamAddr};
use crate::config::settings::Rule;
use crate::header::{ONE_SEGMENT, Origin};

/// Lines a second and worker.
const LINES: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What is known of a connection at its end.
#[derive(Debug)]
pub struct Ended {
    peer: PeerAddr,
    destination: OriginalDst,
    /// What the upstream was told.
    pub origin: Option<Origin>,
    /// Where it went.
    pub upstream: Option<UpstreamAddr>,
    /// Payload bytes from the client and to it.
    pub bytes: (u64, u64),
    /// What the upstream was told as the connection's name.
    pub unique_id: Option<String>,
    /// The first bytes of one that was refused for them; apart, since most are not.
    pub first_bytes: Option<Box<FirstBytes>>,
}

impl Ended {
    /// A connection of which only its ends are known.
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

/// As many of a connection's first bytes as a line has room for, in the hex that `foreword decode`
/// takes.
#[derive(Clone, Copy)]
pub struct FirstBytes {
    bytes: [u8; Self::HEADER],
    length: usize,
}

impl FirstBytes {
    /// Of a header: enough for any v1 line, and for a v2 header's addresses.
    const HEADER: usize = 107;
    /// Of payload: enough to tell the protocol, too little for what it says.
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

/// A worker's log of its connections.
#[derive(Debug)]
pub struct Log {
    since: Cell<Instant>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
    no_ports: Reminder,
    long_headers: Reminder,
}

/// Something that is said once a minute at most, however often it happens.
#[derive(Debug, Default)]
struct Reminder(Cell<Option<Instant>>);

impl Reminder {
    fn is_due(&self) -> bool {
        let is_due = self.0.get().is_none_or(|last| last.elapsed() >= MINUTE);
        if is_due {
            self.0.set(Some(Instant::now()));
        }
        is_due
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            since: Cell::new(Instant::now()),
            lines: Cell::new(0),
            left_out: Cell::new(0),
            no_ports: Reminder::default(),
            long_headers: Reminder::default(),
        }
    }
}

impl Log {
    /// Logs a connection that is over.
    pub fn ended(&self, ended: &Ended, outcome: Outcome, age: Duration) {
        let left_out = match outcome {
            Outcome::Refused(_) if self.may_write() => self.left_out.take(),
            Outcome::Refused(_) => return self.left_out.set(self.left_out.get() + 1),
            _ if !tracing::enabled!(Level::DEBUG) => return,
            _ => 0,
        };
        let Ended { peer, destination, upstream, bytes, origin, unique_id, first_bytes } = ended;
        let client = match origin {
            Some(Origin::Proxied(endpoints)) => endpoints.client.to_string(),
            Some(Origin::Local) => "the load balancer itself".to_owned(),
            Some(Origin::Unknown) | None => peer.to_string(),
        };
        let upstream = upstream.map_or_else(|| "none".to_owned(), |upstream| upstream.to_string());
        let unique_id = unique_id.as_deref();
        let (bytes_in, bytes_out) = bytes;
        match outcome {
            Outcome::Refused(reason) => tracing::info!(
                %reason, %peer, %client, %destination, %upstream, bytes_in, bytes_out, ?age,
                unique_id, read = first_bytes.as_ref().map(display), left_out, "refused or cut short"
            ),
            outcome => tracing::debug!(
                ?outcome, %peer, %client, %destination, %upstream, bytes_in, bytes_out, ?age,
                unique_id, "ended"
            ),
        }
    }

    /// Says what to do when ports have run out, now and then.
    pub fn no_local_port(&self, rule: &Rule) {
        if self.no_ports.is_due() {
            tracing::warn!(
                rule = rule.name, upstream = %rule.upstream.address,
                "connections are refused for want of local ports (no-local-port): give the rule more \
                 of the node's addresses (upstream.sourceAddresses, --source-address), widen \
                 net.ipv4.ip_local_port_range, or set net.ipv4.tcp_tw_reuse to 1; `foreword doctor` \
                 says what the settings allow"
            );
        }
    }

    /// Says that an upstream is told a header of this length, and what to do if it minds.
    pub fn long_header(&self, rule: &Rule, length: usize) {
        if self.long_headers.is_due() {
            tracing::warn!(
                rule = rule.name,
                length,
                "an upstream is told a header of more than {ONE_SEGMENT} bytes, which need not come in \
                 one segment, as some receivers expect: keep TLVs back (outbound.tlvs.pass and drop, \
                 --tlv-pass, --tlv-drop) if connections fail there"
            );
        }
    }

    /// Whether another line fits into this second.
    fn may_write(&self) -> bool {
        if self.since.get().elapsed() >= SECOND {
            self.since.set(Instant::now());
            self.lines.set(0);
        }
        self.lines.set(self.lines.get() + 1);
        self.lines.get() <= LINES
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

    #[test]
    fn a_flood_is_only_so_many_lines() {
        let log = Log::default();
        let written = (0..1000).filter(|_| log.may_write()).count();
        assert_eq!(written, LINES as usize);
    }
}
