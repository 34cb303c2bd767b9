//! Writing sysctls, also where `/proc/sys` is shown read-only.
//!
//! Container runtimes mount it so for every container that is not privileged, whatever its
//! capabilities are. What they protect is the host; the sysctls of a network device of our own are
//! ours. So such a write is done in a mount namespace that ends with it, and neither the container
//! nor the host sees a mount change.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::netns::on_own_thread;

/// What runtimes make a read-only mount of.
const SYSCTLS: &str = "/proc/sys";

/// Writes one value, for the calling thread's network namespace.
pub fn write(path: &Path, value: &str) -> io::Result<()> {
    match fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            // A new thread is in its maker's network namespace. That the file can't be written to
            // is the error that matters, whatever else fails here.
            on_own_thread(|| write_privately(path, value)).map_err(|_| error)
        }
        result => result,
    }
}

/// Writes it past the read-only mount. The calling thread must do nothing else afterwards.
fn write_privately(path: &Path, value: &str) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing: Option<&str> = None;
    // Or the next step would be seen wherever mounts are shared with.
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(nothing, SYSCTLS, nothing, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, nothing)?;
    fs::write(path, value)
}
