//! The cgroup that this process's sockets belong to.
//!
//! A socket belongs to the cgroup that its maker was in, and an accepted one to its listener's. So
//! the process enters a cgroup of its own before it makes any, and sockops attached there sees
//! ours and nobody else's.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use proxy_common::names::CGROUP_PREFIX;

/// A cgroup that sockops can be attached to.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Where the process came from, if `path` was made for it.
    parent: Option<PathBuf>,
}

impl Cgroup {
    /// Makes a cgroup for instance `number` below the process's own and enters it. Where that
    /// isn't allowed, as in most containers, the process's own is taken as it is.
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

    /// The folder, for attaching programs.
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
    // 0 stands for whoever writes.
    fs::write(cgroup.join("cgroup.procs"), "0")
}

/// Where cgroup2 is mounted.
pub fn mount_point() -> io::Result<PathBuf> {
    Ok(mount()?.1)
}

/// Removes the empty cgroups that `is_stale` says belong to nobody, wherever they are, and returns
/// them. A cgroup with a process in it is never removed: the kernel refuses.
pub fn sweep(is_stale: impl Fn(u32) -> bool) -> io::Result<Vec<PathBuf>> {
    let stale = stale(is_stale)?;
    Ok(stale.into_iter().filter(|path| fs::remove_dir(path).is_ok()).collect())
}

/// The cgroups that `is_stale` says belong to nobody, wherever they are.
pub fn stale(is_stale: impl Fn(u32) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    let mut folders = vec![mount()?.1];
    while let Some(folder) = folders.pop() {
        // A cgroup can end while we look.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            match instance_of(&path) {
                Some(number) if is_stale(number) => stale.push(path),
                None if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    Ok(stale)
}

/// The least that this process's cgroup, or one around it, may take of memory, in bytes; `None`: any
/// amount, or nobody can tell.
pub fn memory_limit() -> Option<u64> {
    let (own, root) = (own_cgroup().ok()?, mount().ok()?.1);
    let inside = own.ancestors().take_while(|folder| folder.starts_with(&root));
    let limits = inside.filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok());
    // The word for any amount is `max`.
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
}

/// The number of the instance that a cgroup was made for.
fn instance_of(cgroup: &Path) -> Option<u32> {
    cgroup.file_name()?.to_str()?.strip_prefix(CGROUP_PREFIX)?.parse().ok()
}

/// The folder of the cgroup (v2) that this process is in.
fn own_cgroup() -> io::Result<PathBuf> {
    let (root, mount_point) = mount()?;
    let membership = fs::read_to_string("/proc/self/cgroup")?;
    below_mount(&root, &mount_point, &membership).ok_or_else(not_mounted)
}

/// The part of the hierarchy that is mounted, and where.
fn mount() -> io::Result<(PathBuf, PathBuf)> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    find_mount(&mountinfo).ok_or_else(not_mounted)
}

fn not_mounted() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no cgroup2 file system shows this process's cgroup")
}

/// Finds the mount in the text of `/proc/self/mountinfo`: cgroup2 is not always mounted at
/// `/sys/fs/cgroup`, and a mount can show a part of the hierarchy only.
fn find_mount(mountinfo: &str) -> Option<(PathBuf, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        file_system.starts_with("cgroup2 ").then(|| (root.into(), mount_point.into()))
    })
}

/// Where the cgroup named in `/proc/self/cgroup` is found below a mount.
fn below_mount(root: &Path, mount_point: &Path, membership: &str) -> Option<PathBuf> {
    let path = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(mount_point.join(Path::new(path).strip_prefix(root).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
27 25 0:23 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn locate(mountinfo: &str, membership: &str) -> Option<PathBuf> {
        let (root, mount_point) = find_mount(mountinfo)?;
        below_mount(&root, &mount_point, membership)
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
