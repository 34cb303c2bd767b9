//! `cargo-fuzz`, which builds the fuzz targets with libFuzzer's instrumentation.

use anyhow::{Context, Result, bail};

use super::rust;
use crate::cargo::cargo;
use crate::ui;

/// The version that is installed where there is none.
const VERSION: &str = "0.13.2";

/// Builds and installs it if there is none; whether it did. Its releases change little: any will do.
pub fn require() -> Result<bool> {
    if which::which("cargo-fuzz").is_ok() {
        return Ok(false);
    }
    let mut command = cargo();
    command.args(["install", "cargo-fuzz", "--version", VERSION, "--locked"]);
    ui::run_long(
        &format!("building cargo-fuzz {VERSION}, which takes a minute or two"),
        &mut command,
    )
    .with_context(|| {
        format!("cannot build cargo-fuzz; by hand it is: {}", ui::shell_line(&command))
    })?;
    if which::which("cargo-fuzz").is_err() {
        bail!("cargo-fuzz is in {}, which is not on the PATH: add it", rust::cargo_bin().display());
    }
    Ok(true)
}
