//! The instance's number and its folder in bpffs.
//!
//! An instance is alive as long as somebody holds the lock on its folder, and the kernel lets go
//! of a dead process's locks: nobody has to guess from process ids, which are reused, and which
//! are all 1 in containers. Only maps are pinned here, for people to look at; pins keep no
//! steering alive.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use proxy_common::names::{BPFFS, PIN_FOLDER};

use super::hold;
use crate::sys::netns;

/// How far above the process id a free number is looked for.
const ATTEMPTS: u32 = 64;

/// This process's folder. Dropping it removes the pins and the folder.
#[derive(Debug)]
pub struct Instance {
    number: u32,
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Instance {
    /// Takes a number that no living instance has: the process id, or the next one free.
    pub fn claim() -> Result<Self> {
        mount_bpffs()?;
        for number in (process::id()..).take(ATTEMPTS as usize) {
            let directory = directory(number);
            create_private(&directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            if let Some(lock) = lock(&directory)? {
                return Ok(Self { number, directory, _lock: lock });
            }
        }
        anyhow::bail!("{} is full of living instances", root().display())
    }

    /// The number, for the names of what belongs to this instance.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Notes that an interface of this namespace has a qdisc on our account, so that a sweep finds
    /// it even before a filter is there. The kernel lets nothing but folders stand beside pins.
    pub fn note_qdisc(&self, index: u32) -> Result<()> {
        let path = self.directory.join(format!("{}{index}", qdisc_prefix()?));
        create_private(&path).with_context(|| format!("cannot make {}", path.display()))
    }

    /// Takes the note back: somebody else has added that qdisc.
    pub fn forget_qdisc(&self, index: u32) -> Result<()> {
        let path = self.directory.join(format!("{}{index}", qdisc_prefix()?));
        fs::remove_dir(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Where its maps are pinned.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            tracing::warn!(%error, directory = %self.directory.display(), "these pins were left behind");
        }
    }
}

/// Whether a living process holds instance `number`.
pub fn is_alive(number: u32) -> bool {
    let directory = directory(number);
    directory.is_dir() && !matches!(lock(&directory), Ok(Some(_)))
}

/// Whether instance `number` has left its folder behind: then it is dead beyond doubt.
pub fn is_dead(number: u32) -> bool {
    matches!(lock(&directory(number)), Ok(Some(_)))
}

/// The numbers of all instances that have a folder, dead or alive.
pub fn numbers() -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(root()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Where an instance pins its maps.
pub fn directory(number: u32) -> PathBuf {
    root().join(number.to_string())
}

/// How the note of a qdisc of this namespace begins; the interface's index follows.
fn qdisc_prefix() -> io::Result<String> {
    Ok(format!("qdisc-{}-", netns::own_inode()?))
}

/// The interfaces of this namespace that an instance has noted a qdisc on.
fn noted_qdiscs(directory: &Path) -> io::Result<Vec<u32>> {
    let prefix = qdisc_prefix()?;
    let names =
        fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_prefix(&prefix)?.parse().ok()).collect())
}

/// Whether any instance has noted a qdisc on an interface of this namespace.
pub fn is_qdisc_noted(index: u32) -> bool {
    let directories = directories().unwrap_or_default();
    directories
        .iter()
        .any(|directory| noted_qdiscs(directory).is_ok_and(|noted| noted.contains(&index)))
}

/// Removes the folders of instances that nobody holds, and returns them. The interfaces that they
/// have noted a qdisc on are told to `qdisc`.
pub fn sweep(mut qdisc: impl FnMut(u32)) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for directory in directories()? {
        // Held while it is removed, so that nobody claims it half-way.
        if let Some(_held) = lock(&directory)? {
            noted_qdiscs(&directory).unwrap_or_default().into_iter().for_each(&mut qdisc);
            remove(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
            removed.push(directory);
        }
    }
    Ok(removed)
}

/// The folders of instances that nobody holds.
pub fn dead() -> Result<Vec<PathBuf>> {
    let mut dead = directories()?;
    dead.retain(|directory| matches!(lock(directory), Ok(Some(_))));
    Ok(dead)
}

/// The folders of all instances.
fn directories() -> Result<Vec<PathBuf>> {
    let root = root();
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", root.display()));
        }
    };
    let directories = entries.map(|entry| Ok(entry?.path()));
    directories
        .filter(|path| !path.as_ref().is_ok_and(|path| path.ends_with(hold::DIRECTORY)))
        .collect()
}

fn root() -> PathBuf {
    Path::new(BPFFS).join(PIN_FOLDER)
}

/// Removes a folder of pins, and the folder of all instances if it was the last.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(directory)?;
    // Fails as long as another instance is there, as it should.
    let _ = fs::remove_dir(root());
    Ok(())
}

/// Locks a folder, or says that somebody else has, or that it is gone.
fn lock(directory: &Path) -> Result<Option<Flock<File>>> {
    let file = match File::open(directory) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot open {}", directory.display()));
        }
    };
    let opened = file.metadata().map(|metadata| metadata.ino());
    let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
    // A sweep may have removed the folder between the two steps.
    let there = fs::metadata(directory).map(|metadata| metadata.ino());
    Ok(matches!((opened, there), (Ok(a), Ok(b)) if a == b).then_some(lock))
}

fn create_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Whether bpffs is mounted at its usual place.
pub fn is_mounted() -> io::Result<bool> {
    Ok(statfs(BPFFS)?.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts bpffs at its usual place unless it is there. It stays: others may use it by then.
fn mount_bpffs() -> Result<()> {
    // A second one on top would hide what is pinned in the first: only a clear no will do.
    if is_mounted().with_context(|| format!("cannot look at {BPFFS}"))? {
        return Ok(());
    }
    tracing::info!("mounting the BPF file system at {BPFFS}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), BPFFS, Some("bpf"), flags, Some("mode=0700"))
        .with_context(|| format!("cannot mount the BPF file system at {BPFFS}"))
}
