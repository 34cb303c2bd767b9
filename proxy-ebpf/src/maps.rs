//! The maps, under the names that `bpftool` shows. Their layout is `proxy_common::abi`.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, SockMap};
use aya_ebpf::macros::btf_map;
use proxy_common::Reason;
use proxy_common::abi::{
    Address, Bypass, Conn, ConnKey, DestinationKey, Down, DownKey, Hold, Nic, NicKey, Node,
    PORT_WORDS, Path, PathKey, PortKey, RULE_BY_DESTINATION, Rate, RateKey, ReasonCount, Rule,
    SAID_KINDS, SCOPE_BITS, Said, Stats, TrustKey, port_bit, scope,
};
use proxy_common::capacity::{self, PORTS};

use crate::packet::Packet;

/// Sources whose rate is known at once.
const SOURCES: usize = 1 << 16;
/// Interfaces protected at once.
const INTERFACES: usize = 1 << 12;
/// Connections of the node's own pods that are known at once; one that isn't needs a header.
const POD_CONNECTIONS: usize = 1 << 16;
/// Sockets shown at once; two per proxied connection.
const SOCKETS: usize = 1 << 17;

#[btf_map(name = "foreword_rules")]
pub static RULES: HashMap<PortKey, Rule, PORTS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// A bit for each port that has a rule: every packet is asked this, and most are asked no more.
#[btf_map(name = "foreword_ports")]
pub static RULED: Array<u64, PORT_WORDS> = Array::new();

#[btf_map(name = "foreword_dests")]
pub static DESTINATIONS: LpmTrie<DestinationKey, Rule, { capacity::DESTINATIONS }> = LpmTrie::new();

/// The value says nothing: a source is in it or isn't.
#[btf_map(name = "foreword_trust")]
pub static TRUST: LpmTrie<TrustKey, u32, { capacity::SOURCES }> = LpmTrie::new();

/// The value says nothing, as above.
#[btf_map(name = "foreword_pods")]
pub static PODS: LpmTrie<TrustKey, u32, { capacity::SOURCES }> = LpmTrie::new();

/// The value says nothing: a pod of this node has opened the connection, or nobody knows.
#[btf_map(name = "foreword_podsyn")]
pub static POD_SYNS: LruHashMap<PathKey, u32, POD_CONNECTIONS> = LruHashMap::new();

#[btf_map(name = "foreword_bypass")]
pub static BYPASS: Array<Bypass, 1> = Array::new();

#[btf_map(name = "foreword_rates")]
pub static RATES: LruHashMap<RateKey, Rate, SOURCES> = LruHashMap::new();

#[btf_map(name = "foreword_nics")]
pub static NICS: HashMap<NicKey, Nic, INTERFACES, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The value says nothing: a port is in it or isn't.
#[btf_map(name = "foreword_backs")]
pub static BACKS: HashMap<PortKey, u32, PORTS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

#[btf_map(name = "foreword_paths")]
pub static PATHS: LruHashMap<PathKey, Path, SOCKETS> = LruHashMap::new();

#[btf_map(name = "foreword_down")]
pub static DOWN: HashMap<DownKey, Down, { capacity::MOST_DOWN }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// 1: the packet that this CPU is about to hand to the private namespace gets no listener there.
#[btf_map(name = "foreword_refuse")]
pub static REFUSED: PerCpuArray<u32, 1> = PerCpuArray::new();

#[btf_map(name = "foreword_held")]
pub static HELD: HashMap<PortKey, Hold, PORTS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// By the reason's number.
#[btf_map(name = "foreword_drops")]
pub static DROPS: PerCpuArray<u64, { Reason::ALL.len() }> = PerCpuArray::new();

#[btf_map(name = "foreword_node")]
pub static NODE: Array<Node, 1> = Array::new();

#[btf_map(name = "foreword_listen")]
pub static LISTENERS: SockMap<2> = SockMap::new();

#[btf_map(name = "foreword_stats")]
pub static STATS: PerCpuArray<Stats, 1> = PerCpuArray::new();

/// By what the lines are about.
#[btf_map(name = "foreword_said")]
pub static SAID: PerCpuArray<Said, SAID_KINDS> = PerCpuArray::new();

/// Written by userspace; here so that it is created, typed and pinned with the others.
#[btf_map(name = "foreword_reason")]
pub static REASONS: Array<ReasonCount, { Reason::ALL.len() }> = Array::new();

#[btf_map(name = "foreword_conns")]
pub static CONNS: HashMap<ConnKey, Conn, SOCKETS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Counts one packet on this CPU: `count(|s| &mut s.passed)`.
#[inline(always)]
pub fn count(counter: impl FnOnce(&mut Stats) -> &mut u64) {
    if let Some(stats) = STATS.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own, and a BPF program is not interrupted by another one
        // of the same kind on its CPU; a sockops program between a TC program's load and store
        // can cost one count, never memory safety.
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
    RULED.get(word).is_some_and(|bits| bits & bit != 0)
}

/// Whether any rule restricts who may connect.
#[inline(always)]
pub fn some_rule_restricts() -> bool {
    // Its bit is that of port 0, which nobody serves.
    has_rule(0)
}

/// The rule for packets to this one's destination.
#[inline(always)]
pub fn rule_of(packet: &Packet) -> Option<Rule> {
    rule_for(u16::from_be(packet.destination_port), packet.destination_address())
}

/// The rule for a port, in the host's byte order, of a destination.
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
