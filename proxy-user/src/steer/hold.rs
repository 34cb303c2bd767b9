//! Ports that stay closed while nobody steers them (`--when-absent drop`).
//!
//! The one thing of ours that outlives the process, and only because the rule says so: a program
//! behind steer on the same interface, which drops the first packets that steer passes, and one on
//! its egress, which drops the answers to those that got past both. They are taken away by the next
//! start on that interface, or by a cleanup.
//!
//! A hold is exchanged without a gap: an older one goes when the process that has placed the new one is
//! sure to serve. If that process fails or dies before, the older one is still there.
//!
//! Both are filters on clsact, however steer is attached: a filter is the interface's, and lasts as
//! long as that. A pinned link would last as long as the BPF file system that the process sees, which
//! in a container may be its own. Earlier versions pinned links; those are still found and removed.

use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::programs::SchedClassifier;
use proxy_common::names::{BPFFS, HOLD, HOLD_TX, PIN_FOLDER};

use super::chain;
use super::hook::{self, Clsact, HookUsed, direction};
use super::interface::NetworkInterface;
use super::lock;
use super::netlink::{
    self,
    tc::{Filter, filters_on},
};
use super::object::Object;
use super::reconcile::{AttachPoint, Component};
use crate::sys::netns;

/// Folder of links that earlier versions pinned, beside those of the instances.
pub const DIRECTORY: &str = "hold";

/// Our hold on an interface. Dropping it lifts it, unless it is to be kept.
#[derive(Debug)]
pub struct Hold {
    index: u32,
    /// The ids of our two programs.
    programs: [u32; 2],
    keep: bool,
    /// A qdisc that we added for it.
    qdisc: Option<Clsact>,
}

impl Hold {
    /// Puts one behind steer, which is attached by `hook`. The interface's qdisc must be noted.
    pub fn place(
        object: &mut Object,
        interface: &NetworkInterface,
        hook: HookUsed,
    ) -> Result<Self> {
        let [ingress, egress] = HALVES.map(|half| half.program_id(object));
        let (index, programs) = (interface.index(), [ingress?, egress?]);
        // From now on an error lifts what is there.
        let mut hold = Self { index, programs, keep: false, qdisc: None };
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
        hook::ensure_clsact(&mut self.qdisc, interface.name(), self.index)?;
        let filters = filters_on(self.index)?;
        for (half, program) in HALVES.into_iter().zip(self.programs) {
            if !filters.iter().any(|filter| filter.program == Some(program)) {
                half.attach(object, interface, hook)?;
            }
        }
        Ok(())
    }

    /// From now on it outlives the process, and stands in for those that were there before.
    pub fn keep(&mut self) {
        self.keep = true;
        lift_others(self.index, &self.programs);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.keep {
            let is_ours =
                |filter: &Filter| filter.program.is_some_and(|it| self.programs.contains(&it));
            hook::remove_filters(self.index, is_ours);
        }
    }
}

/// One of a hold's two programs, and where it is.
struct Half {
    program: &'static str,
    /// What the name of an earlier version's pin ends in.
    suffix: &'static str,
}

const HALVES: [Half; 2] =
    [Half { program: HOLD, suffix: "" }, Half { program: HOLD_TX, suffix: EGRESS_SUFFIX }];
const EGRESS_SUFFIX: &str = "-egress";

impl Half {
    fn program_id(&self, object: &mut Object) -> Result<u32> {
        let program: &mut SchedClassifier = object.program(self.program)?;
        Ok(program.info()?.id())
    }

    fn attach(
        &self,
        object: &mut Object,
        interface: &NetworkInterface,
        hook: HookUsed,
    ) -> Result<()> {
        let program: &mut SchedClassifier = object.program(self.program)?;
        let direction = direction(self.program);
        let mut attach =
            |options| program.attach_with_options(interface.name(), direction, options);
        let [first, other] = hook.filters_behind();
        let id = attach(first).or_else(|_| attach(other));
        let id = id.with_context(|| format!("cannot place the hold on {interface}"))?;
        // The filter is the interface's; only the value would take it away.
        mem::forget(program.take_link(id)?);
        Ok(())
    }

    /// An earlier version's pin. Indices are a namespace's own, pins are not: the namespace's number is
    /// part of the name.
    fn path(&self, index: u32) -> io::Result<PathBuf> {
        Ok(directory().join(format!("{}-{index}{}", netns::own_inode()?, self.suffix)))
    }

    fn lift(&self, index: u32, except: &[u32]) -> bool {
        let unpinned = self.path(index).and_then(fs::remove_file).is_ok();
        let is_it = |filter: &Filter| {
            filter.direction == direction(self.program)
                && filter.name.as_deref() == Some(self.program)
                && filter.program.is_none_or(|program| !except.contains(&program))
                && chain::runs_program_of_its_name(filter)
        };
        unpinned | hook::remove_filters(index, is_it)
    }
}

/// Whether a hold is on the interface as filters, whoever placed it.
pub fn is_placed(index: u32) -> bool {
    let names = HALVES.map(|half| half.program);
    let is_half = |filter: &Filter| filter.name.as_deref().is_some_and(|it| names.contains(&it));
    filters_on(index).is_ok_and(|filters| filters.iter().any(is_half))
}

/// What has to be on the interface of this index, and where that is to be looked for.
pub fn expected(object: &mut Object, index: u32) -> Result<[(Component, AttachPoint); 2]> {
    let [first, second] = HALVES.map(|half| {
        let (program, direction) = (half.program_id(object)?, direction(half.program));
        let part = Component::Hold { index, name: half.program };
        Ok::<_, anyhow::Error>((part, AttachPoint::Filter { index, program, direction }))
    });
    Ok([first?, second?])
}

/// Lifts the hold on an interface, whoever placed it; says whether there was one.
pub fn lift(index: u32) -> bool {
    lift_others(index, &[])
}

/// Lifts every hold on an interface but the one of these programs.
fn lift_others(index: u32, except: &[u32]) -> bool {
    let lifted = HALVES.iter().fold(false, |lifted, half| lifted | half.lift(index, except));
    if lifted {
        // Fails as long as another hold is there, as it should.
        let _ = fs::remove_dir(directory());
    }
    lifted
}

/// Whether an earlier version has pinned a hold on the interface of this index.
pub fn is_pinned(index: u32) -> io::Result<bool> {
    HALVES[0].path(index)?.try_exists()
}

/// Lifts every hold that no living process is behind, and returns the interfaces.
pub fn sweep() -> Result<Vec<String>> {
    let mut lifted = Vec::new();
    for link in netlink::run(async |handle| netlink::links(&handle).await)? {
        let Some(_kept) = lock::exclude_others(link.index) else { continue };
        if lift(link.index) {
            lifted.push(link.name);
        }
    }
    remove_orphans()?;
    Ok(lifted)
}

/// Removes the pins of interfaces of this namespace that are gone: they hold nothing any more.
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
    Path::new(BPFFS).join(PIN_FOLDER).join(DIRECTORY)
}
