//! The way that each connection came in by, for networks in which its replies must leave by the
//! same one. Used only if the settings ask for it; the routing table's answer is the default.
//!
//! The way is that of the packet that opened the connection. Anybody can send a later segment with a
//! connection's addresses and ports, and would be sent its replies. So the interface stays for good, and
//! the next hop's link-layer address follows only a segment that knows where the connection stands: a
//! router may be replaced, and who does not see the connection can't guess that.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_MAC;
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_skb_load_bytes_relative, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use proxy_common::abi::{Path, PathKey};

use crate::ingress::interface;
use crate::maps::PATHS;
use crate::packet::{Kind, Packet};
use crate::socket::knows_connection;

/// Octets of the two addresses at the beginning of an Ethernet header.
const LINK_LEN: u32 = 12;

/// Remembers the way of a packet that opens a connection: a SYN on its way to our listener, or an
/// ACK that proves a SYN cookie of ours.
#[inline(always)]
pub fn note(ctx: &TcContext, packet: &Packet) {
    let (key, ifindex) = (key_of(packet), interface(ctx));
    let mut path = Path { ifindex, link: core::hint::black_box([0; 12]) };
    let (skb, link) = (ctx.skb.skb.cast(), path.link.as_mut_ptr().cast());
    // Behind generic XDP, what we see of a packet can begin with its IP header.
    // SAFETY: the kernel writes as many octets as the array has.
    let read = unsafe { bpf_skb_load_bytes_relative(skb, 0, link, LINK_LEN, BPF_HDR_START_MAC) };
    if read == 0 {
        // Without room, the routing table answers.
        let _ = PATHS.insert(key, path, BPF_ANY.into());
    }
}

/// Whether the connection that a packet belongs to came in by this interface, from another link-layer
/// address.
#[inline(always)]
fn has_moved(ctx: &TcContext, packet: &Packet) -> bool {
    // SAFETY: the value is only compared, before anything else runs.
    let Some(path) = (unsafe { PATHS.get(key_of(packet)) }) else { return false };
    let mut link = core::hint::black_box([0_u8; LINK_LEN as usize]);
    let (skb, octets) = (ctx.skb.skb.cast(), link.as_mut_ptr().cast());
    // SAFETY: the kernel writes as many octets as the array has.
    let read = unsafe { bpf_skb_load_bytes_relative(skb, 0, octets, LINK_LEN, BPF_HDR_START_MAC) };
    read == 0 && path.ifindex == interface(ctx) && path.link != link
}

/// Follows a next hop that has another link-layer address by now.
#[inline(always)]
pub fn follow(ctx: &TcContext, packet: &Packet, private_ns: u32) {
    if packet.kind == Kind::Tcp
        && packet.flags.acknowledges()
        && has_moved(ctx, packet)
        && knows_connection(ctx, packet, private_ns)
    {
        note(ctx, packet);
    }
}

/// Sends a packet on its way out back by the way that its connection came in; `None` if that is
/// not known.
#[inline(always)]
pub fn send_back(ctx: &TcContext, packet: &Packet) -> Option<i32> {
    let key = key_of(&packet.turned());
    // SAFETY: the value is copied before anything else runs.
    let path = unsafe { PATHS.get(key) }.copied()?;
    // What came from there goes back there.
    let mut link = [0_u8; LINK_LEN as usize];
    link[..6].copy_from_slice(&path.link[6..]);
    link[6..].copy_from_slice(&path.link[..6]);
    let octets = link.as_ptr().cast();
    // SAFETY: the kernel reads as many octets as the array has.
    let written = unsafe { bpf_skb_store_bytes(ctx.skb.skb.cast(), 0, octets, LINK_LEN, 0) };
    if written != 0 {
        return None;
    }
    // SAFETY: a plain helper call; an index that is gone drops the packet.
    Some(unsafe { bpf_redirect(path.ifindex, 0) } as i32)
}

/// The connection that a packet on its way in belongs to.
#[inline(always)]
pub fn key_of(packet: &Packet) -> PathKey {
    PathKey {
        remote: packet.source_address(),
        local: packet.destination_address(),
        remote_port: u16::from_be(packet.source_port).into(),
        local_port: u16::from_be(packet.destination_port).into(),
    }
}
