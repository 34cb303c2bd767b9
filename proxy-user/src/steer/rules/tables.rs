//! What the maps of rules say: made from settings, and known without asking the kernel.

use std::collections::{BTreeMap, BTreeSet};

use proxy_common::abi::{
    Address, MAX_OWNERS, RULE_ANSWERS, RULE_BY_DESTINATION, RULE_CHECK_ARRIVAL, RULE_PODS,
    RULE_REFUSES_DOWN, RULE_RESTRICTS, RULE_RETIRED, RULE_TRUSTED_ONLY, Rule, SCOPE_BITS, port_bit,
};
use proxy_common::maps;

use crate::address::{Cidr, mapped};
use crate::config::Settings;
use crate::config::settings::{self, Reply, UpstreamAddress, WhenAbsent, WhenDown};

/// Of a port without a rule: connections that are there go on, new ones are left alone.
const RETIRED: Rule = Rule {
    rule: 0,
    flags: RULE_RETIRED,
    syn_limit: 0,
    ipv6_prefix: 128,
    destinations: 0,
    upstream: 0,
};

/// Stands for packets of which the port can't be read: nobody serves it.
const ANY_PORT: u16 = 0;

/// A map of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `foreword_trust`: sources that may open connections.
    Trust,
    /// `foreword_pods`: the node's own pods.
    Pods,
    /// `foreword_dests`: rules by destination.
    Destinations,
    /// `foreword_backs`: ports that upstreams answer from.
    UpstreamPorts,
    /// `foreword_held`: ports that stay closed while nobody steers them.
    Held,
    /// `foreword_ports`: a bit for each port with a rule.
    PortBits,
    /// `foreword_rules`: rules by port.
    Ports,
}

impl Table {
    /// What it is called in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trust => maps::TRUSTED.name,
            Self::Pods => maps::PODS.name,
            Self::Destinations => maps::DESTINATIONS.name,
            Self::UpstreamPorts => maps::UPSTREAM_PORTS.name,
            Self::Held => maps::HELD_PORTS.name,
            Self::PortBits => maps::RULED_PORTS.name,
            Self::Ports => maps::RULES.name,
        }
    }
}

/// The key of an entry. Their order is the one in which they can be written: what a port's rule
/// refers to comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Trust(Range),
    Pod(Range),
    Destination(Range),
    UpstreamPort(u16),
    /// Port 0 stands for packets of which the port can't be read.
    Held(u16),
    /// The number of a word of 64 ports.
    PortBits(u32),
    Port(u16),
}

impl Key {
    /// The map that the entry is in.
    pub const fn table(&self) -> Table {
        match self {
            Self::Trust(_) => Table::Trust,
            Self::Pod(_) => Table::Pods,
            Self::Destination(_) => Table::Destinations,
            Self::UpstreamPort(_) => Table::UpstreamPorts,
            Self::Held(_) => Table::Held,
            Self::PortBits(_) => Table::PortBits,
            Self::Port(_) => Table::Ports,
        }
    }

    /// Whose it is, of an entry that a port's rule refers to by number.
    pub const fn owner(&self) -> Option<u32> {
        match self {
            Self::Trust(range) | Self::Pod(range) | Self::Destination(range) => Some(range.owner),
            _ => None,
        }
    }
}

/// The value of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// It is there, which is all there is to say.
    Member,
    /// Of ports and destinations.
    Rule(Rule),
    /// Of marks.
    Bits(u64),
}

/// An address range as the tries have it: of a rule's sources, or of a port's destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The number of the rule, or of the port's table.
    pub owner: u32,
    /// Bits that count, with those of the scope before the address.
    pub bits: u32,
    /// The first address.
    pub address: Address,
}

impl Range {
    fn of(owner: u32, range: Cidr) -> Self {
        let address = range.address();
        // An IPv4 address stands behind the prefix of IPv4-mapped ones.
        let bits = if address.is_ipv4() { 96 } else { 0 };
        let bits = SCOPE_BITS + bits + u32::from(range.prefix_length());
        Self { owner, bits, address: mapped(address) }
    }
}

