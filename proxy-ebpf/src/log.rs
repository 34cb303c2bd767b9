//! Says what becomes of first packets, where somebody wants to read that; userspace writes the
//! lines to its log.
//!
//! Off, nothing of this is in the kernel: the level is a constant there, and the verifier leaves
//! out what it rules out. On, no flood fills the log: each CPU may say so many lines in a second,
//! and the next line tells how many were left out. No decision depends on anything here.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_log_ebpf::macro_support::{Level, level_enabled};
use aya_log_ebpf::{debug, info};
use proxy_common::Reason;
use proxy_common::abi::{SAID_CONNECTIONS, SAID_DROPS};

use crate::maps::SAID;
use crate::packet::{AF_INET, Packet};

const SECOND_NS: u64 = 1_000_000_000;
/// Lines of dropped packets that a CPU may write in a second: somebody wants to be flooded.
const DROPS_PER_SECOND: u64 = 5;
/// Lines of connections that a CPU may write in a second.
const CONNECTIONS_PER_SECOND: u64 = 500;

/// One line: what was done, why, and with which packet.
macro_rules! say {
    ($level:ident, $what:literal, $why:expr, $packet:expr, $ifindex:expr, $left_out:expr) => {{
        let (source, destination) = ($packet.source_address(), $packet.destination_address());
        let source_port = u16::from_be($packet.source_port);
        let destination_port = u16::from_be($packet.destination_port);
        if $packet.family == AF_INET {
            $level!(
                (),
                "{}{} client={:i}:{} original_dst={:i}:{} ifindex={} left_out={}",
                $what,
                $why,
                last_four(source),
                source_port,
                last_four(destination),
                destination_port,
                $ifindex,
                $left_out
            );
        } else {
            $level!(
                (),
                "{}{} client=[{:i}]:{} original_dst=[{:i}]:{} ifindex={} left_out={}",
                $what,
                $why,
                source,
                source_port,
                destination,
                destination_port,
                $ifindex,
                $left_out
            );
        }
    }};
}

/// A packet is dropped.
#[inline(always)]
pub fn dropped(reason: Reason, packet: &Packet, ifindex: u32) {
    if !level_enabled(Level::Info) {
        return;
    }
    // A function for each, since the verifier wants to know the length of the word.
    match reason {
        Reason::UntrustedSource => {
            dropped_for::<{ Reason::UntrustedSource as u32 }>(packet, ifindex)
        }
        Reason::SynRate => dropped_for::<{ Reason::SynRate as u32 }>(packet, ifindex),
        Reason::UpstreamLoop => dropped_for::<{ Reason::UpstreamLoop as u32 }>(packet, ifindex),
        Reason::UnreadablePacket => {
            dropped_for::<{ Reason::UnreadablePacket as u32 }>(packet, ifindex)
        }
        Reason::SourceInterface => {
            dropped_for::<{ Reason::SourceInterface as u32 }>(packet, ifindex)
        }
        Reason::UnsteeredAnswer => {
            dropped_for::<{ Reason::UnsteeredAnswer as u32 }>(packet, ifindex)
        }
        _ => dropped_for::<{ Reason::Fragment as u32 }>(packet, ifindex),
    }
}

/// A connection's first packet goes to our listener.
#[inline(always)]
pub fn steered(packet: &Packet, ifindex: u32) {
    if level_enabled(Level::Debug) {
        say_steered(packet, ifindex);
    }
}

/// A connection's first packet to a protected port goes its ordinary way.
#[inline(always)]
pub fn passed(packet: &Packet, ifindex: u32) {
    if level_enabled(Level::Debug) && packet.opens() {
        say_passed(packet, ifindex);
    }
}

#[cold]
#[inline(never)]
fn dropped_for<const REASON: u32>(packet: &Packet, ifindex: u32) {
    if let Some(left_out) = left_out(SAID_DROPS, DROPS_PER_SECOND) {
        say!(
            info,
            "dropped reason=",
            const { Reason::ALL[REASON as usize].name() },
            packet,
            ifindex,
            left_out
        );
    }
}

#[cold]
#[inline(never)]
fn say_steered(packet: &Packet, ifindex: u32) {
    if let Some(left_out) = left_out(SAID_CONNECTIONS, CONNECTIONS_PER_SECOND) {
        say!(debug, "steered", "", packet, ifindex, left_out);
    }
}

#[cold]
#[inline(never)]
fn say_passed(packet: &Packet, ifindex: u32) {
    if let Some(left_out) = left_out(SAID_CONNECTIONS, CONNECTIONS_PER_SECOND) {
        say!(debug, "passed", "", packet, ifindex, left_out);
    }
}

/// How many lines were left out since the last one, if there may be another.
#[inline(always)]
fn left_out(kind: u32, per_second: u64) -> Option<u64> {
    let said = SAID.get_ptr_mut(kind)?;
    // SAFETY: the entry is this CPU's own. XDP and TC programs of one CPU run after one another,
    // and a count that another program overwrites costs a line more or less.
    let said = unsafe { &mut *said };
    // SAFETY: a helper without arguments.
    let second = unsafe { bpf_ktime_get_ns() } / SECOND_NS;
    if said.second != second {
        said.second = second;
        said.lines = 0;
    }
    if said.lines >= per_second {
        said.left_out += 1;
        return None;
    }
    said.lines += 1;
    let left_out = said.left_out;
    said.left_out = 0;
    Some(left_out)
}

#[inline(always)]
fn last_four(address: [u8; 16]) -> [u8; 4] {
    [address[12], address[13], address[14], address[15]]
}
