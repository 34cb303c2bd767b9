//! Keeps ports closed while no process steers them.
//!
//! The program is attached behind steer and outlives the process. While steer redirects, it sees
//! nothing of the held ports; a SYN that does get here would reach the host. It looks up no
//! sockets.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::PortKey;

use crate::maps::{HELD_PORTS, NODE};
use crate::packet::{Kind, Packet};
use crate::skb::is_exempt;

/// Drops an initial SYN to a held port; `None` leaves a packet alone.
#[inline(always)]
pub fn hold(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let is_unreadable = packet.kind == Kind::Unreadable;
    // An unreadable packet has port 0, which stands for all ports. Nobody serves port 0 itself.
    let port = u16::from_be(packet.destination_port);
    if is_unreadable != (port == 0) || !(is_unreadable || packet.is_initial_syn()) {
        return None;
    }
    let own_mark = NODE.get(0)?.own_mark;
    if is_exempt(ctx, own_mark) || packet.is_from_loopback() {
        return None;
    }
    drop_if_held(port)
}

/// Drops and counts a packet of a held port.
#[inline(always)]
pub fn drop_if_held(port: u16) -> Option<i32> {
    let held = HELD_PORTS.get_ptr_mut(PortKey { port })?;
    // SAFETY: map values live as long as the program runs. Two CPUs at once can lose a count.
    unsafe { (*held).dropped += 1 };
    Some(TC_ACT_SHOT)
}