/// Numbers for rules and for ports' tables, of which one is given again only after two thousand million
/// others; and for upstreams, which keep theirs.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    last: u32,
    upstreams: BTreeMap<String, u32>,
}

impl Numbers {
    fn next(&mut self) -> u32 {
        self.last = if self.last + 1 < MAX_OWNERS { self.last + 1 } else { 1 };
        self.last
    }

    /// The number of an upstream; 0: it is what clients aim at.
    pub fn of_upstream(&mut self, address: &UpstreamAddress) -> u32 {
        match address {
            UpstreamAddress::Original => 0,
            UpstreamAddress::Fixed(_) | UpstreamAddress::Named(_) => {
                let next = u32::try_from(self.upstreams.len() + 1).unwrap_or(u32::MAX);
                *self.upstreams.entry(address.to_string()).or_insert(next)
            }
        }
    }
}

/// The entries of all maps of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables(pub BTreeMap<Key, Value>);

impl Tables {
    /// What settings say, under numbers of its own.
    pub fn of(settings: &Settings, numbers: &mut Numbers) -> Self {
        let mut tables = Self::default();
        // Said even if no rule restricts anything: an earlier one may have.
        tables.add(Key::PortBits(port_bit(ANY_PORT).0), Value::Bits(0));
        let mut ports: BTreeMap<u16, PortRules<'_>> = BTreeMap::new();
        for rule in &settings.rules {
            let upstream = numbers.of_upstream(&rule.upstream.address);
            let value = Rule { upstream, ..value(numbers.next(), rule, settings) };
            if value.flags & (RULE_TRUSTED_ONLY | RULE_CHECK_ARRIVAL) != 0 {
                for range in &rule.inbound.trusted {
                    tables.add(Key::Trust(Range::of(value.rule, *range)), Value::Member);
                }
            }
            for range in &rule.inbound.hairpin {
                tables.add(Key::Pod(Range::of(value.rule, *range)), Value::Member);
            }
            if rule.restricts() {
                tables.mark(ANY_PORT);
            }
            tables.add_upstream_ports(rule);
            for port in rule.ports.iter() {
                if rule.when_absent == WhenAbsent::Drop {
                    tables.add(Key::Held(port), Value::Member);
                    tables.add(Key::Held(ANY_PORT), Value::Member);
                }
                let of_port = ports.entry(port).or_default();
                if rule.destinations.is_empty() {
                    of_port.for_others = Some(value);
                } else {
                    of_port.by_destination.push((value, &rule.destinations));
                }
            }
        }
        for (port, rules) in ports {
            tables.add_port(port, &rules, numbers);
        }
        tables
    }

    fn add(&mut self, key: Key, value: Value) {
        self.0.insert(key, value);
    }

    /// The port's rules. Where none is for all other destinations, those are left alone.
    fn add_port(&mut self, port: u16, rules: &PortRules<'_>, numbers: &mut Numbers) {
        let mut entry = rules.for_others.unwrap_or(RETIRED);
        if !rules.by_destination.is_empty() {
            entry.flags |= RULE_BY_DESTINATION;
            entry.destinations = numbers.next();
        }
        for (value, ranges) in &rules.by_destination {
            for range in *ranges {
                let key = Key::Destination(Range::of(entry.destinations, *range));
                self.add(key, Value::Rule(*value));
            }
        }
        self.add(Key::Port(port), Value::Rule(entry));
        self.mark(port);
    }

    fn mark(&mut self, port: u16) {
        let (word, bit) = port_bit(port);
        let bits = self.0.entry(Key::PortBits(word)).or_insert(Value::Bits(0));
        if let Value::Bits(bits) = bits {
            *bits |= bit;
        }
    }

