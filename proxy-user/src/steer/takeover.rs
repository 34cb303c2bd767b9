//! Both sides of a takeover.
//!
//! The successor attaches before it asks, so that new connections are its own whatever the answer is.
//! The predecessor trusts only what it sees: it releases its locks if the successor's `foreword_steer`
//! comes before its own, and takes them back if the successor ends too early.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aya::programs::SchedClassifier;
use proxy_common::names::STEER;

use super::attachment::Attachment;
use super::interface::Role;
use super::lock::{self, ListenerLock, Owner, Predecessor, PredecessorState, Request, Successor};
use super::{Steering, chain};
use crate::config::times::{LONGEST_TAKEOVER, STUCK};
use crate::sys::fdinfo;

/// How long a dead successor's locks may take to be free.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two tries with a process that is about to listen, or to end.
const RETRY: Duration = Duration::from_millis(10);

impl Steering {
    /// Has predecessors release the interfaces, and end when their connections do. An instance that
    /// answers HTTP at `listener` passes on that listener. To be called when everything else works.
    ///
    /// A predecessor that does not answer is left to [`Steering::continue_takeover`]: new connections
    /// are ours in any case. One that refuses is an error.
    pub fn take_over(&mut self, listener: Option<SocketAddr>) -> Result<Option<OwnedFd>> {
        let deadline = Instant::now() + LONGEST_TAKEOVER;
        let mut passed = None;
        loop {
            let wanted = listener.filter(|_| passed.is_none());
            passed = passed.or(self.ask_predecessors(wanted, STUCK)?);
            if !self.is_incomplete(listener.filter(|_| passed.is_none()))? {
                return Ok(passed);
            }
            if self.warn_of_stuck() {
                return Ok(passed);
            }
            if Instant::now() > deadline {
                bail!("{} was not let go; stop the Foreword that steers it", self.missing());
            }
            sleep(RETRY);
        }
    }

    /// Whether a predecessor has not answered yet.
    pub fn awaits_predecessor(&self) -> bool {
        self.predecessors.iter().any(|asked| asked.state() == PredecessorState::Silent)
    }

    /// Tells predecessors that we serve, so that they can drain.
    pub fn tell_serving(&self) {
        let released =
            self.predecessors.iter().filter(|asked| asked.state() == PredecessorState::Released);
        released.for_each(Predecessor::tell_serving);
    }

    /// Takes what predecessors that were stuck have released by now; returns a listener that one passes
    /// on.
    pub fn continue_takeover(&mut self, listener: Option<SocketAddr>) -> Result<Option<OwnedFd>> {
        self.predecessors
            .retain_mut(|asked| asked.state() != PredecessorState::Released || !asked.has_ended());
        if !self.is_incomplete(listener)? {
            return Ok(None);
        }
        let passed = self.ask_predecessors(listener, Duration::ZERO)?;
        self.persist_holds();
        self.tell_serving();
        Ok(passed)
    }

    /// Asks all instances that have something we want, and takes what is free by then.
    fn ask_predecessors(
        &mut self,
        listener: Option<SocketAddr>,
        timeout: Duration,
    ) -> Result<Option<OwnedFd>> {
        self.forget_ended();
        let interfaces = self.attachments.keys().copied().collect();
        let request = Request { interfaces, listener };
        for owner in self.owners(listener)? {
            if !self.predecessors.iter().any(|asked| is_asked(asked, &owner)) {
                let steer: &mut SchedClassifier = self.object.program(STEER)?;
                let asked = Predecessor::ask(owner, &request, steer.fd()?.as_fd())?;
                self.predecessors.extend(asked);
            }
        }
        let deadline = Instant::now() + timeout;
        let mut passed = None;
        for asked in &mut self.predecessors {
            passed = passed.or(asked.await_answer(deadline).with_context(|| {
                let names = self.attachments.values().filter(|one| one.awaits_lock());
                format!("cannot take {} over", listed(names))
            })?);
        }
        self.forget_ended();
        self.take_free_locks()?;
        Ok(passed)
    }

    fn forget_ended(&mut self) {
        self.predecessors.retain(|asked| asked.state() != PredecessorState::Gone);
    }

    /// Closes the connections to predecessors. One that can still serve again does.
    pub fn forget_predecessors(&mut self) {
        self.predecessors.clear();
    }

