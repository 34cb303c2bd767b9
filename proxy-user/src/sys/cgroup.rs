//! The cgroup that this process's sockets belong to.
//!
//! A socket belongs to the cgroup that the process was in when it made it, and an accepted socket to
//! its listener's. So the process enters a cgroup of its own before it makes any, and a sockops
//! program attached there sees our sockets and nobody else's.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use procfs::ProcessCGroups;
use procfs::process::{MountInfos, Process};
use proxy_common::names::CGROUP_PREFIX;

/// A cgroup that sockops programs can be attached to.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// The cgroup that the process came from, if `path` was made for it.
    parent: Option<PathBuf>,
}

impl Cgroup {
    /// Makes a cgroup for instance `number` below the process's own and enters it. Where that isn't
    /// allowed, as in most containers, the process stays in its own.
    pub fn enter(number: u32) -> io::Result<Self> {
        let own = own_cgroup()?;
        let path = own.join(format!("{CGROUP_PREFIX}{number}"));
        match fs::create_dir(&path).and_then(|()| move_self_to(&path)) {
            Ok(()) => Ok(Self { path, parent: Some(own) }),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "no cgroup of our own");
                let _ = fs::remove_dir(&path);
                Ok(Self { path: own, parent: None })
            }
        }
    }

    /// Opens its directory, to attach programs.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let Some(parent) = &self.parent else { return };
        let left = move_self_to(parent).and_then(|()| fs::remove_dir(&self.path));
        if let Err(error) = left {
            tracing::warn!(%error, path = %self.path.display(), "this cgroup was left behind");
        }
    }
}

fn move_self_to(cgroup: &Path) -> io::Result<()> {
    // 0 stands for the process that writes.
    fs::write(cgroup.join("cgroup.procs"), "0")
}

/// Where cgroup2 is mounted.
pub fn mount_point() -> io::Result<PathBuf> {
    Ok(mount()?.point)
}

/// Removes the cgroups of instances that are `stale`, and returns their paths. The kernel refuses to
/// remove a cgroup with a process in it.
pub fn sweep(is_stale: impl Fn(u32) -> bool) -> io::Result<Vec<PathBuf>> {
    let stale = stale(is_stale)?;
    Ok(stale.into_iter().filter(|path| fs::remove_dir(path).is_ok()).collect())
}

/// The cgroups of instances that are `stale`, anywhere in the hierarchy.
pub fn stale(is_stale: impl Fn(u32) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    let mut directories = vec![mount_point()?];
    while let Some(directory) = directories.pop() {
        // A cgroup may be removed while we look.
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match instance_of(&path) {
                Some(number) if is_stale(number) => stale.push(path),
                None if path.is_dir() => directories.push(path),
                _ => {}
            }
        }
    }
    Ok(stale)
}

/// The smallest memory limit of this process's cgroup and its ancestors, in bytes; `None` if there
/// is no limit, or none that can be seen.
pub fn memory_limit() -> Option<u64> {
    let (own, root) = (own_cgroup().ok()?, mount_point().ok()?);
    let inside = own.ancestors().take_while(|directory| directory.starts_with(&root));
    let limits = inside.filter_map(|path| fs::read_to_string(path.join("memory.max")).ok());
    // `max`, the word for no limit, is not a number.
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
}

/// The paths of this process's cgroups, of every hierarchy.
pub fn own_paths() -> io::Result<Vec<String>> {
    Ok(membership()?.0.into_iter().map(|cgroup| cgroup.pathname).collect())
}

/// The number of the instance that a cgroup was made for.
fn instance_of(cgroup: &Path) -> Option<u32> {
    cgroup.file_name()?.to_str()?.strip_prefix(CGROUP_PREFIX)?.parse().ok()
}

/// The directory of the cgroup2 that this process is in.
fn own_cgroup() -> io::Result<PathBuf> {
    mount()?.directory_of(&membership()?).ok_or_else(not_mounted)
}

fn membership() -> io::Result<ProcessCGroups> {
    Process::myself().and_then(|process| process.cgroups()).map_err(io::Error::other)
}

fn mount() -> io::Result<Mount> {
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    Mount::find(mounts.map_err(io::Error::other)?).ok_or_else(not_mounted)
}

fn not_mounted() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no cgroup2 file system shows this process's cgroup")
}

/// A mount of cgroup2. It isn't always at `/sys/fs/cgroup`, and may show a part of the hierarchy only.
struct Mount {
    /// The part of the hierarchy that is mounted.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn find(mounts: MountInfos) -> Option<Self> {
        let mount = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2")?;
        Some(Self { root: mount.root.into(), point: mount.mount_point })
    }

    /// Where the process's cgroup is found below this mount.
    fn directory_of(&self, membership: &ProcessCGroups) -> Option<PathBuf> {
        let unified = membership.0.iter().find(|cgroup| cgroup.hierarchy == 0)?;
        Some(self.point.join(Path::new(&unified.pathname).strip_prefix(&self.root).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use procfs::FromBufRead as _;

    use super::*;

    const HYBRID: &str = "\
25 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
27 25 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn locate(mountinfo: &str, membership: &str) -> Option<PathBuf> {
        let mount = Mount::find(MountInfos::from_buf_read(mountinfo.as_bytes()).unwrap())?;
        mount.directory_of(&ProcessCGroups::from_buf_read(membership.as_bytes()).unwrap())
    }

    #[test]
    fn the_unified_hierarchy_is_found_wherever_it_is_mounted() {
        let found = locate(HYBRID, "12:cpu:/x\n0::/user.slice/a b\n");
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/a b")));
        assert_eq!(locate(HYBRID, "0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/unified/")));
    }

    #[test]
    fn a_mount_of_a_part_is_seen_from_its_root() {
        let part = "27 25 0:23 /pod7 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(locate(part, "0::/pod7/main\n"), Some(PathBuf::from("/sys/fs/cgroup/main")));
        assert_eq!(locate(part, "0::/pod8/main\n"), None);
    }

    #[test]
    fn without_the_unified_hierarchy_there_is_none() {
        assert_eq!(
            locate("26 25 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n", "0::/\n"),
            None
        );
        assert_eq!(locate(HYBRID, "12:cpu:/x\n"), None);
    }
}
