//! Foreword against HAProxy, nginx and no proxy at all, on the same work, in namespaces of their own.
//!
//! Everything that is measured or measures is compiled for release: `cargo xtask bench` builds
//! Foreword and the program of this crate so, and runs that as root.
//!
//! Nothing is dropped silently: a contender that can't do a measure, or answers wrongly even once,
//! is shown as failed.

mod cpu;
mod ebpf;
mod goals;
mod load;
mod machine;
mod measure;
mod memory;
mod metric;
mod network;
mod plan;
mod progress;
mod proxy;
mod report;
mod results;
mod run;
mod server;
mod stage;
mod stats;
mod strace;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use netlab::{interrupt, ui};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use cpu::Cpus;
use machine::Machine;
use plan::{Contender, Measure, Plan, Setup};
pub use proxy::Binaries;
use report::Report;

/// How busy others may be, in CPUs, before the numbers mean little.
const QUIET: f64 = 0.1;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Few and short rounds: under three minutes instead of about twelve.
    #[arg(long)]
    quick: bool,
    /// Take this measure only; can be repeated.
    #[arg(long, value_name = "MEASURE")]
    only: Vec<Measure>,
    /// Measure this contender only; can be repeated.
    #[arg(long, value_name = "NAME")]
    contender: Vec<Contender>,
    /// Use this set-up only; can be repeated.
    #[arg(long, value_name = "NAME")]
    setup: Vec<Setup>,
    /// Where all samples go [default: bench/results.json in the target folder].
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Where the picture goes [default: beside the samples].
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// Where the document goes [default: beside the samples].
    #[arg(long, value_name = "PATH")]
    markdown: Option<PathBuf>,
}

/// Measures and reports. Without a path of its own, what is written goes into `folder`.
pub fn run(args: &Args, binaries: Binaries, folder: &Path) -> Result<()> {
    let started = Instant::now();
    interrupt::watch()?;
    raise_file_limit()?;
    let cpus = Cpus::choose()?;
    let plan = Plan::new(args.quick, &args.setup, &args.contender, &args.only);
    let machine = Machine::look(&binaries.foreword)?;
    if machine.background > QUIET {
        let busy = machine.background;
        ui::warn(&format!("others keep {busy:.2} CPUs busy: the numbers will be worth little"));
    }
    let results = run::run(&plan, cpus, binaries)?;

    let json = args.json.clone().unwrap_or_else(|| folder.join("results.json"));
    let report = Report::new(&plan, &machine, cpus, &results);
    let svg = args.svg.clone().unwrap_or_else(|| json.with_extension("svg"));
    let markdown = args.markdown.clone().unwrap_or_else(|| json.with_extension("md"));
    report.write(&json, &svg, &markdown)?;
    print!("{}", report.markdown(&svg.display().to_string()));
    for path in [&json, &svg, &markdown] {
        ui::note(&format!("written: {}", path.display()));
    }
    ui::done(&format!("{} samples in {} s", plan.samples(), started.elapsed().as_secs()));
    match results.failures().len() {
        0 => Ok(()),
        count => bail!("{count} samples could not be taken; see under Failures"),
    }
}

/// A proxy needs two descriptors for each idle connection, and so do load and server together.
fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot ask for the file limit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the file limit")
}
