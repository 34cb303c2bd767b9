//! Leads back to us what an upstream answers to a client whose address we connected from.
//!
//! The upstream believes that it speaks to the client, so its packets come to the node on their
//! way to somebody else. Connections of others between the same ends have no socket of ours and
//! are left alone.

use aya_ebpf::programs::TcContext;
use proxy_common::abi::{Node, PortKey};

use crate::ingress::is_elsewhere;
use crate::maps::{BACKS, NODE, count};
use crate::packet::{Kind, Packet};
use crate::socket::{Owner, owner};
use crate::steer::redirect_inside;

/// Redirects an upstream's packet, at the interface that it comes in by; `None` leaves it alone.
#[inline(always)]
pub fn answer(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let node = addressee(ctx, &packet)?;
    if is_elsewhere(ctx, 0) || packet.is_from_loopback() {
        return None;
    }
    count(|s| &mut s.answered);
    Some(redirect_inside(node))
}

/// The node, if the packet comes from an upstream and belongs to a connection of ours.
#[inline(always)]
pub fn addressee(ctx: &TcContext, packet: &Packet) -> Option<&'static Node> {
    // SAFETY: no program writes this map, and nothing is kept of the value.
    unsafe { BACKS.get(PortKey { port: u16::from_be(packet.source_port) }) }?;
    let node = NODE.get(0)?;
    let is_whole = matches!(packet.kind, Kind::Tcp | Kind::IcmpError);
    let ours = is_whole && owner(ctx, packet, node.private_ns) == Owner::Flow;
    ours.then_some(node)
}
