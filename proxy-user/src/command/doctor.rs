//! `foreword doctor`: whether this node is fit for Foreword.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::cli::Doctor;
use crate::operate::doctor::facts::Facts;
use crate::operate::doctor::judge;

/// Exit code 1 if Foreword would not work here, 0 otherwise.
pub fn run(arguments: &Doctor) -> Result<ExitCode> {
    let report = judge(&Facts::gather(&arguments.interfaces));
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).context("cannot write JSON")? + "\n"
    } else {
        report.to_string()
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    Ok(ExitCode::from(u8::from(report.is_fatal())))
}
