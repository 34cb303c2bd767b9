//! `foreword generate`: what is shipped beside the binary and comes from its command line: shell
//! completions, man pages, and the reference of all options.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::cli::{Cli, Generate};
use super::reference;

/// Generates what is asked for.
pub fn run(what: &Generate) -> Result<()> {
    match what {
        Generate::Completions { shell } => completions(*shell),
        Generate::Man { folder } => man_pages(folder),
        Generate::Reference => print(reference::markdown().as_bytes()),
    }
}

fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "foreword", &mut script);
    print(&script)
}

/// One page for each command.
fn man_pages(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write man pages into {}", folder.display()))
}

fn print(text: &[u8]) -> Result<()> {
    io::stdout().write_all(text).context("cannot write to standard output")
}
