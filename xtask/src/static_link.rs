//! Programs that need no other file to run: linked statically, with musl.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cargo;

/// The target that is linked statically.
pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// Copies a program without its debugging information, which is most of it.
pub fn copy_stripped(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("strip");
    command.arg("--strip-debug").arg("-o").arg(to).arg(from);
    cargo::run(&mut command)
}
