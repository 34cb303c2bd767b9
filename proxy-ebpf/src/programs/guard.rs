//! Drops what would be refused for its source alone, before there is a socket for it.
//!
//! Only a connection's initial SYN is checked: an established connection was accepted under the
//! rules of its time and isn't cut. XDP checks plain frames, where that costs least; steer checks
//! the rest, and everything on interfaces without XDP. Nothing is checked twice, except a frame
//! whose VLAN tag the hardware has hidden from XDP.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;
use proxy_common::Reason;
use proxy_common::abi::{
    Address, RULE_PODS, RULE_TRUSTED_ONLY, Rate, RateKey, Rule, SCOPE_BITS, TrustKey, network,
    scope,
};

use crate::log;
use crate::maps::{RATES, TRUSTED, rule_of};
use crate::packet::Packet;
use crate::packet::bytes::EthernetFrame;

const SECOND_NS: u64 = 1_000_000_000;

/// Why a frame is dropped, if it is.
#[inline(always)]
pub fn drop_reason(ctx: &XdpContext) -> Option<Reason> {
    let packet = Packet::parse_plain(&EthernetFrame::parse(ctx)?)?;
    if !packet.is_initial_syn() || packet.is_from_loopback() {
        return None;
    }
    let rule = rule_of(&packet)?;
    if !is_checked_in_xdp(rule, &packet) {
        return None;
    }
    let reason = refusal(rule, packet.source_address(), false)?;
    // SAFETY: the context is valid as long as the program runs.
    log::dropped(reason, &packet, unsafe { (*ctx.ctx).ingress_ifindex });
    Some(reason)
}

/// Whether the guard in XDP, where it is attached, checks an initial SYN. Only steer knows which
/// interfaces pods are behind.
#[inline(always)]
pub fn is_checked_in_xdp(rule: Rule, packet: &Packet) -> bool {
    packet.is_plain && rule.flags & RULE_PODS == 0
}

/// Why a source may not open a connection now, if it may not.
#[inline(always)]
pub fn refusal(rule: Rule, source: Address, is_pod: bool) -> Option<Reason> {
    if rule.flags & RULE_TRUSTED_ONLY != 0 && !is_pod && !is_trusted(rule, source) {
        return Some(Reason::UntrustedSource);
    }
    if rule.syn_limit != 0 && exceeds_rate(rule, source) {
        return Some(Reason::SynRate);
    }
    None
}

/// Whether a source is in one of the rule's trusted ranges.
#[inline(always)]
pub fn is_trusted(rule: Rule, source: Address) -> bool {
    TRUSTED.get(&range_key(rule, source)).is_some()
}

/// The key by which a source is looked up in the rule's ranges.
#[inline(always)]
pub fn range_key(rule: Rule, source: Address) -> Key<TrustKey> {
    Key::new(SCOPE_BITS + 128, TrustKey { scope: scope(rule.rule, source), source })
}

/// The generic cell rate algorithm (GCRA): each source has the theoretical arrival time of its next
/// connection, which each connection moves on by the limit's share of a second and which may be one
/// second ahead.
///
/// Two CPUs can overwrite each other's entry; a source is then allowed a few connections more.
#[inline(always)]
fn exceeds_rate(rule: Rule, source: Address) -> bool {
    let key = RateKey { source: network(source, rule.ipv6_prefix), rule: rule.rule };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the value is copied; an aligned word can't be read half-written.
    let arrival =
        unsafe { RATES.get(key) }.map_or(now, |rate| rate.theoretical_arrival_ns.max(now));
    let theoretical_arrival_ns = arrival + SECOND_NS / u64::from(rule.syn_limit);
    if theoretical_arrival_ns > now + SECOND_NS {
        return true;
    }
    // If the map is full, the source is not limited rather than not served.
    let _ = RATES.insert(key, Rate { theoretical_arrival_ns }, BPF_ANY.into());
    false
}
