//! A child process that runs beside us, with its output kept.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::wait::wait_until;

/// How long a process may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(40);

/// Lines of stdout and stderr, in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Vec<String>>>);

impl Output {
    /// Collects lines from one stream until it ends.
    fn collect(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        })
    }

    fn find(&self, prefix: &str) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find(|line| line.starts_with(prefix)).cloned()
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// A running process. Dropping it kills it, by its pid.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    output: Output,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts `command` with stdin closed. `name` is for messages.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let output = Output::default();
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stream| output.collect(stream)));
        readers.extend(child.stderr.take().map(|stream| output.collect(stream)));
        Ok(Self { name: name.to_owned(), child, output, readers })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, stdout and stderr together.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for a line that begins with `prefix`, and returns the whole line. If the process ends first,
    /// or is silent for too long, the error carries its output.
    pub fn wait_for_line(&mut self, prefix: &str, timeout: Duration) -> Result<String> {
        let mut found = None;
        let waited = wait_until(timeout, &format!("`{prefix}` from {}", self.name), || {
            let ended = !self.is_running();
            if ended {
                self.drain_output();
            }
            found = self.output.find(prefix);
            found.is_some() || ended
        });
        match found {
            Some(line) => Ok(line),
            None => match waited {
                Ok(()) => bail!("{} ended without `{prefix}`:\n{}", self.name, self.output()),
                Err(error) => Err(error.context(format!("it wrote:\n{}", self.output()))),
            },
        }
    }

    /// Sends a signal, unless the process has been waited for already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).context("a pid fits in 31 bits")?;
        signal::kill(Pid::from_raw(pid), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for the end; an error after `timeout`, with the process left running.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_until(timeout, &what, || !self.is_running()).with_context(|| self.output())?;
        let status = self.child.wait()?;
        self.drain_output();
        Ok(status)
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        if self.is_running() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait(PATIENCE)
    }

    /// SIGKILL, then reaps.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        Ok(self.child.wait()?)
    }

    /// Reads the rest that an ended process has left in its pipes.
    fn drain_output(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
