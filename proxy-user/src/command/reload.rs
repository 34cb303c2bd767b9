//! `foreword reload`: has the run that takes new connections read its file again.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::cli;
use crate::operate::admin::{Request, client};

/// Says what has changed, or why nothing has.
pub fn run(arguments: &cli::Reload) -> Result<()> {
    let lines: Vec<String> =
        client::ask(&arguments.admin.socket, &Request::Reload).context("not reloaded")?;
    let report = match lines.as_slice() {
        [] => "reloaded: nothing has changed\n".to_owned(),
        lines => format!("reloaded:\n  {}\n", lines.join("\n  ")),
    };
    io::stdout().write_all(report.as_bytes()).context("cannot write to standard output")
}
