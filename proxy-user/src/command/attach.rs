//! `foreword attach`: steering and workers in the foreground, until a signal.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::Failure;
use super::cli::Attach;
use crate::config::settings::{Rule, Untrusted};
use crate::config::{RawAttach, Settings, validate};
use crate::operate::logs;
use crate::operate::summary::Summary;
use crate::relay::Workers;
use crate::steer::watch::LinkNews;
use crate::steer::{Steering, Successor};
use crate::sys::capability;
use crate::sys::slots::Slots;

/// How often the maps for sight are brought up to date.
const PUBLISH: Duration = Duration::from_secs(1);
/// How long we go on taking what is on its way to us when a successor is there: handshakes that
/// it knows nothing of.
const HANDSHAKES: Duration = Duration::from_secs(3);
/// Descriptors that a run needs before it has served a single connection, and some to spare.
const LEAST_FILES: u64 = 256;
/// How often a drain looks whether it is over.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// Runs until a signal ends it.
pub fn run(arguments: Attach) -> Result<(), Failure> {
    let settings = validate(&RawAttach::from(arguments))?;
    // Before anything else opens a descriptor.
    let slots = Slots::reserve(Steering::slots(&settings));
    logs::start();
    require_privileges()?;
    attach(settings, slots.context("cannot open /dev/null")?).map_err(Failure::from)
}

/// Says what is missing before anything half-works.
pub fn require_privileges() -> Result<()> {
    let missing = capability::missing().context("cannot read /proc/self/status")?;
    let Some(first) = missing.first() else { return Ok(()) };
    let names: Vec<_> = missing.iter().map(|capability| capability.name).collect();
    let (names, are) = (names.join(" and "), if names.len() == 1 { "is" } else { "are" });
    bail!(
        "{names} {are} missing; the first is needed for {}; run as root, or with the capabilities \
         CAP_NET_ADMIN and CAP_SYS_ADMIN",
        first.purpose
    )
}

