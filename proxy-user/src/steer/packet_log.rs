//! Writes to the log what the programs say of packets: drops at info, connections at debug, under
//! the target `packets`. Off unless the log's filter names it, and then nothing of it is in the
//! kernel.
//!
//! Knows nothing of what the lines mean. The programs bound their number.

use std::time::Duration;

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::Level;

/// The target of the lines in the log.
const TARGET: &str = "packets";
/// The ring that the lines come by.
const RING: &str = "AYA_LOGS";
/// Room for what every connection's line of a busy moment takes, in bytes. A line that finds no
/// room is lost.
const RING_LEN: u32 = 1 << 20;
/// How often the ring is read. It is memory that the kernel shares: no system call is made.
const PERIOD: Duration = Duration::from_millis(50);

/// What the programs are to speak of, as they know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing.
    Off,
    /// Packets that are dropped.
    Drops,
    /// Connections, too.
    Connections,
}

impl Verbosity {
    /// What the log's filter lets through.
    pub fn of_log() -> Self {
        if tracing::enabled!(target: TARGET, Level::DEBUG) {
            Self::Connections
        } else if tracing::enabled!(target: TARGET, Level::INFO) {
            Self::Drops
        } else {
            Self::Off
        }
    }

    /// Has programs that are loaded from now on speak of so much.
    pub fn set(self, loader: &mut EbpfLoader<'_>) {
        loader.override_global(aya_log::LEVEL, self.level(), true);
        // The least that there can be is a page.
        loader.map_max_entries(RING, if self == Self::Off { 1 } else { RING_LEN });
    }

    const fn level(self) -> &'static u8 {
        match self {
            Self::Off => &0,
            Self::Drops => &(aya_log::Level::Info as u8),
            Self::Connections => &(aya_log::Level::Debug as u8),
        }
    }
}

/// What reads the lines. They end when it is dropped.
#[derive(Debug)]
pub struct PacketLog(JoinHandle<()>);

impl PacketLog {
    /// Starts to read what loaded programs say. Needs a tokio runtime.
    pub fn start(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let ring = EbpfLogger::init_with_logger(ebpf, Lines)?;
        Ok(Self(tokio::spawn(read(ring))))
    }
}

impl Drop for PacketLog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(mut ring: EbpfLogger<Lines>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        ring.flush();
    }
}

/// Hands aya's lines to ours.
#[derive(Debug)]
struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() == log::Level::Debug {
            tracing::debug!(target: TARGET, "{}", record.args());
        } else {
            tracing::info!(target: TARGET, "{}", record.args());
        }
    }

    fn flush(&self) {}
}
