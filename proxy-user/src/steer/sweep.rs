//! Removes what dead instances have left. What steers ends with its process; what can be left are
//! pinned maps, an idle veth, an empty cgroup and, on clsact, filters that find no socket and pass
//! everything. A hold is left on purpose.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use super::{clsact, hold, instance, lock, netlink, veth};
use crate::sys::cgroup;

/// What was removed.
#[derive(Debug, Default)]
pub struct Swept {
    pins: Vec<PathBuf>,
    links: Vec<String>,
    cgroups: Vec<PathBuf>,
    filters: Vec<String>,
    holds: Vec<String>,
}

impl Swept {
    /// Whether there was nothing.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
            && self.links.is_empty()
            && self.cgroups.is_empty()
            && self.filters.is_empty()
            && self.holds.is_empty()
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for interface in &self.holds {
            writeln!(f, "lifted the hold on {interface}: its ports are open again")?;
        }
        for filter in &self.filters {
            writeln!(f, "removed a filter from {filter}")?;
        }
        for link in &self.links {
            writeln!(f, "removed the link {link}")?;
        }
        for directory in self.pins.iter().chain(&self.cgroups) {
            writeln!(f, "removed {}", directory.display())?;
        }
        Ok(())
    }
}

/// Removes everything that dead instances have left, their holds included.
pub fn everything() -> Result<Swept> {
    let swept = dead_instances(&[])?;
    Ok(Swept { holds: hold::sweep()?, ..swept })
}

/// Removes everything that dead instances have left, except holds. Links, filters and qdiscs are looked
/// for in the process's own network namespace only. `own` are the interfaces that the process itself
/// has locked.
pub fn dead_instances(own: &[u32]) -> Result<Swept> {
    lock::sweep();
    let is_stale = |number| !instance::is_alive(number);
    let filters = clsact::sweep_filters()?;
    let links = netlink::run(async |handle| {
        let mut removed = Vec::new();
        for link in netlink::links(&handle).await? {
            // The kernel removes a dead namespace's links, too, and may be faster.
            if veth::instance_of(&link).is_some_and(is_stale)
                && netlink::delete(&handle, link.index).await.is_ok()
            {
                removed.push(link.name);
            }
        }
        Ok(removed)
    })?;
    // Without cgroup2 there is nothing to sweep.
    let cgroups = cgroup::sweep(is_stale).unwrap_or_default();
    clsact::sweep_qdiscs(own);
    let pins = instance::sweep()?;
    Ok(Swept { pins, links, cgroups, filters, holds: Vec::new() })
}
