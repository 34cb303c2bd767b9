//! Observes our objects in the kernel on a thread of its own, since dumps may take long.

use std::future::pending;

use anyhow::{Context as _, Result};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::steer::{Expected, Observation};

/// Runs one observation at a time, and another one after it if one is requested meanwhile.
#[derive(Debug, Default)]
pub struct Observer {
    looking: Option<JoinHandle<Result<Observation>>>,
    is_asked_again: bool,
}

impl Observer {
    /// Requests an observation. `expected` is called when it begins.
    pub fn ask(&mut self, expected: impl FnOnce() -> Result<Expected>) -> Result<()> {
        if self.looking.is_some() {
            // What the running one sees may be older than the event.
            self.is_asked_again = true;
            return Ok(());
        }
        let expected = expected()?;
        self.looking = Some(spawn_blocking(move || expected.observe()));
        Ok(())
    }

    /// The next observation, and whether another one was requested since it began.
    pub async fn next(&mut self) -> (Result<Observation>, bool) {
        let Some(looking) = &mut self.looking else { return pending().await };
        let observation = looking.await.context("a look at the kernel has panicked").flatten();
        self.looking = None;
        (observation, std::mem::take(&mut self.is_asked_again))
    }
}
