//! The two ways of attaching to TC, and what the second one can leave behind.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::{
    NlOptions, TcAttachOptions, TcError, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, TcAttachType};
use aya::util::KernelVersion;
use nix::errno::Errno;
use proxy_common::names::{ANSWER, EGRESS, STEER, SYNACK};

use super::lock;
use super::netlink;
use crate::config::settings::Hook;

/// Our filters' priority on clsact: early, with room before it for a successor.
pub const PRIORITY: u16 = 20;
/// The priority of what stands behind them.
const PRIORITY_BEHIND: u16 = PRIORITY + 1;
/// The first priority there is: a filter of others that ends the chain can't come before it.
const PRIORITY_BEFORE_OTHERS: u16 = 1;

/// The first kernel with tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// Our filters that do nothing without a process, and where they are.
const IDLE_FILTERS: [(TcAttachType, &str); 4] = [
    (TcAttachType::Ingress, STEER),
    (TcAttachType::Ingress, ANSWER),
    (TcAttachType::Egress, EGRESS),
    (TcAttachType::Egress, SYNACK),
];

/// How we are attached to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookUsed {
    /// tcx links, before all others.
    Tcx,
    /// Filters on clsact.
    Clsact,
}

impl HookUsed {
    /// What was asked for, or the best that this kernel has.
    pub fn choose(wanted: Hook) -> Result<Self> {
        let has_tcx = KernelVersion::current().is_ok_and(|kernel| kernel >= TCX_SINCE);
        match wanted {
            Hook::Tcx if !has_tcx => {
                bail!("--hook tcx needs Linux 6.6 or newer; leave it out, or write --hook clsact")
            }
            Hook::Tcx | Hook::Auto if has_tcx => Ok(Self::Tcx),
            Hook::Clsact | Hook::Tcx | Hook::Auto => Ok(Self::Clsact),
        }
    }

    /// The way to attach by it, before all others.
    pub fn first(self) -> TcAttachOptions {
        match self {
            Self::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Self::Clsact => filter(PRIORITY),
        }
    }

    /// The way to attach by it, behind our own.
    pub fn behind(self) -> TcAttachOptions {
        match self {
            Self::Tcx => TcAttachOptions::TcxOrder(LinkOrder::last()),
            Self::Clsact => filter(PRIORITY_BEHIND),
        }
    }

    /// The ways to attach a filter behind what is attached by it: the better one, and one for where
    /// others have that place. All of tcx comes before all filters.
    pub fn filters_behind(self) -> [TcAttachOptions; 2] {
        let better = match self {
            Self::Tcx => PRIORITY_BEFORE_OTHERS,
            Self::Clsact => PRIORITY_BEHIND,
        };
        [better, PRIORITY_BEHIND].map(filter)
    }
}

fn filter(priority: u16) -> TcAttachOptions {
    TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() })
}

impl fmt::Display for HookUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// A clsact qdisc that we added; dropping it removes it, unless others use it by then.
#[derive(Debug)]
pub struct Clsact {
    interface: String,
}

impl Clsact {
    /// Sees to it that the interface has one; `None` if it had.
    pub fn add(interface: &str) -> Result<Option<Self>> {
        match qdisc_add_clsact(interface) {
            Ok(()) => Ok(Some(Self { interface: interface.to_owned() })),
            Err(error) if is_already_there(&error) => Ok(None),
            Err(error) => {
                // The kernel may have done it, and its answer been lost.
                remove_unused_clsact(interface);
                Err(error).with_context(|| format!("cannot add a clsact qdisc to {interface}"))
            }
        }
    }
}

fn is_already_there(error: &TcError) -> bool {
    match error {
        TcError::AlreadyAttached => true,
        TcError::NetlinkError(error) => error.raw_os_error() == Some(Errno::EEXIST as i32),
        _ => false,
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        remove_unused_clsact(&self.interface);
    }
}

/// An empty qdisc does nothing, so failing to remove it is worth a line and no more.
fn remove_unused_clsact(interface: &str) {
    let removed =
        netlink::here(async |handle| netlink::remove_unused_clsact(&handle, interface).await);
    if let Err(error) = removed {
        tracing::warn!(error = %format!("{error:#}"), interface, "a clsact qdisc was left behind");
    }
}

/// Removes the qdisc that a dead instance has noted, unless somebody has a filter on it, or may be
/// about to: whoever has the interface's lock, if that is not the process itself.
pub fn remove_stale_qdisc(index: u32, is_own: bool) {
    let links = netlink::here(async |handle| netlink::links(&handle).await).unwrap_or_default();
    let Some(link) = links.into_iter().find(|link| link.index == index) else { return };
    let kept = lock::keep_free(index);
    if is_own || kept.is_some() {
        remove_unused_clsact(&link.name);
    }
}

/// Removes every filter of one name, and the qdisc with them if they were the last there; says
/// whether there were any.
pub fn remove_filters(interface: &str, place: TcAttachType, name: &str) -> bool {
    let removed = qdisc_detach_program(interface, place, name).is_ok();
    if removed {
        remove_unused_clsact(interface);
    }
    removed
}

/// Removes the filters that a dead instance left on an interface. Only for whoever holds its lock:
/// no living process has such a filter then.
pub fn remove_stale_filters(interface: &str) -> bool {
    let mut removed = false;
    for (place, name) in IDLE_FILTERS {
        removed |= remove_filters(interface, place, name);
    }
    removed
}

/// Whether a filter of this name and place is one of those.
pub fn can_be_stale(place: TcAttachType, name: &str) -> bool {
    IDLE_FILTERS.contains(&(place, name))
}

/// Removes the filters that dead instances left, and returns the interfaces that had one.
pub fn sweep() -> Result<Vec<String>> {
    let mut swept = Vec::new();
    // A lock is tried only where there is something to sweep: another instance may be about to
    // take it for good.
    for link in netlink::links_with_filters()? {
        let Some(_kept) = lock::keep_free(link.index) else { continue };
        if remove_stale_filters(&link.name) {
            swept.push(link.name);
        }
    }
    Ok(swept)
}
