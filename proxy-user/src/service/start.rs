//! The start of a run, in the order in which each step can fail without harm; its end is the reverse.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::thread;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::Service;
use super::active_checks::ActiveChecks;
use super::admin::{Admin, Http, open_socket};
use super::bypass::Bypasses;
use super::config_file::{ConfigFile, FileError};
use super::events::{Events, HangUps, LOOK, SECOND, Signals, Ticks};
use super::names::KnownNames;
use super::observer::Observer;
use super::reload::Reloading;
use super::resolver::Resolver;
use super::tighten::Tightened;
use super::wording;
use crate::budget::{DescriptorBudget, MemoryBudget};
use crate::config::{Found, Invalid, Names, RawConfig, Settings, Syntax};
use crate::logging::say;
use crate::operate::admin::RequestSender;
use crate::operate::report::{self, Reloads, State};
use crate::relay::{Pods, Workers};
use crate::steer::Steering;
use crate::steer::link_monitor::LinkMonitor;
use crate::sys::low_fds::LowFds;
use crate::sys::{capability, rlimit};

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
pub(super) fn serve_http(
    admin: &mut Admin,
    passed: Option<OwnedFd>,
    steering: &Steering,
) -> Result<()> {
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