    /// The ports that the upstream answers clients from.
    fn add_upstream_ports(&mut self, rule: &settings::Rule) {
        if !rule.shows_clients() {
            return;
        }
        match &rule.upstream.address {
            UpstreamAddress::Original => {
                rule.ports.iter().for_each(|port| self.add(Key::UpstreamPort(port), Value::Member));
            }
            UpstreamAddress::Fixed(address) => {
                self.add(Key::UpstreamPort(address.get().port()), Value::Member);
            }
            UpstreamAddress::Named(name) => self.add(Key::UpstreamPort(name.port()), Value::Member),
        }
    }

    /// Keeps of earlier tables what connections that are there need: ports without a rule any more
    /// are retired, and their upstreams' answers still led back.
    pub fn keep(&mut self, earlier: &Self) {
        for key in earlier.0.keys() {
            match *key {
                Key::Port(port) => {
                    self.0.entry(*key).or_insert(Value::Rule(RETIRED));
                    self.mark(port);
                }
                Key::UpstreamPort(_) => self.add(*key, Value::Member),
                Key::Trust(_)
                | Key::Pod(_)
                | Key::Destination(_)
                | Key::Held(_)
                | Key::PortBits(_) => {}
            }
        }
    }

    /// These, with every port retired, so that none restricts anything.
    pub fn retired(&self) -> Self {
        let (any, bit) = port_bit(ANY_PORT);
        let retire = |(key, value): (&Key, &Value)| match (key, value) {
            (Key::Port(_), _) => (*key, Value::Rule(RETIRED)),
            (Key::PortBits(word), Value::Bits(bits)) if *word == any => {
                (*key, Value::Bits(bits & !bit))
            }
            _ => (*key, *value),
        };
        Self(self.0.iter().map(retire).collect())
    }

    /// The ranges that no port's rule leads to.
    pub fn stale(&self) -> Vec<Key> {
        let rules = |table: Table| {
            let of_table = self.0.iter().filter(move |(key, _)| key.table() == table);
            of_table.filter_map(|(key, value)| match value {
                Value::Rule(rule) => Some((key, *rule)),
                Value::Member | Value::Bits(_) => None,
            })
        };
        let mut owners = BTreeSet::new();
        for (_, rule) in rules(Table::Ports) {
            owners.extend([rule.rule, rule.destinations]);
        }
        let by_destination = rules(Table::Destinations)
            .filter(|(key, _)| key.owner().is_some_and(|owner| owners.contains(&owner)));
        let of_destinations: Vec<_> = by_destination.map(|(_, rule)| rule.rule).collect();
        owners.extend(of_destinations);
        let is_stale = |key: &&Key| key.owner().is_some_and(|owner| !owners.contains(&owner));
        self.0.keys().filter(is_stale).copied().collect()
    }
}

/// The rules of one port.
#[derive(Debug, Default)]
struct PortRules<'a> {
    /// The one for destinations that no other names.
    for_others: Option<Rule>,
    by_destination: Vec<(Rule, &'a [Cidr])>,
}

/// A rule, as the programs know it.
fn value(number: u32, rule: &settings::Rule, settings: &Settings) -> Rule {
    let mut flags = 0;
    let by_arrival = settings.steering.reply == Reply::Arrival;
    let checks_arrival = by_arrival && !rule.inbound.trusted.is_empty();
    for (flag, is_set) in [
        (RULE_RESTRICTS, rule.restricts()),
        (RULE_ANSWERS, rule.guards_answers()),
        (RULE_TRUSTED_ONLY, rule.only_sources().is_some()),
        (RULE_CHECK_ARRIVAL, checks_arrival),
        (RULE_PODS, !rule.inbound.hairpin.is_empty()),
        (RULE_REFUSES_DOWN, rule.upstream.when_down == WhenDown::Refuse),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    Rule {
        rule: number,
        flags,
        syn_limit: rule.guard.syn_limit.map_or(0, Into::into),
        ipv6_prefix: settings.limits.ipv6_prefix.length().into(),
        destinations: 0,
        upstream: 0,
    }
}

#[cfg(test)]
mod tests;
