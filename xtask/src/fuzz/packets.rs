//! `cargo xtask fuzz packets`: the integration test `packets` for as long as one likes, on frames that
//! no run before has seen.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::cargo::{self, cargo};
use crate::setup::{self, Purpose};
use crate::{privilege, test, ui};

/// What the tests' names that judge generated frames begin with.
const TESTS: &str = "verdicts";

/// Runs for this many seconds. Without a seed it takes the time for one, and prints it.
pub fn run(seconds: u32, seed: Option<u64>) -> Result<()> {
    setup::run(Purpose::Test)?;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let seed = seed.unwrap_or_else(now);
    ui::note(&format!("packets of seed {seed}, for {seconds} s"));
    let arguments = ["test", "--release", "--package=proxy-user", "--test=packets"];
    let mut command = cargo();
    command.args(arguments);
    if !privilege::is_root() {
        // Built by the user as before; only the finished binary is run as root.
        cargo::run(cargo().args(arguments).arg("--no-run"))?;
        privilege::obtain("make network namespaces and load eBPF programs")?;
        command.args(["--config", test::AS_ROOT]);
    }
    command.env("FOREWORD_PACKETS_SECONDS", seconds.to_string());
    command.env("FOREWORD_PACKETS_SEED", seed.to_string());
    cargo::run(command.args(["--", TESTS]))?;
    ui::done(&format!("packets: no disagreement in {seconds} s of seed {seed}"));
    Ok(())
}
