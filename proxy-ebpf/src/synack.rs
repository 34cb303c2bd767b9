//! The second wall: drops a SYN-ACK of a rule's port that steering did not make, on its way out.
//!
//! Whatever brings a client's SYN past steer to the host's own stack, or to a server behind it, gets
//! no answer, so no connection comes of it. Steered connections are answered out of a veth of ours,
//! which its index tells: those of a predecessor or successor have such an index, too.
//!
//! On clsact this program outlives the process. Then nobody listens in the private namespace, and
//! answers go on as if it had never been there.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{Bypass, Node, RULE_ANSWERS, RULE_RETIRED};
use proxy_common::names::is_veth_index;

use crate::glance::{Glance, glance};
use crate::ingress::{LOOPBACK, belongs_to_vlan, interface};
use crate::log;
use crate::maps::{BYPASS, NODE, count_drop, has_rule, rule_for};
use crate::packet::{Kind, Packet};
use crate::socket::{Owner, is_awaited_with_mark, owner};

/// Drops the packet if it is such an answer; `None` lets it go on.
#[inline(always)]
pub fn filter(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    let packet = answer_of_others(ctx, node)?;
    if !has_rule(packet.source_port) {
        return None;
    }
    let rule = rule_for(u16::from_be(packet.source_port), packet.source_address())?;
    let is_guarded = rule.flags & (RULE_ANSWERS | RULE_RETIRED) == RULE_ANSWERS;
    if !is_guarded || !would_be_steered(ctx, node, &packet) || is_for_us(ctx, node, &packet) {
        return None;
    }
    note(ctx, &packet);
    count_drop(Reason::UnsteeredAnswer);
    log::dropped(Reason::UnsteeredAnswer, &packet.turned(), interface(ctx));
    Some(TC_ACT_SHOT)
}

/// The packet, if it is a SYN-ACK of this interface's that did not come out of a veth of ours, and
/// goes to somewhere else than a loopback address, whose connections are left alone.
#[inline(always)]
pub fn answer_of_others(ctx: &TcContext, node: &Node) -> Option<Packet> {
    match glance(ctx, node) {
        Glance::Ipv4(segment) if !segment.tcp.flags.is_syn_ack() => return None,
        Glance::Ipv6(segment) if !segment.tcp.flags.is_syn_ack() => return None,
        Glance::NotOurs => return None,
        _ => {}
    }
    // SAFETY: the context is valid as long as the program runs.
    let came_by = unsafe { (*ctx.skb.skb).ingress_ifindex };
    if is_veth_index(came_by) || belongs_to_vlan(ctx) {
        return None;
    }
    let packet = Packet::parse(ctx)?;
    let is_answer = packet.kind == Kind::Tcp && packet.flags.is_syn_ack();
    (is_answer && !packet.turned().is_from_loopback()).then_some(packet)
}

/// Whether the SYN that it answers would have found a socket of ours.
#[inline(always)]
fn would_be_steered(ctx: &TcContext, node: &Node, packet: &Packet) -> bool {
    owner(ctx, &packet.turned().as_syn(), node.private_ns) != Owner::None
}

/// On `lo`, whether it answers a connection of our own to a server of this node.
#[inline(always)]
pub fn is_for_us(ctx: &TcContext, node: &Node, packet: &Packet) -> bool {
    interface(ctx) == LOOPBACK
        && node.own_mark != 0
        && is_awaited_with_mark(ctx, packet, node.own_mark)
}

/// Keeps what is to be said of it. Two CPUs at once can mix what they write.
#[inline(always)]
fn note(ctx: &TcContext, packet: &Packet) {
    let Some(bypass) = BYPASS.get_ptr_mut(0) else { return };
    // SAFETY: the context is valid as long as the program runs.
    let came_by = unsafe { (*ctx.skb.skb).ingress_ifindex };
    let seen = Bypass {
        client: packet.destination_address(),
        local: packet.source_address(),
        client_port: u16::from_be(packet.destination_port).into(),
        local_port: u16::from_be(packet.source_port).into(),
        left_by: interface(ctx),
        came_by,
    };
    // SAFETY: map values live as long as the program runs.
    unsafe { *bypass = seen };
}
