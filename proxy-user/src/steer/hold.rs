//! Keeps ports closed while no Foreword runs (`whenAbsent: drop`).
//!
//! The hold is the one thing that outlives the process and acts, because a rule asks for it: a program
//! behind `foreword_steer` that drops the first packets which that passes, and one at egress that drops
//! the answers to those that got past both. The next start on that interface removes them, or a
//! cleanup.
//!
//! A hold is replaced without a gap: an older one is removed when the process that has attached the
//! new one is sure to serve. If that process fails or dies before, the older one is still there.
//!
//! Both programs are filters on clsact, however steering is attached: a filter lasts as long as its
//! interface. A pinned link would last as long as the BPF file system that the process sees, which may
//! be a container's own. Earlier versions pinned links; those are still found and removed.

use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::programs::SchedClassifier;
use proxy_common::names::{BPFFS, HOLD, HOLD_TX, PIN_FOLDER};

use super::chain;
use super::clsact::{Clsact, remove_filters};
use super::hook::{HookUsed, direction};
use super::instance::LEGACY_HOLDS;
use super::interface::NetworkInterface;
use super::lock;
use super::netlink::{
    self,
    tc::{Filter, filters_on},
};
use super::object::Object;
use super::reconcile::{AttachPoint, Component};
use crate::sys::netns;

/// Our hold on an interface. It is removed when this is dropped, unless it is to persist.
#[derive(Debug)]
pub struct Hold {
    index: u32,
    /// The ids of our two programs.
    programs: [u32; 2],
    persists: bool,
    /// A qdisc of ours that it is attached to.
    qdisc: Option<Clsact>,
}

impl Hold {
    /// Attaches one behind `foreword_steer`, which is attached by `hook`.
    pub fn attach(
        object: &mut Object,
        interface: &NetworkInterface,
        hook: HookUsed,
    ) -> Result<Self> {
        let [ingress, egress] = PROGRAMS.map(|program| program.id(object));
        let (index, programs) = (interface.index(), [ingress?, egress?]);
        // From now on an error removes what is attached.
        let mut hold = Self { index, programs, persists: false, qdisc: None };
        hold.complete(object, interface, hook)?;
        Ok(hold)
    }

    /// Attaches what is missing of it.
    pub fn complete(
        &mut self,
        object: &mut Object,
        interface: &NetworkInterface,
        hook: HookUsed,
    ) -> Result<()> {
        Clsact::replace(&mut self.qdisc, Clsact::share(interface.name(), self.index)?);
        let filters = filters_on(self.index)?;
        for (program, id) in PROGRAMS.into_iter().zip(self.programs) {
            if !filters.iter().any(|filter| filter.program == Some(id)) {
                program.attach(object, interface, hook)?;
            }
        }
        Ok(())
    }

    /// Lets it outlive the process from now on, and removes the holds of earlier processes.
    pub fn persist(&mut self) {
        self.persists = true;
        remove_others(self.index, &self.programs);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.persists {
            let is_ours =
                |filter: &Filter| filter.program.is_some_and(|it| self.programs.contains(&it));
            remove_filters(self.index, is_ours);
        }
    }
}

/// One of a hold's two programs.
struct HoldProgram {
    name: &'static str,
    /// What the name of an earlier version's pin ends in.
    suffix: &'static str,
}

const PROGRAMS: [HoldProgram; 2] =
    [HoldProgram { name: HOLD, suffix: "" }, HoldProgram { name: HOLD_TX, suffix: EGRESS_SUFFIX }];
const EGRESS_SUFFIX: &str = "-egress";

impl HoldProgram {
    fn id(&self, object: &mut Object) -> Result<u32> {
        let program: &mut SchedClassifier = object.program(self.name)?;
        Ok(program.info()?.id())
    }

    fn attach(
        &self,
        object: &mut Object,
        interface: &NetworkInterface,
        hook: HookUsed,
    ) -> Result<()> {
        let program: &mut SchedClassifier = object.program(self.name)?;
        let direction = direction(self.name);
        let mut attach =
            |options| program.attach_with_options(interface.name(), direction, options);
        let [first, other] = hook.filters_behind();
        let id = attach(first).or_else(|_| attach(other));
        let id = id.with_context(|| format!("cannot place the hold on {interface}"))?;
        // The filter stays on the interface; dropping the value would remove it.
        mem::forget(program.take_link(id)?);
        Ok(())
    }

    /// An earlier version's pin. Since an index means something in its network namespace only, the
    /// namespace's inode number is part of the name.
    fn path(&self, index: u32) -> io::Result<PathBuf> {
        Ok(directory().join(format!("{}-{index}{}", netns::own_inode()?, self.suffix)))
    }

    fn remove(&self, index: u32, except: &[u32]) -> bool {
        let unpinned = self.path(index).and_then(fs::remove_file).is_ok();
        let is_it = |filter: &Filter| {
            filter.direction == direction(self.name)
                && filter.name.as_deref() == Some(self.name)
                && filter.program.is_none_or(|program| !except.contains(&program))
                && chain::runs_program_of_its_name(filter)
        };
        unpinned | remove_filters(index, is_it)
    }
}

/// What must be attached to the interface with this index, and where.
pub fn expected(object: &mut Object, index: u32) -> Result<[(Component, AttachPoint); 2]> {
    let [first, second] = PROGRAMS.map(|program| {
        let (id, direction) = (program.id(object)?, direction(program.name));
        let component = Component::Hold { index, name: program.name };
        Ok::<_, anyhow::Error>((component, AttachPoint::Filter { index, program: id, direction }))
    });
    Ok([first?, second?])
}

/// Removes the hold on an interface, whoever attached it; returns whether there was one.
pub fn remove(index: u32) -> bool {
    remove_others(index, &[])
}

/// Removes all holds on an interface except the one with these program ids.
fn remove_others(index: u32, except: &[u32]) -> bool {
    let removed = PROGRAMS.iter().fold(false, |any, program| any | program.remove(index, except));
    if removed {
        // This fails while another hold is there.
        let _ = fs::remove_dir(directory());
    }
    removed
}

/// Whether an earlier version has pinned a hold on the interface with this index.
pub fn is_pinned(index: u32) -> io::Result<bool> {
    PROGRAMS[0].path(index)?.try_exists()
}

/// Removes the holds of dead processes, and returns their interfaces.
pub fn sweep() -> Result<Vec<String>> {
    let mut lifted = Vec::new();
    for link in netlink::run(async |handle| netlink::links(&handle).await)? {
        let Some(_kept) = lock::exclude_others(link.index) else { continue };
        if remove(link.index) {
            lifted.push(link.name);
        }
    }
    remove_orphans()?;
    Ok(lifted)
}

/// Removes the pins for interfaces of this namespace that are gone.
fn remove_orphans() -> Result<()> {
    let links = netlink::run(async |handle| netlink::links(&handle).await)?;
    let prefix = format!("{}-", netns::own_inode()?);
    let entries = match fs::read_dir(directory()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot read the holds"),
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index = name.strip_prefix(&prefix);
        let index = index.map(|index| index.strip_suffix(EGRESS_SUFFIX).unwrap_or(index));
        let index = index.and_then(|index| index.parse::<u32>().ok());
        if index.is_some_and(|index| links.iter().all(|link| link.index != index)) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let _ = fs::remove_dir(directory());
    Ok(())
}

fn directory() -> PathBuf {
    Path::new(BPFFS).join(PIN_FOLDER).join(LEGACY_HOLDS)
}
