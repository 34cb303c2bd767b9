//! Checks a connection's initial SYN in TC, where the interface tells more about its source than
//! XDP knows: whether a trusted source comes in where the routing table reaches it, and whether the
//! source is one of the node's own pods.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::programs::TcContext;
use proxy_common::Reason;
use proxy_common::abi::{
    INTERFACE_PODS, INTERFACE_PODS_BY_ROUTE, INTERFACE_TRUSTED, INTERFACE_XDP, InterfaceKey, Node,
    RULE_CHECK_ARRIVAL, RULE_PODS, Rule,
};

use crate::arrival_path::four_tuple;
use crate::fib;
use crate::maps::{INTERFACES, POD_SYNS, PODS};
use crate::packet::Packet;
use crate::programs::guard::{is_checked_in_xdp, is_trusted, range_key, refusal};
use crate::skb::{LOOPBACK, has_vlan_tag, ifindex};

/// Why an initial SYN for our listener is dropped, if it is. Records the connections of pods for
/// userspace.
#[inline(always)]
pub fn drop_reason(ctx: &TcContext, node: &Node, rule: Rule, packet: &Packet) -> Option<Reason> {
    let key = InterfaceKey { ifindex: ifindex(ctx) };
    // SAFETY: no program writes this map, and the value is copied before anything else runs.
    let interface = unsafe { INTERFACES.get(key) }.map_or(0, |interface| interface.flags);
    let is_pod = rule.flags & RULE_PODS != 0 && is_pod(ctx, node, interface, rule, packet);
    // What arrives on `lo` is from this host itself, and the routing table never names `lo`.
    if rule.flags & RULE_CHECK_ARRIVAL != 0
        && ifindex(ctx) != LOOPBACK
        && interface & INTERFACE_TRUSTED == 0
        && !is_pod
        && is_trusted(rule, packet.source_address())
        && !is_on_reverse_path(ctx, node, packet, false)
    {
        return Some(Reason::SourceInterface);
    }
    if interface & INTERFACE_XDP == 0 || has_vlan_tag(ctx) || !is_checked_in_xdp(rule, packet) {
        let reason = refusal(rule, packet.source_address(), is_pod);
        if reason.is_some() {
            return reason;
        }
    }
    if is_pod {
        // If the map is full, the pod has to send a header.
        let _ = POD_SYNS.insert(four_tuple(packet), 1, BPF_ANY.into());
    }
    None
}

/// Whether the source is one of the node's own pods: its address is in one of their ranges, and it
/// comes in by one of their interfaces. On another interface the same address is a pod of another
/// node, or spoofed.
#[inline(always)]
fn is_pod(ctx: &TcContext, node: &Node, interface: u32, rule: Rule, packet: &Packet) -> bool {
    if interface & (INTERFACE_PODS | INTERFACE_PODS_BY_ROUTE) == 0
        || PODS.get(&range_key(rule, packet.source_address())).is_none()
    {
        return false;
    }
    interface & INTERFACE_PODS != 0 || is_on_reverse_path(ctx, node, packet, true)
}

/// Whether the routing table reaches the source by the interface that the packet came in by; with
/// `on_link`, without a gateway.
#[inline(always)]
fn is_on_reverse_path(ctx: &TcContext, node: &Node, packet: &Packet, on_link: bool) -> bool {
    let answer = packet.reversed();
    let Some(route) = fib::lookup(ctx, &answer, node.veth) else { return false };
    // Where there is no gateway, the lookup leaves the destination as it was.
    route.ifindex == ifindex(ctx) && (!on_link || route.destination == packet.source)
}
