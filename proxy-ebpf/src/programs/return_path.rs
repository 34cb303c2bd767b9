//! Forwards what leaves the private namespace: replies to clients, and connections to upstreams.
//!
//! The packet goes straight to the interface and next hop that the node's routing table names or,
//! if the settings ask for it, back the way that its connection came in. The host's netfilter,
//! reverse-path filter and connection tracking see neither direction of a steered connection, so
//! they can't disagree about it. A packet that the routing table would not forward, because it is
//! for this node or has no route, is left to the host's stack.

use aya_ebpf::bindings::{bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1 as NextHop};
use aya_ebpf::helpers::generated::bpf_redirect_neigh;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::NODE_REPLY_BY_ARRIVAL;

use crate::maps::{NODE, count};
use crate::packet::{Kind, Packet};
use crate::{arrival_path, fib};

/// Redirects a segment to its next hop; `None` leaves it to the host's stack.
#[inline(always)]
pub fn forward(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    let packet = Packet::read(ctx, node)?;
    if packet.kind != Kind::Tcp {
        return None;
    }
    if node.flags & NODE_REPLY_BY_ARRIVAL != 0
        && let Some(action) = arrival_path::redirect(ctx, &packet)
    {
        count(|s| &mut s.returned);
        return Some(action);
    }
    let Some(route) = fib::lookup(ctx, &packet, node.veth) else {
        count(|s| &mut s.returned_to_stack);
        return None;
    };
    count(|s| &mut s.returned);
    let mut next_hop = bpf_redir_neigh {
        nh_family: route.family.into(),
        __bindgen_anon_1: NextHop { ipv6_nh: route.destination },
    };
    let size = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: the next hop is initialised, outlives the call, and is of the stated size.
    Some(unsafe { bpf_redirect_neigh(route.ifindex, &raw mut next_hop, size, 0) } as i32)
}
