//! What the programs count, and what is written for people to look at.

use super::Address;

/// The one table of packet counters: the field in the map, its name in metrics and reports, and
/// what it counts.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal;)+) => {
        /// The value of `foreword_stats`, one per CPU. Counts packets, not bytes.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Stats {
            /// How many counters there are.
            pub const COUNT: usize = [$($name),+].len();

            /// The name of every counter, and what it counts, for the manual.
            pub const DESCRIPTIONS: [(&'static str, &'static str); Self::COUNT] =
                [$(($name, concat!($($doc),+))),+];

            /// Every counter with its name in metrics and reports.
            pub const fn named(&self) -> [(&'static str, u64); Self::COUNT] {
                [$(($name, self.$field)),+]
            }

            /// Adds another CPU's counters to these.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

counters! {
    /// An initial SYN, sent to our listener.
    steered_syn = "steered-syn";
    /// An initial SYN, answered with a reset because its upstream is down.
    refused_syn = "refused-syn";
    /// An ACK that answered our SYN cookie, sent to our listener.
    steered_cookie = "steered-cookie";
    /// A packet of a connection that is already ours.
    steered_flow = "steered-flow";
    /// An ICMP error about a connection of ours.
    steered_icmp = "steered-icmp";
    /// A TCP packet to a protected port that isn't ours, left alone.
    passed = "passed";
    /// A reply, forwarded to its next hop.
    returned = "returned";
    /// A reply without a forwarding route, left to the host's stack.
    returned_to_stack = "returned-to-stack";
    /// A socket lookup in the private namespace that found our listener.
    looked_up = "looked-up";
    /// A socket lookup in the private namespace without a listener: the process is gone.
    no_listener = "no-listener";
    /// `foreword_conns` was full; the connection works, but is not shown there.
    untracked = "untracked";
    /// A fragment of TCP to a protected port, left alone.
    fragment_passed = "fragment-passed";
    /// A fragment of TCP to a protected port, dropped.
    fragment_dropped = "fragment-dropped";
    /// An upstream's packet to the client whose address we connected from, sent to us.
    answered = "answered";
    /// Such a packet of an upstream on this node, caught on its way out.
    answered_here = "answered-here";
}

/// Longest name in [`ReasonCount`], including the zero after it.
pub const REASON_NAME_LEN: usize = 32;

/// Value of `foreword_reason`, by the reason's number. Written by userspace once a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The reason's name in ASCII, zero-filled, so that a dump explains itself. `bpftool` prints it
    /// as numbers, since it is not a C string.
    pub name: [u8; REASON_NAME_LEN],
    /// Connections that ended for this reason.
    pub connections: u64,
    /// Packets that were dropped for it before there was a connection.
    pub packets: u64,
}

/// The one value of `foreword_bypass`: the last SYN-ACK that was dropped because no steered
/// connection sent it. It tells which client reached a server past Foreword.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bypass {
    /// Its destination.
    pub client: Address,
    /// Its source: what the client had connected to.
    pub local: Address,
    /// Port of `client`.
    pub client_port: u32,
    /// Port of `local`.
    pub local_port: u32,
    /// Index of the interface that it was leaving by.
    pub egress_ifindex: u32,
    /// Index of the interface that it had come in by; 0: this host sent it.
    pub ingress_ifindex: u32,
}

/// Value of `foreword_said`, one per CPU: how much was written to the log in the last second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogQuota {
    /// The second that `lines` counts, by `CLOCK_MONOTONIC`.
    pub second: u64,
    /// Lines written in that second.
    pub lines: u64,
    /// Lines suppressed since the last one was written.
    pub suppressed: u64,
}

/// Index in `foreword_said` of lines about dropped packets.
pub const LOG_DROPS: u32 = 0;
/// Index in `foreword_said` of lines about connections that are steered or left alone.
pub const LOG_CONNECTIONS: u32 = 1;
/// Entries of `foreword_said`.
pub const LOG_KINDS: usize = 2;

layout! {
    Stats: Stats::COUNT * 8,
    ReasonCount: 32 + 2 * 8,
    Bypass: 2 * 16 + 4 * 4,
    LogQuota: 3 * 8,
}
