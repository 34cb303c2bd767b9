//! `foreword import`: a configuration file from kgateway's policies.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Failure;
use super::cli::Import;
use crate::config::import::{BadDocument, Blanks, Reader};
use crate::config::value::place;
use crate::config::{Invalid, Syntax, file, validate};

const STDIN: &str = "standard input";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CannotImport {
    /// A document is wrong.
    #[error("{place}: {error}", place = place(.source_name, .error.position))]
    Document {
        /// The file, or standard input.
        source_name: String,
        /// What is wrong.
        error: BadDocument,
    },
    /// There is nothing that a rule could be made of.
    #[error(
        "nothing here asks for PROXY headers; name the files with a ListenerPolicy that has \
         spec.default.proxyProtocol or a BackendConfigPolicy that has spec.upstreamProxyProtocol"
    )]
    Nothing,
}

/// Reads all documents, and writes one configuration.
pub fn run(arguments: &Import) -> Result<(), Failure> {
    let mut reader = Reader::default();
    for path in files(arguments)? {
        let (source_name, text) = read(&path)?;
        reader
            .read(&source_name, &text)
            .map_err(|error| CannotImport::Document { source_name, error })?;
    }
    let mut import = reader.finish();
    if !import.has_rules() {
        return Err(CannotImport::Nothing.into());
    }
    import.fill(Blanks {
        interfaces: arguments.interface.clone(),
        ports: arguments.port.clone(),
        trusted: arguments.trust.clone(),
    })?;
    let text = import.to_string();
    if import.is_complete() {
        // The flags' words may make no sense. With a blank, that is for `foreword check` to say.
        let config = file::parse(&text).context("what was written is no configuration")?;
        validate(&config, Syntax::File)?;
    }
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    Ok(())
}

fn files(arguments: &Import) -> Result<Vec<PathBuf>, Failure> {
    if !arguments.files.is_empty() {
        return Ok(arguments.files.clone());
    }
    if io::stdin().is_terminal() {
        let fix = "name files with kgateway's policies, or - for standard input";
        return Err(Invalid::missing_argument("FILE", fix).into());
    }
    Ok(vec![PathBuf::from("-")])
}

/// What a file is called, and what it says.
fn read(path: &Path) -> Result<(String, String), Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok((STDIN.to_owned(), text));
    }
    let name = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}
