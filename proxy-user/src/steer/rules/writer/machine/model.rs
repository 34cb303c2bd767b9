//! Rules as they are written, and what a packet meets by them, without a map.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use proptest::array::uniform3;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proxy_common::abi::{Address, RULE_RETIRED};

use super::super::super::memory::judge;
use super::super::super::tables::{Key, Value};
use super::super::tests::settings;
use crate::config::Settings;

/// Ports that rules are for; those in one group have the same rules.
const GROUPS: [&[u16]; 3] = [&[80], &[81], &[443, 8443]];
/// Destinations that rules name, and one that none does.
const DESTINATIONS: [&str; 3] = ["203.0.113.1", "203.0.113.2", "203.0.113.9"];
/// Networks that rules may trust are so many; one more is never trusted.
const NETWORKS: u8 = 6;

/// A rule, but for its ports and destinations.
#[derive(Clone, Debug)]
struct Terms {
    /// 0 for none. It tells most rules from others.
    syn_limit: u32,
    /// The networks that may open connections; `None`: all may.
    trusted: Option<BTreeSet<u8>>,
    is_held: bool,
    shows_clients: bool,
}

/// The rules of a group of ports.
#[derive(Clone, Debug, Default)]
struct Group {
    for_others: Option<Terms>,
    /// For so many of the destinations, from the first one on.
    by_destination: Option<(usize, Terms)>,
}

/// A set of rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules([Group; GROUPS.len()]);

fn terms() -> impl Strategy<Value = Terms> {
    let networks = vec(0..NETWORKS, 1..=usize::from(NETWORKS)).prop_map(BTreeSet::from_iter);
    let limit = prop_oneof![1 => Just(0), 3 => 1..1_000_000_u32];
    let all = (limit, option::of(networks), any::<bool>(), any::<bool>());
    all.prop_map(|(syn_limit, trusted, is_held, shows_clients)| Terms {
        syn_limit,
        is_held: is_held && trusted.is_some(),
        trusted,
        shows_clients,
    })
}

pub(super) fn rules() -> impl Strategy<Value = Rules> {
    // Ports are held for all destinations, or not.
    let unheld = terms().prop_map(|terms| Terms { is_held: false, ..terms });
    let group = (option::of(terms()), option::weighted(0.3, (1..DESTINATIONS.len(), unheld)));
    let group = group.prop_map(|(for_others, by_destination)| Group { for_others, by_destination });
    uniform3(group).prop_map(Rules)
}

/// What a packet meets: nothing of ours, or a rule that may turn it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Nothing,
    Rule { syn_limit: u32, may_open: bool },
}

impl Rules {
    /// All rules of it, with their ports and the number of destinations that they name.
    fn each(&self) -> impl Iterator<Item = (&'static [u16], usize, &Terms)> {
        GROUPS.into_iter().zip(&self.0).flat_map(|(ports, group)| {
            let others = group.for_others.iter().map(move |terms| (ports, 0, terms));
            let named = group.by_destination.iter();
            others.chain(named.map(move |(count, terms)| (ports, *count, terms)))
        })
    }

    pub(super) fn settings(&self) -> Option<Settings> {
        let mut text = String::new();
        for (ports, destinations, terms) in self.each() {
            write!(text, "  - name: r{}-{destinations}\n    ports: {ports:?}\n", ports[0]).unwrap();
            if destinations > 0 {
                writeln!(text, "    destinations: [{}]", DESTINATIONS[..destinations].join(", "))
                    .unwrap();
            }
            match &terms.trusted {
                Some(networks) => {
                    let networks: Vec<_> =
                        networks.iter().map(|network| format!("10.0.{network}.0/24")).collect();
                    let networks = networks.join(", ");
                    writeln!(text, "    inbound: {{ mode: require, trusted: [{networks}] }}")
                }
                None => writeln!(text, "    inbound: {{ mode: off }}"),
            }
            .unwrap();
            writeln!(text, "    guard: {{ synPerSecondPerSource: {} }}", terms.syn_limit).unwrap();
            text += "    outbound: { version: v1 }\n";
            text += if terms.is_held { "    whenAbsent: drop\n" } else { "" };
            text += if terms.shows_clients { "    upstream: { source: client }\n" } else { "" };
        }
        (!text.is_empty()).then(|| settings(&text))
    }

    pub(super) fn meets(&self, packet: Packet) -> Met {
        let group = GROUPS.iter().position(|ports| ports.contains(&packet.port));
        let Some(group) = group.map(|group| &self.0[group]) else { return Met::Nothing };
        let named = group.by_destination.as_ref();
        let named = named.filter(|(count, _)| packet.destination < *count).map(|(_, terms)| terms);
        match named.or(group.for_others.as_ref()) {
            None => Met::Nothing,
            Some(terms) => Met::Rule {
                syn_limit: terms.syn_limit,
                may_open: terms.trusted.as_ref().is_none_or(|of| of.contains(&packet.network)),
            },
        }
    }

    /// Entries that they need in a trie: of sources, and of destinations.
    pub(super) fn ranges(&self) -> [usize; 2] {
        let mut ranges = [0, 0];
        for (ports, destinations, terms) in self.each() {
            ranges[0] += terms.trusted.as_ref().map_or(0, BTreeSet::len);
            ranges[1] += destinations * ports.len();
        }
        ranges
    }

    /// Whether a packet that can't be read to its port is dropped.
    pub(super) fn drops_unreadable(&self) -> bool {
        self.each().any(|(_, _, terms)| terms.syn_limit > 0 || terms.trusted.is_some())
    }

    fn ports(&self, which: fn(&Terms) -> bool) -> BTreeSet<u16> {
        let chosen = self.each().filter(move |(_, _, terms)| which(terms));
        chosen.flat_map(|(ports, _, _)| ports.iter().copied()).collect()
    }

    pub(super) fn held(&self) -> BTreeSet<u16> {
        self.ports(|terms| terms.is_held)
    }

    pub(super) fn upstream_ports(&self) -> BTreeSet<u16> {
        self.ports(|terms| terms.shows_clients)
    }
}

/// A first packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    port: u16,
    destination: usize,
    network: u8,
}

impl Packet {
    /// One of each kind that rules can tell apart.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let ports = GROUPS.into_iter().flatten().copied().chain([79]);
        ports.flat_map(|port| {
            (0..DESTINATIONS.len()).flat_map(move |destination| {
                (0..=NETWORKS).map(move |network| Self { port, destination, network })
            })
        })
    }

    pub(super) fn meets(self, entries: &BTreeMap<Key, Value>) -> Met {
        let destination = DESTINATIONS[self.destination].parse().unwrap();
        let source = Ipv4Addr::new(10, 0, self.network, 1);
        match judge(entries, self.port, mapped(destination), mapped(source)) {
            None => Met::Nothing,
            Some(judged) if judged.flags & RULE_RETIRED != 0 => {
                assert!(judged.may_open && judged.syn_limit == 0, "{self:?}: {judged:?}");
                Met::Nothing
            }
            Some(judged) => Met::Rule { syn_limit: judged.syn_limit, may_open: judged.may_open },
        }
    }
}

fn mapped(address: Ipv4Addr) -> Address {
    address.to_ipv6_mapped().octets()
}
