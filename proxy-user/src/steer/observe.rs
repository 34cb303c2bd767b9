//! What of ours is in the kernel now.
//!
//! The kernel answers when it has time, which on a busy node can take long. So a list of what is to be
//! looked for is made first, which whoever looks can take along to another thread.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use proxy_common::names::VETH_INNER;

use super::netlink::tc::{self, Filter};
use super::netlink::{self, Link};
use super::reconcile::{AttachPoint, Component, missing};
use super::veth_setup::VethEnds;
use crate::sys::netns::Namespace;

/// What has to be there.
#[derive(Debug)]
pub struct Expected {
    /// Programs, and where each is to be looked for.
    pub programs: BTreeMap<Component, AttachPoint>,
    /// Both ends of the veth, as they were last seen.
    pub ends: VethEnds,
    /// The private namespace.
    pub namespace: Namespace,
    /// Its id, as the host's namespace sees it.
    pub namespace_id: u32,
}

/// What was there.
#[derive(Debug)]
pub struct Observation {
    /// The node's links.
    pub(super) links: Vec<Link>,
    /// Both ends of the veth; `None`: one is not where it was.
    pub(super) ends: Option<VethEnds>,
    /// What is to be made again, in this order.
    pub(super) missing: Vec<Component>,
}

impl Expected {
    /// Looks for everything.
    pub fn observe(&self) -> Result<Observation> {
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        let ends = self.find_ends(&links)?;
        let mut expected: BTreeSet<_> = self.programs.keys().copied().collect();
        expected.insert(Component::Veth);
        let items = ends.as_ref().unwrap_or(&self.ends).items();
        expected.extend(items.into_iter().map(Component::Setup));

        let mut observed = BTreeSet::new();
        if let Some(ends) = &ends {
            observed.insert(Component::Veth);
            observed.extend(ends.observe(&self.namespace)?.into_iter().map(Component::Setup));
        }
        let filters = self.filters(&links)?;
        let is_there = |place: &AttachPoint| match place {
            AttachPoint::Link(link) => link.is_attached(),
            AttachPoint::Filter { index, program, direction } => {
                filters.get(index).into_iter().flatten().any(|filter| {
                    filter.program == Some(*program) && filter.direction == *direction
                })
            }
            AttachPoint::Xdp { index, program } => {
                links.iter().any(|link| link.index == *index && link.xdp.contains(program))
            }
        };
        let there = self.programs.iter().filter(|(_, place)| is_there(place));
        observed.extend(there.map(|(part, _)| *part));
        Ok(Observation { missing: missing(&expected, &observed), ends, links })
    }

    /// Both ends of the veth, if they are where they were; the host end may have another name.
    fn find_ends(&self, links: &[Link]) -> Result<Option<VethEnds>> {
        let VethEnds { host, inner, accepts_own_addresses } = &self.ends;
        let is_host = |link: &&Link| {
            link.index == host.index && link.peer_namespace == Some(self.namespace_id)
        };
        let Some(host) = links.iter().find(is_host) else { return Ok(None) };
        let found = netlink::run_in(&self.namespace, async |handle| {
            netlink::link(&handle, VETH_INNER).await
        });
        let found = found.context("cannot look at the private namespace")?;
        Ok(found.filter(|link| link.index == inner.index).map(|inner| VethEnds {
            host: host.clone(),
            inner,
            accepts_own_addresses: *accepts_own_addresses,
        }))
    }

    /// The filters on the links that have one of ours.
    fn filters(&self, links: &[Link]) -> Result<BTreeMap<u32, Vec<Filter>>> {
        let indices = self.programs.values().filter_map(|place| match place {
            AttachPoint::Filter { index, .. } => Some(*index),
            _ => None,
        });
        let indices: BTreeSet<_> =
            indices.filter(|index| links.iter().any(|link| link.index == *index)).collect();
        if indices.is_empty() {
            return Ok(BTreeMap::new());
        }
        netlink::run(async |handle| {
            let mut filters = BTreeMap::new();
            for index in indices {
                // A link that goes while we look has none, and is noticed by that.
                filters.insert(index, tc::filters(&handle, index).await?);
            }
            Ok(filters)
        })
    }
}
