//! Asks the node's routing table (`bpf_fib_lookup`).

use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup};
use aya_ebpf::helpers::generated as helpers;
use aya_ebpf::programs::TcContext;

use crate::packet::{IPPROTO_TCP, Packet};

/// The kernel's `struct bpf_fib_lookup`, with words in place of its unions.
#[repr(C)]
pub struct FibLookup {
    /// In: the packet's; out: the next hop's, which can differ.
    pub family: u8,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
    /// 0: check the packet's own length against the MTU.
    length: u16,
    /// In: where the packet came in; out: where it goes out.
    pub ifindex: u32,
    metric: u32,
    source: [u32; 4],
    /// In: the packet's; out: the next hop. An IPv4 address is the first word.
    pub destination: [u32; 4],
    table: u32,
    /// Out: the link-layer addresses, three words of them.
    link_0: u32,
    link_1: u32,
    link_2: u32,
}

const _: () = assert!(size_of::<FibLookup>() == size_of::<bpf_fib_lookup>());

/// The routing table's answer for a packet that came in by `veth`, where forwarding is enabled;
/// `None` if it would not be forwarded. The next hop's link-layer address need not be known yet.
#[inline(always)]
pub fn lookup(ctx: &TcContext, packet: &Packet, veth: u32) -> Option<FibLookup> {
    // The linker turns a run of constant zeros into a call to a byte-wise `memset`, per packet.
    let unset = core::hint::black_box(0);
    let mut route = FibLookup {
        family: packet.family as u8,
        protocol: IPPROTO_TCP,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        length: 0,
        ifindex: veth,
        metric: 0,
        source: packet.source,
        destination: packet.destination,
        table: unset,
        link_0: unset,
        link_1: unset,
        link_2: unset,
    };
    let size = size_of::<FibLookup>() as i32;
    let query = (&raw mut route).cast();
    // SAFETY: the query is laid out as the helper expects, initialised, and outlives the call.
    let result = unsafe { helpers::bpf_fib_lookup(ctx.skb.skb.cast(), query, size, 0) };
    matches!(result as u32, BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH).then_some(route)
}