fn attach(settings: Settings, slots: Slots) -> Result<()> {
    let files = capability::raise_file_limit().context("cannot raise the limit of open files")?;
    if files < LEAST_FILES {
        bail!("only {files} files may be open; allow {LEAST_FILES} at least (ulimit -n)");
    }
    let workers = settings.workers.map_or_else(thread::available_parallelism, Ok);
    let workers = workers.context("cannot count the CPUs")?.get();
    let settings = Arc::new(settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the control loop")?;
    let _inside = runtime.enter();
    // From before the first step, so that no signal leaves half a set-up, and no news is missed.
    let (announcements, successors) = mpsc::channel(1);
    let mut events =
        Events { signals: Signals::catch()?, news: LinkNews::subscribe()?, successors };
    let (mut steering, listeners) = Steering::start(&settings, workers, slots, announcements)?;
    let mark = steering.upstream_mark();
    let relay = Workers::start(&settings, listeners, mark, steering.private_namespace())?;
    steering.take_over()?;
    announce(&settings, &steering, workers)?;
    steering.keep_holds();
    let stopped = runtime.block_on(async {
        match serve(&mut steering, &relay, &mut events).await {
            End::Asked => {}
            End::Succeeded(successor) => {
                hand_over(&mut steering, successor, &mut events.signals).await;
            }
            // What can still be served is not worth more than what can't.
            End::Broken => bail!("a worker has stopped; the log says why"),
        }
        drain(&mut steering, &relay, settings.drain_timeout, &mut events.signals).await
    });
    let counts = relay.stop();
    publish(&mut steering, &counts);
    let drops = steering.drops().unwrap_or_default();
    say(format_args!(
        "{}",
        Summary { counts: &counts, stats: steering.stats().ok(), drops: &drops }
    ));
    let held = steering.held();
    drop(steering);
    say(format_args!("detached"));
    if !held.is_empty() {
        say(format_args!("held      {}: `foreword cleanup` opens the ports", held.join(", ")));
    }
    stopped
}

/// What was attached, in a few lines; the last one says that it works.
fn announce(settings: &Settings, steering: &Steering, workers: usize) -> Result<()> {
    let mut lines = steering.describe();
    lines.extend(settings.rules.iter().map(|rule| format!("rule      {}", describe(rule))));
    let advice = steering.advice(settings);
    lines.extend(advice.iter().map(|advice| format!("warning   {advice}")));
    lines.push(format!("workers   {workers}"));
    lines.push("ready: Ctrl-C drains and detaches\n".to_owned());
    let text = lines.join("\n");
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

/// Says something on the way. Nobody who has stopped listening is worth a connection.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A rule in words.
fn describe(rule: &Rule) -> String {
    let Rule { ports, inbound, outbound, upstream, .. } = rule;
    let trusted: Vec<_> = inbound.trusted.iter().map(ToString::to_string).collect();
    let header = match inbound.mode {
        mode if trusted.is_empty() => format!("inbound header {mode}"),
        mode => format!("inbound header {mode}, from {}", trusted.join(", ")),
    };
    let others = match inbound.untrusted {
        _ if trusted.is_empty() => "",
        Untrusted::Refuse => " (others are refused)",
        Untrusted::Direct => " (others are clients of their own)",
    };
    let outbound =
        outbound.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    format!("port {ports}: {header}{others}; outbound header {outbound}; to {}", upstream.address)
}

/// What can happen to a run.
struct Events {
    signals: Signals,
    news: LinkNews,
    successors: mpsc::Receiver<Successor>,
}

/// Why a run is to end.
enum End {
    /// Somebody asked for it.
    Asked,
    /// Another Foreword has taken over, and waits for us to let go.
    Succeeded(Successor),
    /// A worker has stopped, and its connections with it.
    Broken,
}

/// Waits for a reason to end, and meanwhile keeps up with interfaces and the maps for sight.
async fn serve(steering: &mut Steering, relay: &Workers, events: &mut Events) -> End {
    let mut ticks = interval(PUBLISH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = events.signals.next() => return End::Asked,
            Some(successor) = events.successors.recv() => return End::Succeeded(successor),
            _ = ticks.tick() => {
                if relay.has_stopped() {
                    return End::Broken;
                }
                publish(steering, &relay.counts());
            }
            () = events.news.next() => look_again(steering),
        }
    }
}

/// Lets a successor have the interfaces, and takes what is still on its way to us. A signal does
/// not wait for that.
async fn hand_over(steering: &mut Steering, successor: Successor, signals: &mut Signals) {
    say(format_args!("succeeded: another Foreword takes new connections"));
    steering.hand_over();
    if let Err(error) = successor.tell_released().await {
        tracing::warn!(%error, "the successor did not wait for an answer");
    }
    tokio::select! {
        () = sleep(HANDSHAKES) => {}
        () = signals.next() => {}
    }
}

/// Follows the node's interfaces. What can't be done now is reported, and no reason to stop.
fn look_again(steering: &mut Steering) {
    if let Err(error) = steering.look_again() {
        tracing::warn!(error = %format!("{error:#}"), "cannot look at the interfaces");
    }
}

/// Sight must never end a run that works.
fn publish(steering: &mut Steering, counts: &crate::relay::Counts) {
    if let Err(error) = steering.publish(counts.refused()) {
        tracing::warn!(error = %format!("{error:#}"), "cannot publish counters");
    }
}

/// Lets new connections go past us, and waits until ours have ended, the time is up, or a second
/// signal says that it can't wait.
async fn drain(
    steering: &mut Steering,
    relay: &Workers,
    limit: Duration,
    signals: &mut Signals,
) -> Result<()> {
    steering.stop_new().context("cannot stop taking connections")?;
    let live = relay.counts().live;
    if live > 0 {
        let limit = humantime::format_duration(limit);
        say(format_args!("draining {live} connections for at most {limit}"));
    }
    let deadline = Instant::now() + limit;
    loop {
        // A closed connection may still have bytes on their way to the client.
        if relay.counts().live == 0 && !steering.is_busy()? {
            return Ok(());
        }
        tokio::select! {
            () = sleep(DRAIN_CHECK) => {}
            () = sleep_until(deadline) => return Ok(()),
            () = signals.next() => return Ok(()),
        }
    }
}

/// The signals that ask for an end.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
