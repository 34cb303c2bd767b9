//! What the context tells of a packet: which are to be judged at the interface where they are.

use aya_ebpf::programs::TcContext;

use crate::network::VLAN_ID;

/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`: sent to this node, not merely seen by it.
const PACKET_HOST: u32 = 0;

/// The index of `lo` in every namespace.
pub const LOOPBACK: u32 = 1;

/// Whether a packet is none of this interface's, or our own. A frame that a promiscuous interface
/// overheard is nobody's here, and one of a VLAN is the sub-interface's. Our own upstream
/// connections carry `own_mark`, where they could come back to us; 0: they can't.
///
/// A tag of VLAN 0 gives a priority only: the kernel takes it off and the packet is this
/// interface's.
#[inline(always)]
pub fn is_elsewhere(ctx: &TcContext, own_mark: u32) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid as long as the program runs, and these fields are readable.
    let (pkt_type, mark) = unsafe { ((*skb).pkt_type, (*skb).mark) };
    pkt_type != PACKET_HOST || belongs_to_vlan(ctx) || (own_mark != 0 && mark == own_mark)
}

/// Whether the packet has a tag with a VLAN's number, beside its octets. Before Linux 6.2, one that
/// the kernel has taken off leaves its number behind.
#[inline(always)]
pub fn belongs_to_vlan(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid as long as the program runs.
    had_tag(ctx) && unsafe { (*ctx.skb.skb).vlan_tci & VLAN_ID != 0 }
}

/// Whether there is a tag beside the packet's octets: the hardware, or the kernel, has taken it out
/// of them.
#[inline(always)]
pub fn had_tag(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// The index of the interface that the packet is at.
#[inline(always)]
pub fn interface(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
}
