//! The rules, as the programs know them: by port and destination, with the ranges that are trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap};
use proxy_common::abi::{
    Address, DestinationKey, Hold, PortKey, RULE_BY_DESTINATION, RULE_REQUIRE, RULE_RETIRED,
    RULE_TRUSTED_ONLY, Rule, SCOPE_BITS, TrustKey, port_bit, scope, scope_owner,
};
use proxy_common::names;

use super::object::Object;
use crate::address::Cidr;
use crate::config::Settings;
use crate::config::settings::{self, Mode, UpstreamAddress, WhenAbsent};

/// Of a port without a rule: connections that are there go on, new ones are left alone.
const RETIRED: Rule = Rule { rule: 0, flags: RULE_RETIRED, syn_limit: 0, ipv6_prefix: 128 };

/// A rule, as the programs know it.
fn value(number: u32, rule: &settings::Rule, settings: &Settings) -> Rule {
    let mut flags = 0;
    if rule.inbound.mode == Mode::Require {
        flags |= RULE_REQUIRE;
    }
    if rule.only_sources().is_some() {
        flags |= RULE_TRUSTED_ONLY;
    }
    Rule {
        rule: number,
        flags,
        syn_limit: rule.guard.syn_limit.map_or(0, Into::into),
        ipv6_prefix: settings.limits.ipv6_prefix.length().into(),
    }
}

impl Object {
    /// Tells the programs what the settings say, instead of what they were told before. Ports that
    /// have no rule any more are kept for the connections that are there.
    ///
    /// A port is exchanged at one moment: ranges are written for numbers that no rule has had.
    pub fn set_rules(&mut self, settings: &Settings) -> Result<()> {
        let numbers = self.new_numbers(settings.rules.len())?;
        for (number, rule) in numbers.clone().zip(&settings.rules) {
            self.set_trust(number, rule)?;
            if rule.shows_clients() {
                self.set_backs(rule)?;
            }
        }
        self.set_held(settings)?;
        self.set_destinations(numbers.clone(), settings)?;
        self.set_ports(numbers.clone(), settings)?;
        self.forget_destinations(settings)?;
        self.forget_trust(&numbers)
    }

    fn set_trust(&mut self, number: u32, rule: &settings::Rule) -> Result<()> {
        let mut trust = LpmTrie::<_, TrustKey, u32>::try_from(self.map_mut(names::TRUST)?)?;
        for range in rule.only_sources().into_iter().flatten() {
            trust
                .insert(&trust_key(number, range), 1, 0)
                .with_context(|| format!("cannot write the range {range}"))?;
        }
        Ok(())
    }

    /// Removes the ranges of all other rules.
    fn forget_trust(&mut self, current: &Range<u32>) -> Result<()> {
        let mut trust = LpmTrie::<_, TrustKey, u32>::try_from(self.map_mut(names::TRUST)?)?;
        let keys = trust.keys().collect::<Result<Vec<_>, _>>().context("cannot read the ranges")?;
        for key in keys.iter().filter(|key| !current.contains(&scope_owner(key.data().scope))) {
            trust.remove(key).context("cannot remove a range")?;
        }
        Ok(())
    }

    /// The rules of ports: of those that have rules by destination, the one for all others. Where
    /// there is none, new connections are left alone.
    fn set_ports(&mut self, numbers: Range<u32>, settings: &Settings) -> Result<()> {
        let mut ports = BTreeMap::new();
        for (number, rule) in numbers.zip(&settings.rules) {
            for port in rule.ports.iter() {
                let entry = ports.entry(port).or_insert((None, 0));
                if rule.destinations.is_empty() {
                    entry.0 = Some(value(number, rule, settings));
                } else {
                    entry.1 = RULE_BY_DESTINATION;
                }
            }
        }
        let mut rules = HashMap::<_, PortKey, Rule>::try_from(self.map_mut(names::RULES)?)?;
        let before =
            rules.keys().collect::<Result<Vec<_>, _>>().context("cannot read the rules")?;
        for (&port, &(rule, by_destination)) in &ports {
            let rule = rule.unwrap_or(RETIRED);
            let rule = Rule { flags: rule.flags | by_destination, ..rule };
            rules
                .insert(PortKey { port }, rule, 0)
                .with_context(|| format!("cannot write the rule of port {port}"))?;
        }
        for key in before.into_iter().filter(|key| !ports.contains_key(&key.port)) {
            rules.insert(key, RETIRED, 0).context("cannot retire a rule")?;
        }
        self.mark_ports(ports.into_keys())
    }

    /// Has the programs look for rules of these ports. They never stop to, since no rule is ever
    /// removed.
    fn mark_ports(&mut self, ports: impl Iterator<Item = u16>) -> Result<()> {
        let mut words = Array::<_, u64>::try_from(self.map_mut(names::PORTS)?)?;
        for (word, bit) in ports.map(port_bit) {
            let bits = words.get(&word, 0).context("cannot read the ports")?;
            words.set(word, bits | bit, 0).context("cannot write a port")?;
        }
        Ok(())
    }

