//! What is tested, and what tests it: built for a machine that has no C library.

use std::path::PathBuf;

use anyhow::Result;

use crate::cargo;
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
        let target = format!("--target={TARGET}");
        let tests = ["test", "--package=proxy-user", "--test=it", "--test=packets", "--no-run"];
        let artifacts = cargo::build(&[&tests[..], &[&target]].concat())?;
        let [foreword, tests, packets] =
            ["foreword", "it", "packets"].map(|name| cargo::executable(&artifacts, name));
        Ok(Self { foreword: foreword?, tests: tests?, packets: packets? })
    }
}
