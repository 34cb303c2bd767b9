//! Looks for what is ours in the kernel, beside the control loop: the kernel may take its time.

use std::future::pending;

use anyhow::{Context as _, Result};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::steer::{Expected, Observation};

/// One look at a time, and another one after it if somebody asks meanwhile.
#[derive(Debug, Default)]
pub struct Observer {
    looking: Option<JoinHandle<Result<Observation>>>,
    is_asked_again: bool,
}

impl Observer {
    /// Asks for a look. What is expected is asked for when it begins.
    pub fn ask(&mut self, expected: impl FnOnce() -> Result<Expected>) -> Result<()> {
        if self.looking.is_some() {
            // What it sees may be older than the news.
            self.is_asked_again = true;
            return Ok(());
        }
        let expected = expected()?;
        self.looking = Some(spawn_blocking(move || expected.observe()));
        Ok(())
    }

    /// What was seen, and whether it is out of date by now.
    pub async fn next(&mut self) -> (Result<Observation>, bool) {
        let Some(looking) = &mut self.looking else { return pending().await };
        let observation = looking.await.context("a look at the kernel has panicked").flatten();
        self.looking = None;
        (observation, std::mem::take(&mut self.is_asked_again))
    }
}
