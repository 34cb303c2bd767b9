//! Decides at a protected interface which packets are ours, and moves them to the private
//! namespace.
//!
//! A socket that is there gets its packets, a listener gets what may open a connection, and where
//! neither is, as after the process's death, the packet goes its ordinary way. Connections that
//! were there before us have no socket of ours and are left alone.
//!
//! All of that is decided by a connection's first packet, so one that can't be read is not "not
//! ours": where a rule restricts who may connect, it is dropped.

use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::bpf_redirect_peer;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{
    NODE_ANSWERS, NODE_REPLY_BY_ARRIVAL, Node, RULE_RESTRICTS, RULE_RETIRED, Rule,
};

use crate::down;
use crate::glance::{Ends, Glance, Segment, glance};
use crate::ingress::{LOOPBACK, interface, is_elsewhere};
use crate::log;
use crate::maps::{NODE, count, count_drop, has_rule, rule_of, some_rule_restricts};
use crate::opening;
use crate::packet::{Kind, Packet};
use crate::path;
use crate::socket::{OWN_NAMESPACE, Owner, comes_back, has_connection, owner};

/// What is to be done with a packet, as far as a glance at it tells.
enum Sight {
    /// It belongs to a connection of ours.
    Flow,
    /// It is no business of ours.
    NotOurs,
    /// It is to be looked at closely.
    Unclear,
}

/// What is to be done with a packet: redirect it if it is ours, drop it if the rule wants that, or
/// leave it alone.
///
/// Segments of our connections, and whatever goes to other ports, are told at a glance. All else
/// is rare, and is decided [`closely`].
#[inline(always)]
pub fn steer(ctx: &TcContext) -> i32 {
    let Some(node) = NODE.get(0) else { return TCX_NEXT };
    let sight = match glance(ctx, node) {
        Glance::Ipv4(segment) => sight(ctx, node, segment),
        Glance::Ipv6(segment) => sight(ctx, node, segment),
        Glance::NotOurs => Sight::NotOurs,
        Glance::Unclear => Sight::Unclear,
    };
    match sight {
        Sight::Flow => {
            if node.flags & NODE_REPLY_BY_ARRIVAL != 0 {
                follow_path(ctx.skb.skb);
            }
            count(|s| &mut s.steered_flow);
            redirect_inside(node)
        }
        Sight::NotOurs => TCX_NEXT,
        Sight::Unclear => closely(ctx.skb.skb),
    }
}

#[inline(always)]
fn sight<Ip: Ends>(ctx: &TcContext, node: &Node, segment: &Segment<Ip>) -> Sight {
    if !has_rule(segment.tcp.destination) {
        return Sight::NotOurs;
    }
    let is_plain = !segment.tcp.flags.opens() && !is_elsewhere(ctx, node.own_mark);
    if is_plain && has_connection(ctx, segment, node.private_ns) {
        Sight::Flow
    } else {
        Sight::Unclear
    }
}

/// Decides about any packet. Code of its own, so that what most packets run is short: it lies in
/// few of the CPU's cache lines.
#[cold]
#[inline(never)]
fn closely(skb: *mut __sk_buff) -> i32 {
    decide(&TcContext::new(skb)).unwrap_or(TCX_NEXT)
}

/// Follows a next hop that has moved, where replies go by the way of arrival. Code of its own, as above.
#[cold]
#[inline(never)]
fn follow_path(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    if let Some(node) = NODE.get(0)
        && let Some(packet) = Packet::seen(&glance(&ctx, node))
    {
        path::follow(&ctx, &packet, node.private_ns);
    }
    0
}

