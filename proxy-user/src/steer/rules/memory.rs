//! Maps in memory that behave as the kernel's do, can be made to fail, and answer as the programs
//! would.

use std::collections::BTreeMap;

use anyhow::Result;
use nix::errno::Errno;
use proxy_common::abi::{Address, RULE_BY_DESTINATION, RULE_TRUSTED_ONLY, Rule, SCOPE_BITS};

use super::tables::{Key, Range, Table, Value};
use super::writer::Maps;

/// Which writes fail, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// This one.
    At(usize),
    /// This one, and all that follow.
    From(usize),
}

/// The maps.
#[derive(Clone, Debug)]
pub struct MemoryMaps {
    pub entries: BTreeMap<Key, Value>,
    /// How many ranges fit into a trie.
    pub ranges: usize,
    pub fault: Fault,
    /// How many writes were tried since the fault was set.
    pub writes: usize,
    /// What was in the maps after each write since then.
    pub history: Vec<BTreeMap<Key, Value>>,
}

impl MemoryMaps {
    pub fn new(ranges: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            ranges,
            fault: Fault::None,
            writes: 0,
            history: Vec::new(),
        }
    }

    /// From now on these writes fail.
    pub fn fail(&mut self, fault: Fault) {
        self.fault = fault;
        self.writes = 0;
        self.history.clear();
    }

    /// Whether the fault has come about.
    pub fn has_failed(&self) -> bool {
        match self.fault {
            Fault::None => false,
            Fault::At(number) | Fault::From(number) => self.writes > number,
        }
    }

    fn count(&mut self) -> Result<()> {
        let number = self.writes;
        self.writes += 1;
        let fails = match self.fault {
            Fault::None => false,
            Fault::At(chosen) => number == chosen,
            Fault::From(first) => number >= first,
        };
        if fails { Err(Errno::ENOMEM.into()) } else { Ok(()) }
    }
}

impl Maps for MemoryMaps {
    fn capacity(&self, table: Table) -> usize {
        match table {
            Table::Trust | Table::Pods | Table::Destinations => self.ranges,
            Table::PortBits => 1 << 10,
            Table::UpstreamPorts | Table::Held | Table::Ports => 1 << 16,
        }
    }

    fn set(&mut self, key: Key, value: Value) -> Result<()> {
        self.count()?;
        let table = key.table();
        let is_full =
            self.entries.keys().filter(|key| key.table() == table).count() >= self.capacity(table);
        match table {
            // Before Linux 6.13 a full trie does not even let an entry be written over.
            Table::Trust | Table::Pods | Table::Destinations if is_full => {
                return Err(Errno::ENOSPC.into());
            }
            _ if is_full && !self.entries.contains_key(&key) => return Err(Errno::E2BIG.into()),
            _ => {}
        }
        // All words of an array are there from the beginning, and say nothing.
        if value == Value::Bits(0) {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, value);
        }
        self.history.push(self.entries.clone());
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<()> {
        self.count()?;
        let removed = self.entries.remove(&key);
        removed.ok_or(Errno::ENOENT)?;
        self.history.push(self.entries.clone());
        Ok(())
    }
}

/// What the programs make of a connection's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The rule, without the numbers, that are one generation's.
    pub flags: u32,
    pub syn_limit: u32,
    /// Whether the source may open a connection.
    pub may_open: bool,
}

/// Finds the rule and judges the source as the programs' `rule_of` and `turn_away` do; `None`: no rule.
pub fn judge(
    entries: &BTreeMap<Key, Value>,
    port: u16,
    destination: Address,
    source: Address,
) -> Option<Decision> {
    let mark = proxy_common::abi::port_bit(port);
    match entries.get(&Key::PortBits(mark.0)) {
        Some(Value::Bits(bits)) if bits & mark.1 != 0 => {}
        _ => return None,
    }
    let mut rule = rule(entries.get(&Key::Port(port))?)?;
    if rule.flags & RULE_BY_DESTINATION != 0 {
        let found = longest(entries, rule.destinations, destination, Key::Destination);
        if let Some(by_destination) = found.and_then(self::rule) {
            rule = by_destination;
        }
    }
    let is_trusted = longest(entries, rule.rule, source, Key::Trust).is_some();
    Some(Decision {
        flags: rule.flags & !RULE_BY_DESTINATION,
        syn_limit: rule.syn_limit,
        may_open: rule.flags & RULE_TRUSTED_ONLY == 0 || is_trusted,
    })
}

const fn rule(value: &Value) -> Option<Rule> {
    match value {
        Value::Rule(rule) => Some(*rule),
        Value::Member | Value::Bits(_) => None,
    }
}

/// The entry of the longest prefix that fits, as a trie finds it.
fn longest(
    entries: &BTreeMap<Key, Value>,
    owner: u32,
    address: Address,
    key: fn(Range) -> Key,
) -> Option<&Value> {
    // A scope tells the families apart: a range of IPv6 has no IPv4 address in it.
    let is_mapped = |address: Address| address[..10] == [0; 10] && address[10..12] == [0xff; 2];
    let fits = |key: &Key| {
        let (Key::Trust(range) | Key::Pod(range) | Key::Destination(range)) = key else {
            return false;
        };
        let mask = u128::MAX.checked_shl(128 + SCOPE_BITS - range.bits).unwrap_or(0);
        let network = (u128::from_be_bytes(address) & mask).to_be_bytes();
        network == range.address && is_mapped(network) == is_mapped(address)
    };
    // Keys of one owner are in the order of their lengths.
    let shortest = key(Range { owner, bits: 0, address: [0; 16] });
    let longest = key(Range { owner, bits: u32::MAX, address: [u8::MAX; 16] });
    let mut of_owner = entries.range(shortest..=longest).rev();
    of_owner.find(|(key, _)| fits(key)).map(|(_, value)| value)
}
