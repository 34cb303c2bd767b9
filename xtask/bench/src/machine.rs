//! What the numbers were measured on and with.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::utsname::uname;
use serde::Serialize;

use super::cpu;

/// For how long we look whether others are busy.
const LOOK: Duration = Duration::from_secs(1);

/// A machine, and the programs on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The CPU's name.
    pub cpu: String,
    /// How many of them there are.
    pub cpus: usize,
    /// Gibibytes.
    pub memory: u64,
    /// Release and architecture.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// How busy others kept the machine before the run, in CPUs.
    pub background: f64,
    /// Versions, as the programs tell them.
    pub versions: Vec<String>,
}

impl Machine {
    /// Looks around for a second.
    pub fn look(foreword: &Path) -> Result<Self> {
        let before = cpu::of_machine()?;
        sleep(LOOK);
        let busy = cpu::of_machine()?.saturating_sub(before);
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let kernel = uname().context("cannot ask for the kernel")?;
        let (number, machine) = (kernel.release(), kernel.machine());
        let kibibytes = value(&meminfo, "MemTotal").and_then(|text| text.strip_suffix(" kB"));
        Ok(Self {
            cpu: value(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory: kibibytes.and_then(|it| it.parse::<u64>().ok()).unwrap_or_default() >> 20,
            kernel: format!("Linux {} {}", number.display(), machine.display()),
            system: value(&release, "PRETTY_NAME")
                .unwrap_or("unknown")
                .trim_matches('"')
                .to_owned(),
            background: busy.as_secs_f64() / LOOK.as_secs_f64(),
            versions: versions(foreword),
        })
    }

    /// The machine in one line.
    pub fn line(&self) -> String {
        let Self { cpu, cpus, memory, kernel, system, .. } = self;
        format!("{cpu}, {cpus} CPUs, {memory} GiB, {system}, {kernel}")
    }
}

/// Reads `NAME : VALUE` and `NAME=VALUE`, the first of that name.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once([':', '='])?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// The first line of what each program says of itself; one that is not there is left out, and its
/// measures have failed.
fn versions(foreword: &Path) -> Vec<String> {
    let programs: [(&Path, &str); 3] =
        [(foreword, "--version"), (Path::new("haproxy"), "-v"), (Path::new("nginx"), "-v")];
    let version = |(program, option): (&Path, &str)| {
        let output = Command::new(program).arg(option).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    programs.into_iter().filter_map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_value_of_a_name() {
        assert_eq!(value("model\t: 1\nmodel name\t: Fast CPU\n", "model name"), Some("Fast CPU"));
        assert_eq!(value("NAME=x\nPRETTY_NAME=\"Debian\"\n", "PRETTY_NAME"), Some("\"Debian\""));
        assert_eq!(value("", "NAME"), None);
    }
}
