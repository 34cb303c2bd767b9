//! The hold's second wall: drops SYN-ACKs of held ports, so that a SYN which got past the first one
//! comes to nothing, whether or not a process steers. Answers of steered connections come out of a
//! veth of ours.

use aya_ebpf::programs::TcContext;

use crate::hold::drop_if_held;
use crate::maps::NODE;
use crate::synack::{answer_of_others, is_for_us};

/// Drops a held port's answer, and counts it; `None` lets a packet go on.
#[inline(always)]
pub fn hold(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    let packet = answer_of_others(ctx, node)?;
    // Port 0 stands for what can't be read, and no answer comes from it.
    if packet.source_port == 0 || is_for_us(ctx, node, &packet) {
        return None;
    }
    drop_if_held(u16::from_be(packet.source_port))
}
