//! What a person types: one file per subcommand, and the exit codes.

mod attach;
mod cleanup;
mod cli;

use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};
use crate::config::Invalid;

/// How a command fails.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What was asked for makes no sense; exit code 2.
    #[error("{0}")]
    Usage(#[from] Invalid),
    /// What was asked for could not be done; exit code 1.
    #[error("{0:#}")]
    Run(#[from] anyhow::Error),
}

/// Reads the command line, does what it says, and returns the exit code.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Attach(arguments) => attach::run(*arguments),
        Command::Cleanup => cleanup::run().map_err(Failure::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(match failure {
                Failure::Usage(_) => 2,
                Failure::Run(_) => 1,
            })
        }
    }
}
