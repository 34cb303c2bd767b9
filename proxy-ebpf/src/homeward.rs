//! Sends what leaves the private namespace on its way home.
//!
//! The node's routing table is asked, unless replies are to leave by the way that the connection
//! came in, and the packet goes straight to the interface and next hop
//! that it names: the host's netfilter, reverse-path filter and connection tracking never see
//! either direction of a steered connection, so they cannot disagree about it. What the table
//! would not forward (the destination is this node itself, or there is no route) is left to the
//! host's stack.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, bpf_redir_neigh,
    bpf_redir_neigh__bindgen_ty_1 as NextHop,
};
use aya_ebpf::helpers::generated::{bpf_fib_lookup as fib_lookup, bpf_redirect_neigh};
use aya_ebpf::programs::TcContext;

use proxy_common::abi::NODE_REPLY_BY_ARRIVAL;

use crate::maps::{NODE, count};
use crate::packet::{IPPROTO_TCP, Kind, Packet};
use crate::path;

/// The kernel's `struct bpf_fib_lookup`, without its unions and in words.
#[repr(C)]
struct Route {
    /// In: the packet's; out: the next hop's, which can differ.
    family: u8,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
    /// 0: check the packet's own length against the MTU.
    length: u16,
    /// In: where the packet came in; out: where it goes out.
    ifindex: u32,
    metric: u32,
    source: [u32; 4],
    /// In: the packet's; out: the next hop. An IPv4 address is the first word.
    destination: [u32; 4],
    table: u32,
    /// Out: the link-layer addresses, three words of them.
    link_0: u32,
    link_1: u32,
    link_2: u32,
}

const _: () = assert!(size_of::<Route>() == size_of::<bpf_fib_lookup>());

/// Redirects a segment to its way out; `None` leaves it to the host's stack.
#[inline(always)]
pub fn send_home(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    let packet = Packet::read(ctx, node)?;
    if packet.kind != Kind::Tcp {
        return None;
    }
    if node.flags & NODE_REPLY_BY_ARRIVAL != 0
        && let Some(action) = path::send_back(ctx, &packet)
    {
        count(|s| &mut s.returned);
        return Some(action);
    }
    let Some(route) = find_route(ctx, &packet) else {
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

/// The routing table's answer, as for a packet that came in by the veth; `None` if it would not
/// be forwarded. A next hop whose link-layer address is not yet known will do: the redirect
/// resolves it.
#[inline(always)]
fn find_route(ctx: &TcContext, packet: &Packet) -> Option<Route> {
    // The linker turns a run of constant zeros into a call to a byte-wise `memset`, per packet.
    let unset = core::hint::black_box(0);
    let mut route = Route {
        family: packet.family as u8,
        protocol: IPPROTO_TCP,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        length: 0,
        // SAFETY: the context is valid as long as the program runs.
        ifindex: unsafe { (*ctx.skb.skb).ifindex },
        metric: 0,
        source: packet.source,
        destination: packet.destination,
        table: unset,
        link_0: unset,
        link_1: unset,
        link_2: unset,
    };
    let size = size_of::<Route>() as i32;
    let query = (&raw mut route).cast();
    // SAFETY: the query is laid out as the helper wants it, initialised, and outlives the call.
    let result = unsafe { fib_lookup(ctx.skb.skb.cast(), query, size, 0) };
    matches!(result as u32, BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH).then_some(route)
}
