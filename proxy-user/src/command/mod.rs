//! What a person types: one file per subcommand, and the exit codes.

mod attach;
mod check;
mod cleanup;
mod cli;
mod connections;
mod cutover;
mod decode;
mod doctor;
mod generate;
mod health;
mod import;
mod probe;
mod reference;
mod reload;
mod render;
mod run;
mod status;

use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};
use crate::config::Invalid;
use crate::inspect::hex::HexError;
use crate::logging;
use crate::service;
use crate::service::config_file::FileError;

/// How a command fails.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What was asked for makes no sense; exit code 2.
    #[error("{0}")]
    Usage(#[from] Invalid),
    /// The configuration file can't be used; exit code 2.
    #[error("{0}")]
    File(#[from] FileError),
    /// A document can't be imported; exit code 2.
    #[error("{0}")]
    Import(#[from] import::CannotImport),
    /// What was to be hex is none; exit code 2.
    #[error("the hex text is not valid: {0}")]
    Hex(#[from] HexError),
    /// What was asked for could not be done; exit code 1.
    #[error("{0:#}")]
    Run(#[from] anyhow::Error),
}

impl From<service::Failure> for Failure {
    fn from(failure: service::Failure) -> Self {
        match failure {
            service::Failure::Usage(invalid) => Self::Usage(invalid),
            service::Failure::File(file) => Self::File(file),
            service::Failure::Run(error) => Self::Run(error),
        }
    }
}

fn done(result: anyhow::Result<()>) -> Result<ExitCode, Failure> {
    result.map(|()| ExitCode::SUCCESS).map_err(Failure::from)
}

/// Reads the command line, does what it says, and returns the exit code.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Attach(arguments) => attach::run(*arguments).map(|()| ExitCode::SUCCESS),
        Command::Run(arguments) => run::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => check::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Schema => done(check::schema()),
        Command::Reload(arguments) => done(reload::run(&arguments)),
        Command::Status(arguments) => status::run(&arguments).map_err(Failure::from),
        Command::Health(arguments) => done(health::run(&arguments)),
        Command::Connections(arguments) => connections::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Cutover(arguments) => cutover::run(&arguments),
        Command::Generate(what) => done(generate::run(&what)),
        Command::Import(arguments) => import::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Cleanup => done(cleanup::run()),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
    };
    let code = result.unwrap_or_else(|failure| {
        logging::fail(format_args!("error: {failure}"));
        ExitCode::from(match failure {
            Failure::Usage(_) | Failure::File(_) | Failure::Import(_) | Failure::Hex(_) => 2,
            Failure::Run(_) => 1,
        })
    });
    logging::finish();
    code
}
