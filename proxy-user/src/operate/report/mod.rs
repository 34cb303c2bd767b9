//! Reports of a run as data: made by the process, carried as JSON, shown by a command.
//!
//! During an upgrade the two can be of different versions: unknown fields are ignored, and missing ones
//! have defaults.

pub mod connections;
pub mod cutover;
pub mod metrics;
pub mod pinned;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::address::UpstreamAddr;
use crate::logging::LostLines;
use crate::relay::{Counts, Stalled};

/// The state of a run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The instance's number, which is in the names of its veth, cgroup and pins.
    pub instance: u32,
    /// The process id, as it sees itself.
    pub process: u32,
    /// Whether new connections are taken.
    pub state: State,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// The file that it was started with.
    pub config: Option<PathBuf>,
    /// How often that was read again.
    pub reloads: Reloads,
    /// Worker threads.
    pub workers: usize,
    /// Workers that have stalled, and their connections with them.
    pub stalled: Vec<StalledWorker>,
    /// Connections that may be open at once.
    pub limit: u64,
    /// What the buffers of connections are counted as, in bytes.
    pub memory: u64,
    /// The limit for that; `None`: any amount.
    pub memory_limit: Option<u64>,
    /// Interfaces that it is attached to, or should be.
    pub interfaces: Vec<Interface>,
    /// Rules, in the order of the file; behind them those that are gone, for their counters.
    pub rules: Vec<Rule>,
    /// What became of packets, by verdict.
    pub packets: BTreeMap<String, u64>,
    /// Packets that were dropped, by reason.
    pub dropped_packets: BTreeMap<String, u64>,
    /// Connections that matched no rule.
    pub unmatched: Traffic,
    /// Lines of output that could not be written.
    pub lost_lines: LostLines,
    /// Objects of ours in the kernel that others removed.
    pub repairs: Repairs,
}

impl Status {
    /// Why the run is not healthy; `None`: it is.
    pub fn unhealthy_reason(&self) -> Option<String> {
        let words = |StalledWorker { worker, seconds }: &StalledWorker| {
            format!("worker {worker} has not come round for {seconds} s")
        };
        let stalled: Vec<_> = self.stalled.iter().map(words).collect();
        (!stalled.is_empty()).then(|| stalled.join(", "))
    }

    /// Why the run is not ready for new connections; `None`: it is.
    pub fn unready_reason(&self) -> Option<String> {
        let state = (self.state != State::Serving).then(|| self.state.name().to_owned());
        self.unhealthy_reason()
            .or(state)
            .or_else(|| self.unsteered())
            .or_else(|| self.out_of_memory())
    }

    /// The interfaces that should be steered and are not, and why.
    fn unsteered(&self) -> Option<String> {
        let failures = self.interfaces.iter().filter_map(|interface| {
            Some(format!("{} is not steered: {}", interface.name, interface.failed.as_ref()?))
        });
        let failures: Vec<_> = failures.collect();
        (!failures.is_empty()).then(|| failures.join("\n"))
    }

    /// How much memory buffers take, if that is all that they may.
    fn out_of_memory(&self) -> Option<String> {
        let limit = self.memory_limit.filter(|limit| self.memory >= *limit)?;
        let [memory, limit] = [self.memory, limit].map(ByteSize);
        Some(format!(
            "connections' buffers count for {memory} of memory, and {limit} is the limit: new \
             connections are reset"
        ))
    }

    /// Since it began.
    pub fn age(&self) -> Duration {
        now().saturating_sub(Duration::from_secs(self.since))
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.rules.iter().map(|rule| rule.traffic.open).sum()
    }
}

/// Since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whether new connections are taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// They are.
    #[default]
    Serving,
    /// A successor takes them, or nobody; the ones that are open go on.
    Draining,
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// A worker that does not come round.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StalledWorker {
    /// Its number.
    pub worker: usize,
    /// For how long.
    pub seconds: u64,
}

impl From<Stalled> for StalledWorker {
    fn from(Stalled { worker, duration }: Stalled) -> Self {
        Self { worker, seconds: duration.as_secs() }
    }
}

/// How often the configuration was read again.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Reloads {
    /// And holds since.
    pub applied: u64,
    /// And was refused.
    pub refused: u64,
}

/// How often something of ours in the kernel had gone, by its kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Repairs {
    /// And was made again.
    pub made: BTreeMap<String, u64>,
    /// And could not be.
    pub failed: BTreeMap<String, u64>,
}

/// An interface.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// protected, or upstream.
    pub role: String,
    /// tcx, or clsact.
    pub hook: String,
    /// Where the guard stands, if it does.
    pub guard: Option<String>,
    /// Why it is not attached to, if it can't be.
    pub failed: Option<String>,
}

/// A rule.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What it does, in a sentence; `None`: there is no such rule any more.
    pub does: Option<String>,
    /// What its upstream's name stands for, if it has one.
    pub lookup: Option<Lookup>,
    /// The addresses of its upstream that can't be reached.
    pub down: Vec<DownUpstream>,
    /// What became of its connections.
    pub traffic: Traffic,
}

/// What the name of an upstream stands for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Lookup {
    /// Its addresses.
    pub addresses: Vec<String>,
    /// How long ago they were found.
    pub seconds: u64,
    /// Why they could not be found since.
    pub failed: Option<String>,
}

/// An address of an upstream that can't be reached.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DownUpstream {
    /// The address.
    pub address: String,
    /// For how long.
    pub seconds: u64,
    /// Why connections to it failed, by the reason's name.
    pub why: String,
}

/// Addresses of upstreams in words.
pub fn upstreams(addresses: &[UpstreamAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What became of connections.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Traffic {
    /// All that were accepted.
    pub accepted: u64,
    /// Open now.
    pub open: u64,
    /// Reached their upstream, and ended in order.
    pub relayed: u64,
    /// Loopback sources' connections that reached their upstream, and ended in order.
    pub unchanged: u64,
    /// Only a load balancer's look.
    pub health_checks: u64,
    /// Refused or cut short, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Payload from clients.
    pub bytes_in: u64,
    /// Payload to clients.
    pub bytes_out: u64,
    /// Headers written to upstreams that may not fit one segment.
    pub long_headers: u64,
}

impl Traffic {
    /// All that were refused or cut short.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

impl From<&Counts> for Traffic {
    fn from(counts: &Counts) -> Self {
        let refused = counts.refused().filter(|(_, count)| *count > 0);
        Self {
            accepted: counts.accepted,
            open: counts.open,
            relayed: counts.relayed,
            unchanged: counts.unchanged,
            health_checks: counts.health_checks,
            refused: refused.map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            long_headers: counts.long_headers,
        }
    }
}
