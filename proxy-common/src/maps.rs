//! The one table of maps, for the programs that define them and for userspace that opens them.

use core::marker::PhantomData;

use crate::Reason;
use crate::abi::{
    ArrivalPath, Bypass, Conn, ConnKey, DestinationKey, Down, DownKey, FourTuple, Hold, Interface,
    InterfaceKey, LOG_KINDS, LogQuota, Node, PORT_WORDS, PortKey, Rate, RateKey, ReasonCount, Rule,
    Stats, TrustKey,
};
use crate::capacity;
use crate::names::assert_fits;

/// Passes the table of maps to another macro. A line is a map's constant, its name in the kernel,
/// its kind with key and value, and its capacity.
///
/// The types and [`capacity`] have to be in scope where the macro is called.
#[macro_export]
macro_rules! for_each_map {
    ($macro:ident) => {
        $macro! {
            /// Port → rule.
            RULES = "foreword_rules": Hash<PortKey, Rule>, capacity::PORTS;
            /// A bit for each port that has a rule. It is looked up for every packet, and decides
            /// about most of them.
            RULED_PORTS = "foreword_ports": Array<u64>, PORT_WORDS;
            /// A port's table and destination → rule.
            DESTINATIONS = "foreword_dests": LpmTrie<DestinationKey, Rule>, capacity::DESTINATIONS;
            /// Rule and source → may open connections. A set: the value has no meaning.
            TRUSTED = "foreword_trust": LpmTrie<TrustKey, u32>, capacity::SOURCES;
            /// Rule and source → one of the node's own pods. A set.
            PODS = "foreword_pods": LpmTrie<TrustKey, u32>, capacity::SOURCES;
            /// Connections that pods of this node have opened. A set; it may forget some.
            POD_SYNS = "foreword_podsyn": LruHash<FourTuple, u32>, capacity::POD_CONNECTIONS;
            /// The last SYN-ACK that was dropped because no steered connection sent it.
            BYPASS = "foreword_bypass": Array<Bypass>, 1;
            /// Rule and source → how many connections it has opened recently.
            RATES = "foreword_rates": LruHash<RateKey, Rate>, capacity::RATED_SOURCES;
            /// Protected interfaces.
            INTERFACES = "foreword_nics": Hash<InterfaceKey, Interface>, capacity::INTERFACES;
            /// Ports of upstreams that see the client's address. A set.
            UPSTREAM_PORTS = "foreword_backs": Hash<PortKey, u32>, capacity::PORTS;
            /// Connection → how it came in.
            ARRIVAL_PATHS = "foreword_paths": LruHash<FourTuple, ArrivalPath>, capacity::SOCKETS;
            /// Upstreams that can't be reached.
            DOWN_UPSTREAMS = "foreword_down": Hash<DownKey, Down>, capacity::MAX_DOWN;
            /// 1 if the packet that this CPU hands to the private namespace next must find no
            /// listener there.
            REFUSE_NEXT = "foreword_refuse": PerCpuArray<u32>, 1;
            /// Ports that stay closed while no process steers them.
            HELD_PORTS = "foreword_held": Hash<PortKey, Hold>, capacity::PORTS;
            /// Packets dropped, by the number of the reason.
            DROPS = "foreword_drops": PerCpuArray<u64>, Reason::ALL.len();
            /// What the programs know of the node.
            NODE = "foreword_node": Array<Node>, 1;
            /// Address family → listener.
            LISTENERS = "foreword_listen": SockMap<>, 2;
            /// Packet counters.
            STATS = "foreword_stats": PerCpuArray<Stats>, 1;
            /// How much was written to the log in the last second, by what the lines are about.
            LOG_QUOTAS = "foreword_said": PerCpuArray<LogQuota>, LOG_KINDS;
            /// Connections and packets by the number of the reason. Written by userspace; defined
            /// with the others so that it is created, typed and pinned like them.
            REASONS = "foreword_reason": Array<ReasonCount>, Reason::ALL.len();
            /// Sockets of ours, by cookie.
            CONNS = "foreword_conns": Hash<ConnKey, Conn>, capacity::SOCKETS;
        }
    };
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident<$($parameter:ident),*>;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug)]
        pub struct $kind<$($parameter),*> {
            /// The map's name in the kernel.
            pub name: &'static str,
            /// Number of entries that it has room for.
            pub capacity: usize,
            types: PhantomData<($($parameter,)*)>,
        }

        impl<$($parameter),*> $kind<$($parameter),*> {
            const fn new(name: &'static str, capacity: usize) -> Self {
                assert_fits(name);
                Self { name, capacity, types: PhantomData }
            }
        }
    )+};
}

kinds! {
    /// A hash table that allocates its entries when they are inserted.
    Hash<K, V>;
    /// A hash table that is allocated at once, and evicts the least recently used entries when it
    /// is full.
    LruHash<K, V>;
    /// A trie of prefixes, which finds the longest one that matches.
    LpmTrie<K, V>;
    /// An array.
    Array<V>;
    /// An array for each CPU.
    PerCpuArray<V>;
    /// An array of sockets.
    SockMap<>;
}

macro_rules! describe {
    ($($(#[doc = $doc:literal])+ $map:ident = $name:literal: $kind:ident<$($type:ty),*>, $capacity:expr;)+) => {
        $($(#[doc = $doc])+ pub const $map: $kind<$($type),*> = $kind::new($name, $capacity);)+
    };
}

for_each_map!(describe);
