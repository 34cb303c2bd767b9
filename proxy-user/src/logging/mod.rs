//! Logs go to standard error, and lines for the terminal that started the run to standard output, each by a
//! [`NonBlockingWriter`], so that a reader that is stuck or gone never delays traffic.

pub mod non_blocking;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::panic;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use self::non_blocking::NonBlockingWriter;

/// How long the end of the process waits for queued lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

/// Lines that were lost since the start.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LostLines {
    /// Lines for standard output.
    pub stdout: u64,
    /// Lines of the log.
    pub stderr: u64,
}

/// The standard streams of the process, from [`start`] on.
#[derive(Debug)]
struct Streams {
    stdout: NonBlockingWriter,
    stderr: NonBlockingWriter,
}

static STREAMS: OnceLock<Streams> = OnceLock::new();

/// Starts logging at level info (warn for libraries), or as `RUST_LOG` says. To be called once.
pub fn start(format: Format) -> io::Result<()> {
    let stdout = NonBlockingWriter::open("stdout", io::stdout(), |lines| {
        report_lost("standard output", lines);
    })?;
    let stderr =
        NonBlockingWriter::open("stderr", io::stderr(), |lines| report_lost("the log", lines))?;
    let streams = STREAMS.get_or_init(|| Streams { stdout, stderr });
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,foreword=info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines(&streams.stderr))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // They would go through `eprintln!`, which panics if standard error can't be written.
        .log_internal_errors(false);
    match format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|panic| streams.stderr.enqueue(describe(panic).into_bytes())));
    Ok(())
}

/// The default hook writes directly, so that a worker that panics could hang on a pipe that no one reads.
fn describe(panic: &panic::PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("?"));
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => format!("{text}{backtrace}\n"),
        _ => text,
    }
}

fn report_lost(of: &str, lines: u64) {
    tracing::warn!(lines, "lines of {of} were lost: they could not be written, or nobody read");
}

/// Prints a line to standard output.
pub fn say(line: fmt::Arguments<'_>) {
    if let Some(streams) = STREAMS.get() {
        streams.stdout.enqueue(format!("{line}\n").into_bytes());
    }
}

/// Prints why the process ends to standard error: directly, if logging has not started.
pub fn fail(why: fmt::Arguments<'_>) {
    let line = format!("{why}\n");
    match STREAMS.get() {
        Some(streams) => streams.stderr.enqueue(line.into_bytes()),
        None => {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// The lines that were lost so far.
pub fn lost() -> LostLines {
    STREAMS.get().map_or_else(LostLines::default, |streams| LostLines {
        stdout: streams.stdout.lost(),
        stderr: streams.stderr.lost(),
    })
}

/// Waits a moment for queued lines to be written, before the process ends.
pub fn finish() {
    if let Some(Streams { stdout, stderr }) = STREAMS.get() {
        let until = Instant::now() + FLUSH_TIMEOUT;
        stdout.flush(until);
        stderr.flush(until);
    }
}

/// A line of the log on its way. The subscriber writes each as a whole.
struct Lines<'a>(&'a NonBlockingWriter);

impl Write for Lines<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.enqueue(text.to_vec());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
