//! What the commands tell their user: plain lines, colour and a spinner on a terminal only.
//!
//! Everything here goes to stderr. What a command is asked for goes to stdout.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, PipeReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
pub use netlab::ui::{done, error, note, warn};

/// Without a terminal, a long step says so often that it is still running.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How much of a failed command's output goes into the error.
const TAIL_LINES: usize = 25;

/// A command as a person would type it, for messages: the program by its name, wherever it is.
pub fn shell_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// One word as a shell takes it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs a command that takes long, and keeps its output to itself: a terminal sees a spinner with
/// the elapsed time and the latest line, anything else a line at the start, at the end, and every
/// [`HEARTBEAT`] in between. The error of a failed command carries the end of its output.
pub fn run_long(what: &str, command: &mut Command) -> Result<()> {
    let started = Instant::now();
    let mut watch = Watch::start(what);
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let program = command.get_program().to_owned();
    let child = command.spawn();
    let mut child = child.with_context(|| format!("cannot run {}", program.display()))?;
    // The command holds the pipe's writing end, and reading would never end with it open here.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let tail = follow(reader, &mut watch);
    let status = child.wait()?;
    watch.finish();
    if !status.success() {
        bail!("{what} failed ({status}); its last lines:\n{}", Vec::from(tail).join("\n"));
    }
    done(&format!("{what} ({} s)", started.elapsed().as_secs()));
    Ok(())
}

/// Shows output as it arrives, and returns its last lines.
fn follow(reader: PipeReader, watch: &mut Watch) -> VecDeque<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    let mut tail = VecDeque::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) if line.is_empty() => {}
            Ok(line) => {
                watch.latest(&line);
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return tail,
        }
        watch.beat();
    }
}

/// What the user sees while a long step runs.
struct Watch {
    what: String,
    started: Instant,
    last_beat: Instant,
    spinner: Option<ProgressBar>,
}

impl Watch {
    fn start(what: &str) -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let template = "{spinner:.cyan} {prefix} {elapsed} {wide_msg:.dim}";
            let style = ProgressStyle::with_template(template);
            let bar = ProgressBar::new_spinner().with_prefix(what.to_owned());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if spinner.is_none() {
            note(&format!("{what} …"));
        }
        let now = Instant::now();
        Self { what: what.to_owned(), started: now, last_beat: now, spinner }
    }

    fn latest(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(line.trim().to_owned());
        }
    }

    fn beat(&mut self) {
        if self.spinner.is_none() && self.last_beat.elapsed() >= HEARTBEAT {
            self.last_beat = Instant::now();
            note(&format!("{}: {} s so far", self.what, self.started.elapsed().as_secs()));
        }
    }

    fn finish(self) {
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_line_can_be_pasted() {
        let mut command = Command::new("/usr/bin/curl");
        command.args(["-si", "http://[fdcb::10]:8080/", "-H", "host: it's", ""]);
        assert_eq!(
            shell_line(&command),
            r"curl -si 'http://[fdcb::10]:8080/' -H 'host: it'\''s' ''"
        );
    }

    #[test]
    fn a_failed_command_shows_its_last_lines() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; seq 100; echo oops >&2; exit 3"]);
        let error = run_long("failing", &mut command).unwrap_err().to_string();
        assert!(error.ends_with("\noops"), "{error}");
        assert!(!error.contains("first\n"), "{error}");
    }
}
