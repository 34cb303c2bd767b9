//! The maps of [`proxy_common::maps`], and what several programs ask of them.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap as LruHash, PerCpuArray, SockMap};
use aya_ebpf::macros::btf_map;
use proxy_common::abi::{
    Address, ArrivalPath, Bypass, Conn, ConnKey, DestinationKey, Down, DownKey, FourTuple, Hold,
    Interface, InterfaceKey, LOG_KINDS, LogQuota, Node, PORT_WORDS, PortKey, RULE_BY_DESTINATION,
    Rate, RateKey, ReasonCount, Rule, SCOPE_BITS, Stats, TrustKey, port_bit, scope,
};
use proxy_common::{Reason, capacity, for_each_map};

use crate::packet::Packet;

type Hash<K, V, const N: usize> = HashMap<K, V, N, { BPF_F_NO_PREALLOC as usize }>;

macro_rules! define {
    ($($(#[doc = $doc:literal])+ $map:ident = $name:literal: $kind:ident<$($type:ty),*>, $capacity:expr;)+) => {$(
        $(#[doc = $doc])+
        #[btf_map(name = $name)]
        pub static $map: $kind<$($type,)* { $capacity }> = $kind::new();
    )+};
}

for_each_map!(define);

/// Counts one packet on this CPU: `count(|s| &mut s.passed)`.
#[inline(always)]
pub fn count(counter: impl FnOnce(&mut Stats) -> &mut u64) {
    if let Some(stats) = STATS.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own, and no program of the same kind interrupts this one
        // on its CPU. A sockops program between a TC program's load and store can cost a count, but
        // not memory safety.
        let counter = counter(unsafe { &mut *stats });
        *counter += 1;
    }
}

/// Counts one dropped packet on this CPU.
#[inline(always)]
pub fn count_drop(reason: Reason) {
    if let Some(packets) = DROPS.get_ptr_mut(reason as u32) {
        // SAFETY: as for the counters above.
        unsafe { *packets += 1 };
    }
}

/// Whether there is a rule for a destination port given in network byte order.
#[inline(always)]
pub fn has_rule(port: u16) -> bool {
    let (word, bit) = port_bit(u16::from_be(port));
    RULED_PORTS.get(word).is_some_and(|bits| bits & bit != 0)
}

/// Whether any rule restricts who may connect.
#[inline(always)]
pub fn some_rule_restricts() -> bool {
    // The bit of port 0, which nobody serves, says so.
    has_rule(0)
}

/// The rule for the packet's destination.
#[inline(always)]
pub fn rule_of(packet: &Packet) -> Option<Rule> {
    rule_for(u16::from_be(packet.destination_port), packet.destination_address())
}

/// The rule for a port, in the host's byte order, and a destination.
#[inline(always)]
pub fn rule_for(port: u16, destination: Address) -> Option<Rule> {
    // SAFETY: no program writes this map, and the value is copied before anything else runs.
    let rule = unsafe { RULES.get(PortKey { port }) }.copied()?;
    if rule.flags & RULE_BY_DESTINATION == 0 {
        return Some(rule);
    }
    let scope = scope(rule.destinations, destination);
    let key = Key::new(SCOPE_BITS + 128, DestinationKey { scope, destination });
    Some(DESTINATIONS.get(&key).copied().unwrap_or(rule))
}
