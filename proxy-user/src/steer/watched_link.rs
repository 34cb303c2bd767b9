//! A BPF link that we notice the loss of.

use anyhow::{Context as _, Result};
use aya::programs::links::FdLink;

use super::reconcile::AttachPoint;
use crate::sys::fdinfo::BpfLink;

/// A BPF link of ours. The program is detached when this is dropped.
#[derive(Debug)]
pub struct WatchedLink {
    in_fdinfo: BpfLink,
    _link: FdLink,
}

impl WatchedLink {
    /// Watches a link that was just made.
    pub fn new(link: FdLink) -> Result<Self> {
        let id = link.info().context("cannot ask about a link")?.id();
        Ok(Self { in_fdinfo: BpfLink::of_id(id).context("cannot watch a link")?, _link: link })
    }

    /// Where it is attached.
    pub fn attach_point(&self) -> AttachPoint {
        AttachPoint::Link(self.in_fdinfo)
    }
}
