//! Reading and writing sysctls, by their paths below `/proc/sys`. Those below `net` are the calling
//! thread's network namespace's.
//!
//! Container runtimes mount `/proc/sys` read-only in every container that isn't privileged, whatever
//! its capabilities. That protects the host; the sysctls of a network device of our own are ours to
//! set. Such a write happens in a short-lived mount namespace, so neither the container nor the host
//! sees a mount change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::netns::on_own_thread;

const PROC_SYS: &str = "/proc/sys";

/// A sysctl's value, without the white space around it; `None` if this kernel, or this network
/// namespace, doesn't have the sysctl.
pub fn read(name: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(path(name)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this kernel, or this network namespace, has a sysctl or a directory of them.
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Writes a sysctl's value.
pub fn write(name: &str, value: &str) -> io::Result<()> {
    let path = path(name);
    match fs::write(&path, value) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            // A new thread starts in its creator's network namespace. Whatever else fails here, the
            // error worth reporting is that the file is read-only.
            on_own_thread(|| write_privately(&path, value)).map_err(|_| error)
        }
        result => result,
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(PROC_SYS).join(name)
}

/// Writes past the read-only mount. The calling thread must do nothing else afterwards.
fn write_privately(path: &Path, value: &str) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    // Without this, the remount below would propagate to other mount namespaces.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(none, PROC_SYS, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, none)?;
    fs::write(path, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_that_does_not_exist_is_none() {
        assert!(matches!(read("kernel/foreword"), Ok(None)));
        assert!(matches!(read("kernel/osrelease"), Ok(Some(release)) if !release.is_empty()));
    }
}
