//! The two ways of attaching to TC, and what the second one can leave behind.

use std::fmt;
use std::mem;

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::{NlOptions, TcAttachOptions, TcError, qdisc_add_clsact};
use aya::programs::{LinkOrder, TcAttachType};
use aya::util::KernelVersion;
use nix::errno::Errno;
use proxy_common::names::{ANSWER, EGRESS, HOLD, HOLD_TX, RETURN, STEER, SYNACK};

use super::instance::{self, Instance};
use super::interface::NetworkInterface;
use super::netlink::tc::{self, Filter};
use super::netlink::{self, Link};
use super::{chain, lock};
use crate::config::settings::Hook;

/// Our filters' priority on clsact: early, with room before it for a successor.
pub const PRIORITY: u16 = 20;
/// The priority of what stands behind them.
const PRIORITY_BEHIND: u16 = PRIORITY + 1;
/// The first priority there is: a filter of others that ends the chain can't come before it.
const PRIORITY_BEFORE_OTHERS: u16 = 1;

/// The first kernel with tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// Our filters that do nothing without a process.
const IDLE_FILTERS: [&str; 4] = [STEER, ANSWER, EGRESS, SYNACK];

/// Which direction of an interface a program is for.
pub fn direction(program: &str) -> TcAttachType {
    match program {
        STEER | ANSWER | RETURN | HOLD => TcAttachType::Ingress,
        SYNACK | EGRESS | HOLD_TX => TcAttachType::Egress,
        _ => unreachable!("{program} is at TC"),
    }
}

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
    index: u32,
}

impl Clsact {
    /// Sees to it that the interface has one; `None` if it had.
    pub fn add(name: &str, index: u32) -> Result<Option<Self>> {
        match qdisc_add_clsact(name) {
            Ok(()) => Ok(Some(Self { index })),
            Err(error) if is_already_there(&error) => Ok(None),
            Err(error) => {
                // The kernel may have done it, and its answer been lost.
                remove_unused_clsact(index);
                Err(error).with_context(|| format!("cannot add a clsact qdisc to {name}"))
            }
        }
    }
}

/// Sees to it that an interface of the node has a qdisc, for as long as the result lives. One that a
/// predecessor has added is everybody's of us, and whoever is last removes it. A dead one's note may be
/// swept already, while the hold that it `has_left` is still there.
pub fn share_clsact(
    (name, index): (&str, u32),
    instance: &Instance,
    has_left: bool,
) -> Result<Option<Clsact>> {
    let is_predecessors = has_left || instance::is_qdisc_noted(index);
    // Before it is there, so that a sweep finds it whenever we die.
    instance.note_qdisc(index)?;
    let added = Clsact::add(name, index)?;
    if added.is_none() && !is_predecessors {
        instance.forget_qdisc(index)?;
        return Ok(None);
    }
    Ok(Some(added.unwrap_or(Clsact { index })))
}

/// Sees to it that an interface has a qdisc, and keeps it if it was added by that.
pub fn ensure_clsact(ours: &mut Option<Clsact>, name: &str, index: u32) -> Result<()> {
    if let Some(added) = Clsact::add(name, index)? {
        // What we had before has gone, and its value would take this one away.
        mem::forget(ours.replace(added));
    }
    Ok(())
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
        remove_unused_clsact(self.index);
    }
}

/// An empty qdisc does nothing, so failing to remove it is worth a line and no more.
fn remove_unused_clsact(index: u32) {
    let removed = netlink::run(async |handle| tc::remove_unused_clsact(&handle, index).await);
    if let Err(error) = removed {
        tracing::warn!(error = %format!("{error:#}"), index, "a clsact qdisc was left behind");
    }
}

/// Removes the qdisc that a dead instance has noted, unless somebody has a filter on it, or may be
/// about to: whoever has the interface's lock, if that is not the process itself.
pub fn remove_stale_qdisc(index: u32, is_own: bool) {
    let kept = lock::exclude_others(index);
    if is_own || kept.is_some() {
        remove_unused_clsact(index);
    }
}

/// Removes filters, and the qdisc with them if they were the last there; says whether there were any.
/// What can't be removed now is found by the next sweep.
pub fn remove_filters(index: u32, is_meant: impl Fn(&Filter) -> bool + Sync) -> bool {
    let removed = tc::remove_filters(index, is_meant).unwrap_or_else(|error| {
        tracing::debug!(error = %format!("{error:#}"), index, "filters were left behind");
        false
    });
    if removed {
        remove_unused_clsact(index);
    }
    removed
}

/// Removes the filters that dead instances left on an interface. Whoever `is_alone` there, with its
/// lock and nobody who drains, knows that no living process has such a filter.
fn remove_stale_filters(index: u32, is_alone: bool, links: &[Link]) -> bool {
    remove_filters(index, |filter| {
        let is_ours = filter.name.as_deref().is_some_and(|it| can_be_stale(filter.direction, it));
        is_ours
            && chain::runs_program_of_its_name(filter)
            && (is_alone || chain::is_orphaned(filter, links))
    })
}

/// Clears an interface of them before there is anything of our own, and when a predecessor has let
/// go of it.
pub fn clear(interface: &NetworkInterface, is_alone: bool) {
    let links = netlink::run(async |handle| netlink::links(&handle).await).unwrap_or_default();
    remove_stale_filters(interface.index(), is_alone, &links);
}

/// Whether a filter of this name and place is one of those that do nothing without a process.
pub fn can_be_stale(place: TcAttachType, name: &str) -> bool {
    IDLE_FILTERS.contains(&name) && direction(name) == place
}

/// Removes the filters that dead instances left, and returns the interfaces that had one.
pub fn sweep() -> Result<Vec<String>> {
    let mut swept = Vec::new();
    let links = netlink::run(async |handle| netlink::links(&handle).await)?;
    // A lock is tried only where there is something to sweep: another instance may be about to
    // take it for good.
    for link in tc::links_with_filters()? {
        let kept = lock::exclude_others(link.index);
        if remove_stale_filters(link.index, kept.is_some(), &links) {
            swept.push(link.name);
        }
    }
    Ok(swept)
}
