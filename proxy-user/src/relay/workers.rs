//! All workers of the process: started, counted, stopped.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};

use super::tally::{Counts, Tally};
use super::upstream::Departure;
use super::worker::{Round, Worker};
use crate::config::Settings;
use crate::sys::netns::Namespace;
use crate::sys::poll::Bell;
use crate::sys::socket::Listeners;

/// All workers of the process.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    tallies: Vec<Arc<Tally>>,
    stop: Bell,
}

impl Workers {
    /// Starts one for each set of listeners, which are in the namespace `private`.
    pub fn start(
        settings: &Arc<Settings>,
        listeners: Vec<Listeners>,
        upstream_mark: Option<u32>,
        private: &Namespace,
    ) -> Result<Self> {
        let stop = Bell::new().context("cannot make an event")?;
        let mut workers = Self { threads: Vec::new(), tallies: Vec::new(), stop };
        for (number, listeners) in listeners.into_iter().enumerate() {
            let tally = Arc::new(Tally::default());
            let departure = Departure::new(upstream_mark, private)?;
            let worker = Worker::new(Arc::clone(settings), departure, Arc::clone(&tally))?;
            let round = Round::new(worker, listeners, &workers.stop)?;
            let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(|| {
                if let Err(error) = round.run() {
                    tracing::error!(error = %format!("{error:#}"), "a worker has stopped");
                }
            });
            workers.tallies.push(tally);
            workers.threads.push(thread.context("cannot start a worker thread")?);
        }
        Ok(workers)
    }

    /// The counters of all of them.
    pub fn counts(&self) -> Counts {
        Counts::sum(self.tallies.iter().map(AsRef::as_ref))
    }

    /// Whether one of them has ended before it was asked to.
    pub fn has_stopped(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Resets the connections that are left, closes the listeners, waits for the threads, and
    /// returns the final counters.
    pub fn stop(mut self) -> Counts {
        self.join();
        self.counts()
    }

    fn join(&mut self) {
        if let Err(error) = self.stop.ring() {
            tracing::error!(%error, "the workers can't be stopped");
            return;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.join();
    }
}
