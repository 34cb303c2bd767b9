//! The events that the control loop waits for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::observer::Observer;
use crate::config::times::BEAT;
use crate::operate::admin::PendingRequest;
use crate::steer::Successor;
use crate::steer::link_monitor::LinkMonitor;

/// How often counters are published and workers are checked.
pub const SECOND: Duration = BEAT;
/// How often our objects in the kernel are checked even if netlink reports nothing.
pub const LOOK: Duration = Duration::from_secs(60);

/// Everything that can wake the control loop.
pub struct Events {
    pub seconds: Ticks,
    pub looks: Ticks,
    pub signals: Signals,
    pub hang_ups: HangUps,
    pub news: LinkMonitor,
    pub observer: Observer,
    pub successors: mpsc::Receiver<Successor>,
    pub pending: mpsc::Receiver<PendingRequest>,
}

/// Why a run stops serving.
pub enum Stop {
    /// SIGTERM or SIGINT.
    Signal,
    /// Another Foreword takes over, and waits for us to release the interfaces.
    Takeover(Successor),
    /// A worker thread has ended, and its connections with it.
    WorkerGone,
}

/// A periodic tick that other events do not postpone.
pub struct Ticks(Interval);

impl Ticks {
    /// The first tick comes at once.
    pub fn every(period: Duration) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(ticks)
    }

    /// Waits for the next tick.
    pub async fn next(&mut self) {
        self.0.tick().await;
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    have_come: bool,
}

impl Signals {
    /// Installs the handlers: from now on the signals no longer kill the process.
    pub fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            have_come: false,
        })
    }

    /// Waits for one of them.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.have_come = true;
    }

    /// Whether one has come already.
    pub fn have_come(&self) -> bool {
        self.have_come
    }
}

/// SIGHUP, which reloads the configuration.
#[derive(Debug)]
pub struct HangUps(Signal);

impl HangUps {
    /// Installs the handler: from now on the signal no longer kills the process.
    pub fn catch() -> Result<Self> {
        Ok(Self(catch(SignalKind::hangup())?))
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

fn catch(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot catch signals")
}
