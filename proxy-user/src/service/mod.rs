//! A run from its start to its end, whichever command started it: the control loop that joins steering and
//! workers, and handles signals, reloads, takeovers, requests and changes of the network.
//!
//! Invariant: nothing in the control loop blocks. What may take long (name look-ups, dumps of kernel
//! state) runs beside it.

mod active_checks;
mod admin;
mod answer;
mod bypass;
pub mod config_file;
mod describe;
mod events;
mod handover;
mod names;
mod observer;
mod reload;
pub mod resolver;
mod start;
mod summary;
mod tighten;
mod wording;

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{MissedTickBehavior, interval};

use self::active_checks::ActiveChecks;
use self::admin::Admin;
use self::bypass::Bypasses;
use self::describe::describe;
use self::events::{Events, Stop};
use self::handover::Handover;
use self::names::KnownNames;
use self::observer::Observer;
use self::reload::{Pending, Reloading};
use self::start::serve_http;
pub use self::start::{AfterTakeover, ConfigSource, Failure, require_privileges, run};
use self::summary::Summary;
use self::tighten::Tightened;
use crate::advice::{self, Advice};
use crate::budget::{DescriptorBudget, MemoryBudget};
use crate::config::{Names, Settings, Syntax};
use crate::logging::say;
use crate::operate::report::{Reloads, State};
use crate::relay::{Counts, Workers};
use crate::steer::{Observation, Steering};
use crate::sys::environment::Environment;

/// How often an interface that can't be attached to is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// A run that serves.
#[derive(Debug)]
pub struct Service {
    steering: Steering,
    relay: Workers,
    budget: DescriptorBudget,
    memory: MemoryBudget,
    settings: Settings,
    names: KnownNames,
    checks: ActiveChecks,
    reloading: Option<Reloading>,
    pending: Option<Pending>,
    reloads: Reloads,
    tightened: Tightened,
    state: State,
    /// When it began, since 1970.
    since: Duration,
    admin: Admin,
    bypasses: Bypasses,
}

impl Service {
    /// Prints what was attached, and `ready` as the last line.
    fn announce(&self, names: &Names) {
        let mut lines = wording::describe(&self.steering, &self.settings.steering);
        let rules = self.settings.rules.iter();
        lines.extend(rules.map(|rule| format!("rule      {}", describe(rule))));
        let warnings = self.steering.warnings(&self.settings, names);
        let mut advice: Vec<_> =
            warnings.iter().map(|warning| Advice::new(warning, self.written())).collect();
        advice.extend(advice::on_long_headers(&self.settings.rules, self.written()));
        advice.extend(self.budget.shortage(
            self.written(),
            self.settings.limits,
            Environment::detect(),
        ));
        lines.extend(advice.iter().map(|advice| format!("warning   {advice}")));
        let open = advice::on_firewalls(&self.settings.rules, self.written());
        lines.extend(open.map(|advice| format!("note      {advice}")));
        lines.push(format!("workers   {}", self.relay.count()));
        let limits = self.budget.describe(self.settings.limits, self.relay.limit());
        lines.push(format!("limits    {limits}"));
        let memory = self.memory.describe(self.settings.limits.memory, self.relay.limit());
        lines.push(format!("memory    {memory}"));
        lines.push("ready: Ctrl-C drains and detaches".to_owned());
        say(format_args!("{}", lines.join("\n")));
    }

    /// Whether the settings come from flags or a file.
    fn written(&self) -> Syntax {
        if self.reloading.is_some() { Syntax::File } else { Syntax::Flags }
    }

    /// Serves until there is a reason to stop, then drains.
    async fn live(&mut self, events: &mut Events) -> Result<()> {
        loop {
            match self.serve(events).await {
                Stop::Signal => break,
                Stop::Takeover(successor) => {
                    if self.hand_over(successor, events).await == Handover::Done {
                        break;
                    }
                }
                // A worker's connections are lost: ending resets them, and new ones flow directly.
                Stop::WorkerGone => bail!("a worker has stopped; the log says why"),
            }
        }
        self.drain(events).await
    }

