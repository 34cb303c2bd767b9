//! A BPF link of ours: it ends with the value, and is watched until then.

use anyhow::{Context as _, Result};
use aya::programs::links::FdLink;

use super::reconcile::AttachPoint;
use crate::sys::fdinfo::BpfLink;

/// A link, and how to see whether somebody has detached it.
#[derive(Debug)]
pub struct WatchedLink {
    place: BpfLink,
    _link: FdLink,
}

impl WatchedLink {
    /// Watches a link that was just made.
    pub fn of(link: FdLink) -> Result<Self> {
        let id = link.info().context("cannot ask about a link")?.id();
        Ok(Self { place: BpfLink::of_id(id).context("cannot watch a link")?, _link: link })
    }

    /// Where it is to be looked for.
    pub fn place(&self) -> AttachPoint {
        AttachPoint::Link(self.place)
    }
}
