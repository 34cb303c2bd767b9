//! `cargo xtask fuzz`: libFuzzer on the header engine, the policy, and whatever else reads text or bytes
//! of others, with the stable toolchain; and generated packets through the loaded eBPF programs
//! ([`packets`]).
//!
//! Inputs that reach something new are collected below the target folder, so that each run goes on
//! where the last one ended; the checked-in corpus is only read. An input that fails becomes a
//! regression file, which the ordinary test `replay` fails with until the fault is gone.

mod packets;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};

use crate::cargo::{self, cargo};
use crate::setup::{self, Purpose};
use crate::ui;

/// Arguments of `cargo xtask fuzz`.
#[derive(ClapArgs)]
pub struct Args {
    /// What to fuzz; each target in turn if none is named, but for packets, which needs root.
    target: Option<Target>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// With packets: what they are made from, to have a run again.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// A fuzz target, by the name that its binary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Any bytes in any split, into the decoder.
    Decode,
    /// Any settings, through the encoder and back.
    Encode,
    /// Any rule and any peer, before the policy.
    Policy,
    /// Any text, as a configuration.
    Config,
    /// Any documents, for an import.
    Import,
    /// Any line, in the admin protocol.
    Admin,
    /// Any text as hex, and any bytes for `decode`.
    Hex,
    /// Any datagram, as the kernel's answer.
    Netlink,
    /// Any frames, through the eBPF programs of a node of the lab.
    Packets,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Policy => "policy",
            Self::Config => "config",
            Self::Import => "import",
            Self::Admin => "admin",
            Self::Hex => "hex",
            Self::Netlink => "netlink",
            Self::Packets => "packets",
        }
    }

    /// The package that has it.
    const fn package(self) -> &'static str {
        match self {
            Self::Decode | Self::Encode => PROTOCOL,
            _ => REST,
        }
    }
}

/// The packages with fuzz targets.
const PROTOCOL: &str = "proxy-user/header";
const REST: &str = "proxy-user";

/// Longest input in bytes.
const MAX_INPUT: u32 = 4096;

/// How often a long run says that it goes on.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Runs the targets; the first crash ends it.
pub fn run(args: &Args) -> Result<()> {
    if args.target == Some(Target::Packets) {
        return packets::run(args.seconds, args.seed);
    }
    setup::run(Purpose::Fuzz)?;
    let target_dir = cargo::target_dir()?.join("fuzz");
    let targets = args.target.as_ref().map_or(Target::value_variants(), std::slice::from_ref);
    let targets: Vec<_> = targets.iter().filter(|target| **target != Target::Packets).collect();
    for package in [PROTOCOL, REST] {
        if targets.iter().any(|target| target.package() == package) {
            let mut build = cargo_fuzz("build", package, &target_dir);
            ui::run_long(&format!("building the fuzz targets of {package}"), &mut build)?;
        }
    }
    targets.into_iter().try_for_each(|target| fuzz(*target, args.seconds, &target_dir))
}

/// `cargo fuzz` on a package's folder. What it needs of the compiler is unstable, hence the variable.
fn cargo_fuzz(subcommand: &str, package: &str, target_dir: &Path) -> Command {
    let mut command = cargo();
    command.args(["fuzz", subcommand, "--fuzz-dir"]).arg(folder(package));
    command.arg("--target-dir").arg(target_dir).env("RUSTC_BOOTSTRAP", "1");
    command
}

fn folder(package: &str) -> PathBuf {
    cargo::root().join(package).join("fuzz")
}

fn fuzz(target: Target, seconds: u32, target_dir: &Path) -> Result<()> {
    let (name, package) = (target.name(), target.package());
    let collected = target_dir.join("corpus").join(name);
    let regressions = folder(package).join("regressions").join(name);
    for folder in [&collected, &regressions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = cargo_fuzz("run", package, target_dir);
    command.arg(name).arg(&collected).arg(folder(package).join("corpus").join(name)).arg("--");
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_INPUT}"));
    // The slash at the end makes it a folder.
    command.arg(format!("-artifact_prefix={}/", regressions.display()));

    ui::note(&format!("{name}, for {seconds} s"));
    let log = target_dir.join(format!("{name}.log"));
    let report = watch(name, &mut command, &log)?;
    // Remains only if there is something in it.
    let _ = fs::remove_dir(&regressions);
    match report {
        Report { input: Some(input), first_words, .. } => bail!(
            "{name} fails with {input}, and so will the test `replay` until the fault is gone; \
             all that was said is in {}:\n{first_words}",
            log.display()
        ),
        Report { succeeded: true, done: Some(done), .. } => {
            ui::done(&format!("{name}: {done}, no crash"));
            Ok(())
        }
        Report { .. } => bail!("{name} did not run to its end; see {}", log.display()),
    }
}

