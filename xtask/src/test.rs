//! `cargo xtask test`: unit tests as the user who runs it, then as root what needs network namespaces:
//! conformance, the integration tests, and generated packets.
//!
//! Nothing is printed after cargo's own closing lines.

use std::{env, thread};

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::cargo::{self, cargo};
use crate::setup::{self, Purpose};
use crate::{privilege, ui};

/// Cargo's setting that has a finished test binary run by sudo.
pub const AS_ROOT: &str = r#"target."cfg(unix)".runner = ["sudo", "--preserve-env", "--"]"#;

/// Test binaries that need neither root nor a network namespace.
const UNPRIVILEGED: [&str; 5] = ["layers", "allocations", "differential", "replay", "tools"];

/// How many tests run at once, for Rust's test harness.
const THREADS: &str = "RUST_TEST_THREADS";

/// Arguments of `cargo xtask test`.
#[derive(ClapArgs)]
pub struct Args {
    /// Handed to the integration tests: names to pick by, or options as --nocapture.
    #[arg(last = true)]
    integration: Vec<String>,
}

/// Builds and runs everything there is to test.
pub fn run(args: &Args) -> Result<()> {
    setup::run(Purpose::Test)?;

    ui::note("unit tests");
    let workspace = ["test", "--workspace", "--exclude=proxy-ebpf"];
    cargo::run(cargo().args(workspace).args(["--lib", "--bins"]))?;
    let unprivileged = UNPRIVILEGED.map(|name| format!("--test={name}"));
    cargo::run(cargo().args(["test", "-p=proxy-user", "-p=proxy-header"]).args(unprivileged))?;
    cargo::run(cargo().args(workspace).arg("--doc"))?;

    ui::note("integration tests, in network namespaces of their own");
    let privileged =
        ["test", "--package=proxy-user", "--test=conformance", "--test=it", "--test=packets"];
    let mut integration = cargo();
    integration.args(privileged);
    if !privilege::is_root() {
        // Built by the user as before; only the finished binaries are run as root.
        cargo::run(cargo().args(privileged).arg("--no-run"))?;
        privilege::obtain("make network namespaces and load eBPF programs")?;
        integration.args(["--config", AS_ROOT]);
    }
    if env::var_os(THREADS).is_none() {
        // Most of their time is spent waiting for the network.
        let cpus = thread::available_parallelism()?.get();
        integration.env(THREADS, (2 * cpus).to_string());
    }
    if !args.integration.is_empty() {
        integration.arg("--").args(&args.integration);
    }
    cargo::run(&mut integration)
}
