//! What is measured, in which unit, and which way is better.

use serde::Serialize;

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Payload that arrived.
    Throughput,
    /// The proxy's CPU time for a gigabyte.
    ProxyPerGigabyte,
    /// Everybody's.
    MachinePerGigabyte,
    /// Connections or round trips in a second.
    Rate,
    /// The proxy's CPU time for a connection.
    ProxyPerConnection,
    /// Everybody's.
    MachinePerConnection,
    /// Half of the round trips took no longer.
    P50,
    /// 99 of 100 round trips took no longer.
    P99,
    /// The proxy's resident memory for a connection.
    Rss,
    /// Slab and TCP buffers of the whole machine for a connection: of both its ends, too.
    KernelMemory,
    /// The proxy's open files for a connection.
    Descriptors,
    /// The proxy's system calls for a connection.
    Syscalls,
    /// `foreword_steer`, for packets that are steered.
    SteerOurs,
    /// `foreword_steer`, for packets of other ports.
    SteerOthers,
    /// `foreword_return`, for replies.
    Return,
    /// `foreword_synack`, for whatever leaves.
    SynAck,
    /// `foreword_lookup`, for packets that look for a listener.
    Lookup,
    /// `foreword_track`, for each call.
    Track,
}

impl Metric {
    /// What a column is headed by.
    pub fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::ProxyPerGigabyte | Self::ProxyPerConnection => "CPU, proxy",
            Self::MachinePerGigabyte | Self::MachinePerConnection => "CPU, machine",
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Rss => "RSS",
            Self::KernelMemory => "kernel memory",
            Self::Descriptors => "descriptors",
            Self::Syscalls => "system calls",
            Self::SteerOurs => "steer, ours",
            Self::SteerOthers => "steer, not ours",
            Self::Return => "return",
            Self::SynAck => "synack",
            Self::Lookup => "lookup",
            Self::Track => "track",
        }
    }

    /// What its values are counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "GB/s",
            Self::ProxyPerGigabyte | Self::MachinePerGigabyte => "s/GB",
            Self::Rate => "/s",
            Self::ProxyPerConnection | Self::MachinePerConnection => "µs/conn",
            Self::P50 | Self::P99 => "µs",
            Self::Rss | Self::KernelMemory => "B/conn",
            Self::Descriptors | Self::Syscalls => "/conn",
            Self::SteerOurs | Self::SteerOthers | Self::Return | Self::SynAck => "ns/packet",
            Self::Lookup | Self::Track => "ns/call",
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::Rate)
    }

    /// How many times better `value` is than `other`: above 1 is better whatever the metric.
    pub fn gain(self, value: f64, other: f64) -> f64 {
        if self.more_is_better() { value / other } else { other / value }
    }

    /// A value with three significant digits, or whole from 100 on.
    pub fn format(value: f64) -> String {
        match value.abs() {
            size if size >= 100.0 => format!("{value:.0}"),
            size if size >= 10.0 => format!("{value:.1}"),
            size if size >= 1.0 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_above_one_is_better() {
        assert!(Metric::Rate.gain(3.0, 2.0) > 1.0);
        assert!(Metric::P50.gain(3.0, 2.0) < 1.0);
    }

    #[test]
    fn values_keep_three_digits() {
        let shown = [12_345.6, 45.67, 4.567, 0.091].map(Metric::format);
        assert_eq!(shown, ["12346", "45.7", "4.57", "0.091"]);
    }
}
