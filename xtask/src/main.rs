//! Developer commands for Foreword: `cargo xtask <COMMAND>`.

mod bench;
mod cargo;
mod demo;
mod dist;
mod fuzz;
mod kernels;
mod lint;
mod manifests;
mod privilege;
mod setup;
mod static_link;
mod test;
mod ui;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer commands for Foreword.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: Debian packages, parts of the Rust toolchain, bpf-linker.
    Setup,
    /// Show Foreword at work in a small network, and check each step.
    Demo(demo::Args),
    /// Run the unit tests, then the integration tests.
    Test(test::Args),
    /// Check formatting, run clippy with warnings as errors, on the eBPF crate as well, and check the
    /// dependencies' licences and versions.
    Lint,
    /// Build the static binary that is shipped, and check that it runs without any other file.
    Dist(dist::Args),
    /// Render the Kubernetes manifests, and check them against several versions' schemas.
    Manifests,
    /// Measure Foreword against HAProxy, nginx and no proxy at all, on the same work.
    Bench(::bench::Args),
    /// Fuzz the header engine, the policy and the parsers; each target for 20 seconds by default.
    Fuzz(fuzz::Args),
    /// Run the integration tests that depend on the kernel on Linux 6.1 and 6.12, in QEMU.
    Kernels(kernels::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup::run(setup::Purpose::All),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Lint => lint::run(),
        Command::Dist(args) => dist::run(&args),
        Command::Manifests => manifests::run(),
        Command::Bench(_) => bench::run(),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Kernels(args) => kernels::run(&args),
    }
}
