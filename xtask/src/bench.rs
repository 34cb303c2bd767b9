//! `cargo xtask bench`: builds everything for release, and runs the benchmark as root.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context, Result};

use crate::setup::{self, Purpose};
use crate::{cargo, privilege, ui};

/// Builds the programs, and becomes the one that measures, with the words of this command line.
pub fn run() -> Result<()> {
    setup::run(Purpose::Bench)?;
    ui::note("building foreword and the load for release");
    // Together, so that what they share is compiled once.
    let artifacts = cargo::build(&[
        "build",
        "--release",
        "--package=proxy-user",
        "--package=bench",
        "--bin=foreword",
        "--bin=bench",
        "--example=listener",
    ])?;
    let [foreword, listener, program] =
        ["foreword", "listener", "bench"].map(|name| cargo::executable(&artifacts, name));
    let folder = cargo::target_dir()?.join("bench");
    // Made here, so that it belongs to the user and not to root.
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let why = "make network namespaces, attach Foreword and pin CPUs";
    let mut command = privilege::command(program?, why)?;
    command.args([foreword?, listener?, folder]).args(env::args_os().skip(2));
    // Replaced, so that a Ctrl-C reaches the one that has to tidy up.
    Err(command.exec()).context("cannot run the benchmark")
}
