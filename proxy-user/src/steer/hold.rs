//! Ports that stay closed while nobody steers them (`--when-absent drop`).
//!
//! The one thing of ours that outlives the process, and only because the rule says so: a program
//! behind steer on the same interface, which drops the first packets that steer lets by. It is
//! taken away by the next start on that interface, or by a cleanup.

use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{SchedClassifier, TcAttachType};
use proxy_common::names::{BPFFS, HOLD, PIN_FOLDER};

use super::hook::{self, HookUsed};
use super::interface::NetworkInterface;
use super::lock;
use super::netlink;
use crate::sys::netns;

/// Folder of the pinned links, beside those of the instances.
pub const FOLDER: &str = "hold";

/// A hold on an interface. Dropping it lifts it, unless it is to be kept.
#[derive(Debug)]
pub struct Hold {
    interface: NetworkInterface,
    keep: bool,
}

impl Hold {
    /// Puts one behind whatever is there. An older one must be lifted first.
    pub fn place(
        program: &mut SchedClassifier,
        interface: &NetworkInterface,
        hook: HookUsed,
    ) -> Result<Self> {
        let id =
            program.attach_with_options(interface.name(), TcAttachType::Ingress, hook.behind())?;
        let link = program.take_link(id)?;
        let hold = Self { interface: interface.clone(), keep: false };
        match hook {
            HookUsed::Tcx => {
                let path = path(interface.index())?;
                let link = FdLink::try_from(link)?;
                let _: PinnedLink = pin(link, &path)
                    .with_context(|| format!("cannot pin the hold on {interface}"))?;
            }
            // The filter is the interface's; only the value would take it away.
            HookUsed::Clsact => mem::forget(link),
        }
        Ok(hold)
    }

    /// From now on it outlives the process.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.keep {
            lift(self.interface.index(), self.interface.name());
        }
    }
}

fn pin(link: FdLink, path: &Path) -> Result<PinnedLink> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(link.pin(path)?)
}

/// Lifts the hold on an interface, whoever placed it; says whether there was one.
pub fn lift(index: u32, name: &str) -> bool {
    let unpinned = path(index).and_then(fs::remove_file).is_ok();
    if unpinned {
        // Fails as long as another hold is there, as it should.
        let _ = fs::remove_dir(folder());
    }
    unpinned | hook::remove_filters(name, TcAttachType::Ingress, HOLD)
}

/// Whether a hold on the interface of this index is pinned.
pub fn is_pinned(index: u32) -> io::Result<bool> {
    path(index)?.try_exists()
}

/// Lifts every hold that no living process is behind, and returns the interfaces.
pub fn sweep() -> Result<Vec<String>> {
    let mut lifted = Vec::new();
    for link in netlink::here(async |handle| netlink::links(&handle).await)? {
        let Some(_kept) = lock::keep_free(link.index) else { continue };
        if lift(link.index, &link.name) {
            lifted.push(link.name);
        }
    }
    remove_orphans()?;
    Ok(lifted)
}

/// Removes the pins of interfaces of this namespace that are gone: they hold nothing any more.
fn remove_orphans() -> Result<()> {
    let links = netlink::here(async |handle| netlink::links(&handle).await)?;
    let prefix = format!("{}-", netns::own_inode()?);
    let entries = match fs::read_dir(folder()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot read the holds"),
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index = name.strip_prefix(&prefix).and_then(|index| index.parse::<u32>().ok());
        if index.is_some_and(|index| links.iter().all(|link| link.index != index)) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let _ = fs::remove_dir(folder());
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(BPFFS).join(PIN_FOLDER).join(FOLDER)
}

/// Indices are a namespace's own, pins are not: the namespace's number is part of the name.
fn path(index: u32) -> io::Result<PathBuf> {
    Ok(folder().join(format!("{}-{index}", netns::own_inode()?)))
}
