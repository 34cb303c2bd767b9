//! Our programs on one interface of the node.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya::programs::xdp::XdpLink;
use proxy_common::abi::INTERFACE_XDP;
use proxy_common::names::{EGRESS, GUARD, SYNACK};

use super::classifier::{Classifier, Order};
use super::clsact::{self, Clsact};
use super::guard::{attach_guard, retry_while_busy};
use super::hold::{self, Hold};
use super::hook::HookUsed;
use super::interface::{NetworkInterface, Role};
use super::lock::{self, DrainingLock, InterfaceLock, TakeoverSocket};
use super::object::Object;
use super::plan::Plan;
use super::reconcile::{AttachPoint, Component};
use super::refusal::GuardUsed;
use crate::sys::low_fds::LowFds;

/// How long the kernel may take to free the place of a program that is gone.
const FREEING_TIMEOUT: Duration = Duration::from_secs(1);

/// Our programs on one interface. They are dropped in the order of the fields: steering ends first.
#[derive(Debug)]
pub struct Attachment {
    tc: Vec<Classifier>,
    xdp: Option<XdpLink>,
    hold: Option<Hold>,
    /// A qdisc that we added for the filters above.
    qdisc: Option<Clsact>,
    /// Where the guard runs, on an interface that has one.
    pub guard: Option<GuardUsed>,
    /// What the interface is for.
    pub role: Role,
    /// The interface.
    pub interface: NetworkInterface,
    /// What the programs know of the interface's sources: `INTERFACE_TRUSTED` and the like.
    interface_flags: u32,
    /// `None` while a predecessor still has it, or once a successor has it.
    lock: Option<InterfaceLock>,
    draining: Option<DrainingLock>,
}

