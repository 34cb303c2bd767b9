//! One emulated machine, from power on to power off.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::debian::Kernel;
use super::initramfs::Initramfs;

/// Warnings and worse are shown, and a panic ends the machine.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 loglevel=5 panic=-1";

/// What the kernel writes when it finds itself in the wrong.
const COMPLAINTS: [&str; 3] = ["[ cut here ]", "BUG: ", "Kernel panic"];

/// A running QEMU, ended on drop.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    console: PathBuf,
}

impl Machine {
    /// Boots. What the tests write comes back line by line, what the kernel writes is kept.
    pub fn start(kernel: &Kernel, initramfs: &Initramfs) -> Result<Self> {
        let console = initramfs.console();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1G"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(initramfs.archive());
        command.args(["-append", KERNEL_ARGUMENTS]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.args(["-serial", "stdio"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut qemu = command.spawn().context("cannot run qemu-system-x86_64")?;
        let output = qemu.stdout.take().context("QEMU's output is a pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { qemu, lines, console })
    }

    /// Hands over each line as it comes, until the machine ends by itself. It is an error if it does
    /// not until `deadline`, or if its kernel found a fault in itself.
    pub fn follow(&mut self, deadline: Instant, mut read: impl FnMut(&str)) -> Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => read(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("it did not end in time, and was stopped"),
            }
        }
        let status = self.qemu.wait()?;
        if !status.success() {
            bail!("QEMU failed ({status})");
        }
        let console = self.console();
        let complains = |line: &&str| COMPLAINTS.iter().any(|complaint| line.contains(complaint));
        match console.lines().find(complains) {
            Some(line) => bail!("the kernel complained: {line}"),
            None => Ok(()),
        }
    }

    /// What the kernel and the first process have written.
    pub fn console(&self) -> String {
        fs::read(&self.console).map_or_else(
            |error| format!("cannot be read: {error}"),
            |bytes| String::from_utf8_lossy(&bytes).replace('\r', ""),
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
