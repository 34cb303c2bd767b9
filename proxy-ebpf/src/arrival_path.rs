//! How each connection came in, for networks where its replies have to leave the same way. Used
//! only if the settings ask for it; by default, the routing table decides.
//!
//! The path is that of the packet that opened the connection. Anybody can send a later segment with
//! a connection's addresses and ports, and would then receive its replies. So the interface never
//! changes, and the next hop's link-layer address changes only with a segment whose sequence
//! numbers fit: a router may be replaced, while an off-path attacker can't guess them.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_MAC;
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_skb_load_bytes_relative, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use proxy_common::abi::{ArrivalPath, FourTuple};

use crate::maps::ARRIVAL_PATHS;
use crate::packet::{Kind, Packet};
use crate::skb::ifindex;
use crate::socket::sender_is_on_path;

/// Bytes of the two addresses at the beginning of an Ethernet header.
const LINK_LEN: u32 = 12;

/// Records the path of a packet that opens a connection: a SYN for our listener, or an ACK that
/// answers our SYN cookie.
#[inline(always)]
pub fn record(ctx: &TcContext, packet: &Packet) {
    let (key, ifindex) = (four_tuple(packet), ifindex(ctx));
    let mut path = ArrivalPath { ifindex, link: core::hint::black_box([0; 12]) };
    let (skb, link) = (ctx.skb.skb.cast(), path.link.as_mut_ptr().cast());
    // Behind generic XDP, what we see of a packet can begin with its IP header.
    // SAFETY: the kernel writes as many bytes as the array has.
    let read = unsafe { bpf_skb_load_bytes_relative(skb, 0, link, LINK_LEN, BPF_HDR_START_MAC) };
    if read == 0 {
        // If the map is full, the routing table decides.
        let _ = ARRIVAL_PATHS.insert(key, path, BPF_ANY.into());
    }
}

/// Whether the packet's connection came in by this interface, but from another link-layer address.
#[inline(always)]
fn next_hop_changed(ctx: &TcContext, packet: &Packet) -> bool {
    // SAFETY: the value is only compared, before anything else runs.
    let Some(path) = (unsafe { ARRIVAL_PATHS.get(four_tuple(packet)) }) else { return false };
    let mut link = core::hint::black_box([0_u8; LINK_LEN as usize]);
    let (skb, bytes) = (ctx.skb.skb.cast(), link.as_mut_ptr().cast());
    // SAFETY: the kernel writes as many bytes as the array has.
    let read = unsafe { bpf_skb_load_bytes_relative(skb, 0, bytes, LINK_LEN, BPF_HDR_START_MAC) };
    read == 0 && path.ifindex == ifindex(ctx) && path.link != link
}

/// Records the path again if the next hop has a new link-layer address.
#[inline(always)]
pub fn update(ctx: &TcContext, packet: &Packet, private_ns: u32) {
    if packet.kind == Kind::Tcp
        && packet.flags.is_ack()
        && next_hop_changed(ctx, packet)
        && sender_is_on_path(ctx, packet, private_ns)
    {
        record(ctx, packet);
    }
}

/// Redirects a reply to where its connection came from; `None` if that isn't known.
#[inline(always)]
pub fn redirect(ctx: &TcContext, packet: &Packet) -> Option<i32> {
    let key = four_tuple(&packet.reversed());
    // SAFETY: the value is copied before anything else runs.
    let path = unsafe { ARRIVAL_PATHS.get(key) }.copied()?;
    // Source and destination change places.
    let mut link = [0_u8; LINK_LEN as usize];
    link[..6].copy_from_slice(&path.link[6..]);
    link[6..].copy_from_slice(&path.link[..6]);
    let bytes = link.as_ptr().cast();
    // SAFETY: the kernel reads as many bytes as the array has.
    let written = unsafe { bpf_skb_store_bytes(ctx.skb.skb.cast(), 0, bytes, LINK_LEN, 0) };
    if written != 0 {
        return None;
    }
    // SAFETY: a plain helper call; if the index is gone, the packet is dropped.
    Some(unsafe { bpf_redirect(path.ifindex, 0) } as i32)
}

/// The connection that an incoming packet belongs to.
#[inline(always)]
pub fn four_tuple(packet: &Packet) -> FourTuple {
    FourTuple {
        remote: packet.source_address(),
        local: packet.destination_address(),
        remote_port: u16::from_be(packet.source_port).into(),
        local_port: u16::from_be(packet.destination_port).into(),
    }
}
