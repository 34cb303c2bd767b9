//! The other maps: what the programs know of the node, and what they and we show to people.

use std::path::Path;

use anyhow::{Context as _, Result};
use proxy_common::Reason;
use proxy_common::abi::{
    Bypass, Interface, InterfaceKey, LISTENER_V4, LISTENER_V6, NODE_L3_DEVICES, Node,
    REASON_NAME_LEN, ReasonCount, Stats,
};
use proxy_common::maps;

use super::object::Object;
use super::pinned::{TrackedSocket, read};
use super::typed_maps::TypedMaps as _;
use crate::sys::socket::Listeners;

/// Maps that are pinned for people to look at.
const SHOWN: [&str; 4] = [maps::RULES.name, maps::STATS.name, maps::REASONS.name, maps::CONNS.name];

impl Object {
    /// Tells the programs where they are.
    pub fn set_node(&mut self, node: Node) -> Result<()> {
        self.maps_mut()
            .array_mut(maps::NODE)?
            .set(0, node, 0)
            .context("cannot write the node's facts")
    }

    /// Tells the programs that packets may come without an Ethernet header.
    pub fn expect_bare_packets(&mut self) -> Result<()> {
        self.set_node_flag(NODE_L3_DEVICES, true)
    }

    /// Sets one of the node's flags, or takes it back.
    pub fn set_node_flag(&mut self, flag: u32, is_set: bool) -> Result<()> {
        self.change_node(|node| {
            let flags = if is_set { node.flags | flag } else { node.flags & !flag };
            Node { flags, ..node }
        })
    }

    /// Tells the programs something else of where they are.
    pub fn change_node(&mut self, change: impl FnOnce(Node) -> Node) -> Result<()> {
        let node =
            self.maps().array(maps::NODE)?.get(&0, 0).context("cannot read the node's facts")?;
        self.set_node(change(node))
    }

    /// Tells steer about a protected interface.
    pub fn set_interface(&mut self, ifindex: u32, flags: u32) -> Result<()> {
        let interface = Interface { flags };
        let mut interfaces = self.maps_mut().hash_mut(maps::INTERFACES)?;
        interfaces
            .insert(InterfaceKey { ifindex }, interface, 0)
            .context("cannot write an interface")
    }

    /// Tells the lookup who listens. One worker's sockets stand for its whole reuse-port group.
    pub fn set_listeners(&mut self, listeners: &Listeners) -> Result<()> {
        let mut map = self.maps_mut().sock_map_mut(maps::LISTENERS)?;
        map.set(LISTENER_V4, &listeners.v4, 0).context("cannot set the IPv4 listener")?;
        if let Some(v6) = &listeners.v6 {
            map.set(LISTENER_V6, v6, 0).context("cannot set the IPv6 listener")?;
        }
        Ok(())
    }

    /// Pins the maps that are for people to look at.
    pub fn pin(&self, directory: &Path) -> Result<()> {
        for name in SHOWN {
            let map = self.map(name)?;
            map.pin(directory.join(name)).with_context(|| format!("cannot pin {name}"))?;
        }
        Ok(())
    }

    /// Writes how many connections ended for each reason, and how many packets were dropped.
    pub fn publish(&mut self, counts: impl IntoIterator<Item = (Reason, u64)>) -> Result<()> {
        let drops = self.drops()?;
        let mut reasons = self.maps_mut().array_mut(maps::REASONS)?;
        for (reason, connections) in counts {
            let mut name = [0; REASON_NAME_LEN];
            name[..reason.name().len()].copy_from_slice(reason.name().as_bytes());
            let packets = drops[reason as usize];
            reasons.set(reason as u32, ReasonCount { name, connections, packets }, 0)?;
        }
        Ok(())
    }

    /// The last SYN-ACK that was dropped because steering did not make it; zeros: none was.
    pub fn bypass(&self) -> Result<Bypass> {
        let map = self.maps().array(maps::BYPASS)?;
        map.get(&0, 0).context("cannot read the last answer that was dropped")
    }

    /// Packets dropped, by the reason's number, added up over all CPUs.
    pub fn drops(&self) -> Result<Vec<u64>> {
        let drops = self.maps().per_cpu_array(maps::DROPS)?;
        let total = |&reason: &Reason| Ok(drops.get(&(reason as u32), 0)?.iter().sum());
        Reason::ALL.iter().map(total).collect()
    }

    /// The packet counters, added up over all CPUs.
    pub fn stats(&self) -> Result<Stats> {
        read::stats(self.map(maps::STATS.name)?)
    }

    /// The sockets that the kernel knows as ours.
    pub fn sockets(&self) -> Result<Vec<TrackedSocket>> {
        read::sockets(self.map(maps::CONNS.name)?)
    }
}
