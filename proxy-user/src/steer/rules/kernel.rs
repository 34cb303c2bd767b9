//! The maps of rules in the kernel.

use anyhow::{Result, bail};
use aya::Ebpf;
use aya::maps::lpm_trie;
use proxy_common::abi::{DestinationKey, Hold, PortKey, TrustKey, scope};
use proxy_common::maps::{
    DESTINATIONS, HELD_PORTS, PODS, RULED_PORTS, RULES, TRUSTED, UPSTREAM_PORTS,
};

use super::super::typed_maps::TypedMaps as _;
use super::tables::{Key, Range, Table, Value};
use super::writer::Maps;

/// The maps of the loaded programs.
#[derive(Debug)]
pub struct KernelMaps<'a>(pub &'a mut Ebpf);

impl Maps for KernelMaps<'_> {
    fn capacity(&self, table: Table) -> usize {
        match table {
            Table::Trust => TRUSTED.capacity,
            Table::Pods => PODS.capacity,
            Table::Destinations => DESTINATIONS.capacity,
            Table::UpstreamPorts => UPSTREAM_PORTS.capacity,
            Table::Held => HELD_PORTS.capacity,
            Table::PortBits => RULED_PORTS.capacity,
            Table::Ports => RULES.capacity,
        }
    }

    fn set(&mut self, key: Key, value: Value) -> Result<()> {
        let maps = &mut *self.0;
        match (key, value) {
            (Key::Trust(range), Value::Member) => {
                maps.lpm_trie_mut(TRUSTED)?.insert(&source(range), 1, 0)?;
            }
            (Key::Pod(range), Value::Member) => {
                maps.lpm_trie_mut(PODS)?.insert(&source(range), 1, 0)?;
            }
            (Key::Destination(range), Value::Rule(rule)) => {
                maps.lpm_trie_mut(DESTINATIONS)?.insert(&destination(range), rule, 0)?;
            }
            (Key::UpstreamPort(port), Value::Member) => {
                maps.hash_mut(UPSTREAM_PORTS)?.insert(PortKey { port }, 1, 0)?;
            }
            (Key::Held(port), Value::Member) => {
                maps.hash_mut(HELD_PORTS)?.insert(PortKey { port }, Hold::default(), 0)?;
            }
            (Key::PortBits(word), Value::Bits(bits)) => {
                maps.array_mut(RULED_PORTS)?.set(word, bits, 0)?;
            }
            (Key::Port(port), Value::Rule(rule)) => {
                maps.hash_mut(RULES)?.insert(PortKey { port }, rule, 0)?;
            }
            (key, value) => bail!("{key:?} can't have the value {value:?}"),
        }
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<()> {
        let maps = &mut *self.0;
        match key {
            Key::Trust(range) => maps.lpm_trie_mut(TRUSTED)?.remove(&source(range))?,
            Key::Pod(range) => maps.lpm_trie_mut(PODS)?.remove(&source(range))?,
            Key::Destination(range) => {
                maps.lpm_trie_mut(DESTINATIONS)?.remove(&destination(range))?;
            }
            Key::UpstreamPort(port) => maps.hash_mut(UPSTREAM_PORTS)?.remove(&PortKey { port })?,
            Key::Held(port) => maps.hash_mut(HELD_PORTS)?.remove(&PortKey { port })?,
            // An array's entries are always there.
            Key::PortBits(word) => maps.array_mut(RULED_PORTS)?.set(word, 0, 0)?,
            Key::Port(port) => maps.hash_mut(RULES)?.remove(&PortKey { port })?,
        }
        Ok(())
    }
}

fn source(range: Range) -> lpm_trie::Key<TrustKey> {
    let Range { owner, bits, address: source } = range;
    lpm_trie::Key::new(bits, TrustKey { scope: scope(owner, source), source })
}

fn destination(range: Range) -> lpm_trie::Key<DestinationKey> {
    let Range { owner, bits, address: destination } = range;
    lpm_trie::Key::new(bits, DestinationKey { scope: scope(owner, destination), destination })
}
