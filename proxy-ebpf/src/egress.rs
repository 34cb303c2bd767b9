//! Leads back to us what a server on this very node answers to a client whose address we connected
//! from: such packets begin in the host's own stack, and first meet us on their way out.

use aya_ebpf::helpers::generated::{bpf_redirect, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;

use crate::answer::addressee;
use crate::maps::count;
use crate::packet::Packet;

/// Octets of an Ethernet address.
const ADDRESS_LEN: u32 = 6;

/// Redirects a local server's packet into the veth; `None` lets it go out.
#[inline(always)]
pub fn turn_back(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let node = addressee(ctx, &packet)?;
    // SAFETY: the context is valid as long as the program runs.
    let came_by = unsafe { (*ctx.skb.skb).ingress_ifindex };
    // Our own reply to that client has the same ends, where the upstream is the original
    // destination; but it comes out of the veth.
    if came_by == node.veth {
        return None;
    }
    let inner = node.inner.as_ptr().cast();
    // SAFETY: the kernel reads as many octets as a link-layer address has.
    if unsafe { bpf_skb_store_bytes(ctx.skb.skb.cast(), 0, inner, ADDRESS_LEN, 0) } != 0 {
        return None;
    }
    count(|s| &mut s.answered_here);
    // SAFETY: a plain helper call; an index that is gone drops the packet.
    Some(unsafe { bpf_redirect(node.veth, 0) } as i32)
}
