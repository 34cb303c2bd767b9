//! Looks up the names of upstreams without blocking the control loop. `getaddrinfo` takes as long as it
//! likes and can't be cancelled, so each name is looked up on a thread of its own, and a wait ends after
//! [`DEADLINE`]. A thread that hangs holds nothing that is needed, and does not keep the process alive.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::config::Found;
use crate::config::settings::UpstreamName;
use crate::sys::resolver::look_up;

/// How long a look-up may take. The usual resolver asks the second server after five seconds, so that one
/// dead server does not fail the look-up.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Look-ups in flight at most, those that hang included; further names wait.
const MAX_IN_FLIGHT: usize = 64;

/// A name, and the addresses or the error that its look-up gave.
pub type LookupResult = (UpstreamName, Result<Vec<SocketAddr>, String>);

/// The error of a look-up that did not end in time.
pub fn timed_out() -> String {
    format!("no answer within {} s", DEADLINE.as_secs())
}

/// The names that are being looked up.
#[derive(Debug)]
pub struct Resolver {
    waiting: VecDeque<UpstreamName>,
    running: BTreeSet<UpstreamName>,
    answer: UnboundedSender<LookupResult>,
    answers: UnboundedReceiver<LookupResult>,
}

impl Default for Resolver {
    /// It looks up nothing yet.
    fn default() -> Self {
        let (answer, answers) = unbounded_channel();
        Self { waiting: VecDeque::new(), running: BTreeSet::new(), answer, answers }
    }
}

impl Resolver {
    /// Has a name looked up, unless it is being looked up already.
    pub fn ask(&mut self, name: &UpstreamName) {
        if !self.running.contains(name) && !self.waiting.contains(name) {
            self.waiting.push_back(name.clone());
            self.start();
        }
    }

    /// The next result, in the order in which they come. Cancel-safe.
    pub async fn next(&mut self) -> LookupResult {
        match self.answers.recv().await {
            Some(answer) => {
                self.running.remove(&answer.0);
                self.start();
                answer
            }
            // Never: we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Looks up all of these names, and returns at the deadline at the latest.
    pub async fn look_up(&mut self, names: &BTreeSet<UpstreamName>) -> Found {
        let deadline = Instant::now() + DEADLINE;
        for name in names {
            self.ask(name);
        }
        let mut found = Found::new();
        while names.iter().any(|name| !found.contains_key(name)) {
            let Ok((name, answer)) = timeout_at(deadline, self.next()).await else { break };
            found.insert(name, answer);
        }
        for name in names {
            found.entry(name.clone()).or_insert_with(|| Err(timed_out()));
        }
        found
    }

    fn start(&mut self) {
        while self.running.len() < MAX_IN_FLIGHT
            && let Some(name) = self.waiting.pop_front()
        {
            let (to, asked) = (self.answer.clone(), name.clone());
            let work = move || {
                let found = look_up(asked.host(), asked.port());
                // The run may have ended.
                let _ = to.send((asked, found.map_err(|error| error.to_string())));
            };
            if let Err(error) = thread::Builder::new().name("resolver".to_owned()).spawn(work) {
                let _ = self.answer.send((name.clone(), Err(error.to_string())));
            }
            self.running.insert(name);
        }
    }
}

/// Looks up names for a command that can wait.
pub fn look_up_now(names: &BTreeSet<UpstreamName>) -> Result<Found> {
    if names.is_empty() {
        return Ok(Found::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.context("cannot wait for names to be looked up")?;
    Ok(runtime.block_on(Resolver::default().look_up(names)))
}
