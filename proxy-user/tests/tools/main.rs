//! `foreword decode`, `probe` and `import` as a person runs them: the built binary, real servers on
//! loopback, no privileges. And what is shipped with it: it has to be valid.
#![allow(clippy::unwrap_used, reason = "a test that can't go on is to stop")]

mod check;
mod decode;
mod generated;
mod import;
mod links;
mod numbers;
mod probe;
mod servers;
mod shipped;

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What a run of `foreword` came to.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `foreword` with these words, and these bytes on standard input.
fn foreword(arguments: &[&str], stdin: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_foreword"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It does not read all of it if it has enough, or refuses its arguments.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
