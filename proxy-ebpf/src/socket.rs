//! Looks up the socket that a packet belongs to, mostly in the private namespace.
//!
//! The kernel's own socket tables are the only table of connections. Nothing has to be kept in step
//! with them or cleaned up: when the process dies, its sockets are gone and lookups find nothing.

use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, BPF_TCP_SYN_SENT, BPF_TCP_TIME_WAIT, bpf_sock,
    bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1 as Tuple,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
};
use aya_ebpf::cty::c_long;
use aya_ebpf::helpers::generated::{
    bpf_sk_fullsock, bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie, bpf_tcp_sock,
};
use aya_ebpf::programs::TcContext;

use crate::packet::bytes::load;
use crate::packet::direct_access::{Segment, SockTuple};
use crate::packet::header::TcpHeader;
use crate::packet::{AF_INET, Kind, Packet};
use crate::upstream_down;

const TUPLE4_SIZE: u32 = size_of::<Tuple4>() as u32;
const TUPLE6_SIZE: u32 = size_of::<Tuple6>() as u32;

/// Which socket of ours a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SocketMatch {
    /// None: the packet isn't ours.
    None,
    /// A connection, in any state.
    Connection,
    /// A listener, and the packet is an initial SYN.
    NewConnection,
    /// A listener, and the packet is an ACK that answers our SYN cookie.
    SynCookie,
}

/// Looks a packet up in the namespace with this id.
#[inline(always)]
pub fn match_socket(ctx: &TcContext, packet: &Packet, private_ns: u32) -> SocketMatch {
    let sk = find(ctx, packet, private_ns.into());
    if sk.is_null() {
        return SocketMatch::None;
    }
    let matched = if packet.kind == Kind::Tcp
        && packet.is_initial_syn()
        && is_in_state(sk, BPF_TCP_TIME_WAIT)
    {
        // The kernel hands it to the listener if its sequence number is a later one.
        SocketMatch::NewConnection
    } else if !is_in_state(sk, BPF_TCP_LISTEN) {
        SocketMatch::Connection
    } else if packet.kind != Kind::Tcp {
        SocketMatch::None
    } else if packet.flags.is_initial_syn() {
        SocketMatch::NewConnection
    } else if packet.flags.is_ack() && is_syn_cookie_ack(ctx, packet, sk) {
        SocketMatch::SynCookie
    } else {
        SocketMatch::None
    };
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    matched
}

/// Whether a plain segment belongs to a connection, in any state, in the namespace with this id:
/// the short form of [`match_socket`].
#[inline(always)]
pub fn has_connection<Ip: SockTuple>(
    ctx: &TcContext,
    segment: &Segment<Ip>,
    private_ns: u32,
) -> bool {
    let (skb, tuple) = (ctx.skb.skb.cast(), segment.sock_tuple().cast_mut());
    // SAFETY: the tuple is of the stated size, and the kernel only reads it.
    let sk = unsafe { bpf_skc_lookup_tcp(skb, tuple, Ip::SIZE, private_ns.into(), 0) };
    if sk.is_null() {
        return false;
    }
    let listening = is_in_state(sk, BPF_TCP_LISTEN);
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    !listening
}

/// Whether an initial SYN was sent by this node itself: a socket here waits for the answer to it.
/// `namespace` is an id as in [`match_socket`], or [`CURRENT_NETNS`].
#[inline(always)]
pub fn is_own_syn(ctx: &TcContext, packet: &Packet, namespace: u64) -> bool {
    let sk = find(ctx, &packet.reversed(), namespace);
    if sk.is_null() {
        return false;
    }
    let waits = is_in_state(sk, BPF_TCP_SYN_SENT);
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    waits
}

/// Whether the socket that a packet is for, in the namespace that it is in, carries the mark of our
/// upstream connections.
#[inline(always)]
pub fn socket_has_mark(ctx: &TcContext, packet: &Packet, own_mark: u32) -> bool {
    let sk = find(ctx, packet, CURRENT_NETNS);
    if sk.is_null() {
        return false;
    }
    // SAFETY: not null, and referenced by the lookup until the release.
    let full = unsafe { bpf_sk_fullsock(sk) };
    // SAFETY: not null, and lives as long as the reference above. Volatile as in `is_in_state`.
    let is_ours =
        !full.is_null() && unsafe { (&raw const (*full).mark).read_volatile() == own_mark };
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    is_ours
}

/// How many pairs of sequence and acknowledgment numbers, of 2^64, a segment may have to be taken
/// for the peer's. At one guess per microsecond it takes two weeks to hit one of them.
const ACCEPTED_PAIRS: u64 = 1 << 24;

/// Whether a segment's numbers prove that its sender sees the connection, rather than being an
/// off-path attacker: its acknowledgment lies within the unacknowledged data, and it starts at the
/// next expected byte or, as a retransmission, little before it. The kernel accepts more than this,
/// but its windows are wide enough to be guessed.
#[inline(always)]
pub fn sender_is_on_path(ctx: &TcContext, packet: &Packet, private_ns: u32) -> bool {
    let Some(segment) = load::<TcpHeader>(ctx, packet.transport) else { return false };
    let sk = find(ctx, packet, private_ns.into());
    if sk.is_null() {
        return false;
    }
    let mut is_on_path = false;
    // SAFETY: not null, and referenced by the lookup until the release.
    let tcp = unsafe { bpf_tcp_sock(sk) };
    if !is_in_state(sk, BPF_TCP_LISTEN) && !tcp.is_null() {
        // SAFETY: not null, and lives as long as the reference above. Volatile as in `is_in_state`.
        let (expected, unacknowledged, next) = unsafe {
            (
                (&raw const (*tcp).rcv_nxt).read_volatile(),
                (&raw const (*tcp).snd_una).read_volatile(),
                (&raw const (*tcp).snd_nxt).read_volatile(),
            )
        };
        let before = u64::from(expected.wrapping_sub(u32::from_be(segment.sequence)));
        let in_flight = u64::from(next.wrapping_sub(unacknowledged));
        let acknowledged = u32::from_be(segment.acknowledgement).wrapping_sub(unacknowledged);
        is_on_path =
            u64::from(acknowledged) <= in_flight && before * (in_flight + 1) <= ACCEPTED_PAIRS;
    }
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    is_on_path
}

/// Whether a socket that was found, and is not yet released, is in this TCP state.
#[inline(always)]
fn is_in_state(sk: *const bpf_sock, state: u32) -> bool {
    // SAFETY: not null, and referenced by the lookup until the release. A volatile read keeps the
    // compiler from merging this with other reads, which the verifier refuses.
    unsafe { (&raw const (*sk).state).read_volatile() == state }
}

/// Stands for the namespace that the packet is in.
pub const CURRENT_NETNS: u64 = BPF_F_CURRENT_NETNS as u64;

/// The socket in a namespace that a packet belongs to, with a reference; or null.
///
/// The verifier requires a constant tuple size for each lookup, hence the two calls.
#[inline(always)]
fn find(ctx: &TcContext, packet: &Packet, namespace: u64) -> *mut bpf_sock {
    let skb = ctx.skb.skb.cast();
    // The flag may have been set for an earlier packet, and must not affect this lookup.
    upstream_down::refuse_next(false);
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

/// Whether an ACK answers a SYN cookie that this listener sent. The helper returns early if the
/// listener has not sent any recently.
#[inline(always)]
fn is_syn_cookie_ack(ctx: &TcContext, packet: &Packet, listener: *mut bpf_sock) -> bool {
    let Some(mut tcp) = load::<TcpHeader>(ctx, packet.transport) else { return false };
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
