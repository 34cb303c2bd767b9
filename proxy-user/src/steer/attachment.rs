//! What we have on one interface.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya::programs::xdp::XdpLink;
use proxy_common::abi::INTERFACE_XDP;
use proxy_common::names::{ANSWER, EGRESS, GUARD, STEER, SYNACK};

use super::classifier::{Classifier, Order};
use super::guard::{GuardUsed, attach_guard, retry_while_busy};
use super::hold::{self, Hold};
use super::hook::{self, Clsact, HookUsed};
use super::instance::Instance;
use super::interface::{NetworkInterface, Role};
use super::lock::{self, DrainingLock, InterfaceLock, TakeoverSocket};
use super::object::Object;
use super::reconcile::{AttachPoint, Component};
use crate::config::settings::GuardHook;
use crate::sys::low_fds::LowFds;

/// How long the kernel may take to free the place of a program that is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// What belongs on interfaces, by the settings and the kernel.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is wanted or not, by itself")]
pub struct Plan {
    /// How to attach to TC.
    pub hook: HookUsed,
    /// Where the guard is to stand; `None`: there is nothing to guard.
    pub guard: Option<GuardHook>,
    /// Whether SYN-ACKs that steering did not make are dropped.
    pub synack: bool,
    /// Whether upstreams answer to clients.
    pub answers: bool,
    /// Whether ports are held while nobody steers.
    pub hold: bool,
    /// Whether pods of this node may be clients of their own.
    pub pods: bool,
}

impl Plan {
    /// Descriptors that must close early when the process dies: at most so many an interface.
    pub const LINKS: usize = 5;

    /// The programs at TC of an interface, in the order in which they are attached: what steers last.
    fn classifiers(self, role: Role) -> impl Iterator<Item = &'static str> {
        let is_protected = role == Role::Protected;
        let all = [
            (SYNACK, self.synack && is_protected),
            (ANSWER, self.answers),
            (EGRESS, self.answers),
            (STEER, is_protected),
        ];
        all.into_iter().filter_map(|(name, is_wanted)| is_wanted.then_some(name))
    }
}

/// Our programs on one interface. Dropped in the order of the fields: steering ends first.
#[derive(Debug)]
pub struct Attachment {
    tc: Vec<Classifier>,
    xdp: Option<XdpLink>,
    hold: Option<Hold>,
    /// A qdisc that we added for the filters above.
    qdisc: Option<Clsact>,
    /// Where the guard stands, on an interface that has one.
    pub guard: Option<GuardUsed>,
    /// What the interface is for.
    pub role: Role,
    /// The interface.
    pub interface: NetworkInterface,
    /// What is told of the interface's sources: `INTERFACE_TRUSTED` and the like.
    sources: u32,
    /// `None`: a predecessor has it still, or a successor has it already.
    lock: Option<InterfaceLock>,
    draining: Option<DrainingLock>,
}

impl Attachment {
    /// Attaches what belongs on the interface, what steers last. Without the lock, it goes before
    /// what a predecessor has there, and is to be [settled](Self::settle) when that lets go.
    pub fn make(
        object: &mut Object,
        (interface, role): (NetworkInterface, Role),
        sources: u32,
        lock: Option<InterfaceLock>,
        plan: Plan,
        low_fds: &mut LowFds,
        instance: &Instance,
    ) -> Result<Self> {
        let mut attachment = Self {
            tc: Vec::with_capacity(Plan::LINKS),
            xdp: None,
            hold: None,
            qdisc: None,
            guard: None,
            role,
            interface,
            sources,
            lock,
            draining: None,
        };
        attachment
            .fill(object, plan, low_fds, instance)
            .with_context(|| format!("cannot attach to {}", attachment.interface))?;
        Ok(attachment)
    }

