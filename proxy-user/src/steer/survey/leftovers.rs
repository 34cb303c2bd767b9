//! What a cleanup would remove, without removing it.

use std::path::PathBuf;

use aya::programs::TcAttachType;

use super::super::netlink::Link;
use super::super::{hook, instance, lock, veth};
use super::programs;
use crate::sys::cgroup;
use crate::sys::fact::{Fact, Unknown};

/// What instances that were killed have left. All of it is idle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Folders of pinned maps.
    pub pins: Vec<PathBuf>,
    /// Host ends of veths.
    pub links: Vec<String>,
    /// Cgroups.
    pub cgroups: Vec<PathBuf>,
    /// Interfaces with filters on clsact.
    pub filters: Vec<String>,
}

impl Leftovers {
    /// Looks for everything. Without the right to see which instances are alive, nothing can be told.
    pub fn find(links: &[Link]) -> Fact<Self> {
        let pins = instance::dead().map_err(|error| Unknown::because(format!("{error:#}")))?;
        let is_stale = |number| !instance::is_alive(number);
        let stale = links.iter().filter(|link| veth::instance_of(link).is_some_and(is_stale));
        let filtered = links.iter().filter(|link| has_stale_filter(link));
        Ok(Self {
            pins,
            links: stale.map(|link| link.name.clone()).collect(),
            cgroups: cgroup::stale(is_stale).unwrap_or_default(),
            filters: filtered.map(|link| link.name.clone()).collect(),
        })
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn has_stale_filter(link: &Link) -> bool {
    let [ingress, egress] = programs::filters(link.index);
    let ours = |filters: Fact<Vec<programs::Program>>, place| {
        filters.iter().flatten().any(|filter| hook::can_be_stale(place, &filter.name))
    };
    (ours(ingress, TcAttachType::Ingress) || ours(egress, TcAttachType::Egress))
        && matches!(lock::holder(link.index), Ok(None))
        && !lock::is_draining(link.index)
}
