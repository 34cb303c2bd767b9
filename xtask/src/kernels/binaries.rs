//! What is tested, and what tests it: built for a machine that has no C library.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, cargo};
use crate::static_link::TARGET;

/// Statically linked programs.
#[derive(Debug)]
pub struct Binaries {
    /// `foreword`. The tests look for it at this very path.
    pub foreword: PathBuf,
    /// The integration tests.
    pub tests: PathBuf,
    /// Generated packets.
    pub packets: PathBuf,
}

impl Binaries {
    /// Has cargo build them. Its own progress is shown.
    pub fn build() -> Result<Self> {
        let mut command = cargo();
        command.args(["test", "--package=proxy-user", "--test=it", "--test=packets", "--no-run"]);
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
        let [foreword, tests, packets] = ["foreword", "it", "packets"].map(find);
        Ok(Self { foreword: foreword?, tests: tests?, packets: packets? })
    }
}
