//! What is tested, and what tests it: built for a machine that has no C library.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, cargo};
use crate::static_link::TARGET;

/// Two statically linked programs.
#[derive(Debug)]
pub struct Binaries {
    /// `foreword`. The tests look for it at this very path.
    pub foreword: PathBuf,
    /// The integration tests.
    pub tests: PathBuf,
}

impl Binaries {
    /// Has cargo build both. Its own progress is shown.
    pub fn build() -> Result<Self> {
        let mut command = cargo();
        command.args(["test", "--package=proxy-user", "--test=it", "--no-run"]);
        command.arg(format!("--target={TARGET}"));
        command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
        let output = command.output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("cannot build the integration tests for {TARGET}; cargo's messages are above");
        }
        let find = |name| {
            cargo::executable(&output.stdout, name)
                .with_context(|| format!("cargo built {name} and does not say where"))
        };
        Ok(Self { foreword: find("foreword")?, tests: find("it")? })
    }
}
