//! `foreword decode`: what some bytes are.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::Failure;
use super::cli::Decode;
use crate::config::Invalid;
use crate::config::validate::flag_max_header;
use crate::header::{Limits, Versions};
use crate::inspect::decoded::{Decoded, Input};
use crate::inspect::hex;

/// Most bytes that are read. A header has 65,551 at most; what follows is only counted.
const READ_MAX: usize = 1 << 20;

/// Bytes as they were given.
struct Source {
    bytes: Vec<u8>,
    /// Whether there were more than [`READ_MAX`].
    more: bool,
}

/// Exit code 0 for bytes that begin with a valid header, 1 for others.
pub fn run(arguments: &Decode) -> Result<ExitCode, Failure> {
    let max_header = flag_max_header(&arguments.max_header)?;
    let Source { bytes, more } = source(arguments)?;
    let limits = Limits { max_header, versions: Versions::ALL };
    let decoded = Decoded::of(Input { bytes: &bytes, more }, limits);
    let text = if arguments.json {
        serde_json::to_string_pretty(&decoded).context("cannot write JSON")? + "\n"
    } else {
        decoded.to_string()
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    Ok(ExitCode::from(u8::from(!decoded.is_valid())))
}

fn source(arguments: &Decode) -> Result<Source, Failure> {
    let source = match (&arguments.file, arguments.bytes.as_slice()) {
        (Some(path), _) => read_file(path)?,
        (None, []) if io::stdin().is_terminal() => {
            let fix = "write bytes in hex, --file PATH, or - for standard input";
            return Err(Invalid::missing_argument("HEX", fix).into());
        }
        (None, []) => read(io::stdin().lock()).context("cannot read standard input")?,
        (None, [dash]) if dash == "-" => {
            read(io::stdin().lock()).context("cannot read standard input")?
        }
        (None, words) => {
            return Ok(Source { bytes: hex::parse(&words.join(" "))?, more: false });
        }
    };
    if arguments.hex { read_as_hex(&source) } else { Ok(source) }
}

fn read_file(path: &Path) -> Result<Source, Failure> {
    let source = File::open(path).and_then(read);
    let name = path.to_string_lossy();
    Ok(source.with_context(|| format!("cannot read '{}'", name.escape_debug()))?)
}

/// Never asks for more than is used, however much there is.
fn read(from: impl Read) -> io::Result<Source> {
    let mut bytes = Vec::new();
    from.take(READ_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let more = bytes.len() > READ_MAX;
    bytes.truncate(READ_MAX);
    Ok(Source { bytes, more })
}

fn read_as_hex(source: &Source) -> Result<Source, Failure> {
    if source.more {
        let error = anyhow!("hex text of more than {READ_MAX} bytes is too long; cut it there");
        return Err(error.into());
    }
    let bytes = hex::parse(&String::from_utf8_lossy(&source.bytes))?;
    Ok(Source { bytes, more: false })
}
