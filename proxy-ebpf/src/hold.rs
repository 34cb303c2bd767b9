//! Keeps ports closed while nobody steers them.
//!
//! It stands behind steer on the same interface, and outlives the process: while steer redirects,
//! nothing reaches it, and what does reach it would otherwise get past us. It knows no socket.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::PortKey;

use crate::ingress::is_elsewhere;
use crate::maps::{HELD, NODE};
use crate::packet::{Kind, Packet};

/// Drops the first packet of a connection to a held port; `None` leaves a packet alone.
#[inline(always)]
pub fn hold(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let is_unreadable = packet.kind == Kind::Unreadable;
    // An unreadable packet has port 0, which stands for all of them. Nobody serves that port.
    let port = u16::from_be(packet.destination_port);
    if is_unreadable != (port == 0) || !(is_unreadable || packet.opens()) {
        return None;
    }
    let own_mark = NODE.get(0)?.own_mark;
    if is_elsewhere(ctx, own_mark) || packet.is_from_loopback() {
        return None;
    }
    drop_if_held(port)
}

/// Drops a packet of a held port, and counts it.
#[inline(always)]
pub fn drop_if_held(port: u16) -> Option<i32> {
    let held = HELD.get_ptr_mut(PortKey { port })?;
    // SAFETY: map values live as long as the program runs. Two CPUs at once can lose a count.
    unsafe { (*held).dropped += 1 };
    Some(TC_ACT_SHOT)
}
