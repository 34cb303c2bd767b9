//! Decides at a protected interface which packets are ours, and moves them to the private
//! namespace.
//!
//! A packet is ours if a socket in that namespace takes it: a connection, or a listener if the
//! packet may open one. Without such a socket, as when the process has died, the packet continues
//! to the host. Connections that are older than this process have no socket there and are left
//! alone.
//!
//! The initial SYN decides about the whole connection. So a packet that can't be read is not "not
//! ours": where a rule restricts who may connect, it is dropped.

use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::bpf_redirect_peer;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{
    NODE_ANSWERS, NODE_REPLY_BY_ARRIVAL, Node, RULE_RESTRICTS, RULE_RETIRED, Rule,
};

use crate::maps::{NODE, count, count_drop, has_rule, rule_of, some_rule_restricts};
use crate::packet::direct_access::{PlainHeaders, Segment, SockTuple};
use crate::packet::{Kind, Packet};
use crate::skb::{LOOPBACK, ifindex, is_exempt};
use crate::socket::{CURRENT_NETNS, SocketMatch, has_connection, is_own_syn, match_socket};
use crate::{arrival_path, initial_syn, log, upstream_down};

/// What the fast path decides about a packet.
enum Decision {
    /// It belongs to a connection of ours.
    Redirect,
    /// It isn't ours.
    Pass,
    /// The slow path decides.
    SlowPath,
}

/// Redirects a packet if it is ours, drops it if its rule says so, or leaves it alone.
///
/// Plain segments of our connections and packets to other ports, which are nearly all, take the
/// [`fast_path`]; the rest takes the [`slow_path`].
#[inline(always)]
pub fn steer(ctx: &TcContext) -> i32 {
    let Some(node) = NODE.get(0) else { return TCX_NEXT };
    let decision = match PlainHeaders::read(ctx, node) {
        PlainHeaders::Ipv4(segment) => fast_path(ctx, node, segment),
        PlainHeaders::Ipv6(segment) => fast_path(ctx, node, segment),
        PlainHeaders::NotTcp => Decision::Pass,
        PlainHeaders::NotPlain => Decision::SlowPath,
    };
    match decision {
        Decision::Redirect => {
            if node.flags & NODE_REPLY_BY_ARRIVAL != 0 {
                update_arrival_path(ctx.skb.skb);
            }
            count(|s| &mut s.steered_flow);
            redirect_inside(node)
        }
        Decision::Pass => TCX_NEXT,
        Decision::SlowPath => slow_path(ctx.skb.skb),
    }
}

/// Decides about a plain segment with at most two lookups: its port, and its connection.
#[inline(always)]
fn fast_path<Ip: SockTuple>(ctx: &TcContext, node: &Node, segment: &Segment<Ip>) -> Decision {
    if !has_rule(segment.tcp.destination) {
        return Decision::Pass;
    }
    let may_be_ours = !segment.tcp.flags.is_initial_syn() && !is_exempt(ctx, node.own_mark);
    if may_be_ours && has_connection(ctx, segment, node.private_ns) {
        Decision::Redirect
    } else {
        Decision::SlowPath
    }
}

/// Decides about any packet. A function of its own keeps the code that most packets run short, so
/// that it takes few of the CPU's cache lines.
#[cold]
#[inline(never)]
fn slow_path(skb: *mut __sk_buff) -> i32 {
    decide(&TcContext::new(skb)).unwrap_or(TCX_NEXT)
}

/// Updates the next hop of a plain segment's connection, where replies leave by the way of arrival.
/// A function of its own, as above.
#[cold]
#[inline(never)]
fn update_arrival_path(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    if let Some(node) = NODE.get(0)
        && let Some(packet) = Packet::from_plain(&PlainHeaders::read(&ctx, node))
    {
        arrival_path::update(&ctx, &packet, node.private_ns);
    }
    0
}

