//! Decides at a protected interface which packets are ours, and moves them to the private
//! namespace.
//!
//! A socket that is there gets its packets, a listener gets what may open a connection, and where
//! neither is, as after the process's death, the packet goes its ordinary way. Connections that
//! were there before us have no socket of ours and are left alone.

use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::bpf_redirect_peer;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{
    NIC_XDP, NODE_ANSWERS, NODE_REPLY_BY_ARRIVAL, Nic, NicKey, Node, RULE_REQUIRE, RULE_RETIRED,
    Rule,
};

use crate::glance::{Ends, Glance, Segment, glance};
use crate::guard::turn_away;
use crate::log;
use crate::maps::{NICS, NODE, count, count_drop, has_rule, rule_of};
use crate::packet::{Kind, Packet};
use crate::path;
use crate::socket::{OWN_NAMESPACE, Owner, comes_back, has_connection, owner};

/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`: sent to this node, not merely seen by it.
const PACKET_HOST: u32 = 0;
/// The index of `lo` in every namespace.
const LOOPBACK: u32 = 1;

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
    let is_plain = !segment.tcp.flags.opens()
        && node.flags & NODE_REPLY_BY_ARRIVAL == 0
        && !is_elsewhere(ctx, node.own_mark);
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

#[inline(always)]
fn decide(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let rule = rule_of(&packet)?;
    let node = NODE.get(0)?;
    if is_exempt(ctx, &packet, node.own_mark) {
        return None;
    }
    let owner = owner(ctx, &packet, node.private_ns);
    if packet.kind == Kind::Fragment {
        return fragment(ctx, rule, owner, &packet);
    }
    if packet.opens() && owner != Owner::None && is_own(ctx, &packet, node) {
        return Some(drop(ctx, Reason::UpstreamLoop, &packet));
    }
    match owner {
        // A connection that is there goes on, whatever has become of its rule.
        Owner::NewConnection if rule.flags & RULE_RETIRED != 0 => return pass(ctx, &packet),
        Owner::None => return pass(ctx, &packet),
        Owner::Flow if packet.kind == Kind::IcmpError => count(|s| &mut s.steered_icmp),
        Owner::Flow => count(|s| &mut s.steered_flow),
        Owner::NewConnection => {
            if let Some(reason) = guard(ctx, rule, &packet) {
                return Some(drop(ctx, reason, &packet));
            }
            count(|s| &mut s.steered_syn);
            log::steered(&packet, interface(ctx));
        }
        Owner::SynCookie => count(|s| &mut s.steered_cookie),
    }
    if node.flags & NODE_REPLY_BY_ARRIVAL != 0 && packet.kind == Kind::Tcp {
        path::note(ctx, &packet);
    }
    Some(redirect_inside(node))
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

/// The index of the interface that it came in by.
#[inline(always)]
fn interface(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// Moves the packet to the inner end of the veth.
#[inline(always)]
pub fn redirect_inside(node: &Node) -> i32 {
    // SAFETY: a plain helper call; an index that is gone is an error code, and drops the packet.
    unsafe { bpf_redirect_peer(node.veth, 0) as i32 }
}

/// Loopback sources go through unchanged, and so does what is none of this interface's.
#[inline(always)]
pub fn is_exempt(ctx: &TcContext, packet: &Packet, own_mark: u32) -> bool {
    is_elsewhere(ctx, own_mark) || packet.is_from_loopback()
}

/// Our own upstream connections must not come back to us. A frame that a promiscuous interface
/// overheard is nobody's here, and one with a VLAN tag belongs to the sub-interface.
#[inline(always)]
fn is_elsewhere(ctx: &TcContext, own_mark: u32) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid as long as the program runs, and these fields are readable.
    let (pkt_type, mark, vlan) = unsafe { ((*skb).pkt_type, (*skb).mark, (*skb).vlan_present) };
    pkt_type != PACKET_HOST || vlan != 0 || (own_mark != 0 && mark == own_mark)
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

/// What the guard says, where it has no hook of its own.
#[inline(always)]
fn guard(ctx: &TcContext, rule: Rule, packet: &Packet) -> Option<Reason> {
    let key = NicKey { ifindex: interface(ctx) };
    // SAFETY: no program writes this map, and the value is copied before anything else runs.
    let nic = unsafe { NICS.get(key) }.copied();
    if matches!(nic, Some(Nic { flags }) if flags & NIC_XDP != 0) {
        return None;
    }
    turn_away(rule, packet.source_address())
}

/// The rest of a fragmented segment tells no ports, and can't be led after its beginning. Where a
/// header is required nothing may get by; and a connection of ours would be reset by the host,
/// which doesn't know it, where a drop lets the sender try again in smaller pieces.
#[inline(always)]
fn fragment(ctx: &TcContext, rule: Rule, owner: Owner, packet: &Packet) -> Option<i32> {
    if rule.flags & RULE_REQUIRE != 0 || owner == Owner::Flow {
        count(|s| &mut s.fragment_dropped);
        return Some(drop(ctx, Reason::Fragment, packet));
    }
    count(|s| &mut s.fragment_passed);
    None
}
