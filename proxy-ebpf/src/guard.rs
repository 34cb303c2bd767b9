//! Turns away what would be refused by its source alone, before there is a socket for it.
//!
//! Only a connection's first packet is judged: one that exists was opened under rules of its time,
//! and is nobody's to cut. The same judgement is made in XDP, where that costs least, or in steer
//! on interfaces that have no XDP guard; never in both.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::XdpContext;
use proxy_common::Reason;
use proxy_common::abi::{
    Address, RULE_TRUSTED_ONLY, Rate, RateKey, Rule, SCOPE_BITS, TrustKey, network, scope,
};

use crate::frame::EthernetFrame;
use crate::log;
use crate::maps::{RATES, TRUST, rule_of};
use crate::packet::Packet;

const SECOND_NS: u64 = 1_000_000_000;

/// Why a frame is to be dropped, if it is.
#[inline(always)]
pub fn guard(ctx: &XdpContext) -> Option<Reason> {
    let packet = Packet::parse_tcp(&EthernetFrame::of(ctx)?)?;
    if !packet.opens() || packet.is_from_loopback() {
        return None;
    }
    let reason = turn_away(rule_of(&packet)?, packet.source_address())?;
    // SAFETY: the context is valid as long as the program runs.
    log::dropped(reason, &packet, unsafe { (*ctx.ctx).ingress_ifindex });
    Some(reason)
}

/// Why a source may not open a connection now, if so.
#[inline(always)]
pub fn turn_away(rule: Rule, source: Address) -> Option<Reason> {
    if rule.flags & RULE_TRUSTED_ONLY != 0 && !is_trusted(rule.rule, source) {
        return Some(Reason::UntrustedSource);
    }
    if rule.syn_limit != 0 && is_over_rate(rule, source) {
        return Some(Reason::SynRate);
    }
    None
}

#[inline(always)]
fn is_trusted(rule: u32, source: Address) -> bool {
    let key = TrustKey { scope: scope(rule, source), source };
    TRUST.get(&Key::new(SCOPE_BITS + 128, key)).is_some()
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
