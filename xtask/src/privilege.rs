//! Root, where a step needs it, and only there.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::ui;

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command that runs as root: as it is if we are root, by `sudo` otherwise. `why` completes
/// "root is needed to …". A password is asked for here, so that what follows can draw on the
/// terminal.
pub fn command(program: impl AsRef<OsStr>, why: &str) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    obtain(why)?;
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    Ok(command)
}

/// Makes sure that `sudo` will not have to ask for some minutes. Does nothing as root.
pub fn obtain(why: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    if which::which("sudo").is_err() {
        bail!(
            "root is needed to {why}, and there is no sudo: install sudo, or run this command as root"
        );
    }
    ui::note(&format!("sudo, to {why}"));
    if can_sudo_silently() {
        return Ok(());
    }
    let status = Command::new("sudo").arg("--validate").status().context("cannot run sudo")?;
    if !status.success() {
        bail!("root is needed to {why}, and sudo refused ({status})");
    }
    Ok(())
}

/// `sudo --validate` may ask for a password even where no command needs one.
fn can_sudo_silently() -> bool {
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", "true"]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
