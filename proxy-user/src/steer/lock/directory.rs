//! The directory that all instances of a node share: locks, sockets of their owners, notes about qdiscs.
//!
//! Whoever can write there can keep a Foreword from starting, so only root may (or the user who runs
//! it), and the same goes for its parent. Anything else is refused, never repaired: somebody may have
//! made it so on purpose.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

/// The parent directory. The admin sockets are there as well.
pub const RUN: &str = "/run/foreword";
/// The directory itself.
const LOCKS: &str = "/run/foreword/locks";
/// The mode bits that let the group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The mode bits that let anybody but the owner do anything.
const OPEN_TO_OTHERS: u32 = 0o077;
/// An instance that ends meanwhile may remove what we have found or made.
const ATTEMPTS: usize = 16;

/// The directory's path, for looking only: it may not exist.
pub fn path() -> &'static Path {
    Path::new(LOCKS)
}

/// The directory, made if it was not there, and private.
pub fn directory() -> Result<PathBuf> {
    let (run, locks) = (Path::new(RUN), Path::new(LOCKS));
    make(run, locks).with_context(|| {
        format!(
            "cannot make {LOCKS}, where instances agree on who steers what; in a container, mount \
             the node's {RUN} at {RUN} (a hostPath volume, or --volume {RUN}:{RUN})"
        )
    })?;
    require_private(run, WRITABLE_BY_OTHERS)?;
    require_private(locks, OPEN_TO_OTHERS)?;
    Ok(locks.to_owned())
}

fn make(run: &Path, locks: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        result = create(run).and_then(|()| create(locks));
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result
}

fn create(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        // Whether it is a directory is checked later.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Refuses what is not a directory, not ours, or has one of these mode bits.
fn require_private(directory: &Path, forbidden: u32) -> Result<()> {
    let shown = directory.display();
    // Only root can write to the parent, so nothing is replaced after this check.
    let found =
        fs::symlink_metadata(directory).with_context(|| format!("cannot look at {shown}"))?;
    if !found.is_dir() {
        let kind = if found.is_symlink() { "a symbolic link" } else { "no folder" };
        bail!("{shown} is {kind}; remove it, and it is made as it has to be");
    }
    let (owner, own) = (found.uid(), geteuid().as_raw());
    if owner != own && owner != 0 {
        bail!(
            "{shown} belongs to user {owner}, who could keep Foreword from starting; \
             `chown root:root {shown}`"
        );
    }
    let mode = found.mode() & 0o7777;
    if mode & forbidden != 0 {
        let right = mode & !forbidden;
        bail!("{shown} has mode {mode:04o} and is open to others; `chmod {right:04o} {shown}`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_others_could_write_to_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("locks");
        create(&directory).unwrap();
        require_private(&directory, OPEN_TO_OTHERS).unwrap();
        for mode in [0o701, 0o710, 0o720, 0o770, 0o777, 0o1777] {
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            let refusal = require_private(&directory, OPEN_TO_OTHERS).unwrap_err().to_string();
            assert!(refusal.contains(&format!("{mode:04o}")), "{refusal}");
        }
        for mode in [0o755, 0o750] {
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            require_private(&directory, WRITABLE_BY_OTHERS).unwrap();
        }
    }

    #[test]
    fn a_link_or_a_file_is_no_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        symlink(scratch.path(), &link).unwrap();
        let refusal = require_private(&link, 0).unwrap_err().to_string();
        assert!(refusal.contains("a symbolic link"), "{refusal}");
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let refusal = require_private(&file, 0).unwrap_err().to_string();
        assert!(refusal.contains("no folder"), "{refusal}");
    }
}
