//! An instance that does not answer, by what it has pinned.

use std::collections::BTreeMap;

use serde::Serialize;

use super::connections::Connection;
use crate::steer::pinned::{Pinned, TrackedSide, TrackedSocket};

/// An instance that does not answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// Its number.
    pub instance: u32,
    /// Whether its process is there, and is asked at another socket.
    pub is_alive: bool,
    /// What became of packets, by verdict.
    pub packets: BTreeMap<String, u64>,
    /// Connections refused or cut short, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Packets that were dropped, by reason.
    pub dropped_packets: BTreeMap<String, u64>,
    /// Connections that were open when the kernel last noted it.
    pub open: usize,
}

impl From<Pinned> for Leftover {
    fn from(pinned: Pinned) -> Self {
        let name = |name: &[u8]| {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            String::from_utf8_lossy(&name[..end]).into_owned()
        };
        let reasons = pinned.reasons.iter().map(|entry| (name(&entry.name), entry));
        let reasons: Vec<_> = reasons.collect();
        let some = |count: fn(&proxy_common::abi::ReasonCount) -> u64| {
            let counts = reasons.iter().map(|(name, entry)| (name.clone(), count(entry)));
            counts.filter(|(_, count)| *count > 0).collect()
        };
        let packets = pinned.stats.named().map(|(name, count)| (name.to_owned(), count));
        let inbound = |socket: &&TrackedSocket| matches!(socket.side, TrackedSide::Inbound { .. });
        Self {
            instance: pinned.instance,
            is_alive: pinned.is_alive,
            packets: packets.into_iter().filter(|(_, count)| *count > 0).collect(),
            refused: some(|entry| entry.connections),
            dropped_packets: some(|entry| entry.packets),
            open: pinned.sockets.iter().filter(inbound).count(),
        }
    }
}

/// The connections with us that the kernel has noted. It knows nothing of rules and clients.
pub fn connections(pinned: &Pinned) -> impl Iterator<Item = Connection> + '_ {
    pinned.sockets.iter().filter_map(|socket| {
        let TrackedSide::Inbound { peer, destination } = socket.side else { return None };
        let number = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        Some(Connection {
            state: socket.state.to_owned(),
            peer: Some(peer.get()),
            destination: Some(destination.get()),
            age_ms: number(socket.age.as_millis()),
            rtt_us: socket.rtt.map(|rtt| number(rtt.as_micros())),
            ..Connection::default()
        })
    })
}
