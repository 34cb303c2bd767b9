//! `foreword status`: what runs, how it stands, and what those have left that no longer do.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::cli;
use super::render::{leftover, status, watch};
use crate::operate::admin::{Request, client};
use crate::operate::report::pinned::Leftover;
use crate::operate::report::{State, Status};
use crate::steer::pinned;

/// All that there is to see.
#[derive(Debug, Serialize)]
struct Overview {
    /// Those that answer, the one that takes new connections first.
    runs: Vec<Status>,
    /// Those that don't, by what they have pinned.
    others: Vec<Leftover>,
}

/// Shows it. The exit code says whether one takes new connections.
pub fn run(arguments: &cli::Status) -> Result<ExitCode> {
    let look = || look(arguments).runs;
    if arguments.watch {
        if !io::stdout().is_terminal() {
            bail!("--watch needs a terminal; leave it out, or write --json");
        }
        watch::run(look)?;
        return Ok(ExitCode::SUCCESS);
    }
    let overview = self::look(arguments);
    let report = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&overview)?)
    } else {
        overview.describe()
    };
    io::stdout().write_all(report.as_bytes()).context("cannot write to standard output")?;
    let serves = overview.runs.iter().any(|run| run.state == State::Serving);
    Ok(if serves { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(arguments: &cli::Status) -> Overview {
    let (mut runs, _) = client::ask_all::<Status>(&arguments.admin.socket, &Request::Status);
    runs.sort_by_key(|run| run.state != State::Serving);
    // Without the right to read pins, what answers is all that is seen.
    let pinned = pinned::instances().unwrap_or_default().into_iter();
    let others = pinned.filter(|pinned| runs.iter().all(|run| run.instance != pinned.instance));
    let others = others.map(Leftover::from).collect();
    Overview { runs, others }
}

impl Overview {
    fn describe(&self) -> String {
        let runs = self.runs.iter().map(status::describe);
        let others = self.others.iter().map(leftover::describe);
        let parts: Vec<_> = runs.chain(others).collect();
        if parts.is_empty() {
            return "no Foreword runs here\n".to_owned();
        }
        parts.join("\n")
    }
}