#[inline(always)]
fn decide(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    if is_elsewhere(ctx, node.own_mark) {
        return None;
    }
    let packet = Packet::parse(ctx)?;
    // Loopback sources go through unchanged.
    if packet.is_from_loopback() {
        return None;
    }
    if packet.kind == Kind::Unreadable {
        return some_rule_restricts().then(|| drop(ctx, Reason::UnreadablePacket, &packet));
    }
    let rule = rule_of(&packet)?;
    if packet.is_link_local() {
        return link_local(ctx, rule, &packet);
    }
    let owner = owner(ctx, &packet, node.private_ns);
    if packet.kind == Kind::Fragment {
        return fragment(ctx, rule, owner, &packet);
    }
    // Who it is for is not what its header says.
    if packet.is_source_routed && packet.opens() && rule.flags & RULE_RESTRICTS != 0 {
        return Some(drop(ctx, Reason::UnreadablePacket, &packet));
    }
    if packet.opens() && owner != Owner::None && is_own(ctx, &packet, node) {
        return Some(drop(ctx, Reason::UpstreamLoop, &packet));
    }
    match owner {
        // A connection that is there goes on, whatever has become of its rule.
        Owner::NewConnection if rule.flags & RULE_RETIRED != 0 => return pass(ctx, &packet),
        Owner::None => return pass(ctx, &packet),
        Owner::Flow if packet.kind == Kind::IcmpError => count(|s| &mut s.steered_icmp),
        Owner::Flow => {
            if node.flags & NODE_REPLY_BY_ARRIVAL != 0 {
                path::follow(ctx, &packet, node.private_ns);
            }
            count(|s| &mut s.steered_flow);
        }
        Owner::NewConnection => {
            if let Some(reason) = opening::judge(ctx, node, rule, &packet) {
                return Some(drop(ctx, reason, &packet));
            }
            note_path(ctx, node, &packet);
            if down::is_down(rule, &packet) {
                count(|s| &mut s.refused_syn);
                down::refuse_next(true);
                return Some(redirect_inside(node));
            }
            count(|s| &mut s.steered_syn);
            log::steered(&packet, interface(ctx));
        }
        Owner::SynCookie => {
            note_path(ctx, node, &packet);
            count(|s| &mut s.steered_cookie);
        }
    }
    Some(redirect_inside(node))
}

#[inline(always)]
fn note_path(ctx: &TcContext, node: &Node, packet: &Packet) {
    if node.flags & NODE_REPLY_BY_ARRIVAL != 0 {
        path::note(ctx, packet);
    }
}

/// A link-local address is one on a link, and inside is another link: an answer would not find back. So
/// such connections are left alone, unless a rule restricts who may connect.
#[inline(always)]
fn link_local(ctx: &TcContext, rule: Rule, packet: &Packet) -> Option<i32> {
    let may_open = packet.opens() || packet.kind == Kind::Fragment;
    let restricts = rule.flags & (RULE_RESTRICTS | RULE_RETIRED) == RULE_RESTRICTS;
    if may_open && restricts {
        return Some(drop(ctx, Reason::LinkLocal, packet));
    }
    pass(ctx, packet)
}

/// Leaves a packet to a protected port alone.
#[inline(always)]
fn pass(ctx: &TcContext, packet: &Packet) -> Option<i32> {
    count(|s| &mut s.passed);
    log::passed(packet, interface(ctx));
    None
}

/// Drops the packet, and says why.
#[inline(always)]
fn drop(ctx: &TcContext, reason: Reason, packet: &Packet) -> i32 {
    count_drop(reason);
    log::dropped(reason, packet, interface(ctx));
    TC_ACT_SHOT
}

/// Moves the packet to the inner end of the veth.
#[inline(always)]
pub fn redirect_inside(node: &Node) -> i32 {
    // SAFETY: a plain helper call; an index that is gone is an error code, and drops the packet.
    unsafe { bpf_redirect_peer(node.veth, 0) as i32 }
}

/// Whether we or others on this node sent the packet out ourselves, to an address that nobody
/// serves but the network leads back here: taken in, it would be sent out again without end.
/// On `lo`, coming back is what packets do.
#[inline(always)]
fn is_own(ctx: &TcContext, packet: &Packet, node: &Node) -> bool {
    if interface(ctx) == LOOPBACK {
        return false;
    }
    comes_back(ctx, packet, OWN_NAMESPACE)
        || (node.flags & NODE_ANSWERS != 0 && comes_back(ctx, packet, node.private_ns.into()))
}

/// The rest of a fragmented segment tells no ports, and can't be led after its beginning, so the
/// first fragment decides for all of them. Where it may open a connection, or a rule restricts who
/// may, nothing gets through; and a connection of ours would be reset by the host, which doesn't know
/// it, where a drop has the sender try again in smaller pieces.
#[inline(always)]
fn fragment(ctx: &TcContext, rule: Rule, owner: Owner, packet: &Packet) -> Option<i32> {
    let is_retired = rule.flags & RULE_RETIRED != 0;
    let is_judged = rule.flags & RULE_RESTRICTS != 0 || packet.opens();
    if owner == Owner::Flow || (is_judged && !is_retired) {
        count(|s| &mut s.fragment_dropped);
        return Some(drop(ctx, Reason::Fragment, packet));
    }
    count(|s| &mut s.fragment_passed);
    None
}
