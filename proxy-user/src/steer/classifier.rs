//! A TC program of ours: attached by tcx or on clsact, found again, and detached.

use std::mem;

use anyhow::Result;
use aya::programs::links::FdLink;
use aya::programs::{SchedClassifier, TcAttachType};

use super::hook::{HookUsed, direction};
use super::netlink::tc::{Filter, remove_filters};
use super::object::Object;
use super::reconcile::AttachPoint;
use super::watched_link::WatchedLink;
use crate::sys::low_fds::LowFds;

/// The order among the programs on one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before all others.
    First,
    /// Behind our own.
    Behind,
}

/// An attached TC program. It is detached when this is dropped.
#[derive(Debug)]
pub struct Classifier {
    /// The program's name.
    pub name: &'static str,
    link: Link,
}

/// What keeps a program attached.
#[derive(Debug)]
enum Link {
    Tcx(WatchedLink),
    Filter(OwnFilter),
}

/// The filter on an interface that runs a program of this process, whatever its priority and handle.
#[derive(Debug)]
struct OwnFilter {
    index: u32,
    program: u32,
    direction: TcAttachType,
}

impl Drop for OwnFilter {
    fn drop(&mut self) {
        let Self { index, program, direction } = *self;
        let is_it =
            |filter: &Filter| filter.program == Some(program) && filter.direction == direction;
        if let Err(error) = remove_filters(index, is_it) {
            tracing::warn!(error = %format!("{error:#}"), index, "a filter was left behind");
        }
    }
}

impl Classifier {
    /// Attaches a program. Clsact needs its qdisc to be there.
    pub fn attach(
        object: &mut Object,
        name: &'static str,
        (interface, index): (&str, u32),
        (hook, order): (HookUsed, Order),
        low_fds: &mut LowFds,
    ) -> Result<Self> {
        let direction = direction(name);
        let program: &mut SchedClassifier = object.program(name)?;
        let own = OwnFilter { index, program: program.info()?.id(), direction };
        let options = match order {
            Order::First => hook.first(),
            Order::Behind => hook.behind(),
        };
        low_fds.release_one();
        // If this fails, the kernel may still have attached it, and its answer been lost: dropping
        // `own` then removes the filter.
        let attached = program.attach_with_options(interface, direction, options)?;
        let attached = program.take_link(attached)?;
        let link = match hook {
            HookUsed::Clsact => {
                // aya would remove it by priority and handle, which may be another's by then.
                mem::forget(attached);
                Link::Filter(own)
            }
            HookUsed::Tcx => {
                mem::forget(own);
                Link::Tcx(WatchedLink::new(FdLink::try_from(attached)?)?)
            }
        };
        Ok(Self { name, link })
    }

    /// Where it is attached.
    pub fn attach_point(&self) -> AttachPoint {
        match &self.link {
            Link::Tcx(link) => link.attach_point(),
            Link::Filter(OwnFilter { index, program, direction }) => {
                AttachPoint::Filter { index: *index, program: *program, direction: *direction }
            }
        }
    }
}
