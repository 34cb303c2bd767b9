//! Drops SYN-ACKs from a rule's ports, on their way out, unless a steered connection sent them.
//!
//! If a client's SYN gets past steer to the host's own stack, or to a server behind it, its answer
//! is dropped here, so no connection comes of it. A SYN-ACK of a steered connection comes out of a
//! Foreword veth, which is recognised by its index; those of a predecessor or successor have such
//! an index, too.
//!
//! On clsact this program outlives the process. Then nobody listens in the private namespace, and
//! SYN-ACKs pass.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{Bypass, Node, RULE_ANSWERS, RULE_RETIRED};
use proxy_common::names::is_veth_index;

use crate::log;
use crate::maps::{BYPASS, NODE, count_drop, has_rule, rule_for};
use crate::packet::direct_access::PlainHeaders;
use crate::packet::{Kind, Packet};
use crate::skb::{LOOPBACK, has_vlan_id, ifindex, ingress_ifindex};
use crate::socket::{SocketMatch, match_socket, socket_has_mark};

/// Drops the packet if it is such a SYN-ACK; `None` lets it pass.
#[inline(always)]
pub fn filter(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    let packet = unsteered_syn_ack(ctx, node)?;
    if !has_rule(packet.source_port) {
        return None;
    }
    let rule = rule_for(u16::from_be(packet.source_port), packet.source_address())?;
    let is_guarded = rule.flags & (RULE_ANSWERS | RULE_RETIRED) == RULE_ANSWERS;
    if !is_guarded || !would_be_steered(ctx, node, &packet) || is_for_own_socket(ctx, node, &packet)
    {
        return None;
    }
    record(ctx, &packet);
    count_drop(Reason::UnsteeredAnswer);
    log::dropped(Reason::UnsteeredAnswer, &packet.reversed(), ifindex(ctx));
    Some(TC_ACT_SHOT)
}

/// The packet, if it is a SYN-ACK of this interface that did not come out of a Foreword veth. Those
/// to loopback addresses are excepted, whose connections are left alone.
#[inline(always)]
pub fn unsteered_syn_ack(ctx: &TcContext, node: &Node) -> Option<Packet> {
    match PlainHeaders::read(ctx, node) {
        PlainHeaders::Ipv4(segment) if !segment.tcp.flags.is_syn_ack() => return None,
        PlainHeaders::Ipv6(segment) if !segment.tcp.flags.is_syn_ack() => return None,
        PlainHeaders::NotTcp => return None,
        _ => {}
    }
    if is_veth_index(ingress_ifindex(ctx)) || has_vlan_id(ctx) {
        return None;
    }
    let packet = Packet::parse(ctx)?;
    let is_syn_ack = packet.kind == Kind::Tcp && packet.flags.is_syn_ack();
    (is_syn_ack && !packet.reversed().is_from_loopback()).then_some(packet)
}

/// Whether the SYN that it answers would have found a socket of ours.
#[inline(always)]
fn would_be_steered(ctx: &TcContext, node: &Node, packet: &Packet) -> bool {
    match_socket(ctx, &packet.reversed().as_syn(), node.private_ns) != SocketMatch::None
}

/// On `lo`, whether it answers a connection of our own to a server on this node.
#[inline(always)]
pub fn is_for_own_socket(ctx: &TcContext, node: &Node, packet: &Packet) -> bool {
    ifindex(ctx) == LOOPBACK && node.own_mark != 0 && socket_has_mark(ctx, packet, node.own_mark)
}

/// Records the packet for the line in the log. Two CPUs at once can mix what they write.
#[inline(always)]
fn record(ctx: &TcContext, packet: &Packet) {
    let Some(bypass) = BYPASS.get_ptr_mut(0) else { return };
    let seen = Bypass {
        client: packet.destination_address(),
        local: packet.source_address(),
        client_port: u16::from_be(packet.destination_port).into(),
        local_port: u16::from_be(packet.source_port).into(),
        egress_ifindex: ifindex(ctx),
        ingress_ifindex: ingress_ifindex(ctx),
    };
    // SAFETY: map values live as long as the program runs.
    unsafe { *bypass = seen };
}