    fn fill(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
        instance: &Instance,
    ) -> Result<()> {
        let owns = self.lock.is_some();
        hook::clear(&self.interface, self.is_alone());
        if plan.hook == HookUsed::Clsact || plan.hold {
            let (name, index) = (self.interface.name(), self.interface.index());
            self.qdisc = hook::share_clsact((name, index), instance, hold::is_placed(index))?;
        }
        if !self.interface.has_ethernet() {
            object.expect_bare_packets()?;
        }
        let is_protected = self.role == Role::Protected;
        if is_protected {
            self.set_nic_flags(object, self.sources)?;
        }
        if is_protected && owns {
            self.place_guard(object, plan, low_fds, Duration::ZERO)?;
        } else if is_protected && plan.guard.is_some() {
            self.guard = Some(GuardUsed::Tc);
        }
        for name in plan.classifiers(self.role) {
            self.attach_tc(object, name, plan, low_fds)?;
        }
        if is_protected && owns {
            self.place_hold(object, plan, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Whether no other living process has anything on the interface.
    fn is_alone(&self) -> bool {
        self.lock.is_some() && !lock::is_draining(self.interface.index())
    }

    /// Takes in how the interface looks now.
    pub fn see(&mut self, interface: NetworkInterface) {
        if interface.name() != self.interface.name() {
            tracing::info!(
                interface = %self.interface, name = interface.name(),
                "an interface has another name, and is steered on"
            );
        }
        self.interface = interface;
    }

    /// Whether it still is a predecessor's.
    pub fn awaits_lock(&self) -> bool {
        self.lock.is_none()
    }

    /// Takes the interface over that a predecessor has let go of, and attaches what it had to let go
    /// of first; says whether it was to be had.
    pub fn settle(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
        by: &TakeoverSocket,
        patience: Duration,
    ) -> Result<bool> {
        self.lock = InterfaceLock::await_free(&self.interface, by, patience)?;
        if self.lock.is_none() {
            return Ok(false);
        }
        self.draining = None;
        // Of those before it that were killed, something may still be there.
        hook::clear(&self.interface, false);
        if self.role == Role::Protected {
            let guard = self.place_guard(object, plan, low_fds, PATIENCE);
            self.place_hold(object, plan, PATIENCE)?;
            guard?;
        }
        Ok(true)
    }

    /// Lets a successor have what only one can: the lock, and XDP.
    pub fn hand_over(&mut self) {
        if self.lock.is_none() {
            return;
        }
        self.xdp = None;
        self.draining = DrainingLock::set(self.interface.index());
        self.lock = None;
    }

    fn place_guard(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
        patience: Duration,
    ) -> Result<()> {
        let Some(wanted) = plan.guard else { return Ok(()) };
        let (used, link) = attach_guard(object, &self.interface, wanted, low_fds, patience)?;
        // Until steer is told, it looks as well.
        (self.guard, self.xdp) = (Some(used), link);
        self.set_nic_flags(object, self.sources)
    }

    /// Tells steer what the interface's sources are.
    pub fn set_nic_flags(&mut self, object: &mut Object, sources: u32) -> Result<()> {
        self.sources = sources;
        let guard = if self.xdp.is_some() { INTERFACE_XDP } else { 0 };
        object.set_interface(self.interface.index(), sources | guard)
    }

    /// Sees to it that our hold is there, beside an older one, which goes when ours is to be
    /// [kept](Self::persist_hold).
    fn place_hold(&mut self, object: &mut Object, plan: Plan, patience: Duration) -> Result<()> {
        if !plan.hold {
            return Ok(());
        }
        let Self { hold, interface, .. } = self;
        retry_while_busy(patience, &mut || {
            match hold {
                Some(hold) => hold.complete(object, interface, plan.hook)?,
                None => *hold = Some(Hold::place(object, interface, plan.hook)?),
            }
            Ok(())
        })
    }

    fn attach_tc(
        &mut self,
        object: &mut Object,
        name: &'static str,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        let interface = (self.interface.name(), self.interface.index());
        if plan.hook == HookUsed::Clsact {
            hook::ensure_clsact(&mut self.qdisc, interface.0, interface.1)?;
        }
        let order = self.order(name, plan);
        let attached = Classifier::attach(object, name, interface, (plan.hook, order), low_fds)?;
        self.tc.push(attached);
        Ok(())
    }

    /// SYN-ACKs are dropped before the programs of others see them, since one of those may end the
    /// chain; but behind whatever leads answers back to us, be it a program of ours or a predecessor's.
    fn order(&self, name: &str, plan: Plan) -> Order {
        let leads_back = self.tc.iter().any(|classifier| classifier.name == EGRESS);
        let is_behind = name == SYNACK && (leads_back || (plan.answers && self.lock.is_none()));
        if is_behind { Order::Behind } else { Order::First }
    }

    /// What has to be on the interface, and where that is to be looked for.
    pub fn expected(&self, object: &mut Object) -> Result<Vec<(Component, AttachPoint)>> {
        let index = self.interface.index();
        let tc = self.tc.iter().map(|classifier| {
            (Component::Classifier { index, name: classifier.name }, classifier.place())
        });
        let mut expected: Vec<_> = tc.collect();
        if self.xdp.is_some() {
            let program = object.program::<Xdp>(GUARD)?.info()?.id();
            expected.push((Component::Guard { index }, AttachPoint::Xdp { index, program }));
        }
        if self.hold.is_some() {
            expected.extend(hold::expected(object, index)?);
        }
        Ok(expected)
    }

    /// Attaches a program at TC again that somebody has detached.
    pub fn reattach_tc(
        &mut self,
        object: &mut Object,
        name: &'static str,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        // What is left of the old one must not be taken for the new one.
        self.tc.retain(|classifier| classifier.name != name);
        low_fds.refill();
        self.attach_tc(object, name, plan, low_fds)
    }

    /// Has the guard stand again where somebody has detached it. If it can't, steer judges.
    pub fn reattach_guard(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        self.xdp = None;
        self.guard = Some(GuardUsed::Tc);
        low_fds.refill();
        self.set_nic_flags(object, self.sources)?;
        self.place_guard(object, plan, low_fds, Duration::ZERO).or_else(|error| {
            tracing::warn!(
                error = %format!("{error:#}"), interface = %self.interface,
                "the guard stands in TC from now on"
            );
            Ok(())
        })
    }

    /// Places the hold again, of which somebody has removed something.
    pub fn reattach_hold(&mut self, object: &mut Object, plan: Plan) -> Result<()> {
        self.place_hold(object, plan, Duration::ZERO)
    }

    /// From now on what is to outlive the process does, and what an earlier one has left for the
    /// time without one is gone. Of an interface that is a predecessor's or a successor's, nothing is
    /// touched.
    pub fn persist_hold(&mut self) {
        if self.lock.is_none() || self.role != Role::Protected {
            return;
        }
        match &mut self.hold {
            Some(hold) => hold.keep(),
            None => {
                hold::lift(self.interface.index());
            }
        }
    }

    /// Whether its ports stay closed when the process is gone.
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Takes everything down on an interface that is gone or no longer ours, the hold as well.
    pub fn abandon(self) {
        hold::lift(self.interface.index());
    }
}
