//! `foreword cutover`: whether all load balancers send headers, and the step to requiring them.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::render::cutover::describe;
use super::{Failure, cli};
use crate::config::validate::flag_duration;
use crate::operate::admin::{Request, client};
use crate::operate::report::cutover::Cutover;

/// Says how far it is, or tightens a rule. The exit code says whether all that is shown is ready.
pub fn run(arguments: &cli::Cutover) -> Result<ExitCode, Failure> {
    let quiet = flag_duration("--quiet", &arguments.quiet)?;
    let socket = &arguments.admin.socket;
    let rule = arguments.rule.clone();
    let report = if arguments.tighten {
        let ask = Request::Tighten { rule, quiet, force: arguments.force };
        let lines: Vec<String> = client::ask(socket, &ask).context("not tightened")?;
        write(&format!("{}\n", lines.join("\n")))?;
        return Ok(ExitCode::SUCCESS);
    } else {
        client::ask::<Vec<Cutover>>(socket, &Request::Cutover { rule, quiet })?
    };
    if arguments.json {
        write(&format!("{}\n", serde_json::to_string_pretty(&report).context("no JSON")?))?;
    } else {
        write(&report.iter().map(describe).collect::<Vec<_>>().join("\n"))?;
    }
    let is_ready = report.iter().all(Cutover::is_ready);
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}