/// What libFuzzer said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    succeeded: bool,
    /// The panic, or what else there was to complain of.
    first_words: String,
    /// Where the input lies that was too much.
    input: Option<String>,
    /// Executions, edges and features, once it has ended in time.
    done: Option<Done>,
}

/// Runs a command with its output in a file, and reads along.
fn watch(name: &str, command: &mut Command, log: &Path) -> Result<Report> {
    let mut log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cannot run cargo fuzz")?;
    // The command holds the pipe's writing end, and reading would never end with it open here.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut report = follow(name, reader, &mut log)?;
    report.succeeded = child.wait()?.success();
    Ok(report)
}

fn follow(name: &str, output: PipeReader, log: &mut File) -> Result<Report> {
    let mut report = Report::default();
    let mut said = Instant::now();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        log.write_all(&[&line[..], b"\n"].concat())?;
        report.read(&String::from_utf8_lossy(&line));
        if said.elapsed() >= HEARTBEAT {
            said = Instant::now();
            ui::note(&format!("{name}: {}", String::from_utf8_lossy(&line)));
        }
    }
    Ok(report)
}

impl Report {
    /// How many lines of a complaint are enough.
    const ENOUGH: usize = 4;

    fn read(&mut self, line: &str) {
        self.done = self.done.or_else(|| Done::parse(line));
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.input = Some(path.trim().to_owned());
        }
        let complains = line.contains(" panicked at ") || line.contains("ERROR: ");
        let lines = self.first_words.lines().count();
        if (complains || lines > 0) && lines < Self::ENOUGH {
            self.first_words.push_str(line);
            self.first_words.push('\n');
        }
    }
}

/// The account at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    executions: u64,
    edges: u64,
    features: u64,
}

impl Done {
    /// Reads `#453998 DONE   cov: 1232 ft: 3559 corp: …`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let executions = words.next()?.strip_prefix('#')?.parse().ok()?;
        if words.next()? != "DONE" {
            return None;
        }
        let mut number = |label| (words.next()? == label).then(|| words.next()?.parse().ok())?;
        Some(Self { executions, edges: number("cov:")?, features: number("ft:")? })
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { executions, edges, features } = self;
        write!(f, "{executions} executions, {edges} edges and {features} features covered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_account_at_the_end() {
        let line =
            "#453998\tDONE   cov: 1232 ft: 3559 corp: 586/40Kb lim: 1220 exec/s: 41272 rss: 415Mb";
        let done = Done { executions: 453_998, edges: 1232, features: 3559 };
        assert_eq!(Done::parse(line), Some(done));
        let pulse = "#65536\tpulse  cov: 1232 ft: 3559 corp: 586/40Kb";
        assert_eq!(Done::parse(pulse), None);
        assert_eq!(Done::parse("Done 453998 runs in 11 second(s)"), None);
    }

    #[test]
    fn keeps_the_first_words_of_a_complaint_and_the_input() {
        let mut report = Report::default();
        report.read("#25\tINITED cov: 917 ft: 1739 corp: 23/1640b exec/s: 0 rss: 38Mb");
        assert_eq!(report, Report::default());
        report.read("thread '<unnamed>' (7) panicked at properties/decode.rs:60:5:");
        (0..50).for_each(|frame| report.read(&format!("#{frame} somewhere")));
        report.read("artifact_prefix='r/'; Test unit written to r/crash-a5f4");
        assert!(report.first_words.starts_with("thread '<unnamed>' (7) panicked"));
        assert_eq!(report.first_words.lines().count(), Report::ENOUGH);
        assert_eq!(report.input.as_deref(), Some("r/crash-a5f4"));
    }
}