    /// The rules by destination. Ports that have such rules are not told yet.
    fn set_destinations(&mut self, numbers: Range<u32>, settings: &Settings) -> Result<()> {
        let mut destinations =
            LpmTrie::<_, DestinationKey, Rule>::try_from(self.map_mut(names::DESTINATIONS)?)?;
        for (number, rule) in numbers.zip(&settings.rules) {
            for (key, range) in destination_keys(rule) {
                destinations
                    .insert(&key, value(number, rule, settings), 0)
                    .with_context(|| format!("cannot write the destination {range}"))?;
            }
        }
        Ok(())
    }

    /// Removes the destinations of rules that are gone. Their ports know of it already.
    fn forget_destinations(&mut self, settings: &Settings) -> Result<()> {
        let bytes = |key: &Key<DestinationKey>| {
            let DestinationKey { scope, destination } = key.data();
            (key.prefix_len(), scope, destination)
        };
        let current: BTreeSet<_> = settings
            .rules
            .iter()
            .flat_map(|rule| destination_keys(rule).map(|(key, _)| bytes(&key)))
            .collect();
        let mut destinations =
            LpmTrie::<_, DestinationKey, Rule>::try_from(self.map_mut(names::DESTINATIONS)?)?;
        let keys = destinations.keys().collect::<Result<Vec<_>, _>>();
        for key in keys.context("cannot read the destinations")? {
            if !current.contains(&bytes(&key)) {
                destinations.remove(&key).context("cannot remove a destination")?;
            }
        }
        Ok(())
    }

    fn set_held(&mut self, settings: &Settings) -> Result<()> {
        let is_held = |port| {
            let mut of_port = settings.rules.iter().filter(|rule| rule.ports.contains(port));
            of_port.any(|rule| rule.when_absent == WhenAbsent::Drop)
        };
        let mut held = HashMap::<_, PortKey, Hold>::try_from(self.map_mut(names::HELD)?)?;
        let before = held.keys().collect::<Result<Vec<_>, _>>().context("cannot read the holds")?;
        for key in before.iter().filter(|key| !is_held(key.port)) {
            held.remove(key).context("cannot let a port go")?;
        }
        let ports = settings.rules.iter().flat_map(|rule| rule.ports.iter());
        for key in ports.filter(|port| is_held(*port)).map(|port| PortKey { port }) {
            if !before.contains(&key) {
                held.insert(key, Hold::default(), 0).context("cannot hold a port")?;
            }
        }
        Ok(())
    }

    /// From now on new connections are left alone. First packets that are on their way inside are
    /// still answered.
    pub fn retire_all(&mut self) -> Result<()> {
        let mut rules = HashMap::<_, PortKey, Rule>::try_from(self.map_mut(names::RULES)?)?;
        let ports = rules.keys().collect::<Result<Vec<_>, _>>().context("cannot read the rules")?;
        for key in ports {
            rules.insert(key, RETIRED, 0).context("cannot retire a rule")?;
        }
        Ok(())
    }

    /// The ports that upstreams answer from.
    fn set_backs(&mut self, rule: &settings::Rule) -> Result<()> {
        let mut backs = HashMap::<_, PortKey, u32>::try_from(self.map_mut(names::BACKS)?)?;
        let mut add = |port| backs.insert(PortKey { port }, 1, 0).context("cannot write a port");
        match &rule.upstream.address {
            UpstreamAddress::Original => rule.ports.iter().try_for_each(add),
            UpstreamAddress::Fixed { addresses, .. } => {
                addresses.iter().try_for_each(|address| add(address.get().port()))
            }
        }
    }
}

/// A source range as the programs look it up.
fn trust_key(rule: u32, range: Cidr) -> Key<TrustKey> {
    let (source, bits) = prefix(range);
    Key::new(bits, TrustKey { scope: scope(rule, source), source })
}

/// A rule's destination ranges as the programs look them up: each for each port.
fn destination_keys(
    rule: &settings::Rule,
) -> impl Iterator<Item = (Key<DestinationKey>, Cidr)> + '_ {
    rule.ports.iter().flat_map(|port| {
        rule.destinations.iter().map(move |range| {
            let (destination, bits) = prefix(*range);
            let scope = scope(port.into(), destination);
            (Key::new(bits, DestinationKey { scope, destination }), *range)
        })
    })
}

/// A range's address as the maps have it, and how many bits of a key with a scope are its.
fn prefix(range: Cidr) -> (Address, u32) {
    let (address, bits): (Address, u32) = match range.address() {
        IpAddr::V4(address) => (address.to_ipv6_mapped().octets(), 96),
        IpAddr::V6(address) => (address.octets(), 0),
    };
    (address, SCOPE_BITS + bits + u32::from(range.prefix_length()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(range: &str) -> (u32, [u8; 4], Address) {
        let key = trust_key(3, range.parse().unwrap());
        let data = key.data();
        (key.prefix_len(), data.scope, data.source)
    }

    #[test]
    fn an_ipv4_range_is_one_of_mapped_addresses() {
        let (bits, _, source) = key("10.0.0.0/8");
        assert_eq!(bits, 32 + 96 + 8);
        assert_eq!(source, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0]);
    }

    #[test]
    fn the_families_are_kept_apart() {
        let (bits, v6, source) = key("::/0");
        assert_eq!((bits, source), (32, [0; 16]));
        let (_, v4, _) = key("0.0.0.0/0");
        assert_ne!(v4, v6, "all of IPv6 is none of IPv4");
    }
}
