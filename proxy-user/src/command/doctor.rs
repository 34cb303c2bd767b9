//! `foreword doctor`: whether this node is fit for Foreword.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;

use super::Failure;
use super::cli::Doctor;
use super::render::doctor::describe;
use crate::config::validate;
use crate::operate::doctor::facts::Facts;
use crate::operate::doctor::intent::Intent;
use crate::operate::doctor::judge;
use crate::service::config_file::ConfigFile;
use crate::service::resolver::look_up_now;

/// Exit code 1 if Foreword would not work here, 0 otherwise.
pub fn run(arguments: &Doctor) -> Result<ExitCode, Failure> {
    let intent = intent(arguments)?;
    let report = judge(&Facts::gather(&intent), &intent);
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).context("cannot write JSON")? + "\n"
    } else {
        describe(&report)
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    Ok(ExitCode::from(u8::from(report.is_fatal())))
}

fn intent(arguments: &Doctor) -> Result<Intent, Failure> {
    if let Some(path) = &arguments.config {
        let (file, settings) = ConfigFile::open(path)?;
        let names = file.judge_names(&settings, &look_up_now(&settings.upstream_names())?)?;
        return Ok(Intent { names, ..Intent::from(settings) });
    }
    Ok(Intent { steering: validate::interfaces(&arguments.interfaces)?, ..Intent::default() })
}
