//! The hold at egress: drops SYN-ACKs from held ports, so that a SYN which got past `foreword_hold`
//! opens no connection, whether or not a process steers. SYN-ACKs of steered connections come out
//! of a Foreword veth and pass.

use aya_ebpf::programs::TcContext;

use crate::maps::NODE;
use crate::programs::hold::drop_if_held;
use crate::programs::synack::{is_for_own_socket, unsteered_syn_ack};

/// Drops and counts a held port's SYN-ACK; `None` lets a packet pass.
#[inline(always)]
pub fn hold(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    let packet = unsteered_syn_ack(ctx, node)?;
    // Port 0 stands for unreadable packets, and no SYN-ACK comes from it.
    if packet.source_port == 0 || is_for_own_socket(ctx, node, &packet) {
        return None;
    }
    drop_if_held(u16::from_be(packet.source_port))
}
