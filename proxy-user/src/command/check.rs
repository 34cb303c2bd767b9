//! `foreword check`: whether a configuration is valid, and what it will do. `foreword schema`: what
//! one may say, for editors.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::Failure;
use super::cli::Check;
use crate::advice;
use crate::config::Syntax;
use crate::config::explain::explain;
use crate::config::file;
use crate::service::config_file::ConfigFile;
use crate::service::resolver::look_up_now;

/// Explains the file, rule by rule.
pub fn run(arguments: &Check) -> Result<(), Failure> {
    let (file, settings) = ConfigFile::open(&arguments.config)?;
    file.judge_names(&settings, &look_up_now(&settings.upstream_names())?)?;
    let mut text = format!("{} is valid\n", arguments.config.display());
    for line in explain(&settings) {
        let _ = writeln!(text, "{line}");
    }
    for advice in advice::on_long_headers(&settings.rules, Syntax::File) {
        let _ = writeln!(text, "warning      {advice}");
    }
    Ok(print(&text)?)
}

/// Writes the JSON Schema.
pub fn schema() -> Result<()> {
    let schema = serde_json::to_string_pretty(&file::schema()).context("a schema is JSON")?;
    print(&format!("{schema}\n"))
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
