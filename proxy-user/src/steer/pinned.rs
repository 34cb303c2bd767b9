//! What the pinned maps of all instances say, also without the processes that made them.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use proxy_common::abi::{Address, Conn, ROLE_INBOUND, ReasonCount, Stats};
use proxy_common::maps;

use super::instance;
use crate::address::{OriginalDst, PeerAddr, UpstreamAddr};

/// An instance, by what it has pinned.
#[derive(Debug)]
pub struct Pinned {
    /// Its number.
    pub instance: u32,
    /// Whether its process is there.
    pub is_alive: bool,
    /// What became of packets.
    pub stats: Stats,
    /// What became of connections and packets, as last published.
    pub reasons: Vec<ReasonCount>,
    /// The sockets that were open when the kernel last noted it.
    pub sockets: Vec<TrackedSocket>,
}

/// A socket of ours, as the kernel noted it.
#[derive(Clone, Copy, Debug)]
pub struct TrackedSocket {
    /// Whom it connects.
    pub side: TrackedSide,
    /// The state of TCP, by its name in the kernel.
    pub state: &'static str,
    /// Since it was established.
    pub age: Duration,
    /// Its smoothed round-trip time, if that was noted.
    pub rtt: Option<Duration>,
}

/// Whom a socket of ours connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackedSide {
    /// A client or load balancer with us.
    Inbound {
        /// Who connected.
        peer: PeerAddr,
        /// To what.
        destination: OriginalDst,
    },
    /// Us with an upstream.
    Outbound {
        /// To what we connected.
        upstream: UpstreamAddr,
    },
}

impl TrackedSocket {
    fn new(conn: &Conn, now: Duration) -> Self {
        let remote = socket(conn.remote, conn.remote_port);
        let side = if conn.role == ROLE_INBOUND {
            let local = socket(conn.local, conn.local_port);
            TrackedSide::Inbound {
                peer: PeerAddr::new(remote),
                destination: OriginalDst::new(local),
            }
        } else {
            TrackedSide::Outbound { upstream: UpstreamAddr::new(remote) }
        };
        let state = usize::try_from(conn.state).ok().and_then(|state| STATES.get(state));
        Self {
            side,
            state: state.unwrap_or(&"unknown"),
            age: now.saturating_sub(Duration::from_nanos(conn.since_ns)),
            rtt: (conn.srtt_us > 0).then(|| Duration::from_micros(conn.srtt_us)),
        }
    }
}

/// By their numbers in `include/net/tcp_states.h`.
const STATES: [&str; 13] = [
    "none",
    "established",
    "syn-sent",
    "syn-received",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
    "syn-received",
];

/// Ports are 16 bits of 32.
#[allow(clippy::cast_possible_truncation, reason = "the programs write nothing else")]
fn socket(address: Address, port: u32) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(address).into(), port as u16)
}

/// All instances whose maps can be read, in the order of their numbers.
pub fn instances() -> Result<Vec<Pinned>> {
    let mut numbers = instance::numbers()?;
    numbers.sort_unstable();
    // One that ends meanwhile takes its pins away: it is none then.
    Ok(numbers.into_iter().filter_map(|number| look(number).ok()).collect())
}

fn look(instance: u32) -> Result<Pinned> {
    let directory = instance::directory(instance);
    fs::metadata(&directory)?;
    Ok(Pinned {
        instance,
        is_alive: instance::is_alive(instance),
        stats: read::stats(&Map::PerCpuArray(open(&directory, maps::STATS.name)?))?,
        reasons: read::reasons(&Map::Array(open(&directory, maps::REASONS.name)?))?,
        sockets: read::sockets(&Map::HashMap(open(&directory, maps::CONNS.name)?))?,
    })
}

fn open(directory: &Path, name: &str) -> Result<MapData> {
    MapData::from_pin(directory.join(name)).with_context(|| format!("cannot open the map {name}"))
}

/// How the maps for sight are read, whoever has them.
pub(super) mod read {
    use anyhow::Result;
    use aya::maps::{Array, HashMap, Map, PerCpuArray};
    use nix::time::{ClockId, clock_gettime};
    use proxy_common::abi::{Conn, ConnKey, ReasonCount, Stats};

    use super::TrackedSocket;

    /// The packet counters, added up over all CPUs.
    pub fn stats(map: &Map) -> Result<Stats> {
        let per_cpu = PerCpuArray::<_, Stats>::try_from(map)?.get(&0, 0)?;
        let mut total = Stats::default();
        per_cpu.iter().for_each(|stats| total.add(stats));
        Ok(total)
    }

    /// Connections and packets by reason.
    pub fn reasons(map: &Map) -> Result<Vec<ReasonCount>> {
        Ok(Array::<_, ReasonCount>::try_from(map)?.iter().collect::<Result<_, _>>()?)
    }

    /// Sockets that are open. One that closes meanwhile is left out.
    pub fn sockets(map: &Map) -> Result<Vec<TrackedSocket>> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?.into();
        let conns = HashMap::<_, ConnKey, Conn>::try_from(map)?;
        Ok(conns.iter().filter_map(|entry| Some(TrackedSocket::new(&entry.ok()?.1, now))).collect())
    }
}
