//! What can happen to a run from outside.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::observer::Observer;
use crate::config::times::BEAT;
use crate::operate::admin::PendingRequest;
use crate::steer::Successor;
use crate::steer::watch::LinkNews;

/// How often the maps for sight are brought up to date, and workers are looked after.
pub const SECOND: Duration = BEAT;
/// How often it is looked whether all that is ours in the kernel is there, without any news.
pub const LOOK: Duration = Duration::from_secs(60);

/// What can happen.
pub struct Events {
    pub seconds: Ticks,
    pub looks: Ticks,
    pub signals: Signals,
    pub hang_ups: HangUps,
    pub news: LinkNews,
    pub observer: Observer,
    pub successors: mpsc::Receiver<Successor>,
    pub pending: mpsc::Receiver<PendingRequest>,
}

/// Why a run is to end.
pub enum Stop {
    /// Somebody asked for it.
    Signal,
    /// Another Foreword has taken over, and waits for us to let go.
    Takeover(Successor),
    /// A worker has stopped, and its connections with it.
    WorkerGone,
}

/// What is done over and over, whatever else is going on.
pub struct Ticks(Interval);

impl Ticks {
    /// The first one comes at once.
    pub fn every(period: Duration) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(ticks)
    }

    /// The next one.
    pub async fn next(&mut self) {
        self.0.tick().await;
    }
}

/// The signals that ask for an end.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    have_come: bool,
}

impl Signals {
    /// From now on they no longer kill the process.
    pub fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            have_come: false,
        })
    }

    /// One that asks for an end.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.have_come = true;
    }

    /// Whether somebody has asked for an end already.
    pub fn have_come(&self) -> bool {
        self.have_come
    }
}

/// The signal that asks for the configuration to be read again.
#[derive(Debug)]
pub struct HangUps(Signal);

impl HangUps {
    /// From now on it no longer kills the process.
    pub fn catch() -> Result<Self> {
        Ok(Self(catch(SignalKind::hangup())?))
    }

    /// One of them.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

fn catch(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot catch signals")
}
