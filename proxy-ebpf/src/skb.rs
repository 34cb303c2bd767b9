//! What `struct __sk_buff` says about a packet beside its bytes.

use aya_ebpf::programs::TcContext;

use crate::packet::ip::VLAN_ID;

/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`: addressed to this node rather than overheard.
const PACKET_HOST: u32 = 0;

/// The index of `lo` in every namespace.
pub const LOOPBACK: u32 = 1;

/// Whether a packet is left alone whatever its headers say: it isn't addressed to this interface,
/// or it is our own. A promiscuous interface overhears frames that are for others, and a frame of a
/// VLAN belongs to the sub-interface. Where our upstream connections could come back to us, they
/// carry `own_mark`; 0 means that they can't.
///
/// A tag of VLAN 0 only sets a priority: the kernel removes it, and the packet is this interface's.
#[inline(always)]
pub fn is_exempt(ctx: &TcContext, own_mark: u32) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid as long as the program runs, and these fields are readable.
    let (pkt_type, mark) = unsafe { ((*skb).pkt_type, (*skb).mark) };
    pkt_type != PACKET_HOST || has_vlan_id(ctx) || (own_mark != 0 && mark == own_mark)
}

/// Whether the kernel holds a VLAN tag with an id for the packet, outside its bytes. Before Linux
/// 6.2, `vlan_tci` keeps the id of a tag that is gone, hence the first check.
#[inline(always)]
pub fn has_vlan_id(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid as long as the program runs.
    has_vlan_tag(ctx) && unsafe { (*ctx.skb.skb).vlan_tci & VLAN_ID != 0 }
}

/// Whether the kernel holds a VLAN tag for the packet outside its bytes: the hardware or the kernel
/// has taken it out of the frame.
#[inline(always)]
pub fn has_vlan_tag(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// The index of the interface that the program runs on.
#[inline(always)]
pub fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// For a packet on its way out, the index of the interface that it came in by; 0 if this host made
/// it.
#[inline(always)]
pub fn ingress_ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*ctx.skb.skb).ingress_ifindex }
}
