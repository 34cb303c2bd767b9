//! The benchmark itself, which `cargo xtask bench` builds and runs as root.

use std::path::PathBuf;
use std::process::ExitCode;

use bench::{Args, Binaries};
use clap::Parser;

/// Measures programs that were built for it.
#[derive(Parser)]
struct Cli {
    /// The `foreword` to measure.
    foreword: PathBuf,
    /// Its relay behind a listener.
    listener: PathBuf,
    /// Where results go.
    folder: PathBuf,
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    let Cli { foreword, listener, folder, args } = Cli::parse();
    match bench::run(&args, Binaries { foreword, listener }, &folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            netlab::ui::error(&error);
            ExitCode::FAILURE
        }
    }
}
