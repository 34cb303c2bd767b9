//! The links of the programs that are not on an interface of the node.

use anyhow::{Context as _, Result};
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, SkLookup, SockOps};
use proxy_common::names;

use super::classifier::{Classifier, Order};
use super::clsact::Clsact;
use super::hook::HookUsed;
use super::namespace::PrivateNamespace;
use super::object::Object;
use super::reconcile::{AttachPoint, Component};
use super::watched_link::WatchedLink;
use crate::sys::cgroup::Cgroup;
use crate::sys::low_fds::LowFds;

/// The links on the veth, the private namespace and our cgroup. They are dropped in the order of the
/// fields: replies end first, then the lookup.
#[derive(Debug, Default)]
pub struct ProgramLinks {
    return_path: Option<Classifier>,
    lookup: Option<WatchedLink>,
    track: Option<WatchedLink>,
    /// The qdisc that we added to the veth.
    qdisc: Option<Clsact>,
}

impl ProgramLinks {
    /// How many links there are. Their descriptors must be closed early when the process dies.
    pub const COUNT: usize = 3;

    /// What must be attached, and where.
    pub fn expected(&self) -> impl Iterator<Item = (Component, AttachPoint)> {
        let return_path =
            self.return_path.as_ref().map(|it| (Component::Return, it.attach_point()));
        let lookup = self.lookup.as_ref().map(|it| (Component::Lookup, it.attach_point()));
        let track = self.track.as_ref().map(|it| (Component::Track, it.attach_point()));
        return_path.into_iter().chain(lookup).chain(track)
    }

    /// Drops a link that somebody else has detached, so that its descriptor is free before the program
    /// is attached again.
    pub fn forget(&mut self, component: Component) {
        match component {
            Component::Return => self.return_path = None,
            Component::Lookup => self.lookup = None,
            Component::Track => self.track = None,
            _ => {}
        }
    }

    /// Attaches `foreword_return` to the veth's host end.
    pub fn attach_return(
        &mut self,
        object: &mut Object,
        (veth, index): (&str, u32),
        hook: HookUsed,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        if hook == HookUsed::Clsact {
            Clsact::replace(&mut self.qdisc, Clsact::add(veth, index)?);
        }
        let how = (hook, Order::First);
        let attached = Classifier::attach(object, names::RETURN, (veth, index), how, low_fds);
        let attached = attached.with_context(|| format!("cannot attach to {veth}"))?;
        self.return_path = Some(attached);
        Ok(())
    }

    /// Attaches `foreword_lookup` to the private namespace.
    pub fn attach_lookup(
        &mut self,
        object: &mut Object,
        namespace: &PrivateNamespace,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        let program = object.program::<SkLookup>(names::LOOKUP)?;
        low_fds.release_one();
        let id = program.attach(namespace.namespace()).context("cannot attach the lookup")?;
        self.lookup = Some(WatchedLink::new(FdLink::from(program.take_link(id)?))?);
        Ok(())
    }

    /// Attaches `foreword_track` to our cgroup.
    pub fn attach_track(
        &mut self,
        object: &mut Object,
        cgroup: &Cgroup,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        let program = object.program::<SockOps>(names::TRACK)?;
        let directory = cgroup.open().context("cannot open the process's cgroup")?;
        low_fds.release_one();
        // A link always allows others beside it, and the kernel takes no flag that says so.
        let id = program.attach(directory, CgroupAttachMode::Single);
        let link = program.take_link(id.context("cannot attach to the cgroup")?)?;
        self.track = Some(WatchedLink::new(FdLink::try_from(link)?)?);
        Ok(())
    }
}
