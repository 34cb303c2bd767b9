//! Asks the private namespace whose a packet is.
//!
//! The kernel's own socket tables are the only table of connections, so there is no second one to
//! keep in step, and nothing to clean up: when the process dies, its sockets are gone, and the
//! answer is nobody.

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

use crate::down;
use crate::frame::load;
use crate::glance::{Ends, Segment};
use crate::header::TcpHeader;
use crate::packet::{AF_INET, Kind, Packet};

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
    let owner = if packet.kind == Kind::Tcp && packet.opens() && is_in_state(sk, BPF_TCP_TIME_WAIT)
    {
        // The kernel has the listener take it, if its sequence number is a later one.
        Owner::NewConnection
    } else if !is_in_state(sk, BPF_TCP_LISTEN) {
        Owner::Flow
    } else if packet.kind != Kind::Tcp {
        Owner::None
    } else if packet.flags.opens() {
        Owner::NewConnection
    } else if packet.flags.acknowledges() && proves_cookie(ctx, packet, sk) {
        Owner::SynCookie
    } else {
        Owner::None
    };
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    owner
}

/// Whether a segment belongs to a connection in the namespace of this id, in whatever state: the
/// short form of [`owner`]'s question.
#[inline(always)]
pub fn has_connection<Ip: Ends>(ctx: &TcContext, segment: &Segment<Ip>, private_ns: u32) -> bool {
    let (skb, ends) = (ctx.skb.skb.cast(), segment.ends().cast_mut());
    // SAFETY: the ends are of the stated size, and the kernel only reads them.
    let sk = unsafe { bpf_skc_lookup_tcp(skb, ends, Ip::SIZE, private_ns.into(), 0) };
    if sk.is_null() {
        return false;
    }
    let listening = is_in_state(sk, BPF_TCP_LISTEN);
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    !listening
}

/// Whether a first packet is one that this node sent itself: somebody here waits for the answer
/// to it. `namespace` as in [`owner`], or [`OWN_NAMESPACE`].
#[inline(always)]
pub fn comes_back(ctx: &TcContext, packet: &Packet, namespace: u64) -> bool {
    let sk = find(ctx, &packet.turned(), namespace);
    if sk.is_null() {
        return false;
    }
    let waits = is_in_state(sk, BPF_TCP_SYN_SENT);
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    waits
}

/// Whether somebody in the packet's own namespace waits for this SYN-ACK with a socket that carries
/// the mark of our upstream connections.
#[inline(always)]
pub fn is_awaited_with_mark(ctx: &TcContext, packet: &Packet, own_mark: u32) -> bool {
    let sk = find(ctx, packet, OWN_NAMESPACE);
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

/// Pairs of sequence and acknowledgement numbers, of 2^64, by which a segment is taken for one of the
/// connection's peer. A guess a microsecond finds one of so many in two weeks.
const PAIRS: u64 = 1 << 24;

/// Whether a segment's numbers tell that its sender sees the connection: it acknowledges what is
/// unacknowledged, and begins where the next octet is expected, or so little before that it is sent
/// again. What the kernel would take besides can be guessed: a window is wide.
#[inline(always)]
pub fn knows_connection(ctx: &TcContext, packet: &Packet, private_ns: u32) -> bool {
    let Some(segment) = load::<TcpHeader>(ctx, packet.transport) else { return false };
    let sk = find(ctx, packet, private_ns.into());
    if sk.is_null() {
        return false;
    }
    let mut knows = false;
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
        knows = u64::from(acknowledged) <= in_flight && before * (in_flight + 1) <= PAIRS;
    }
    // SAFETY: releases the reference that the lookup took, once, on every path.
    unsafe { bpf_sk_release(sk.cast()) };
    knows
}

/// Asked of a socket that was found and is not yet released.
#[inline(always)]
fn is_in_state(sk: *const bpf_sock, state: u32) -> bool {
    // SAFETY: not null, and referenced by the lookup until the release. A volatile read keeps the
    // compiler from merging this with other reads, which the verifier refuses.
    unsafe { (&raw const (*sk).state).read_volatile() == state }
}

/// The namespace that the packet is in.
pub const OWN_NAMESPACE: u64 = BPF_F_CURRENT_NETNS as u64;

/// The socket in a namespace that a packet belongs to, referenced; or null.
///
/// The verifier wants each lookup's tuple size to be a constant, hence the two calls.
#[inline(always)]
fn find(ctx: &TcContext, packet: &Packet, namespace: u64) -> *mut bpf_sock {
    let skb = ctx.skb.skb.cast();
    // What a packet before this one was told is not for us.
    down::refuse_next(false);
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
fn proves_cookie(ctx: &TcContext, packet: &Packet, listener: *mut bpf_sock) -> bool {
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
