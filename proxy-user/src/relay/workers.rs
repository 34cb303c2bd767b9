//! All workers of the process: starts and stops them, sends them messages, adds up their counters.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::admission::{Admission, Ceilings};
use super::dialer::Dialer;
use super::health::Health;
use super::heartbeat::{Heartbeat, Stalled};
use super::mailbox::{Mailbox, Message};
use super::open_connection::OpenConnection;
use super::pods::Pods;
use super::resources::Resources;
use super::rule_stats::{RuleCounts, RuleStats};
use super::tally::Counts;
use super::worker::Worker;
use crate::address::UpstreamAddr;
use crate::config::settings::UpstreamName;
use crate::config::{Names, Settings};
use crate::policy::cutover::HeaderUsage;
use crate::sys::netns::Namespace;
use crate::sys::socket::Listeners;

/// How long a worker may take to answer: it is busy for one round at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// All workers of the process.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Each thread has a clone of it, and so do we until no more threads are started.
    running: Option<Sender<Infallible>>,
    /// Disconnected once all threads have ended.
    are_running: Receiver<Infallible>,
    mailboxes: Vec<Mailbox>,
    heartbeats: Vec<Heartbeat>,
    rule_stats: RuleStats,
    admission: Arc<Admission>,
    health: Arc<Health>,
}

impl Workers {
    /// Starts a worker for each set of listeners, which are in the namespace `private`. All names of
    /// upstreams have been looked up.
    pub fn start(
        settings: &Settings,
        names: &Names,
        ceilings: Ceilings,
        listeners: Vec<Listeners>,
        upstream_mark: Option<u32>,
        private: &Namespace,
        pods: &Pods,
    ) -> Result<Self> {
        let mut rule_stats = RuleStats::new(listeners.len());
        names.iter().for_each(|(name, addresses)| rule_stats.set_addresses(name, addresses));
        let admission = Arc::new(Admission::new(settings.limits, ceilings, listeners.len()));
        let (running, are_running) = mpsc::channel();
        let mut workers = Self {
            threads: Vec::new(),
            running: Some(running),
            are_running,
            mailboxes: Vec::new(),
            heartbeats: Vec::new(),
            rule_stats,
            admission,
            health: Arc::default(),
        };
        for (number, listeners) in listeners.into_iter().enumerate() {
            let dialer = Dialer::new(upstream_mark, private)?;
            let unmatched = workers.rule_stats.unmatched(number);
            let mut resources = Resources::new(
                number,
                dialer,
                unmatched,
                Arc::clone(&workers.admission),
                pods.clone(),
                Arc::clone(&workers.health),
            )?;
            resources.rules.replace(workers.rule_stats.activate(settings, number));
            let mailbox = Mailbox::new().context("cannot make an event")?;
            let worker = Worker::new(resources, listeners, mailbox.clone())?;
            let running = workers.running.clone();
            let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _running = running;
                if let Err(error) = worker.run() {
                    tracing::error!(error = %format!("{error:#}"), "a worker has stopped");
                }
            });
            workers.mailboxes.push(mailbox);
            workers.heartbeats.push(Heartbeat::new());
            workers.threads.push(thread.context("cannot start a worker thread")?);
        }
        workers.rule_stats.retire_others(settings);
        Ok(workers)
    }

    /// Applies settings to new connections; open ones keep the settings that they began with. Returns when
    /// each worker has confirmed it.
    pub fn apply(&mut self, settings: &Settings) -> Result<()> {
        self.require_answers()?;
        self.admission.change(settings.limits);
        let (confirm, confirmed) = mpsc::channel();
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            let rules = self.rule_stats.activate(settings, number);
            mailbox.send(Message::Apply(rules, confirm.clone()))?;
        }
        self.rule_stats.retire_others(settings);
        for _ in &self.mailboxes {
            confirmed.recv_timeout(PATIENCE).context("a worker does not answer")?;
        }
        Ok(())
    }

    /// Sets the addresses of an upstream's name, for new connections.
    pub fn set_addresses(&mut self, name: &UpstreamName, addresses: &[UpstreamAddr]) {
        self.rule_stats.set_addresses(name, addresses);
    }

    /// Which addresses of upstreams fail.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// All open connections.
    pub fn open_connections(&self) -> Result<Vec<OpenConnection>> {
        self.require_answers()?;
        let (to, listed) = mpsc::channel();
        for mailbox in &self.mailboxes {
            mailbox.send(Message::ListConnections(to.clone()))?;
        }
        let mut all = Vec::new();
        for _ in &self.mailboxes {
            all.append(&mut listed.recv_timeout(PATIENCE).context("a worker does not answer")?);
        }
        Ok(all)
    }

    /// The counters of all workers.
    pub fn counts(&self) -> Counts {
        self.rule_stats.counts()
    }

    /// Which sources have sent headers to a rule, and which have not.
    pub fn header_usage(&self, rule: &str) -> HeaderUsage {
        self.rule_stats.header_usage(rule)
    }

    /// The counters of connections that matched no rule.
    pub fn unmatched(&self) -> Counts {
        self.rule_stats.unmatched_counts()
    }

    /// The counters of each rule, including those that are gone, until their final values have been read.
    pub fn counts_by_rule(&self) -> impl Iterator<Item = RuleCounts<'_>> {
        self.rule_stats.by_rule()
    }

    /// The counters of all other rules that are gone.
    pub fn former(&self) -> Option<Counts> {
        self.rule_stats.of_former()
    }

    /// The counters of these rules have been read at a time when they had no open connection.
    pub fn mark_seen<'a>(&mut self, rules: impl IntoIterator<Item = &'a str>) {
        self.rule_stats.mark_seen(rules);
    }

    /// How many connections there may be at once.
    pub fn limit(&self) -> u64 {
        self.admission.limit()
    }

    /// How much memory buffers count as taking, and how much they may take, in bytes; `None`: any amount.
    pub fn memory(&self) -> (u64, Option<u64>) {
        (self.admission.memory(), self.admission.memory_limit())
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Checks whether each worker answers, and tidies the counters up; to be called once a second.
    pub fn check(&mut self) {
        self.rule_stats.tidy(Instant::now());
        for (number, heartbeat) in self.heartbeats.iter_mut().enumerate() {
            heartbeat.check(number, &self.mailboxes[number]);
        }
    }

    /// The workers that have not answered for two seconds.
    pub fn stalled(&self) -> impl Iterator<Item = Stalled> {
        let heartbeats = self.heartbeats.iter().zip(&self.mailboxes).enumerate();
        heartbeats.filter_map(|(number, (heartbeat, mailbox))| heartbeat.stalled(number, mailbox))
    }

    /// Fails if a worker is known not to answer, so that nobody waits for it.
    fn require_answers(&self) -> Result<()> {
        let Some(Stalled { worker, duration }) = self.stalled().next() else { return Ok(()) };
        bail!("worker {worker} has not come round for {} s", duration.as_secs())
    }

    /// Whether a worker has ended before it was asked to.
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
        for mailbox in &self.mailboxes {
            if let Err(error) = mailbox.send(Message::Stop) {
                tracing::error!(%error, "the workers can't be stopped");
                return;
            }
        }
        self.running = None;
        let ended = self.are_running.recv_timeout(PATIENCE);
        for thread in self.threads.drain(..) {
            if ended == Err(RecvTimeoutError::Timeout) && !thread.is_finished() {
                tracing::error!(
                    thread = thread.thread().name(),
                    "a worker does not end; left alone"
                );
            } else if thread.join().is_err() {
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
