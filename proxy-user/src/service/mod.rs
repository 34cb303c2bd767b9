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
mod summary;
mod tighten;
mod wording;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::active_checks::ActiveChecks;
use self::admin::{Admin, Http, open_socket};
use self::bypass::Bypasses;
use self::config_file::{ConfigFile, FileError};
use self::describe::describe;
use self::events::{Events, HangUps, LOOK, SECOND, Signals, Stop, Ticks};
use self::handover::Handover;
use self::names::KnownNames;
use self::observer::Observer;
use self::reload::{Pending, Reloading};
use self::resolver::Resolver;
use self::summary::Summary;
use self::tighten::Tightened;
use crate::advice::{self, Advice};
use crate::budget::DescriptorBudget;
use crate::budget::MemoryBudget;
use crate::config::{Found, Invalid, Names, RawConfig, Settings, Syntax};
use crate::logging::say;
use crate::operate::admin::RequestSender;
use crate::operate::report::{self, Reloads, State};
use crate::relay::{Counts, Pods, Workers};
use crate::steer::link_monitor::LinkMonitor;
use crate::steer::{Observation, Steering};
use crate::sys::environment::Environment;
use crate::sys::low_fds::LowFds;
use crate::sys::{capability, rlimit};

/// How often an interface that can't be attached to is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Why a run could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What the command line says makes no sense.
    #[error("{0}")]
    Usage(#[from] Invalid),
    /// What the file says makes no sense.
    #[error("{0}")]
    File(#[from] FileError),
    /// What was asked for could not be done.
    #[error("{0:#}")]
    Run(#[from] anyhow::Error),
}

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

/// What to do once a successor serves and our last connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTakeover {
    /// Nothing: the process ends.
    Exit,
    /// Wait for a signal, holding nothing: a supervisor would start us again, and that run would take
    /// over from its own successor.
    Wait,
}

/// Where the settings come from.
#[derive(Debug)]
pub enum ConfigSource {
    /// The command line.
    Flags(RawConfig),
    /// A file, which is read again when it changes.
    File(ConfigFile),
}

impl ConfigSource {
    fn judge_names(&self, settings: &Settings, found: &Found) -> Result<Names, Failure> {
        Ok(match self {
            Self::Flags(raw) => Names::judge(raw, Syntax::Flags, settings, found)?,
            Self::File(file) => file.judge_names(settings, found)?,
        })
    }
}

/// Runs until a signal, a successor or a failure ends it.
pub fn run(
    settings: Settings,
    words: ConfigSource,
    low_fds: LowFds,
    after_takeover: AfterTakeover,
) -> Result<(), Failure> {
    require_privileges()?;
    // Before tokio, which panics if it can't open a descriptor for signals.
    let files = rlimit::raise_open_files().context("cannot raise the limit of open files")?;
    let budget = DescriptorBudget::of(files)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the control loop")?;
    let _inside = runtime.enter();
    // Before the first step, so that no signal is lost or leaves half a set-up behind.
    let mut signals = Signals::catch()?;
    let hang_ups = HangUps::catch()?;
    let mut resolver = Resolver::default();
    let wanted = settings.upstream_names();
    let found = runtime.block_on(async {
        tokio::select! {
            found = resolver.look_up(&wanted) => Some(found),
            () = signals.end() => None,
        }
    });
    let Some(found) = found else { return Ok(()) };
    let names = words.judge_names(&settings, &found)?;
    let file = match words {
        ConfigSource::Flags(_) => None,
        ConfigSource::File(file) => Some(file),
    };
    let syntax = if file.is_some() { Syntax::File } else { Syntax::Flags };
    let start = Start { settings, budget, names, resolver, file, low_fds, after_takeover };
    Ok(serve(&runtime, start, signals, hang_ups)
        .map_err(|error| wording::with_fields(error, syntax))?)
}

/// What a run starts with, once the names of upstreams have been looked up.
struct Start {
    settings: Settings,
    budget: DescriptorBudget,
    names: Names,
    resolver: Resolver,
    file: Option<ConfigFile>,
    low_fds: LowFds,
    after_takeover: AfterTakeover,
}

fn serve(runtime: &Runtime, start: Start, signals: Signals, hang_ups: HangUps) -> Result<()> {
    let Start { settings, budget, names, resolver, file, low_fds, after_takeover } = start;
    let memory = MemoryBudget::look()?;
    // Before the first step, so that no netlink message is missed.
    let (successor_sender, successors) = mpsc::channel(1);
    let (requests, pending) = RequestSender::open();
    let mut events = Events {
        seconds: Ticks::every(SECOND),
        looks: Ticks::every(LOOK),
        signals,
        hang_ups,
        news: LinkMonitor::subscribe()?,
        observer: Observer::default(),
        successors,
        pending,
    };
    let workers = settings.workers.map_or_else(thread::available_parallelism, Ok);
    let workers = workers.context("cannot count the CPUs")?.get();
    let reloading = file.map(Reloading::of).transpose()?;
    let http = settings.admin.http.map(|at| Http::prepare(at, requests.clone())).transpose()?;
    let (mut steering, listeners) = Steering::start(&settings, workers, low_fds, successor_sender)?;
    let mut admin = Admin { socket: open_socket(&settings, steering.instance(), requests)?, http };
    let mark = steering.upstream_mark();
    let relay = Workers::start(
        &settings,
        &names,
        memory.ceilings(budget.connections),
        listeners,
        mark,
        steering.private_namespace(),
        &Pods::new(steering.pods()?),
    )?;
    let passed = steering.take_over(admin.wanted())?;
    serve_http(&mut admin, passed, &steering)?;
    admin.lead();
    let mut service = Service {
        steering,
        relay,
        budget,
        memory,
        settings,
        names: KnownNames::new(resolver, &names),
        checks: ActiveChecks::new(),
        reloading,
        pending: None,
        reloads: Reloads::default(),
        tightened: Tightened::default(),
        state: State::Serving,
        since: report::now(),
        admin,
        bypasses: Bypasses::default(),
    };
    // Whoever reads `ready` finds everything in place.
    service.publish();
    service.announce(&names);
    service.steering.persist_holds();
    service.steering.tell_serving();
    let stopped = runtime.block_on(service.live(&mut events));
    service.end();
    stopped?;
    if after_takeover == AfterTakeover::Wait && !events.signals.have_come() {
        say(format_args!("retired: waiting for a signal"));
        runtime.block_on(events.signals.end());
    }
    Ok(())
}

/// A stuck predecessor may still have the address; that is no reason not to serve traffic.
fn serve_http(admin: &mut Admin, passed: Option<OwnedFd>, steering: &Steering) -> Result<()> {
    let Some(http) = &mut admin.http else { return Ok(()) };
    match http.serve(passed, steering) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && steering.awaits_predecessor() => {
            tracing::warn!("{}: the Foreword that was there has not let go", http.complaint());
            Ok(())
        }
        served => served.with_context(|| http.complaint()),
    }
}

/// Fails early if a capability is missing, rather than half-way through.
pub fn require_privileges() -> Result<()> {
    let missing = capability::missing().context("cannot read the capabilities")?;
    let Some(first) = missing.first() else { return Ok(()) };
    let names: Vec<_> = missing.iter().map(|capability| capability.name).collect();
    let (names, are) = (names.join(" and "), if names.len() == 1 { "is" } else { "are" });
    bail!(
        "{names} {are} missing; the first is needed for {}; run as root, or with the capabilities \
         CAP_NET_ADMIN and CAP_SYS_ADMIN",
        first.purpose
    )
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
