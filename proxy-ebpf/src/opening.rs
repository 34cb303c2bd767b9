//! Judges the first packet of a connection in TC, where the interface that it came in by tells
//! more of its source: whether a trusted one comes from where it is, and whether it is one of the
//! node's own pods.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{
    NIC_PODS, NIC_PODS_BY_ROUTE, NIC_TRUSTED, NIC_XDP, NicKey, Node, RULE_CHECK_ARRIVAL, RULE_PODS,
    Rule,
};

use crate::guard::{is_judged_in_xdp, is_trusted, range_key, turn_away};
use crate::ingress::{LOOPBACK, had_tag, interface};
use crate::maps::{NICS, POD_SYNS, PODS};
use crate::packet::Packet;
use crate::path;
use crate::route::find_route;

/// Why a first packet on its way to our listener is to be dropped, if it is. Notes the connections
/// of pods, which userspace asks for.
#[inline(always)]
pub fn judge(ctx: &TcContext, node: &Node, rule: Rule, packet: &Packet) -> Option<Reason> {
    let key = NicKey { ifindex: interface(ctx) };
    // SAFETY: no program writes this map, and the value is copied before anything else runs.
    let nic = unsafe { NICS.get(key) }.map_or(0, |nic| nic.flags);
    let is_pod = rule.flags & RULE_PODS != 0 && is_pod(ctx, node, nic, rule, packet);
    // On `lo` is only what this host sends itself, and no route leads there.
    if rule.flags & RULE_CHECK_ARRIVAL != 0
        && interface(ctx) != LOOPBACK
        && nic & NIC_TRUSTED == 0
        && !is_pod
        && is_trusted(rule, packet.source_address())
        && !is_reached_here(ctx, node, packet, false)
    {
        return Some(Reason::SourceInterface);
    }
    if nic & NIC_XDP == 0 || had_tag(ctx) || !is_judged_in_xdp(rule, packet) {
        let reason = turn_away(rule, packet.source_address(), is_pod);
        if reason.is_some() {
            return reason;
        }
    }
    if is_pod {
        // Without room, the pod has to send a header.
        let _ = POD_SYNS.insert(path::key_of(packet), 1, BPF_ANY.into());
    }
    None
}

/// Whether the source is one of the node's own pods: in a range of theirs, and behind an interface of
/// theirs. The same address on another interface is another node's pod, or a lie.
#[inline(always)]
fn is_pod(ctx: &TcContext, node: &Node, nic: u32, rule: Rule, packet: &Packet) -> bool {
    if nic & (NIC_PODS | NIC_PODS_BY_ROUTE) == 0
        || PODS.get(&range_key(rule, packet.source_address())).is_none()
    {
        return false;
    }
    nic & NIC_PODS != 0 || is_reached_here(ctx, node, packet, true)
}

/// Whether the routing table reaches the source by the interface that the packet came in by; with
/// `on_link`, without a gateway.
#[inline(always)]
fn is_reached_here(ctx: &TcContext, node: &Node, packet: &Packet, on_link: bool) -> bool {
    let answer = packet.turned();
    let Some(route) = find_route(ctx, &answer, node.veth) else { return false };
    // The table leaves the destination as it was where there is no gateway.
    route.ifindex == interface(ctx) && (!on_link || route.destination == packet.source)
}
