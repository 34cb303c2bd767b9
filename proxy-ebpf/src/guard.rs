//! Turns away what would be refused by its source alone, before there is a socket for it.
//!
//! Only a connection's first packet is judged: one that exists was opened under rules of its time,
//! and is nobody's to cut. XDP judges plain frames, where that costs least; steer judges all else,
//! and everything on interfaces that have no XDP guard. None is judged by both, but for a frame
//! whose tag the hardware has hidden from XDP.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;
use proxy_common::Reason;
use proxy_common::abi::{
    Address, RULE_PODS, RULE_TRUSTED_ONLY, Rate, RateKey, Rule, SCOPE_BITS, TrustKey, network,
    scope,
};

use crate::frame::EthernetFrame;
use crate::log;
use crate::maps::{RATES, TRUST, rule_of};
use crate::packet::Packet;

const SECOND_NS: u64 = 1_000_000_000;

/// Why a frame is to be dropped, if it is.
#[inline(always)]
pub fn guard(ctx: &XdpContext) -> Option<Reason> {
    let packet = Packet::parse_plain(&EthernetFrame::of(ctx)?)?;
    if !packet.opens() || packet.is_from_loopback() {
        return None;
    }
    let rule = rule_of(&packet)?;
    if !is_judged_in_xdp(rule, &packet) {
        return None;
    }
    let reason = turn_away(rule, packet.source_address(), false)?;
    // SAFETY: the context is valid as long as the program runs.
    log::dropped(reason, &packet, unsafe { (*ctx.ctx).ingress_ifindex });
    Some(reason)
}

/// Whether the guard in XDP, where there is one, judges a first packet. Which interface a pod is
/// behind, steer alone can tell.
#[inline(always)]
pub fn is_judged_in_xdp(rule: Rule, packet: &Packet) -> bool {
    packet.is_plain && rule.flags & RULE_PODS == 0
}

/// Why a source may not open a connection now, if so.
#[inline(always)]
pub fn turn_away(rule: Rule, source: Address, is_pod: bool) -> Option<Reason> {
    if rule.flags & RULE_TRUSTED_ONLY != 0 && !is_pod && !is_trusted(rule, source) {
        return Some(Reason::UntrustedSource);
    }
    if rule.syn_limit != 0 && is_over_rate(rule, source) {
        return Some(Reason::SynRate);
    }
    None
}

/// Whether a source is in one of the rule's trusted ranges.
#[inline(always)]
pub fn is_trusted(rule: Rule, source: Address) -> bool {
    TRUST.get(&range_key(rule, source)).is_some()
}

/// A source as the rule's ranges are looked up by.
#[inline(always)]
pub fn range_key(rule: Rule, source: Address) -> Key<TrustKey> {
    Key::new(SCOPE_BITS + 128, TrustKey { scope: scope(rule.rule, source), source })
}

/// A leaky bucket in one number: the time at which the source's account is even again. Each
/// connection puts it off by the limit's share of a second; it may be one second ahead.
///
/// Two CPUs can overwrite each other's entry: a source then gets a few connections more.
#[inline(always)]
fn is_over_rate(rule: Rule, source: Address) -> bool {
    let key = RateKey { source: network(source, rule.ipv6_prefix), rule: rule.rule };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the value is copied; a torn read is not possible for an aligned word.
    let even_at = unsafe { RATES.get(key) }.map_or(now, |rate| rate.even_at_ns.max(now));
    let even_at_ns = even_at + SECOND_NS / u64::from(rule.syn_limit);
    if even_at_ns > now + SECOND_NS {
        return true;
    }
    // Without room for the entry, the source goes unlimited rather than unserved.
    let _ = RATES.insert(key, Rate { even_at_ns }, BPF_ANY.into());
    false
}
