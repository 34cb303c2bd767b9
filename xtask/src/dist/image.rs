//! What a Dockerfile describes, without a container engine: a folder that is some process's root.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::dockerfile::Dockerfile;
use crate::setup::locate;
use crate::{privilege, ui};

/// An image's files, removed on drop.
#[derive(Debug)]
pub struct Image<'a> {
    dockerfile: &'a Dockerfile,
    root: TempDir,
}

impl<'a> Image<'a> {
    /// Copies the files of a Dockerfile from the build context. There are no others.
    pub fn lay_out(dockerfile: &'a Dockerfile, context: &Path) -> Result<Self> {
        let root = TempDir::new().context("cannot make a folder")?;
        for (from, to) in &dockerfile.copies {
            let place = root.path().join(to.trim_start_matches('/'));
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(context.join(from), &place).with_context(|| format!("cannot copy {from}"))?;
        }
        Ok(Self { dockerfile, root })
    }

    /// Runs the image's program with these arguments, and gives back what it wrote. Root is needed
    /// to change the root folder.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = privilege::command(locate("chroot")?, "run the binary in an empty root")?;
        command.arg(self.root.path()).args(&self.dockerfile.entrypoint).args(arguments);
        let output = command.output().context("cannot run chroot")?;
        if !output.status.success() {
            bail!(
                "`{}` failed ({}): {}",
                ui::shell_line(&command),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
