//! Logs what becomes of initial SYNs, if that is enabled; userspace writes the lines to its log.
//!
//! The level is a constant when the programs are loaded, so the verifier removes disabled logging
//! as dead code. Enabled, a flood can't fill the log: each CPU may write a limited number of lines
//! per second, and the next line says how many were suppressed. No decision depends on anything
//! here.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_log_ebpf::macro_support::{Level, level_enabled};
use aya_log_ebpf::{debug, info};
use proxy_common::Reason;
use proxy_common::abi::{LOG_CONNECTIONS, LOG_DROPS};

use crate::maps::LOG_QUOTAS;
use crate::packet::{AF_INET, Packet};

const SECOND_NS: u64 = 1_000_000_000;
/// Lines about dropped packets that a CPU may write in a second: few, since an attacker can cause
/// them.
const DROPS_PER_SECOND: u64 = 5;
/// Lines about connections that a CPU may write in a second.
const CONNECTIONS_PER_SECOND: u64 = 500;

/// Writes a line: what was done, why, and with which packet.
macro_rules! log {
    ($level:ident, $what:literal, $reason:expr, $packet:expr, $ifindex:expr, $suppressed:expr) => {{
        let (source, destination) = ($packet.source_address(), $packet.destination_address());
        let source_port = u16::from_be($packet.source_port);
        let destination_port = u16::from_be($packet.destination_port);
        if $packet.family == AF_INET {
            $level!(
                (),
                "{}{} client={:i}:{} original_dst={:i}:{} ifindex={} left_out={}",
                $what,
                $reason,
                last_four(source),
                source_port,
                last_four(destination),
                destination_port,
                $ifindex,
                $suppressed
            );
        } else {
            $level!(
                (),
                "{}{} client=[{:i}]:{} original_dst=[{:i}]:{} ifindex={} left_out={}",
                $what,
                $reason,
                source,
                source_port,
                destination,
                destination_port,
                $ifindex,
                $suppressed
            );
        }
    }};
}

/// Logs that a packet is dropped.
#[inline(always)]
pub fn dropped(reason: Reason, packet: &Packet, ifindex: u32) {
    if !level_enabled(Level::Info) {
        return;
    }
    // A function for each reason, since the verifier has to know the length of its name.
    match reason {
        Reason::UntrustedSource => {
            log_dropped::<{ Reason::UntrustedSource as u32 }>(packet, ifindex)
        }
        Reason::SynRate => log_dropped::<{ Reason::SynRate as u32 }>(packet, ifindex),
        Reason::UpstreamLoop => log_dropped::<{ Reason::UpstreamLoop as u32 }>(packet, ifindex),
        Reason::UnreadablePacket => {
            log_dropped::<{ Reason::UnreadablePacket as u32 }>(packet, ifindex)
        }
        Reason::SourceInterface => {
            log_dropped::<{ Reason::SourceInterface as u32 }>(packet, ifindex)
        }
        Reason::UnsteeredAnswer => {
            log_dropped::<{ Reason::UnsteeredAnswer as u32 }>(packet, ifindex)
        }
        _ => log_dropped::<{ Reason::Fragment as u32 }>(packet, ifindex),
    }
}

/// Logs that an initial SYN goes to our listener.
#[inline(always)]
pub fn steered(packet: &Packet, ifindex: u32) {
    if level_enabled(Level::Debug) {
        log_steered(packet, ifindex);
    }
}

/// Logs that an initial SYN to a protected port is left alone.
#[inline(always)]
pub fn passed(packet: &Packet, ifindex: u32) {
    if level_enabled(Level::Debug) && packet.is_initial_syn() {
        log_passed(packet, ifindex);
    }
}

#[cold]
#[inline(never)]
fn log_dropped<const REASON: u32>(packet: &Packet, ifindex: u32) {
    if let Some(suppressed) = suppressed(LOG_DROPS, DROPS_PER_SECOND) {
        log!(
            info,
            "dropped reason=",
            const { Reason::ALL[REASON as usize].name() },
            packet,
            ifindex,
            suppressed
        );
    }
}

#[cold]
#[inline(never)]
fn log_steered(packet: &Packet, ifindex: u32) {
    if let Some(suppressed) = suppressed(LOG_CONNECTIONS, CONNECTIONS_PER_SECOND) {
        log!(debug, "steered", "", packet, ifindex, suppressed);
    }
}

#[cold]
#[inline(never)]
fn log_passed(packet: &Packet, ifindex: u32) {
    if let Some(suppressed) = suppressed(LOG_CONNECTIONS, CONNECTIONS_PER_SECOND) {
        log!(debug, "passed", "", packet, ifindex, suppressed);
    }
}

/// How many lines were suppressed since the last one; `None` if this one is suppressed, too.
#[inline(always)]
fn suppressed(kind: u32, per_second: u64) -> Option<u64> {
    let quota = LOG_QUOTAS.get_ptr_mut(kind)?;
    // SAFETY: the entry is this CPU's own. XDP and TC programs of one CPU run one after the other,
    // and a count that another program overwrites costs a line more or less.
    let quota = unsafe { &mut *quota };
    // SAFETY: a helper without arguments.
    let second = unsafe { bpf_ktime_get_ns() } / SECOND_NS;
    if quota.second != second {
        quota.second = second;
        quota.lines = 0;
    }
    if quota.lines >= per_second {
        quota.suppressed += 1;
        return None;
    }
    quota.lines += 1;
    let suppressed = quota.suppressed;
    quota.suppressed = 0;
    Some(suppressed)
}

#[inline(always)]
fn last_four(address: [u8; 16]) -> [u8; 4] {
    [address[12], address[13], address[14], address[15]]
}
