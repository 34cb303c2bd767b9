//! The two ways of attaching to TC: tcx links, and filters on a clsact qdisc.

use std::fmt;

use aya::programs::tc::{NlOptions, TcAttachOptions};
use aya::programs::{LinkOrder, TcAttachType};
use aya::util::KernelVersion;
use proxy_common::names::{ANSWER, EGRESS, HOLD, HOLD_TX, RETURN, STEER, SYNACK};

use super::refusal::Refusal;
use crate::config::settings::Hook;

/// The priority of our filters on clsact: early, with room before it for others.
pub const PRIORITY: u16 = 20;
/// The priority of what comes behind them.
const PRIORITY_BEHIND: u16 = PRIORITY + 1;
/// The lowest priority there is: no filter that ends the chain can come before it.
const PRIORITY_BEFORE_OTHERS: u16 = 1;

/// The first kernel with tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// Those of our filters that do nothing without a process.
const IDLE_FILTERS: [&str; 4] = [STEER, ANSWER, EGRESS, SYNACK];

/// The direction of an interface that a program is for.
pub fn direction(program: &str) -> TcAttachType {
    match program {
        STEER | ANSWER | RETURN | HOLD => TcAttachType::Ingress,
        SYNACK | EGRESS | HOLD_TX => TcAttachType::Egress,
        _ => unreachable!("{program} is at TC"),
    }
}

/// Whether a filter with this name and direction is one of those that do nothing without a process.
pub fn can_be_stale(at: TcAttachType, name: &str) -> bool {
    IDLE_FILTERS.contains(&name) && direction(name) == at
}

/// Whether this kernel has tcx.
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= TCX_SINCE)
}

/// How we are attached to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookUsed {
    /// By tcx links, before all others.
    Tcx,
    /// By filters on clsact.
    Clsact,
}

impl HookUsed {
    /// What the settings ask for, or the best that this kernel has.
    pub fn choose(wanted: Hook) -> Result<Self, Refusal> {
        match (wanted, has_tcx()) {
            (Hook::Tcx, false) => Err(Refusal::NoTcx),
            (Hook::Tcx | Hook::Auto, true) => Ok(Self::Tcx),
            (Hook::Clsact, _) | (Hook::Auto, false) => Ok(Self::Clsact),
        }
    }

    /// Attaches before all others.
    pub fn first(self) -> TcAttachOptions {
        match self {
            Self::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Self::Clsact => filter(PRIORITY),
        }
    }

    /// Attaches behind our own.
    pub fn behind(self) -> TcAttachOptions {
        match self {
            Self::Tcx => TcAttachOptions::TcxOrder(LinkOrder::last()),
            Self::Clsact => filter(PRIORITY_BEHIND),
        }
    }

    /// Two ways to attach a filter behind what is attached by this hook: the better one, and one for
    /// when that priority is taken. All tcx links come before all filters.
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
