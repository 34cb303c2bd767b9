//! The product itself, attached in a namespace of the lab.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Daemon, Netns};

/// How long attaching may take, on a machine that is busy with other labs, or emulated.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long detaching may take before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Where the `foreword` under test lies. A test names it once:
///
/// ```ignore
/// const FOREWORD: Binary = Binary::at(env!("CARGO_BIN_EXE_foreword"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Binary(&'static str);

impl Binary {
    /// The program of this path.
    pub const fn at(path: &'static str) -> Self {
        Self(path)
    }

    /// Where it lies.
    pub fn path(self) -> &'static Path {
        Path::new(self.0)
    }

    /// A command that will run it inside `node`.
    pub fn command(self, node: &Netns) -> Command {
        node.command(self.path())
    }

    /// Runs `foreword attach` with these flags, split at white space, and waits until everything is
    /// attached.
    #[track_caller]
    pub fn attach(self, node: &Netns, flags: &str) -> Foreword {
        let arguments: Vec<_> = flags.split_whitespace().collect();
        Foreword::attach(node, self.path(), &arguments)
            .unwrap_or_else(|error| panic!("`foreword attach {flags}`: {error:#}"))
    }

    /// Starts `foreword attach` for an attempt that is to fail.
    #[track_caller]
    pub fn spawn(self, node: &Netns, arguments: &[&str]) -> Daemon {
        Foreword::spawn(node, self.path(), arguments).expect("it starts")
    }

    /// Runs `foreword run` with this file, and waits until everything is attached.
    #[track_caller]
    pub fn run(self, node: &Netns, config: impl AsRef<Path>) -> Foreword {
        Foreword::run(node, self.path(), config.as_ref())
            .unwrap_or_else(|error| panic!("`foreword run`: {error:#}"))
    }
}

/// A `foreword attach` or `foreword run` that has said `ready`. It is a [`Daemon`] in every other way.
#[derive(Debug)]
pub struct Foreword(Daemon);

impl Foreword {
    /// Runs `BINARY attach ARGS` inside `node`, and waits until everything is attached.
    pub fn attach(node: &Netns, binary: &Path, args: &[&str]) -> Result<Self> {
        Self::once_ready(Self::spawn(node, binary, args)?)
    }

    /// Runs `BINARY run --config CONFIG` inside `node`, and waits until everything is attached.
    pub fn run(node: &Netns, binary: &Path, config: &Path) -> Result<Self> {
        Self::run_by(node.command(binary), config)
    }

    /// Runs a command that ends in the binary, with `run --config CONFIG` behind it, and waits until
    /// everything is attached.
    pub fn run_by(mut command: Command, config: &Path) -> Result<Self> {
        command.arg("run").arg("--config").arg(config);
        Self::start(command)
    }

    /// A whole command line that comes to a `foreword run`.
    pub fn start(command: Command) -> Result<Self> {
        Self::once_ready(Daemon::start("foreword", command)?)
    }

    /// Waits until everything is attached.
    pub fn once_ready(mut daemon: Daemon) -> Result<Self> {
        daemon.wait_for_line("ready", PATIENCE)?;
        Ok(Self(daemon))
    }

    /// [`Foreword::attach`] without waiting, for attempts that are to fail.
    pub fn spawn(node: &Netns, binary: &Path, args: &[&str]) -> Result<Daemon> {
        let mut command = node.command(binary);
        command.arg("attach").args(args);
        Daemon::start("foreword", command)
    }
}

impl Drop for Foreword {
    /// Stops it in order, so that it takes along what it has put into the kernel. The first signal
    /// asks for a drain, the second says not to wait for it.
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.signal(Signal::SIGTERM);
            let _ = self.signal(Signal::SIGINT);
            let _ = self.wait(STOP_PATIENCE);
        }
    }
}

impl Deref for Foreword {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.0
    }
}

impl DerefMut for Foreword {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.0
    }
}
