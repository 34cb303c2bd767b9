//! The instance's number, and its directory in bpffs.
//!
//! An instance is alive as long as its directory is locked, and the kernel releases a dead process's
//! locks. Process ids wouldn't do: they are reused, and are all 1 in containers. Only maps are pinned
//! here, for people to look at; pins keep no steering alive.

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

/// The directory of links that earlier versions pinned for holds, beside those of the instances.
pub const LEGACY_HOLDS: &str = "hold";
/// How many numbers are tried, from the process id on.
const ATTEMPTS: u32 = 64;

/// This process's instance. Its pins and their directory are removed when it is dropped.
#[derive(Debug)]
pub struct Instance {
    number: u32,
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Instance {
    /// Takes a number that no living instance has: the process id, or the next free one.
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

    /// The number, for the names of what this instance makes.
    pub fn number(&self) -> u32 {
        self.number
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

/// Whether a living process has instance `number`.
pub fn is_alive(number: u32) -> bool {
    let directory = directory(number);
    directory.is_dir() && !matches!(lock(&directory), Ok(Some(_)))
}

/// Whether instance `number` is certainly dead: its directory is there, and nobody has locked it.
pub fn is_dead(number: u32) -> bool {
    matches!(lock(&directory(number)), Ok(Some(_)))
}

/// The numbers of all instances that have a directory, dead or alive.
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

/// Removes the directories of dead instances, and returns them.
pub fn sweep() -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for directory in directories()? {
        // The lock keeps others from claiming it half-way.
        if let Some(_lock) = lock(&directory)? {
            remove(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
            removed.push(directory);
        }
    }
    Ok(removed)
}

/// The directories of dead instances.
pub fn dead() -> Result<Vec<PathBuf>> {
    let mut dead = directories()?;
    dead.retain(|directory| matches!(lock(directory), Ok(Some(_))));
    Ok(dead)
}

/// The directories of all instances.
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
        .filter(|path| !path.as_ref().is_ok_and(|path| path.ends_with(LEGACY_HOLDS)))
        .collect()
}

fn root() -> PathBuf {
    Path::new(BPFFS).join(PIN_FOLDER)
}

/// Removes a directory of pins, and the directory of all instances if it was the last.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Earlier versions kept directories there.
        if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(directory)?;
    // This fails while another instance is there.
    let _ = fs::remove_dir(root());
    Ok(())
}

/// Locks a directory; `None` if somebody else has the lock, or it is gone.
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
    // A sweep may have removed the directory in between.
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

/// Mounts bpffs at its usual place unless it is mounted. It stays, since others may use it by then.
fn mount_bpffs() -> Result<()> {
    // A second mount would hide what is pinned in the first, so an error is not taken for a no.
    if is_mounted().with_context(|| format!("cannot look at {BPFFS}"))? {
        return Ok(());
    }
    tracing::info!("mounting the BPF file system at {BPFFS}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), BPFFS, Some("bpf"), flags, Some("mode=0700"))
        .with_context(|| format!("cannot mount the BPF file system at {BPFFS}"))
}
