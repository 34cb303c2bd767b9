//! The clsact qdisc that filters are attached to: added where there is none, and removed by the last
//! of us.
//!
//! A qdisc outlives its process. A note tells later processes that it is ours to remove: an empty file
//! beside the locks, named by network namespace and interface index. It is written before the qdisc is
//! added and removed after the qdisc is, whichever instance does that. So it is there for as long as
//! the qdisc is, and a sweep in one network namespace leaves the notes of others alone.

use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aya::programs::tc::{TcError, qdisc_add_clsact};
use nix::errno::Errno;

use super::chain;
use super::hook::can_be_stale;
use super::interface::NetworkInterface;
use super::lock::{self, directory};
use super::netlink::tc::{self, Filter};
use super::netlink::{self, Link};
use crate::sys::netns;

/// A clsact qdisc that is ours. Dropping it removes it, unless somebody has a filter there.
#[derive(Debug)]
pub struct Clsact {
    index: u32,
}

impl Clsact {
    /// Makes sure that an interface of the node has a clsact qdisc; `None` if somebody else has added
    /// it. One that another instance has added is shared, and the last of us removes it.
    pub fn share(name: &str, index: u32) -> Result<Option<Self>> {
        let note = Note::of(index)?;
        let was_ours = note.is_there();
        if !was_ours {
            // Before the qdisc is there, so that a sweep finds it whenever we die.
            note.write()?;
        }
        match Self::add(name, index)? {
            None if !was_ours => {
                note.remove();
                Ok(None)
            }
            // Not `unwrap_or`: dropping the other value would remove the qdisc.
            added => Ok(Some(added.unwrap_or_else(|| Self { index }))),
        }
    }

    /// Adds a clsact qdisc to an interface; `None` if it has one. Needs no note on a veth of our own,
    /// which the qdisc ends with.
    pub fn add(name: &str, index: u32) -> Result<Option<Self>> {
        match qdisc_add_clsact(name) {
            Ok(()) => Ok(Some(Self { index })),
            Err(error) if exists_already(&error) => Ok(None),
            Err(error) => {
                // The kernel may have added it, and its answer been lost.
                remove_unused(index);
                Err(error).with_context(|| format!("cannot add a clsact qdisc to {name}"))
            }
        }
    }

    /// Puts `added` in the place of an earlier value for the same interface, whose qdisc is gone.
    pub fn replace(ours: &mut Option<Self>, added: Option<Self>) {
        if added.is_some() {
            // Dropping the earlier value would remove the qdisc that was just added.
            mem::forget(mem::replace(ours, added));
        }
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        remove_unused(self.index);
    }
}

fn exists_already(error: &TcError) -> bool {
    match error {
        TcError::AlreadyAttached => true,
        TcError::NetlinkError(error) => error.raw_os_error() == Some(Errno::EEXIST as i32),
        _ => false,
    }
}

/// What the names of notes begin with. A network namespace's cookie and an interface's index follow.
const NOTE: &str = "qdisc-";

/// The note that the qdisc of an interface is ours.
struct Note(PathBuf);

impl Note {
    fn of(index: u32) -> io::Result<Self> {
        Ok(Self(directory::path().join(format!("{}{index}", prefix()?))))
    }

    fn is_there(&self) -> bool {
        self.0.exists()
    }

    fn write(&self) -> Result<()> {
        directory::directory()?;
        File::create(&self.0).with_context(|| format!("cannot write {}", self.0.display()))?;
        Ok(())
    }

    fn remove(&self) {
        // Most qdiscs that are removed have none: those of our veths.
        let _ = fs::remove_file(&self.0);
    }
}

/// What the names of this network namespace's notes begin with. A cookie is never given twice, an inode
/// number is; older kernels than 5.14 have no cookies.
fn prefix() -> io::Result<String> {
    let namespace = match netns::own_cookie() {
        Err(error) if error.raw_os_error() == Some(Errno::ENOPROTOOPT as i32) => {
            netns::own_inode()?
        }
        cookie => cookie?,
    };
    Ok(format!("{NOTE}{namespace}-"))
}

/// The interfaces of this network namespace whose qdiscs are noted.
fn noted() -> io::Result<Vec<u32>> {
    let prefix = prefix()?;
    let entries = match fs::read_dir(directory::path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_prefix(&prefix)?.parse().ok()).collect())
}

/// Removes an interface's clsact qdisc if nobody has a filter there, and the note with it. An empty
/// qdisc does nothing, so a failure to remove it is only logged.
fn remove_unused(index: u32) {
    match netlink::run(async |handle| tc::remove_unused_clsact(&handle, index).await) {
        Ok(true) => Note::of(index).iter().for_each(Note::remove),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), index, "a clsact qdisc was left behind");
        }
    }
}

/// Removes the qdiscs that dead instances have noted in this network namespace, where nobody has a
/// filter. Whoever has an interface's lock may be about to attach one, unless that is the process
/// itself: `own` are the interfaces that it has locked.
pub fn sweep_qdiscs(own: &[u32]) {
    for index in noted().unwrap_or_default() {
        let kept = lock::exclude_others(index);
        if own.contains(&index) || kept.is_some() {
            remove_unused(index);
        }
    }
}

/// Removes filters, and the qdisc if they were the last; returns whether there were any. What can't be
/// removed now is found by the next sweep.
pub fn remove_filters(index: u32, is_meant: impl Fn(&Filter) -> bool + Sync) -> bool {
    let removed = tc::remove_filters(index, is_meant).unwrap_or_else(|error| {
        tracing::debug!(error = %format!("{error:#}"), index, "filters were left behind");
        false
    });
    if removed {
        remove_unused(index);
    }
    removed
}

/// Removes the filters that dead instances left on an interface. If we are alone there, with its lock
/// and no other instance draining, no living process has such a filter.
fn remove_stale_filters(index: u32, is_alone: bool, links: &[Link]) -> bool {
    remove_filters(index, |filter| {
        let is_ours = filter.name.as_deref().is_some_and(|it| can_be_stale(filter.direction, it));
        is_ours
            && chain::runs_program_of_its_name(filter)
            && (is_alone || chain::is_orphaned(filter, links))
    })
}

/// Clears an interface of dead instances' filters, before we attach anything and after a predecessor
/// has let go.
pub fn clear(interface: &NetworkInterface, is_alone: bool) {
    let links = netlink::run(async |handle| netlink::links(&handle).await).unwrap_or_default();
    remove_stale_filters(interface.index(), is_alone, &links);
}

/// Removes the filters that dead instances left, and returns the interfaces that had one.
pub fn sweep_filters() -> Result<Vec<String>> {
    let mut swept = Vec::new();
    let links = netlink::run(async |handle| netlink::links(&handle).await)?;
    // A lock is tried only where there is something to sweep: another instance may be about to take
    // it for good.
    for link in tc::links_with_filters()? {
        let kept = lock::exclude_others(link.index);
        if remove_stale_filters(link.index, kept.is_some(), &links) {
            swept.push(link.name);
        }
    }
    Ok(swept)
}
