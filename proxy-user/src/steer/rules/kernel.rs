//! The maps of rules in the kernel.

use anyhow::{Context as _, Result, bail};
use aya::Ebpf;
use aya::maps::lpm_trie::{self, LpmTrie};
use aya::maps::{Array, HashMap, Map};
use proxy_common::abi::{DestinationKey, Hold, PORT_WORDS, PortKey, Rule, TrustKey, scope};
use proxy_common::capacity;

use super::tables::{Key, Range, Table, Value};
use super::writer::Maps;

/// The maps of the loaded programs.
#[derive(Debug)]
pub struct KernelMaps<'a>(pub &'a mut Ebpf);

impl KernelMaps<'_> {
    fn map(&mut self, table: Table) -> Result<&mut Map> {
        let name = table.name();
        self.0.map_mut(name).with_context(|| format!("no map {name}"))
    }
}

impl Maps for KernelMaps<'_> {
    fn capacity(&self, table: Table) -> usize {
        match table {
            Table::Trust | Table::Pods => capacity::SOURCES,
            Table::Destinations => capacity::DESTINATIONS,
            Table::PortBits => PORT_WORDS,
            Table::UpstreamPorts | Table::Held | Table::Ports => capacity::PORTS,
        }
    }

    fn set(&mut self, key: Key, value: Value) -> Result<()> {
        let map = self.map(key.table())?;
        match (key, value) {
            (Key::Trust(range) | Key::Pod(range), Value::Member) => {
                LpmTrie::<_, TrustKey, u32>::try_from(map)?.insert(&source(range), 1, 0)?;
            }
            (Key::Destination(range), Value::Rule(rule)) => {
                let mut map = LpmTrie::<_, DestinationKey, Rule>::try_from(map)?;
                map.insert(&destination(range), rule, 0)?;
            }
            (Key::UpstreamPort(port), Value::Member) => {
                HashMap::<_, PortKey, u32>::try_from(map)?.insert(PortKey { port }, 1, 0)?;
            }
            (Key::Held(port), Value::Member) => {
                let mut map = HashMap::<_, PortKey, Hold>::try_from(map)?;
                map.insert(PortKey { port }, Hold::default(), 0)?;
            }
            (Key::PortBits(word), Value::Bits(bits)) => {
                Array::<_, u64>::try_from(map)?.set(word, bits, 0)?;
            }
            (Key::Port(port), Value::Rule(rule)) => {
                HashMap::<_, PortKey, Rule>::try_from(map)?.insert(PortKey { port }, rule, 0)?;
            }
            (key, value) => bail!("{key:?} can't have the value {value:?}"),
        }
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<()> {
        let map = self.map(key.table())?;
        match key {
            Key::Trust(range) | Key::Pod(range) => {
                LpmTrie::<_, TrustKey, u32>::try_from(map)?.remove(&source(range))?;
            }
            Key::Destination(range) => {
                let mut map = LpmTrie::<_, DestinationKey, Rule>::try_from(map)?;
                map.remove(&destination(range))?;
            }
            Key::UpstreamPort(port) => {
                HashMap::<_, PortKey, u32>::try_from(map)?.remove(&PortKey { port })?;
            }
            Key::Held(port) => {
                HashMap::<_, PortKey, Hold>::try_from(map)?.remove(&PortKey { port })?;
            }
            // An array's entries are there for ever.
            Key::PortBits(word) => Array::<_, u64>::try_from(map)?.set(word, 0, 0)?,
            Key::Port(port) => {
                HashMap::<_, PortKey, Rule>::try_from(map)?.remove(&PortKey { port })?;
            }
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
