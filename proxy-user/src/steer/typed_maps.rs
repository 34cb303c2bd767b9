//! Opens the maps of [`proxy_common::maps`] with the types of keys and values that they have there.

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, SockMap};
use aya::{Ebpf, Pod};
use proxy_common::maps;

/// Access to the maps of a loaded object by their descriptions.
pub trait TypedMaps {
    /// Opens a hash table for reading.
    fn hash<K: Pod, V: Pod>(&self, map: maps::Hash<K, V>) -> Result<HashMap<&MapData, K, V>>;
    /// Opens a hash table for writing.
    fn hash_mut<K: Pod, V: Pod>(
        &mut self,
        map: maps::Hash<K, V>,
    ) -> Result<HashMap<&mut MapData, K, V>>;
    /// Opens a trie for writing.
    fn lpm_trie_mut<K: Pod, V: Pod>(
        &mut self,
        map: maps::LpmTrie<K, V>,
    ) -> Result<LpmTrie<&mut MapData, K, V>>;
    /// Opens an array for reading.
    fn array<V: Pod>(&self, map: maps::Array<V>) -> Result<Array<&MapData, V>>;
    /// Opens an array for writing.
    fn array_mut<V: Pod>(&mut self, map: maps::Array<V>) -> Result<Array<&mut MapData, V>>;
    /// Opens an array for each CPU for reading.
    fn per_cpu_array<V: Pod>(&self, map: maps::PerCpuArray<V>) -> Result<PerCpuArray<&MapData, V>>;
    /// Opens an array of sockets for writing.
    fn sock_map_mut(&mut self, map: maps::SockMap) -> Result<SockMap<&mut MapData>>;
}

impl TypedMaps for Ebpf {
    fn hash<K: Pod, V: Pod>(&self, map: maps::Hash<K, V>) -> Result<HashMap<&MapData, K, V>> {
        Ok(HashMap::try_from(find(self, map.name)?)?)
    }

    fn hash_mut<K: Pod, V: Pod>(
        &mut self,
        map: maps::Hash<K, V>,
    ) -> Result<HashMap<&mut MapData, K, V>> {
        Ok(HashMap::try_from(find_mut(self, map.name)?)?)
    }

    fn lpm_trie_mut<K: Pod, V: Pod>(
        &mut self,
        map: maps::LpmTrie<K, V>,
    ) -> Result<LpmTrie<&mut MapData, K, V>> {
        Ok(LpmTrie::try_from(find_mut(self, map.name)?)?)
    }

    fn array<V: Pod>(&self, map: maps::Array<V>) -> Result<Array<&MapData, V>> {
        Ok(Array::try_from(find(self, map.name)?)?)
    }

    fn array_mut<V: Pod>(&mut self, map: maps::Array<V>) -> Result<Array<&mut MapData, V>> {
        Ok(Array::try_from(find_mut(self, map.name)?)?)
    }

    fn per_cpu_array<V: Pod>(&self, map: maps::PerCpuArray<V>) -> Result<PerCpuArray<&MapData, V>> {
        Ok(PerCpuArray::try_from(find(self, map.name)?)?)
    }

    fn sock_map_mut(&mut self, map: maps::SockMap) -> Result<SockMap<&mut MapData>> {
        Ok(SockMap::try_from(find_mut(self, map.name)?)?)
    }
}

fn find<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Map> {
    ebpf.map(name).with_context(|| format!("no map {name}"))
}

fn find_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).with_context(|| format!("no map {name}"))
}