    /// The control loop: handles events until there is a reason to stop.
    async fn serve(&mut self, events: &mut Events) -> Stop {
        let mut retries = interval(RETRY);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = events.signals.end() => return Stop::Signal,
                Some(successor) = events.successors.recv() => return Stop::Takeover(successor),
                () = events.seconds.next() => {
                    if self.relay.has_stopped() {
                        return Stop::WorkerGone;
                    }
                    self.every_second();
                    self.finish_takeover();
                    self.admin.keep_path();
                    self.watch_bypasses();
                    self.renew_names();
                    self.hurry_reload();
                    self.check_upstreams();
                }
                answer = self.names.resolver.next() => self.take_answer(answer),
                result = self.checks.next() => self.apply_check_result(result),
                _ = retries.tick() => {
                    if self.steering.failures().next().is_some() {
                        self.observe(&mut events.observer);
                    }
                }
                () = events.looks.next() => self.observe(&mut events.observer),
                () = events.news.next() => self.observe(&mut events.observer),
                seen = events.observer.next() => {
                    self.apply_observation(seen, Steering::reconcile, &mut events.observer);
                }
                Some(request) = events.pending.recv() => self.answer(request),
                () = events.hang_ups.next() => self.reload_as_asked(),
                () = reload::changed(self.reloading.as_mut()) => self.reload_if_changed(),
            }
        }
    }

    /// Takes over what a stuck predecessor has released by now.
    fn finish_takeover(&mut self) {
        let passed = self.steering.continue_takeover(self.admin.wanted());
        let passed = passed.unwrap_or_else(|error| {
            tracing::warn!(error = %format!("{error:#}"), "a takeover is not complete");
            None
        });
        if self.admin.wanted().is_some()
            && let Err(error) = serve_http(&mut self.admin, passed, &self.steering)
        {
            tracing::warn!(error = %format!("{error:#}"), "HTTP is not answered");
        }
    }

    /// Starts an observation of the interfaces and of our objects in the kernel.
    fn observe(&mut self, observer: &mut Observer) {
        if let Err(error) = observer.ask(|| self.steering.expected()) {
            tracing::warn!(error = %format!("{error:#}"), "cannot look at the interfaces");
        }
    }

    /// Acts on an observation. One that failed is logged, and no reason to stop.
    fn apply_observation(
        &mut self,
        (seen, is_old): (Result<Observation>, bool),
        then: fn(&mut Steering, &Observation),
        observer: &mut Observer,
    ) {
        match seen {
            Ok(seen) => then(&mut self.steering, &seen),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "cannot look at the interfaces");
            }
        }
        // Only now: what is expected may have changed.
        if is_old {
            self.observe(observer);
        }
    }

    /// The periodic work.
    fn every_second(&mut self) {
        self.relay.check();
        self.publish();
        self.tidy();
    }

    /// Removes earlier rules from the maps. They do no harm, so a failure is tried again later.
    fn tidy(&mut self) {
        if let Err(error) = self.steering.tidy() {
            tracing::warn!(error = %format!("{error:#}"), "cannot clear away earlier rules");
        }
    }

    /// Publishes counters. A failure must never end a run that works.
    fn publish(&mut self) {
        publish(&mut self.steering, &self.relay.counts());
    }

    /// Takes everything down, and prints the summary.
    fn end(self) {
        let Self { mut steering, relay, .. } = self;
        let counts = relay.stop();
        publish(&mut steering, &counts);
        let drops = steering.drops().unwrap_or_default();
        let stats = steering.stats().ok();
        say(format_args!("{}", Summary { counts: &counts, stats, drops: &drops }));
        let held = steering.held();
        drop(steering);
        say(format_args!("detached"));
        if !held.is_empty() {
            say(format_args!("held      {}: `foreword cleanup` opens the ports", held.join(", ")));
        }
    }
}

fn publish(steering: &mut Steering, counts: &Counts) {
    if let Err(error) = steering.publish(counts.refused()) {
        tracing::warn!(error = %format!("{error:#}"), "cannot publish counters");
    }
}
