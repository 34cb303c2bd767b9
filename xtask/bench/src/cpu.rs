//! CPUs: who runs where, and how much time was spent.
//!
//! Load and server share the first CPU, the proxy has the second one to itself.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::stats::float;

/// The two CPUs that everything runs on, by the kernel's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// Client and server.
    pub load: usize,
    /// The proxy.
    pub proxy: usize,
}

impl Cpus {
    /// The first two that we may use.
    pub fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for our CPUs")?;
        let mut usable = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        let (Some(load), Some(proxy)) = (usable.next(), usable.next()) else {
            bail!("only one CPU may be used: the benchmark needs two, one for the proxy alone");
        };
        Ok(Self { load, proxy })
    }
}

/// Keeps the calling thread, and those that it will start, on one CPU.
pub fn pin_thread(cpu: usize) -> Result<()> {
    pin(0, cpu).context("cannot pin a thread")
}

/// Keeps every thread of some processes on one CPU.
pub fn pin_processes(processes: &[u32], cpu: usize) -> Result<()> {
    for process in processes {
        for thread in numbers_in(&format!("/proc/{process}/task"))? {
            match pin(thread, cpu) {
                // A thread that has ended since it was listed needs no CPU.
                Err(Errno::ESRCH) => {}
                pinned => pinned.with_context(|| format!("cannot pin process {process}"))?,
            }
        }
    }
    Ok(())
}

fn pin(thread: u32, cpu: usize) -> nix::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(Pid::from_raw(thread.cast_signed()), &only)
}

/// A process and all that it has started.
pub fn family(process: u32) -> Result<Vec<u32>> {
    let mut all = vec![process];
    for thread in numbers_in(&format!("/proc/{process}/task"))? {
        let path = format!("/proc/{process}/task/{thread}/children");
        let children = match fs::read_to_string(&path) {
            Ok(children) => children,
            Err(error) if has_ended(&error) => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        for child in children.split_whitespace() {
            all.extend(family(child.parse().context("a child's pid is a number")?)?);
        }
    }
    Ok(all)
}

/// Whether a thread was gone before it could be looked at.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// The files of a folder whose names are numbers.
fn numbers_in(folder: &str) -> Result<Vec<u32>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// CPU time that some processes have spent so far, in user mode and in the kernel.
pub fn of_processes(processes: &[u32]) -> Result<Duration> {
    processes.iter().map(|&process| of_process(process)).sum()
}

fn of_process(process: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(pid(process)?)
        .with_context(|| format!("cannot find the CPU clock of process {process}"))?;
    Ok(clock.now().context("cannot read a CPU clock")?.into())
}

/// CPU time that the whole machine has spent so far, in whole clock ticks of usually 10 ms.
pub fn of_machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&stat).context("/proc/stat does not begin with the CPUs' times")?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    Ok(Duration::from_secs_f64(float(ticks) / float(per_second.unsigned_abs())))
}

/// Reads `cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ …`: all that is neither idle nor another
/// guest's.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system, _idle, _iowait) = (next()?, next()?, next()?, next()?, next()?);
    let (irq, softirq) = (next()?, next()?);
    Some(user + nice + system + irq + softirq)
}

fn pid(number: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(number).context("a pid fits in 31 bits")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        let stat = "cpu  100 20 3 9999 888 0 4 7777 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(127));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
    }

    #[test]
    fn a_process_spends_time() {
        let us = [std::process::id()];
        let before = of_processes(&us).unwrap();
        while of_processes(&us).unwrap() == before {}
        assert!(family(us[0]).unwrap().contains(&us[0]));
    }
}
