//! What we have on one interface.

use anyhow::{Context as _, Result};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use proxy_common::names;

use super::hold::{self, Hold};
use super::hook::{self, Clsact, HookUsed};
use super::interface::{NetworkInterface, Role};
use super::lock::InterfaceLock;
use super::object::Object;
use crate::config::settings::GuardHook;
use crate::sys::slots::Slots;

/// What belongs on interfaces, by the settings and the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How to attach to TC.
    pub hook: HookUsed,
    /// Where the guard is to stand; `None`: there is nothing to guard.
    pub guard: Option<GuardHook>,
    /// Whether upstreams answer to clients.
    pub answers: bool,
    /// Whether ports are held while nobody steers.
    pub hold: bool,
}

impl Plan {
    /// Descriptors that must close early when the process dies: at most so many an interface.
    pub const LINKS: usize = 4;
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
    _xdp: Option<XdpLink>,
    hold: Option<Hold>,
    /// A qdisc that we added for the filters above.
    _qdisc: Option<Clsact>,
    /// Where the guard stands, on an interface that has one.
    pub guard: Option<GuardUsed>,
    /// What the interface is for.
    pub role: Role,
    /// The interface.
    pub interface: NetworkInterface,
    _lock: InterfaceLock,
}

impl Attachment {
    /// Attaches what belongs on the interface, what steers last.
    pub fn make(
        object: &mut Object,
        (interface, role): (NetworkInterface, Role),
        lock: InterfaceLock,
        plan: Plan,
        slots: &mut Slots,
    ) -> Result<Self> {
        hook::remove_stale_filters(interface.name());
        let mut attachment = Self {
            tc: Vec::with_capacity(Plan::LINKS),
            _xdp: None,
            hold: None,
            _qdisc: None,
            guard: None,
            role,
            interface,
            _lock: lock,
        };
        attachment
            .fill(object, plan, slots)
            .with_context(|| format!("cannot attach to {}", attachment.interface))?;
        Ok(attachment)
    }

    fn fill(&mut self, object: &mut Object, plan: Plan, slots: &mut Slots) -> Result<()> {
        if plan.hook == HookUsed::Clsact {
            self._qdisc = Clsact::add(self.interface.name())?;
        }
        let first = || plan.hook.first();
        if plan.answers {
            self.attach_tc(object, names::ANSWER, TcAttachType::Ingress, first(), slots)?;
            self.attach_tc(object, names::EGRESS, TcAttachType::Egress, first(), slots)?;
        }
        if self.role != Role::Protected {
            return Ok(());
        }
        if let Some(wanted) = plan.guard {
            let (used, link) = attach_guard(object, &self.interface, wanted, slots)?;
            (self.guard, self._xdp) = (Some(used), link);
        }
        let has_xdp = self._xdp.is_some();
        object.set_nic(self.interface.index(), has_xdp)?;
        self.attach_tc(object, names::STEER, TcAttachType::Ingress, first(), slots)?;
        // From here on steer redirects, so that nothing gets by while the hold is exchanged.
        hold::lift(self.interface.index(), self.interface.name());
        if plan.hold {
            let program = object.program(names::HOLD)?;
            self.hold = Some(Hold::place(program, &self.interface, plan.hook)?);
        }
        Ok(())
    }

    fn attach_tc(
        &mut self,
        object: &mut Object,
        name: &str,
        place: TcAttachType,
        options: TcAttachOptions,
        slots: &mut Slots,
    ) -> Result<()> {
        let program: &mut SchedClassifier = object.program(name)?;
        slots.free_one();
        let id = program.attach_with_options(self.interface.name(), place, options)?;
        self.tc.push(program.take_link(id)?);
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
) -> Result<(GuardUsed, Option<XdpLink>)> {
    let hint = "leave --guard-hook out, or write --guard-hook tc";
    match wanted {
        GuardHook::Tc => Ok((GuardUsed::Tc, None)),
        GuardHook::Native => {
            let link = attach_xdp(object, interface, XdpMode::Driver, slots);
            let link = link.with_context(|| format!("no native XDP on {interface}; {hint}"))?;
            Ok((GuardUsed::Native, Some(link)))
        }
        GuardHook::Generic => {
            let link = attach_xdp(object, interface, XdpMode::Skb, slots);
            let link = link.with_context(|| format!("no generic XDP on {interface}; {hint}"))?;
            Ok((GuardUsed::Generic, Some(link)))
        }
        GuardHook::Auto if interface.suits_native_xdp() => {
            match attach_xdp(object, interface, XdpMode::Driver, slots) {
                Ok(link) => Ok((GuardUsed::Native, Some(link))),
                Err(error) => {
                    tracing::info!(
                        error = %format!("{error:#}"), %interface,
                        "no native XDP; the guard stands in TC"
                    );
                    Ok((GuardUsed::Tc, None))
                }
            }
        }
        GuardHook::Auto => Ok((GuardUsed::Tc, None)),
    }
}

fn attach_xdp(
    object: &mut Object,
    interface: &NetworkInterface,
    mode: XdpMode,
    slots: &mut Slots,
) -> Result<XdpLink> {
    let program: &mut Xdp = object.program(names::GUARD)?;
    slots.free_one();
    let id = program.attach_to_if_index(interface.index(), mode)?;
    Ok(program.take_link(id)?)
}
