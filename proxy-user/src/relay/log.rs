//! The log of connections: at level debug, a line for each; at level info, a line for each that was
//! refused or cut short, but only a few per second, so that a flood of them is no flood of lines.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tracing::Level;

use super::record::Record;
use super::tally::Outcome;
use crate::config::settings::Rule;
use crate::header::{ONE_SEGMENT, Origin};

/// How many lines a worker writes per second.
const LINES: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A worker's log of its connections.
#[derive(Debug)]
pub struct Log {
    since: Cell<Instant>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
    no_ports: Reminder,
    long_headers: Reminder,
}

/// A warning that is repeated once a minute at most, however often its cause occurs.
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
    /// Writes the record of a connection that is over.
    pub fn write(&self, record: &Record, outcome: Outcome, age: Duration) {
        let left_out = match outcome {
            Outcome::Refused(_) if self.may_write() => self.left_out.take(),
            Outcome::Refused(_) => return self.left_out.set(self.left_out.get() + 1),
            _ if !tracing::enabled!(Level::DEBUG) => return,
            _ => 0,
        };
        let Record { peer, destination, upstream, bytes, origin, unique_id, first_bytes } = record;
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

    /// Warns that local ports have run out, and says what to do.
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

    /// Warns that an upstream gets a header of this length, and says what to do if it cannot take it.
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

    /// Whether another line may be written in this second.
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
    fn a_flood_is_only_so_many_lines() {
        let log = Log::default();
        let written = (0..1000).filter(|_| log.may_write()).count();
        assert_eq!(written, LINES as usize);
    }
}
