//! Redirects to us what an upstream answers to a client whose address we connected from.
//!
//! The upstream believes that it talks to the client, so the node would forward its packets there.
//! A connection between the same addresses that isn't ours has no socket in the private namespace
//! and is left alone.

use aya_ebpf::programs::TcContext;
use proxy_common::abi::{Node, PortKey};

use crate::maps::{NODE, UPSTREAM_PORTS, count};
use crate::packet::{Kind, Packet};
use crate::programs::steer::redirect_inside;
use crate::skb::is_exempt;
use crate::socket::{SocketMatch, match_socket};

/// Redirects an upstream's packet at the interface that it comes in by; `None` leaves it alone.
#[inline(always)]
pub fn redirect(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let node = own_connection(ctx, &packet)?;
    if is_exempt(ctx, 0) || packet.is_from_loopback() {
        return None;
    }
    count(|s| &mut s.answered);
    Some(redirect_inside(node))
}

/// The node, if the packet comes from an upstream's port and belongs to a connection of ours.
#[inline(always)]
pub fn own_connection(ctx: &TcContext, packet: &Packet) -> Option<&'static Node> {
    // SAFETY: no program writes this map, and nothing is kept of the value.
    unsafe { UPSTREAM_PORTS.get(PortKey { port: u16::from_be(packet.source_port) }) }?;
    let node = NODE.get(0)?;
    let is_whole = matches!(packet.kind, Kind::Tcp | Kind::IcmpError);
    let ours = is_whole && match_socket(ctx, packet, node.private_ns) == SocketMatch::Connection;
    ours.then_some(node)
}
