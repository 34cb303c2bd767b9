//! Nanoseconds that Foreword's eBPF programs take, by the kernel's own count.
//!
//! The kernel adds up the times only while that is switched on, for the whole machine. Its clock
//! costs some nanoseconds more, which are part of the numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::load;
use super::measure::Sample;
use super::metric::Metric;
use super::stage::Stage;
use super::stats::float;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Connections at a time: enough to keep the CPUs awake and their caches warm.
const CONCURRENCY: usize = 64;

/// Packets that are ours, packets that are not, and packets that open connections.
pub fn measure(stage: &Stage, duration: Duration) -> Result<Sample> {
    let _switch = Switch::on()?;
    let past = stage.place().past;
    let others = during(stage, || {
        stage.load_at(past, |target| load::ping_pong(target, CONCURRENCY, duration)).map(drop)
    })?;
    let ours = during(stage, || {
        stage.load(|target| load::ping_pong(target, CONCURRENCY, duration)).map(drop)
    })?;
    let opening = during(stage, || {
        stage.load(|target| load::short(target, CONCURRENCY, duration)).map(drop)
    })?;
    [
        (Metric::SteerOthers, &others, "foreword_steer"),
        (Metric::SteerOurs, &ours, "foreword_steer"),
        (Metric::Return, &ours, "foreword_return"),
        (Metric::SynAck, &ours, "foreword_synack"),
        (Metric::Lookup, &opening, "foreword_lookup"),
        (Metric::Track, &opening, "foreword_track"),
    ]
    .into_iter()
    .map(|(metric, runs, program)| Ok((metric, runs.nanoseconds(program)?)))
    .collect()
}

/// What the programs have done, by name.
#[derive(Debug, Default)]
struct Runs(BTreeMap<String, Run>);

/// How often a program ran, and for how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    count: u64,
    nanoseconds: u64,
}

impl Runs {
    fn nanoseconds(&self, program: &str) -> Result<f64> {
        let run = self.0.get(program).with_context(|| format!("there is no {program}"))?;
        if run.count == 0 {
            bail!("{program} has not run");
        }
        Ok(float(run.nanoseconds) / float(run.count))
    }

    fn since(mut self, before: &Self) -> Self {
        for (name, run) in &mut self.0 {
            let earlier = before.0.get(name).copied().unwrap_or_default();
            run.count -= earlier.count;
            run.nanoseconds -= earlier.nanoseconds;
        }
        self
    }
}

fn during(stage: &Stage, load: impl FnOnce() -> Result<()>) -> Result<Runs> {
    let programs = programs_of(&stage.processes()?)?;
    let before = look(&programs)?;
    load()?;
    Ok(look(&programs)?.since(&before))
}

/// The programs that some processes hold. Others may have programs of the same names.
fn programs_of(processes: &[u32]) -> Result<BTreeSet<u64>> {
    let mut ids = BTreeSet::new();
    for process in processes {
        let folder = format!("/proc/{process}/fdinfo");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
        // A descriptor may be gone by the time that it is looked at.
        let infos = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
        ids.extend(infos.filter_map(|info| program_id(&info)));
    }
    Ok(ids)
}

/// Reads the line `prog_id:  123`, which programs and links have.
fn program_id(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
}

fn look(programs: &BTreeSet<u64>) -> Result<Runs> {
    let runs = programs.iter().map(|&id| {
        let output = Command::new("bpftool")
            .args(["-j", "prog", "show", "id", &id.to_string()])
            .output()
            .context("cannot run bpftool")?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cannot read what bpftool said of program {id}"))?;
        parse(&answer).with_context(|| format!("bpftool does not describe program {id}: {answer}"))
    });
    runs.collect::<Result<_>>().map(Runs)
}

/// The two counts are left out as long as they are zero.
fn parse(answer: &Value) -> Option<(String, Run)> {
    let name = answer["name"].as_str()?.to_owned();
    let number = |field: &str| answer[field].as_u64().unwrap_or_default();
    Some((name, Run { count: number("run_cnt"), nanoseconds: number("run_time_ns") }))
}

/// Has the kernel count; puts back on drop what there was before.
struct Switch {
    before: String,
}

impl Switch {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            netlab::ui::warn(&format!("kernel.bpf_stats_enabled stays 1: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_programs_among_descriptors() {
        assert_eq!(program_id("pos:\t0\nflags:\t02\nlink_type:\ttcx\nprog_id:\t77\n"), Some(77));
        assert_eq!(program_id("pos:\t0\nmap_type:\t1\n"), None);
    }

    #[test]
    fn counts_only_what_ran_meanwhile() {
        let runs = |count, nanoseconds| {
            let answer =
                json!({"name": "foreword_steer", "run_cnt": count, "run_time_ns": nanoseconds});
            Runs(BTreeMap::from([parse(&answer).unwrap()]))
        };
        let difference = runs(30, 4000).since(&runs(10, 1000));
        assert!((difference.nanoseconds("foreword_steer").unwrap() - 150.0).abs() < 1e-9);
        assert!(runs(10, 10).since(&runs(10, 10)).nanoseconds("foreword_steer").is_err());
        assert!(difference.nanoseconds("foreword_return").is_err());
    }
}