#[inline(always)]
fn decide(ctx: &TcContext) -> Option<i32> {
    let node = NODE.get(0)?;
    if is_exempt(ctx, node.own_mark) {
        return None;
    }
    let packet = Packet::parse(ctx)?;
    // Connections from loopback addresses are never changed.
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
    let matched = match_socket(ctx, &packet, node.private_ns);
    if packet.kind == Kind::Fragment {
        return fragment(ctx, rule, matched, &packet);
    }
    // Its final destination is not the one in its IP header.
    if packet.is_source_routed && packet.is_initial_syn() && rule.flags & RULE_RESTRICTS != 0 {
        return Some(drop(ctx, Reason::UnreadablePacket, &packet));
    }
    if packet.is_initial_syn() && matched != SocketMatch::None && is_looped_back(ctx, &packet, node)
    {
        return Some(drop(ctx, Reason::UpstreamLoop, &packet));
    }
    match matched {
        // A retired rule takes no new connections. Those that are open stay ours.
        SocketMatch::NewConnection if rule.flags & RULE_RETIRED != 0 => return pass(ctx, &packet),
        SocketMatch::None => return pass(ctx, &packet),
        SocketMatch::Connection if packet.kind == Kind::IcmpError => count(|s| &mut s.steered_icmp),
        SocketMatch::Connection => {
            if node.flags & NODE_REPLY_BY_ARRIVAL != 0 {
                arrival_path::update(ctx, &packet, node.private_ns);
            }
            count(|s| &mut s.steered_flow);
        }
        SocketMatch::NewConnection => {
            if let Some(reason) = initial_syn::drop_reason(ctx, node, rule, &packet) {
                return Some(drop(ctx, reason, &packet));
            }
            record_arrival_path(ctx, node, &packet);
            if upstream_down::is_down(rule, &packet) {
                count(|s| &mut s.refused_syn);
                upstream_down::refuse_next(true);
                return Some(redirect_inside(node));
            }
            count(|s| &mut s.steered_syn);
            log::steered(&packet, ifindex(ctx));
        }
        SocketMatch::SynCookie => {
            record_arrival_path(ctx, node, &packet);
            count(|s| &mut s.steered_cookie);
        }
    }
    Some(redirect_inside(node))
}

#[inline(always)]
fn record_arrival_path(ctx: &TcContext, node: &Node, packet: &Packet) {
    if node.flags & NODE_REPLY_BY_ARRIVAL != 0 {
        arrival_path::record(ctx, packet);
    }
}

/// A link-local address is only valid on its link, and the private namespace is on another one, so
/// replies would not find their way back. Such connections are left alone, unless a rule restricts
/// who may connect.
#[inline(always)]
fn link_local(ctx: &TcContext, rule: Rule, packet: &Packet) -> Option<i32> {
    let may_open = packet.is_initial_syn() || packet.kind == Kind::Fragment;
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
    log::passed(packet, ifindex(ctx));
    None
}

/// Drops the packet, and counts and logs the reason.
#[inline(always)]
fn drop(ctx: &TcContext, reason: Reason, packet: &Packet) -> i32 {
    count_drop(reason);
    log::dropped(reason, packet, ifindex(ctx));
    TC_ACT_SHOT
}

/// Moves the packet to the inner end of the veth.
#[inline(always)]
pub fn redirect_inside(node: &Node) -> i32 {
    // SAFETY: a plain helper call; if the index is gone, it returns an error, which drops the
    // packet.
    unsafe { bpf_redirect_peer(node.veth, 0) as i32 }
}

/// Whether this node sent the packet itself, to an address that nobody serves and that the network
/// routes back here. Accepted, it would be sent out again without end. On `lo`, packets are meant
/// to come back.
#[inline(always)]
fn is_looped_back(ctx: &TcContext, packet: &Packet, node: &Node) -> bool {
    if ifindex(ctx) == LOOPBACK {
        return false;
    }
    is_own_syn(ctx, packet, CURRENT_NETNS)
        || (node.flags & NODE_ANSWERS != 0 && is_own_syn(ctx, packet, node.private_ns.into()))
}

/// Decides about a first fragment, and so about all of its packet: later fragments carry no ports
/// and can't be steered after it. It is dropped where it may open a connection or a rule restricts
/// who may. It is also dropped if it belongs to a connection of ours: the host doesn't know that
/// connection and would reset it, while after a drop the sender tries smaller packets.
#[inline(always)]
fn fragment(ctx: &TcContext, rule: Rule, matched: SocketMatch, packet: &Packet) -> Option<i32> {
    let is_retired = rule.flags & RULE_RETIRED != 0;
    let is_restricted = rule.flags & RULE_RESTRICTS != 0 || packet.is_initial_syn();
    if matched == SocketMatch::Connection || (is_restricted && !is_retired) {
        count(|s| &mut s.fragment_dropped);
        return Some(drop(ctx, Reason::Fragment, packet));
    }
    count(|s| &mut s.fragment_passed);
    None
}
