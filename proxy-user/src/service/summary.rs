//! The summary that a run prints at its end.

use std::fmt;

use proxy_common::Reason;
use proxy_common::abi::Stats;

use crate::relay::Counts;

/// Counters of connections from the relay, of packets from the eBPF programs.
#[derive(Debug)]
pub struct Summary<'a> {
    /// What became of connections.
    pub counts: &'a Counts,
    /// What became of packets; `None` if the map could not be read.
    pub stats: Option<Stats>,
    /// Dropped packets by the reason's number; empty if the map could not be read.
    pub drops: &'a [u64],
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { accepted, relayed, unchanged, health_checks, bytes_in, bytes_out, .. } =
            self.counts;
        writeln!(
            f,
            "{accepted} connections: {relayed} relayed, {unchanged} unchanged, {health_checks} \
             health checks; {bytes_in} bytes in, {bytes_out} bytes out"
        )?;
        for (reason, connections) in self.counts.refused().filter(|(_, count)| *count > 0) {
            writeln!(f, "  {connections:>8}  {reason}")?;
        }
        for (reason, packets) in Reason::ALL.iter().zip(self.drops).filter(|(_, n)| **n > 0) {
            writeln!(f, "  {packets:>8}  packets dropped: {reason}")?;
        }
        if let Some(stats) = self.stats {
            let steered = stats.steered_syn + stats.steered_cookie + stats.steered_flow;
            write!(
                f,
                "{steered} packets steered, {} returned, {} to our ports left alone",
                stats.returned, stats.passed
            )?;
        }
        Ok(())
    }
}
