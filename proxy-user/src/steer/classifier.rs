//! A program of ours at TC, by tcx or on clsact: attached, looked for, and detached.

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

/// Where it stands among the programs that have the same hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before all others.
    First,
    /// Behind those of ours.
    Behind,
}

/// A program of ours on an interface, for as long as the value lives.
#[derive(Debug)]
pub struct Classifier {
    /// The program's name.
    pub name: &'static str,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Tcx(WatchedLink),
    Filter(OwnFilter),
}

/// The filter on an interface that runs a program of this process, whatever place it has.
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
    /// Attaches it. On clsact, the qdisc must be there.
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
        // Where this fails, the kernel may have done it, and its answer been lost: then the value
        // that was to stand for a filter takes it away.
        let attached = program.attach_with_options(interface, direction, options)?;
        let attached = program.take_link(attached)?;
        let link = match hook {
            HookUsed::Clsact => {
                // It would be removed by its place, which may be somebody else's by then.
                mem::forget(attached);
                Link::Filter(own)
            }
            HookUsed::Tcx => {
                mem::forget(own);
                Link::Tcx(WatchedLink::of(FdLink::try_from(attached)?)?)
            }
        };
        Ok(Self { name, link })
    }

    /// Where it is to be looked for.
    pub fn place(&self) -> AttachPoint {
        match &self.link {
            Link::Tcx(link) => link.place(),
            Link::Filter(OwnFilter { index, program, direction }) => {
                AttachPoint::Filter { index: *index, program: *program, direction: *direction }
            }
        }
    }
}