impl Attachment {
    /// Attaches the interface's programs, `foreword_steer` last. Without the lock, they come before a
    /// predecessor's, and the rest is attached by [`take_lock`](Self::take_lock) once that lets go.
    pub fn attach(
        object: &mut Object,
        (interface, role): (NetworkInterface, Role),
        interface_flags: u32,
        lock: Option<InterfaceLock>,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<Self> {
        let mut attachment = Self {
            tc: Vec::with_capacity(Plan::LINKS),
            xdp: None,
            hold: None,
            qdisc: None,
            guard: None,
            role,
            interface,
            interface_flags,
            lock,
            draining: None,
        };
        attachment
            .attach_programs(object, plan, low_fds)
            .with_context(|| format!("cannot attach to {}", attachment.interface))?;
        Ok(attachment)
    }

    fn attach_programs(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        let has_lock = self.lock.is_some();
        clsact::clear(&self.interface, self.is_alone());
        if plan.hook == HookUsed::Clsact || plan.hold {
            self.qdisc = Clsact::share(self.interface.name(), self.interface.index())?;
        }
        if !self.interface.has_ethernet() {
            object.expect_bare_packets()?;
        }
        let is_protected = self.role == Role::Protected;
        if is_protected {
            self.set_interface_flags(object, self.interface_flags)?;
        }
        if is_protected && has_lock {
            self.attach_guard(object, plan, low_fds, Duration::ZERO)?;
        } else if is_protected && plan.guard.is_some() {
            self.guard = Some(GuardUsed::Tc);
        }
        for name in plan.classifiers(self.role) {
            self.attach_tc(object, name, plan, low_fds)?;
        }
        if is_protected && has_lock {
            self.attach_hold(object, plan, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Whether no other living instance has anything on the interface.
    fn is_alone(&self) -> bool {
        self.lock.is_some() && !lock::is_draining(self.interface.index())
    }

    /// Notes the interface's current properties.
    pub fn update_interface(&mut self, interface: NetworkInterface) {
        if interface.name() != self.interface.name() {
            tracing::info!(
                interface = %self.interface, name = interface.name(),
                "an interface has another name, and is steered on"
            );
        }
        self.interface = interface;
    }

    /// Whether another instance has the interface's lock.
    pub fn awaits_lock(&self) -> bool {
        self.lock.is_none()
    }

    /// Takes the lock that another instance has released, and attaches what only its owner can;
    /// returns whether the lock was free.
    pub fn take_lock(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
        by: &TakeoverSocket,
        timeout: Duration,
    ) -> Result<bool> {
        self.lock = InterfaceLock::await_free(&self.interface, by, timeout)?;
        if self.lock.is_none() {
            return Ok(false);
        }
        self.draining = None;
        // Other predecessors may have been killed.
        clsact::clear(&self.interface, false);
        if self.role == Role::Protected {
            let guard = self.attach_guard(object, plan, low_fds, FREEING_TIMEOUT);
            self.attach_hold(object, plan, FREEING_TIMEOUT)?;
            guard?;
        }
        Ok(true)
    }

    /// Releases what a successor can't share: the lock, and XDP.
    pub fn hand_over(&mut self) {
        if self.lock.is_none() {
            return;
        }
        self.xdp = None;
        self.draining = DrainingLock::take(self.interface.index());
        self.lock = None;
    }

    fn attach_guard(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
        timeout: Duration,
    ) -> Result<()> {
        let Some(wanted) = plan.guard else { return Ok(()) };
        let (used, link) = attach_guard(object, &self.interface, wanted, low_fds, timeout)?;
        // Until foreword_steer is told that XDP judges, both do.
        (self.guard, self.xdp) = (Some(used), link);
        self.set_interface_flags(object, self.interface_flags)
    }

    /// Tells the programs what is behind the interface.
    pub fn set_interface_flags(&mut self, object: &mut Object, flags: u32) -> Result<()> {
        self.interface_flags = flags;
        let guard = if self.xdp.is_some() { INTERFACE_XDP } else { 0 };
        object.set_interface(self.interface.index(), flags | guard)
    }

    /// Attaches what is missing of our hold, beside an older one, which is removed when ours is
    /// [persisted](Self::persist_hold).
    fn attach_hold(&mut self, object: &mut Object, plan: Plan, timeout: Duration) -> Result<()> {
        if !plan.hold {
            return Ok(());
        }
        let Self { hold, interface, .. } = self;
        retry_while_busy(timeout, &mut || {
            match hold {
                Some(hold) => hold.complete(object, interface, plan.hook)?,
                None => *hold = Some(Hold::attach(object, interface, plan.hook)?),
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
            Clsact::replace(&mut self.qdisc, Clsact::share(interface.0, interface.1)?);
        }
        let order = self.order(name, plan);
        let attached = Classifier::attach(object, name, interface, (plan.hook, order), low_fds)?;
        self.tc.push(attached);
        Ok(())
    }

    /// `foreword_synack` comes before the programs of others, since one of those may end the chain; but
    /// behind `foreword_egress`, ours or a predecessor's, which leads answers back to us.
    fn order(&self, name: &str, plan: Plan) -> Order {
        let has_egress = self.tc.iter().any(|classifier| classifier.name == EGRESS);
        let is_behind = name == SYNACK && (has_egress || (plan.answers && self.lock.is_none()));
        if is_behind { Order::Behind } else { Order::First }
    }

    /// What must be attached to the interface, and where.
    pub fn expected(&self, object: &mut Object) -> Result<Vec<(Component, AttachPoint)>> {
        let index = self.interface.index();
        let tc = self.tc.iter().map(|classifier| {
            (Component::Classifier { index, name: classifier.name }, classifier.attach_point())
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

    /// Attaches a TC program again that somebody has detached.
    pub fn reattach_tc(
        &mut self,
        object: &mut Object,
        name: &'static str,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        // Before the new one is there, which dropping the old one could detach.
        self.tc.retain(|classifier| classifier.name != name);
        low_fds.refill();
        self.attach_tc(object, name, plan, low_fds)
    }

    /// Attaches the guard again that somebody has detached. If that fails, `foreword_steer` judges.
    pub fn reattach_guard(
        &mut self,
        object: &mut Object,
        plan: Plan,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        self.xdp = None;
        self.guard = Some(GuardUsed::Tc);
        low_fds.refill();
        self.set_interface_flags(object, self.interface_flags)?;
        self.attach_guard(object, plan, low_fds, Duration::ZERO).or_else(|error| {
            tracing::warn!(
                error = %format!("{error:#}"), interface = %self.interface,
                "the guard stands in TC from now on"
            );
            Ok(())
        })
    }

    /// Attaches what somebody has removed of the hold.
    pub fn reattach_hold(&mut self, object: &mut Object, plan: Plan) -> Result<()> {
        self.attach_hold(object, plan, Duration::ZERO)
    }

    /// Lets our hold outlive the process from now on, and removes what earlier processes have left.
    /// If another instance has the interface, nothing is touched.
    pub fn persist_hold(&mut self) {
        if self.lock.is_none() || self.role != Role::Protected {
            return;
        }
        match &mut self.hold {
            Some(hold) => hold.persist(),
            None => {
                hold::remove(self.interface.index());
            }
        }
    }

    /// Whether its ports stay closed when the process is gone.
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Removes everything from an interface that is gone or no longer ours, the hold as well.
    pub fn remove(self) {
        hold::remove(self.interface.index());
    }
}
