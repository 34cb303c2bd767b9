//! One sample of each measure: a load, and what it took.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::memory::Footprint;
use super::metric::Metric;
use super::plan::Measure;
use super::stage::Stage;
use super::stats::float;
use super::{cpu, ebpf, load, strace};

/// What one sample consists of.
pub type Sample = Vec<(Metric, f64)>;

/// Connections at a time, where they are short.
const CONCURRENCY: usize = 64;

/// Connections that say nothing.
const IDLE: usize = 3000;

/// How long an idle proxy may still be busy with having become idle.
const SETTLE: Duration = Duration::from_millis(500);

/// Takes one sample. Whatever goes wrong on the way is an error.
pub fn take(measure: Measure, stage: &mut Stage, duration: Duration) -> Result<Sample> {
    match measure {
        Measure::Idle => idle(stage),
        Measure::Bulk1 => bulk(stage, 1, duration),
        Measure::Bulk8 => bulk(stage, 8, duration),
        Measure::Short => short(stage, duration),
        Measure::PingPong1 => ping_pong_on_one_cpu(stage, duration),
        Measure::PingPong256 => ping_pong(stage, 256, duration),
        Measure::Syscalls => syscalls(stage, duration),
        Measure::Ebpf => ebpf::measure(stage, duration),
    }
}

/// CPU time that was spent while something ran.
struct Spent {
    /// In seconds; `None` without a proxy.
    proxy: Option<f64>,
    /// In seconds.
    machine: f64,
}

impl Spent {
    fn during<T>(stage: &Stage, work: impl FnOnce() -> Result<T>) -> Result<(T, Self)> {
        let processes = stage.processes()?;
        let machine = cpu::of_machine()?;
        let proxy = cpu::of_processes(&processes)?;
        let outcome = work()?;
        let proxy = cpu::of_processes(&processes)?.saturating_sub(proxy).as_secs_f64();
        let machine = cpu::of_machine()?.saturating_sub(machine).as_secs_f64();
        let proxy = (!processes.is_empty()).then_some(proxy);
        Ok((outcome, Self { proxy, machine }))
    }

    /// Both per unit of work, `scale` times.
    fn per(&self, units: f64, scale: f64, proxy: Metric, machine: Metric) -> Sample {
        let own = self.proxy.map(|seconds| (proxy, seconds * scale / units));
        own.into_iter().chain([(machine, self.machine * scale / units)]).collect()
    }
}

fn bulk(stage: &Stage, streams: usize, duration: Duration) -> Result<Sample> {
    let (bulk, spent) =
        Spent::during(stage, || stage.load(|target| load::bulk(target, streams, duration)))?;
    let gigabytes = float(bulk.bytes) / 1e9;
    let mut sample = vec![(Metric::Throughput, gigabytes / bulk.elapsed.as_secs_f64())];
    let (proxy, machine) = (Metric::ProxyPerGigabyte, Metric::MachinePerGigabyte);
    sample.extend(spent.per(gigabytes, 1.0, proxy, machine));
    Ok(sample)
}

fn short(stage: &Stage, duration: Duration) -> Result<Sample> {
    let (short, spent) =
        Spent::during(stage, || stage.load(|target| load::short(target, CONCURRENCY, duration)))?;
    let connections = float(short.connections);
    let mut sample = vec![(Metric::Rate, connections / short.elapsed.as_secs_f64())];
    let (proxy, machine) = (Metric::ProxyPerConnection, Metric::MachinePerConnection);
    sample.extend(spent.per(connections, 1e6, proxy, machine));
    Ok(sample)
}

fn ping_pong(stage: &Stage, connections: usize, duration: Duration) -> Result<Sample> {
    let answer = stage.load(|target| load::ping_pong(target, connections, duration))?;
    let count = float(answer.latencies.count());
    let percentile =
        |percent| answer.latencies.percentile(percent).context("no message came back in time");
    Ok(vec![
        (Metric::P50, percentile(50.0)?),
        (Metric::P99, percentile(99.0)?),
        (Metric::Rate, count / answer.elapsed.as_secs_f64()),
    ])
}

/// Between two CPUs, a single message would mostly wait for one of them to wake up.
fn ping_pong_on_one_cpu(stage: &Stage, duration: Duration) -> Result<Sample> {
    let cpus = stage.cpus();
    stage.pin_proxy(cpus.load)?;
    let sample = ping_pong(stage, 1, duration);
    stage.pin_proxy(cpus.proxy)?;
    sample
}

/// Begins with a new process: memory that a proxy has once had is not always given back.
fn idle(stage: &mut Stage) -> Result<Sample> {
    stage.restart()?;
    sleep(SETTLE);
    let processes = stage.processes()?;
    let before = Footprint::take(&processes)?;
    let connections = stage.load(|target| load::idle(target, IDLE))?;
    sleep(SETTLE);
    let after = Footprint::take(&processes)?;
    drop(connections);

    let count = float(u64::try_from(IDLE)?);
    let each = |before, after| (float(after) - float(before)) / count;
    let mut sample = vec![(Metric::KernelMemory, each(before.kernel, after.kernel))];
    if !processes.is_empty() {
        sample.push((Metric::Rss, each(before.rss, after.rss)));
        sample.push((Metric::Descriptors, each(before.descriptors, after.descriptors)));
    }
    Ok(sample)
}

fn syscalls(stage: &Stage, duration: Duration) -> Result<Sample> {
    let trace = strace::Trace::start(&stage.processes()?)?;
    let short = stage.load(|target| load::short(target, CONCURRENCY, duration))?;
    let calls = trace.stop()?;
    Ok(vec![(Metric::Syscalls, float(calls) / float(short.connections))])
}
