//! Counting system calls with `strace -c`. Traced processes are slowed down many times, so nothing
//! else is measured meanwhile.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use netlab::Daemon;
use nix::sys::signal::Signal;

/// How long strace may take to attach, and to write its table.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running strace.
pub struct Trace(Daemon);

impl Trace {
    /// Begins to count the system calls of some processes and all of their threads.
    pub fn start(processes: &[u32]) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name"]);
        command.args(processes.iter().map(|process| format!("--attach={process}")));
        let mut strace = Daemon::start("strace", command)?;
        strace.wait_for_line("strace: Process", PATIENCE)?;
        Ok(Self(strace))
    }

    /// Lets the processes go; how many system calls there were.
    pub fn stop(mut self) -> Result<u64> {
        self.0.signal(Signal::SIGINT)?;
        self.0.wait(PATIENCE)?;
        let table = self.0.output();
        total(&table).with_context(|| format!("strace's table has no last line:\n{table}"))
    }
}

/// Reads the line `CALLS total` at the end.
fn total(table: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total() {
        let table = "strace: Process 1 attached\n    calls syscall\n--------- ------\n       43 \
                     epoll_wait\n        2 read\n--------- ------\n       45 total\n";
        assert_eq!(total(table), Some(45));
        assert_eq!(total("strace: Process 1 attached\n"), None);
    }
}