    /// Takes the locks that are free, or that their owners have released.
    fn take_free_locks(&mut self) -> Result<()> {
        for (index, attachment) in &mut self.attachments {
            if !attachment.awaits_lock() {
                continue;
            }
            let owner = lock::owner(*index)?;
            let is_stuck = |asked: &Predecessor| {
                asked.state() == PredecessorState::Silent && Some(&asked.owner) == owner.as_ref()
            };
            if !self.predecessors.iter().any(is_stuck) {
                let Self { object, plan, low_fds, socket, .. } = self;
                attachment.take_lock(object, *plan, low_fds, socket, Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// The instances that have one of our interfaces, or listen where we want to.
    fn owners(&self, listener: Option<SocketAddr>) -> Result<BTreeSet<Owner>> {
        let mut owners = BTreeSet::new();
        for (index, attachment) in &self.attachments {
            if attachment.awaits_lock() {
                owners.extend(lock::owner(*index)?);
            }
        }
        if let Some(address) = listener {
            owners.extend(lock::listener_owner(address)?);
        }
        Ok(owners)
    }

    fn is_incomplete(&self, listener: Option<SocketAddr>) -> Result<bool> {
        let has_listener =
            |address| Ok::<_, anyhow::Error>(lock::listener_owner(address)?.is_some());
        Ok(self.attachments.values().any(Attachment::awaits_lock)
            || listener.map_or(Ok(false), has_listener)?)
    }

    fn missing(&self) -> String {
        listed(self.attachments.values().filter(|attachment| attachment.awaits_lock()))
    }

    /// Warns about predecessors that have not answered; returns whether there are any.
    fn warn_of_stuck(&self) -> bool {
        let stuck =
            self.predecessors.iter().filter(|asked| asked.state() == PredecessorState::Silent);
        stuck
            .map(|asked| {
                tracing::warn!(
                    "the Foreword that was there{} is stuck: it does not answer; new connections \
                     are taken here, its own wait for it; end it if it does not wake up",
                    asked.pid_suffix()
                );
            })
            .count()
            > 0
    }

    /// Checks that a successor's `foreword_steer` comes before our own on each interface that we share.
    pub fn verify_successor(&mut self, successor: &Successor) -> Result<()> {
        let shown = successor.program.as_ref().context("it has shown no program of its own")?;
        let theirs = fdinfo::program_id(shown)?.context("what it has shown is no program")?;
        let steer: &mut SchedClassifier = self.object.program(STEER)?;
        let ours = steer.info()?.id();
        let asked = self
            .attachments
            .iter()
            .filter(|(index, _)| successor.request.interfaces.contains(index));
        let asked: Vec<_> = asked.map(|(_, attachment)| attachment).collect();
        if asked.is_empty() {
            bail!("I steer none of its interfaces");
        }
        for attachment in asked.into_iter().filter(|one| one.role == Role::Protected) {
            chain::require_before(&attachment.interface, theirs, ours)?;
        }
        Ok(())
    }

    /// The interfaces that a successor does not ask for, so that nobody steers them after the takeover.
    pub fn interfaces_left_by(&self, successor: &Successor) -> Option<String> {
        let left: Vec<_> = self
            .attachments
            .iter()
            .filter(|(index, one)| {
                one.role == Role::Protected && !successor.request.interfaces.contains(index)
            })
            .map(|(_, one)| one)
            .collect();
        (!left.is_empty()).then(|| listed(left))
    }

    /// Releases what a successor can't share. It steers new connections from now on, and we keep
    /// steering our own.
    pub fn hand_over(&mut self) {
        self.attachments.values_mut().for_each(Attachment::hand_over);
    }

    /// Takes back what was handed over, since the successor has ended. Returns whether anything is ours
    /// again: another instance may have been faster.
    pub fn take_back(&mut self) -> bool {
        let mut any = false;
        let Self { attachments, object, plan, low_fds, socket, .. } = self;
        for attachment in attachments.values_mut() {
            match attachment.take_lock(object, *plan, low_fds, socket, RELEASE_TIMEOUT) {
                Ok(true) => any = true,
                Ok(false) => tracing::warn!(
                    interface = %attachment.interface, "another Foreword steers it by now"
                ),
                // It is steered all the same, and that is worth more than what failed.
                Err(error) => {
                    any |= !attachment.awaits_lock();
                    tracing::error!(
                        error = %format!("{error:#}"), interface = %attachment.interface,
                        "cannot take everything back"
                    );
                }
            }
        }
        self.persist_holds();
        any
    }

    /// Says that we answer HTTP, so that a successor asks us for the listener.
    pub fn claim_listener(&self, address: SocketAddr) -> Option<ListenerLock> {
        let claimed = ListenerLock::take(address, &self.socket);
        claimed.unwrap_or_else(|error| {
            tracing::warn!(error = %format!("{error:#}"), "no successor will find the listener");
            None
        })
    }
}

fn is_asked(asked: &Predecessor, owner: &Owner) -> bool {
    asked.owner == *owner && asked.state() == PredecessorState::Silent
}

fn listed<'a>(attachments: impl IntoIterator<Item = &'a Attachment>) -> String {
    let names = attachments.into_iter().map(|one| one.interface.name());
    let names: Vec<_> = names.collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
