//! Redirects to us what a server on this node answers to a client whose address we connected from.
//! Such packets start in the host's own stack, so the way out is the first place where we see them.

use aya_ebpf::helpers::generated::{bpf_redirect, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;

use crate::maps::count;
use crate::packet::Packet;
use crate::programs::answer::own_connection;
use crate::skb::ingress_ifindex;

/// Bytes of an Ethernet address.
const ADDRESS_LEN: u32 = 6;

/// Redirects a local server's packet into the veth; `None` lets it go out.
#[inline(always)]
pub fn redirect(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let node = own_connection(ctx, &packet)?;
    // Where the upstream is the original destination, our own reply to the client has the same
    // four-tuple. It comes out of the veth.
    if ingress_ifindex(ctx) == node.veth {
        return None;
    }
    let inner = node.inner.as_ptr().cast();
    // SAFETY: the kernel reads as many bytes as a link-layer address has.
    if unsafe { bpf_skb_store_bytes(ctx.skb.skb.cast(), 0, inner, ADDRESS_LEN, 0) } != 0 {
        return None;
    }
    count(|s| &mut s.answered_here);
    // SAFETY: a plain helper call; if the index is gone, the packet is dropped.
    Some(unsafe { bpf_redirect(node.veth, 0) } as i32)
}
