//! A run from its start to its end, whatever it was started by: steering and workers joined, and
//! everything that can happen to them.

mod answer;
mod events;
mod reload;
mod say;
mod tighten;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use self::events::{End, Events, HangUps, Seconds, Signals};
use self::reload::Reloading;
use self::say::{describe, say};
use self::tighten::Tightened;
use crate::config::Settings;
use crate::config::field::At;
use crate::config::raw::defaults;
use crate::operate::admin::Desk;
use crate::operate::admin::http::HttpServer;
use crate::operate::admin::socket::AdminSocket;
use crate::operate::budget::Budget;
use crate::operate::config_file::ConfigFile;
use crate::operate::report::{self, Reloads, State};
use crate::operate::summary::Summary;
use crate::relay::{Counts, Workers};
use crate::steer::advice;
use crate::steer::watch::LinkNews;
use crate::steer::{Steering, Successor};
use crate::sys::capability;
use crate::sys::slots::Slots;

/// How long we go on taking what is on its way to us when a successor is there: handshakes that
/// it knows nothing of.
const HANDSHAKES: Duration = Duration::from_secs(3);
/// How often a drain looks whether it is over.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// What is running.
#[derive(Debug)]
pub struct Service {
    steering: Steering,
    relay: Workers,
    budget: Budget,
    settings: Settings,
    reloading: Option<Reloading>,
    reloads: Reloads,
    tightened: Tightened,
    state: State,
    /// When it began, since 1970.
    since: Duration,
    admin: Admin,
}

/// What is left to do when a successor serves, and the last connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    Exit,
    /// Hold nothing, and wait for a signal: whoever started us would start us again, and that run
    /// would take over from its successor.
    Wait,
}

/// Runs until a signal, a successor or a failure ends it. With a file, it is read again when it
/// changes.
pub fn run(
    settings: Settings,
    slots: Slots,
    file: Option<ConfigFile>,
    retirement: Retirement,
) -> Result<()> {
    require_privileges()?;
    let files = capability::raise_file_limit().context("cannot raise the limit of open files")?;
    let budget = Budget::of(files)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the control loop")?;
    let _inside = runtime.enter();
    // From before the first step, so that no signal leaves half a set-up, and no news is missed.
    let (announcements, successors) = mpsc::channel(1);
    let (desk, questions) = Desk::open();
    let mut events = Events {
        seconds: Seconds::begin(),
        signals: Signals::catch()?,
        hang_ups: HangUps::catch()?,
        news: LinkNews::subscribe()?,
        successors,
        questions,
    };
    let workers = settings.workers.map_or_else(thread::available_parallelism, Ok);
    let workers = workers.context("cannot count the CPUs")?.get();
    let reloading = file.map(Reloading::of).transpose()?;
    let http = settings.admin.http.map(|at| HttpServer::open(at, desk.clone())).transpose()?;
    let (mut steering, listeners) = Steering::start(&settings, workers, slots, announcements)?;
    let admin = Admin { socket: open_socket(&settings, steering.instance(), desk)?, http };
    let mark = steering.upstream_mark();
    let relay = Workers::start(
        &settings,
        budget.connections,
        listeners,
        mark,
        steering.private_namespace(),
    )?;
    steering.take_over()?;
    admin.lead();
    let mut service = Service {
        steering,
        relay,
        budget,
        settings,
        reloading,
        reloads: Reloads::default(),
        tightened: Tightened::default(),
        state: State::Serving,
        since: report::now(),
        admin,
    };
    // Whoever has read `ready` finds everything in its place.
    service.publish();
    service.announce();
    service.steering.keep_holds();
    let stopped = runtime.block_on(service.live(&mut events));
    service.end();
    stopped?;
    if retirement == Retirement::Wait && !events.signals.have_come() {
        say(format_args!("retired: waiting for a signal"));
        runtime.block_on(events.signals.end());
    }
    Ok(())
}

/// Where it is looked at.
#[derive(Debug)]
struct Admin {
    socket: Option<AdminSocket>,
    http: Option<HttpServer>,
}

impl Admin {
    /// Has the socket's path lead here.
    fn lead(&self) {
        if let Some(Err(error)) = self.socket.as_ref().map(AdminSocket::lead) {
            tracing::warn!(error = %format!("{error:#}"), "`foreword reload` will not find this run");
        }
    }
}

/// The usual place may be out of reach, and traffic is worth more than sight; another one was asked
/// for.
fn open_socket(settings: &Settings, instance: u32, desk: Desk) -> Result<Option<AdminSocket>> {
    let Some(path) = &settings.admin.socket else { return Ok(None) };
    match AdminSocket::open(path, instance, desk) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if path == Path::new(defaults::ADMIN_SOCKET) => {
            tracing::warn!(error = %format!("{error:#}"), "`foreword status` will see less");
            Ok(None)
        }
        Err(error) => Err(error),
    }
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

