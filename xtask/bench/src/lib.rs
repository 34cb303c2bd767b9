//! `cargo xtask bench`: Foreword against HAProxy, nginx and no proxy at all, on the same work, in
//! namespaces of their own.
//!
//! Everything that is measured or measures is compiled for release; this program builds itself so,
//! too, and the second one runs the benchmark, as root.
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

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cargo::{self, Profile};
use crate::setup::{self, Purpose};
use crate::{interrupt, privilege, ui};
use cpu::Cpus;
use machine::Machine;
use plan::{Contender, Measure, Plan, Setup};
use proxy::Binaries;
use report::Report;

/// How busy others may be, in CPUs, before the numbers mean little.
const QUIET: f64 = 0.1;

/// Arguments of `cargo xtask bench`.
#[derive(ClapArgs)]
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
    /// Everything is set up and built: measure this `foreword`, and this listener of its relay.
    #[arg(long, hide = true, num_args = 2, value_names = ["FOREWORD", "LISTENER"], requires = "json")]
    in_lab: Vec<PathBuf>,
}

/// Sets up, builds, measures, and reports.
pub fn run(args: &Args) -> Result<()> {
    match (&args.in_lab[..], &args.json) {
        ([foreword, listener], Some(json)) => {
            let (foreword, listener) = (foreword.clone(), listener.clone());
            measure(args, Binaries { foreword, listener }, json)
        }
        _ => prepare(args),
    }
}

/// Builds the programs for release, and becomes the one that measures.
fn prepare(args: &Args) -> Result<()> {
    setup::run(Purpose::Bench)?;
    ui::note("building foreword and the load for release");
    let programs = [cargo::FOREWORD, cargo::LISTENER, cargo::XTASK];
    let [foreword, listener, program] = cargo::build_together(programs, Profile::Release)?;
    let mut command =
        privilege::command(program, "make network namespaces, attach Foreword and pin CPUs")?;
    command.args(env::args_os().skip(1)).arg("--in-lab").args([foreword, listener]);
    if args.json.is_none() {
        let folder = cargo::target_dir()?.join("bench");
        // Made here, so that it belongs to whoever asked.
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        command.arg("--json").arg(folder.join("results.json"));
    }
    // Replaced, so that a Ctrl-C reaches the one that has to tidy up.
    Err(command.exec()).context("cannot run the benchmark")
}

fn measure(args: &Args, binaries: Binaries, json: &Path) -> Result<()> {
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

    let report = Report::new(&plan, &machine, cpus, &results);
    let svg = args.svg.clone().unwrap_or_else(|| json.with_extension("svg"));
    let markdown = args.markdown.clone().unwrap_or_else(|| json.with_extension("md"));
    report.write(json, &svg, &markdown)?;
    print!("{}", report.markdown(&svg.display().to_string()));
    for path in [json, &svg, &markdown] {
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
