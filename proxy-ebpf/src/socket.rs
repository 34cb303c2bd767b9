//! Asks the private namespace whose a packet is.
//!
//! The kernel's own socket tables are the only table of connections, so there is no second one to
//! keep in step, and nothing to clean up: when the process dies, its sockets are gone, and the
//! answer is nobody.

use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, BPF_TCP_SYN_SENT, bpf_sock, bpf_sock_tuple,
    bpf_sock_tuple__bindgen_ty_1 as Tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
};
use aya_ebpf::cty::c_long;
use aya_ebpf::helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie};
use aya_ebpf::programs::TcContext;

use crate::packet::{AF_INET, Kind, Packet, TcpHeader};

const TUPLE4_SIZE: u32 = size_of::<Tuple4>() as u32;
const TUPLE6_SIZE: u32 = size_of::<Tuple6>() as u32;

/// Why a packet is ours, or that it isn't.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// No socket of ours wants it.
    None,
    /// It belongs to a connection of ours, whatever its state.
    Flow,
    /// It opens a connection.
    NewConnection,
    /// It completes a handshake that we answered with a SYN cookie.
    SynCookie,
}

/// Asks the namespace of this id.
#[inline(always)]
pub fn owner(ctx: &TcContext, packet: &Packet, private_ns: u32) -> Owner {
    let sk = find(ctx, packet, private_ns.into());
    if sk.is_null() {
        return Owner::None;
    }
    // SAFETY: not null, and referenced by the lookup until the release below. A volatile read
    // keeps the compiler from merging this with other reads, which the verifier refuses.
    let listening = unsafe { (&raw const (*sk).state).read_volatile() } == BPF_TCP_LISTEN;
    let owner = if !listening {
        Owner::Flow
    } else if packet.kind != Kind::Tcp {
        Owner::None
    } else if packet.tcp.opens() {
        Owner::NewConnection
    } else if packet.tcp.acknowledges() && proves_cookie(packet, sk) {
        Owner::SynCookie
    } else {
        Owner::None
    };
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    owner
}

/// Whether a first packet is one that this node sent itself: somebody here waits for the answer
/// to it. `namespace` as in [`owner`], or [`OWN_NAMESPACE`].
#[inline(always)]
pub fn comes_back(ctx: &TcContext, packet: &Packet, namespace: u64) -> bool {
    let sk = find(ctx, &packet.turned(), namespace);
    if sk.is_null() {
        return false;
    }
    // SAFETY: as in `owner`.
    let waits = unsafe { (&raw const (*sk).state).read_volatile() } == BPF_TCP_SYN_SENT;
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    waits
}

/// The namespace that the packet is in.
pub const OWN_NAMESPACE: u64 = BPF_F_CURRENT_NETNS as u64;

/// The socket in a namespace that a packet belongs to, referenced; or null.
///
/// The verifier wants each lookup's tuple size to be a constant, hence the two calls.
#[inline(always)]
fn find(ctx: &TcContext, packet: &Packet, namespace: u64) -> *mut bpf_sock {
    let skb = ctx.skb.skb.cast();
    if packet.family == AF_INET {
        let ipv4 = Tuple4 {
            saddr: packet.source[0],
            daddr: packet.destination[0],
            sport: packet.source_port,
            dport: packet.destination_port,
        };
        let mut tuple = bpf_sock_tuple { __bindgen_anon_1: Tuple { ipv4 } };
        // SAFETY: the tuple's IPv4 side is initialised, of the stated size, and outlives the call.
        unsafe { bpf_skc_lookup_tcp(skb, &raw mut tuple, TUPLE4_SIZE, namespace, 0) }
    } else {
        let ipv6 = Tuple6 {
            saddr: packet.source,
            daddr: packet.destination,
            sport: packet.source_port,
            dport: packet.destination_port,
        };
        let mut tuple = bpf_sock_tuple { __bindgen_anon_1: Tuple { ipv6 } };
        // SAFETY: as above, for the IPv6 side.
        unsafe { bpf_skc_lookup_tcp(skb, &raw mut tuple, TUPLE6_SIZE, namespace, 0) }
    }
}

/// Whether an ACK answers a SYN cookie that this listener sent. A listener that has sent none
/// lately says no at once.
#[inline(always)]
fn proves_cookie(packet: &Packet, listener: *mut bpf_sock) -> bool {
    let mut tcp = packet.tcp;
    let result = if packet.family == AF_INET {
        check_cookie(listener, &mut packet.ipv4_header(), &mut tcp)
    } else {
        check_cookie(listener, &mut packet.ipv6_header(), &mut tcp)
    };
    result == 0
}

#[inline(always)]
fn check_cookie<Ip>(listener: *mut bpf_sock, ip: &mut Ip, tcp: &mut TcpHeader) -> c_long {
    let (ip_length, tcp_length) = (size_of::<Ip>() as u32, size_of::<TcpHeader>() as u32);
    let (ip, tcp) = (core::ptr::from_mut(ip).cast(), core::ptr::from_mut(tcp).cast());
    // SAFETY: the listener is referenced, both headers are on the stack and of the stated lengths.
    unsafe { bpf_tcp_check_syncookie(listener.cast(), ip, ip_length, tcp, tcp_length) }
}
