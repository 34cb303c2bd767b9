//! What we have on one interface.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use nix::errno::Errno;
use proxy_common::abi::NIC_XDP;
use proxy_common::names;

use super::hold::{self, Hold};
use super::hook::{self, Clsact, HookUsed};
use super::interface::{NetworkInterface, Role};
use super::lock::{self, DrainingMark, InterfaceLock, TakeoverSocket};
use super::object::Object;
use super::pins::Instance;
use crate::config::settings::GuardHook;
use crate::sys::slots::Slots;

/// How long the kernel may take to free the place of a program that is gone.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often that is tried.
const RETRY: Duration = Duration::from_millis(10);

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
}

/// Where the guard stands on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardUsed {
    /// In the driver.
    Native,
    /// In the kernel's generic XDP.
    Generic,
    /// In steer.
    Tc,
}

impl GuardUsed {
    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tc => "in TC",
        }
    }
}

/// Our programs on one interface. Dropped in the order of the fields: steering ends first.
#[derive(Debug)]
pub struct Attachment {
    tc: Vec<SchedClassifierLink>,
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
    /// What is told of the interface's sources: `NIC_TRUSTED` and the like.
    sources: u32,
    /// `None`: a predecessor has it still, or a successor has it already.
    lock: Option<InterfaceLock>,
    draining: Option<DrainingMark>,
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
        slots: &mut Slots,
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
            .fill(object, plan, slots, instance)
            .with_context(|| format!("cannot attach to {}", attachment.interface))?;
        Ok(attachment)
    }

    fn fill(
        &mut self,
        object: &mut Object,
        plan: Plan,
        slots: &mut Slots,
        instance: &Instance,
    ) -> Result<()> {
        let owns = self.lock.is_some();
        if self.is_alone() {
            hook::remove_stale_filters(self.interface.name());
        }
        if plan.hook == HookUsed::Clsact || plan.hold {
            instance.note_qdisc(self.interface.index())?;
        }
        if plan.hook == HookUsed::Clsact {
            self.qdisc = Clsact::add(self.interface.name())?;
        }
        if !self.interface.has_ethernet() {
            object.expect_bare_packets()?;
        }
        if plan.synack && self.role == Role::Protected {
            // Before the programs of others, since one of them may end the chain; but behind whatever
            // leads answers back to us, be it the program below or a predecessor's.
            let is_behind = plan.answers && !owns;
            let order = if is_behind { plan.hook.behind() } else { plan.hook.first() };
            let how = (plan.hook, order);
            self.attach_tc(object, names::SYNACK, TcAttachType::Egress, how, slots)?;
        }
        let first = || (plan.hook, plan.hook.first());
        if plan.answers {
            self.attach_tc(object, names::ANSWER, TcAttachType::Ingress, first(), slots)?;
            self.attach_tc(object, names::EGRESS, TcAttachType::Egress, first(), slots)?;
        }
        if self.role != Role::Protected {
            return Ok(());
        }
        self.tell_of_sources(object, self.sources)?;
        if owns {
            self.put_guard(object, plan, slots, Duration::ZERO)?;
        } else if plan.guard.is_some() {
            self.guard = Some(GuardUsed::Tc);
        }
        self.attach_tc(object, names::STEER, TcAttachType::Ingress, first(), slots)?;
        if owns {
            self.put_hold(object, plan, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Whether no other living process has anything on the interface.
    fn is_alone(&self) -> bool {
        self.lock.is_some() && !lock::is_draining(self.interface.index())
    }

    /// Whether it still is a predecessor's.
    pub fn is_waiting(&self) -> bool {
        self.lock.is_none()
    }

    /// Takes the interface over that a predecessor has let go of, and attaches what it had to let go
    /// of first; says whether it was to be had.
    pub fn settle(
        &mut self,
        object: &mut Object,
        plan: Plan,
        slots: &mut Slots,
        by: &TakeoverSocket,
        patience: Duration,
    ) -> Result<bool> {
        self.lock = InterfaceLock::await_free(&self.interface, by, patience)?;
        if self.lock.is_none() {
            return Ok(false);
        }
        self.draining = None;
        if self.role == Role::Protected {
            let guard = self.put_guard(object, plan, slots, PATIENCE);
            self.put_hold(object, plan, PATIENCE)?;
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
        self.draining = DrainingMark::set(self.interface.index());
        self.lock = None;
    }

    fn put_guard(
        &mut self,
        object: &mut Object,
        plan: Plan,
        slots: &mut Slots,
        patience: Duration,
    ) -> Result<()> {
        let Some(wanted) = plan.guard else { return Ok(()) };
        let (used, link) = attach_guard(object, &self.interface, wanted, slots, patience)?;
        // Until steer is told, it looks as well.
        (self.guard, self.xdp) = (Some(used), link);
        self.tell_of_sources(object, self.sources)
    }

    /// Tells steer what the interface's sources are.
    pub fn tell_of_sources(&mut self, object: &mut Object, sources: u32) -> Result<()> {
        self.sources = sources;
        let guard = if self.xdp.is_some() { NIC_XDP } else { 0 };
        object.set_nic(self.interface.index(), sources | guard)
    }

    /// Steer redirects by now, so that nothing gets by while an older hold is exchanged.
    fn put_hold(&mut self, object: &mut Object, plan: Plan, patience: Duration) -> Result<()> {
        hold::lift(self.interface.index(), self.interface.name());
        if plan.hold {
            let mut place = || Hold::place(object, &self.interface, plan.hook);
            self.hold = Some(once_free(patience, &mut place)?);
        }
        Ok(())
    }

    fn attach_tc(
        &mut self,
        object: &mut Object,
        name: &str,
        place: TcAttachType,
        (hook, order): (HookUsed, TcAttachOptions),
        slots: &mut Slots,
    ) -> Result<()> {
        let program: &mut SchedClassifier = object.program(name)?;
        slots.free_one();
        match program.attach_with_options(self.interface.name(), place, order) {
            Ok(id) => self.tc.push(program.take_link(id)?),
            Err(error) => {
                // The kernel may have done it, and its answer been lost. A predecessor's filters
                // have the same names, and are left alone.
                if hook == HookUsed::Clsact && self.is_alone() {
                    hook::remove_filters(self.interface.name(), place, name);
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// From now on what is to outlive the process does.
    pub fn keep_hold(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.keep();
        }
    }

    /// Whether its ports stay closed when the process is gone.
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Takes everything down on an interface that is gone or no longer ours, the hold as well.
    pub fn abandon(self) {
        hold::lift(self.interface.index(), self.interface.name());
    }
}

/// Puts the guard where it was asked for, or says why it can't stand there.
fn attach_guard(
    object: &mut Object,
    interface: &NetworkInterface,
    wanted: GuardHook,
    slots: &mut Slots,
    patience: Duration,
) -> Result<(GuardUsed, Option<XdpLink>)> {
    let (used, mode) = match wanted {
        GuardHook::Native => (GuardUsed::Native, XdpMode::Driver),
        // The kernel copies a packet for it and forgets how long its Ethernet header is, so that TC
        // sees the packet from its IP header on.
        GuardHook::Generic => {
            object.expect_bare_packets()?;
            (GuardUsed::Generic, XdpMode::Skb)
        }
        GuardHook::Auto if interface.suits_native_xdp() => (GuardUsed::Native, XdpMode::Driver),
        GuardHook::Auto | GuardHook::Tc => return Ok((GuardUsed::Tc, None)),
    };
    match attach_xdp(object, interface, mode, slots, patience) {
        Ok(link) => Ok((used, Some(link))),
        Err(error) if wanted == GuardHook::Auto => {
            let error = format!("{error:#}");
            tracing::info!(error, %interface, "no native XDP; the guard stands in TC");
            Ok((GuardUsed::Tc, None))
        }
        Err(error) => Err(error.context(format!(
            "no {} on {interface}; leave --guard-hook out, or write --guard-hook tc",
            used.describe()
        ))),
    }
}

fn attach_xdp(
    object: &mut Object,
    interface: &NetworkInterface,
    mode: XdpMode,
    slots: &mut Slots,
    patience: Duration,
) -> Result<XdpLink> {
    let program: &mut Xdp = object.program(names::GUARD)?;
    slots.free_one();
    let mut attach = || Ok(program.attach_to_if_index(interface.index(), mode)?);
    let id = once_free(patience, &mut attach)?;
    Ok(program.take_link(id)?)
}

/// Does what needs a place that somebody has just left: the kernel takes a link away a little after
/// its last file is closed, be it a dead process's or our own.
fn once_free<T>(patience: Duration, attempt: &mut dyn FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let result = attempt();
        match &result {
            Err(error) if is_taken(error) && Instant::now() < deadline => sleep(RETRY),
            _ => return result,
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| {
        let number = cause.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EBUSY | Errno::EEXIST))
    })
}
