//! Keeps ports closed while nobody steers them.
//!
//! It stands behind steer on the same interface, and outlives the process: while steer redirects,
//! nothing reaches it, and what does reach it would otherwise get by. It knows no socket and no
//! other map than its own.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::PortKey;
use proxy_common::names::UPSTREAM_MARK;

use crate::maps::HELD;
use crate::packet::{Kind, Packet};
use crate::steer::is_exempt;

/// Drops the first packet of a connection to a held port; `None` leaves a packet alone.
#[inline(always)]
pub fn hold(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse_tcp(ctx)?;
    // A fragment may be of a first packet.
    if !packet.opens() && packet.kind != Kind::Fragment {
        return None;
    }
    let held = HELD.get_ptr_mut(PortKey { port: u16::from_be(packet.destination_port) })?;
    if is_exempt(ctx, &packet, UPSTREAM_MARK) {
        return None;
    }
    // SAFETY: map values live as long as the program runs. Two CPUs at once can lose a count.
    unsafe { (*held).dropped += 1 };
    Some(TC_ACT_SHOT)
}