impl Service {
    /// What was attached, in a few lines; the last one says that it works.
    fn announce(&self) {
        let mut lines = self.steering.describe();
        let rules = self.settings.rules.iter();
        lines.extend(rules.map(|rule| format!("rule      {}", describe(rule))));
        let mut advice = self.steering.advice(&self.settings, self.written());
        advice.extend(self.budget.shortage(self.written(), self.settings.limits));
        lines.extend(advice.iter().map(|advice| format!("warning   {advice}")));
        let open = advice::on_firewalls(&self.settings.rules, self.written());
        lines.extend(open.map(|advice| format!("note      {advice}")));
        lines.push(format!("workers   {}", self.relay.count()));
        let limits = self.budget.describe(self.settings.limits, self.relay.limit());
        lines.push(format!("limits    {limits}"));
        lines.push("ready: Ctrl-C drains and detaches".to_owned());
        say(format_args!("{}", lines.join("\n")));
    }

    /// Where the settings were written.
    fn written(&self) -> At<'static> {
        if self.reloading.is_some() { At::File } else { At::Flags }
    }

    /// Serves until there is a reason to end, and ends what new connections are.
    async fn live(&mut self, events: &mut Events) -> Result<()> {
        match self.serve(events).await {
            End::Asked => {}
            End::Succeeded(successor) => self.hand_over(successor, events).await,
            // What can still be served is not worth more than what can't.
            End::Broken => bail!("a worker has stopped; the log says why"),
        }
        self.drain(events).await
    }

    /// Waits for a reason to end, and meanwhile keeps up with interfaces, the configuration and
    /// the maps for sight.
    async fn serve(&mut self, events: &mut Events) -> End {
        loop {
            tokio::select! {
                () = events.signals.end() => return End::Asked,
                Some(successor) = events.successors.recv() => return End::Succeeded(successor),
                () = events.seconds.next() => {
                    if self.relay.has_stopped() {
                        return End::Broken;
                    }
                    self.look_after();
                }
                () = events.news.next() => self.look_again(),
                Some(question) = events.questions.recv() => self.answer(question),
                () = events.hang_ups.next() => self.reload_as_asked(),
                () = reload::changed(self.reloading.as_mut()) => self.reload_if_changed(),
            }
        }
    }

    /// Lets a successor have the interfaces, and takes what is still on its way to us. A signal
    /// does not wait for that.
    async fn hand_over(&mut self, successor: Successor, events: &mut Events) {
        self.state = State::Draining;
        // The successor listens there, too.
        self.admin.http = None;
        say(format_args!("succeeded: another Foreword takes new connections"));
        self.steering.hand_over();
        if let Err(error) = successor.tell_released().await {
            tracing::warn!(%error, "the successor did not wait for an answer");
        }
        let over = Instant::now() + HANDSHAKES;
        loop {
            tokio::select! {
                () = sleep_until(over) => return,
                () = events.signals.end() => return,
                () = events.seconds.next() => self.look_after(),
                Some(question) = events.questions.recv() => self.answer(question),
            }
        }
    }

    /// Follows the node's interfaces. What can't be done now is reported, and no reason to stop.
    fn look_again(&mut self) {
        if let Err(error) = self.steering.look_again() {
            tracing::warn!(error = %format!("{error:#}"), "cannot look at the interfaces");
        }
    }

    /// What is due once a second.
    fn look_after(&mut self) {
        self.relay.look();
        self.publish();
        self.tidy();
    }

    /// What is left over is in nobody's way, and is tried again.
    fn tidy(&mut self) {
        if let Err(error) = self.steering.tidy() {
            tracing::warn!(error = %format!("{error:#}"), "cannot clear away earlier rules");
        }
    }

    /// Sight must never end a run that works.
    fn publish(&mut self) {
        publish(&mut self.steering, &self.relay.counts());
    }

    /// Lets new connections go past us, and waits until ours have ended, the time is up, or a
    /// second signal says that it can't wait.
    async fn drain(&mut self, events: &mut Events) -> Result<()> {
        self.state = State::Draining;
        self.steering.stop_new().context("cannot stop taking connections")?;
        let (live, limit) = (self.relay.counts().live, self.settings.drain_timeout);
        if live > 0 {
            let limit = humantime::format_duration(limit);
            say(format_args!("draining {live} connections for at most {limit}"));
        }
        let deadline = Instant::now() + limit;
        loop {
            // A closed connection may still have bytes on their way to the client.
            if self.relay.counts().live == 0 && !self.steering.is_busy()? {
                return Ok(());
            }
            tokio::select! {
                () = sleep(DRAIN_CHECK) => {}
                () = sleep_until(deadline) => return Ok(()),
                () = events.signals.end() => return Ok(()),
                () = events.seconds.next() => self.look_after(),
                Some(question) = events.questions.recv() => self.answer(question),
            }
        }
    }

    /// Takes everything down, and gives the account.
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
