//! The worker threads: each accepts on listeners of its own and serves its connections alone.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::flow::Shared;
use super::log::Log;
use super::session;
use super::tally::{Counts, Tally};
use super::unique_id::UniqueIds;
use super::upstream::Departure;
use crate::config::Settings;
use crate::sys::netns::Namespace;
use crate::sys::socket::{self, Listeners};

/// How long a worker that can't accept for want of descriptors or memory leaves it be.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What a worker's sessions share. It never leaves its thread.
#[derive(Debug)]
pub struct Worker {
    /// The settings that the connections are served by.
    pub settings: Arc<Settings>,
    /// Where upstream sockets come from.
    pub departure: Departure,
    /// Buffer and pipes.
    pub shared: RefCell<Shared>,
    /// Counters.
    pub tally: Arc<Tally>,
    /// Names for connections.
    pub unique_ids: UniqueIds,
    /// The log of connections.
    pub log: Log,
}

/// All workers of the process.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    tallies: Vec<Arc<Tally>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts one for each set of listeners, which are in the namespace `private`.
    pub fn start(
        settings: &Arc<Settings>,
        listeners: Vec<Listeners>,
        upstream_mark: Option<u32>,
        private: &Namespace,
    ) -> Result<Self> {
        let mut workers =
            Self { threads: Vec::new(), tallies: Vec::new(), stop: watch::Sender::new(false) };
        for (number, listeners) in listeners.into_iter().enumerate() {
            let tally = Arc::new(Tally::default());
            workers.tallies.push(Arc::clone(&tally));
            let (settings, stop) = (Arc::clone(settings), workers.stop.subscribe());
            let departure = Departure::new(upstream_mark, private)?;
            let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let worker = Worker {
                    settings,
                    departure,
                    shared: RefCell::default(),
                    tally,
                    unique_ids: UniqueIds::default(),
                    log: Log::default(),
                };
                if let Err(error) = run(worker, listeners, stop) {
                    tracing::error!(error = %format!("{error:#}"), "a worker has stopped");
                }
            });
            workers.threads.push(thread.context("cannot start a worker thread")?);
        }
        Ok(workers)
    }

    /// The counters of all of them.
    pub fn counts(&self) -> Counts {
        Counts::sum(self.tallies.iter().map(AsRef::as_ref))
    }

    /// Resets the connections that are left, closes the listeners, waits for the threads, and
    /// returns the final counters.
    pub fn stop(mut self) -> Counts {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
        self.counts()
    }
}

fn run(worker: Worker, listeners: Listeners, mut stop: watch::Receiver<bool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Rc::new(worker);
    let sessions = LocalSet::new();
    runtime.block_on(sessions.run_until(async {
        let v4 = TcpListener::from_std(listeners.v4)?;
        let v6 = listeners.v6.map(TcpListener::from_std).transpose()?;
        tokio::select! {
            () = accept_all(&worker, Some(v4)) => {}
            () = accept_all(&worker, v6) => {}
            // An error would mean that nobody is left to say stop.
            _ = stop.wait_for(|&stop| stop) => {}
        }
        anyhow::Ok(())
    }))?;
    // Dropping the sessions resets their connections.
    drop(sessions);
    Ok(())
}

/// Accepts for ever.
async fn accept_all(worker: &Rc<Worker>, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => start(worker, client),
            Err(error) if socket::is_exhaustion(&error) => {
                tracing::warn!(%error, "cannot accept; trying again soon");
                tokio::time::sleep(BACK_OFF).await;
            }
            // That one connection is gone before it was accepted; the next one need not be.
            Err(error) => tracing::debug!(%error, "not accepted"),
        }
    }
}

fn start(worker: &Rc<Worker>, client: TcpStream) {
    tokio::task::spawn_local(session::serve(Rc::clone(worker), client));
}
